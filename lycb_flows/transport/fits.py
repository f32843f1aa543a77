"""Fits of a trajectory's mode powers: diffusion, relaxations, vibration.

A power P_k is the mean of ν independent squares, so that ν P_k / S_k is chi-squared with ν degrees
of freedom and S_k = E[P_k] (Whittle, Ark. Mat. 2, 423 (1953)):

    ln L = -Σ_k (ν/2) (P_k / S_k + ln S_k),    S_k = D + Σ_j A_j R_k(τ_j) + c V_k

with at most two relaxations R of ions in cages (`cage_powers`) and vibration V; D, A and c are not
negative. Relaxations take the place of a first lag of a fit: what is not yet diffusion at short
lags has a term of its own, where the data ask for it.

ν is three times the number of ions for independent isotropic ions, less for ions that move
together, along a line, or unequally, and it may depend on the mode: in a file of ions the fast
modes are each ion's own, the slow ones those of the file. With C the covariance of all coordinates
ν = (tr C)² / tr C², and the product of the coordinates at two modes has

    <(Σ_i Z_i(k) Z_i(l))²> = tr C_k C_l,    k ≠ l,

an unbiased estimate without assumptions on C (`freedom_of`): pairs of modes are many.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lycb_flows.transport.spectrum import (
    Array,
    Modes,
    cage_powers,
    choose_modes,
    powers_of_msd,
    vibration_powers,
)

FAST = 1 / 50
"""Relaxations up to this share of the run are told from diffusion."""
SEEN = 1 / 30
"""Relaxations up to this share of the run, without diffusion, are what D is told from."""
RELAXATION_GAIN = 3.0
"""Twice the gain in ln L that a relaxation needs."""
SHORTEST_TIME_PS = 0.25
N_SLOW_TIMES = 14
MAX_FAST_TIMES = 16
EXPONENTS = np.arange(0.3, 0.96, 0.05)
MIN_BAND = 5
_FLOOR = 1e-12
"""Powers in Å²/ps, and relative to their mean, are not taken to be smaller."""
_FEW_TURNS = 4
_SETTLED = 3e-4
_KEPT = 10
_MANY = 40


@dataclass(frozen=True)
class Shapes:
    """Expected powers of every term for the modes of a run, each of unit strength.

    Attributes
    ----------
    diffusion, vibration
        Shape (n_bins,).
    times_ps
        Relaxation times, rising, shape (n_times,); the first `n_fast` are up to `FAST` of the run,
        the first `n_seen` up to `SEEN`.
    relaxations
        Shape (n_times, n_bins).
    power_laws
        MSD of t^α per axis for every one of `EXPONENTS`, shape (n_exponents, n_bins).
    """

    diffusion: Array
    vibration: Array
    times_ps: Array
    n_fast: int
    n_seen: int
    relaxations: Array
    power_laws: Array


@lru_cache(maxsize=16)
def shapes_of(n_increments: int, frame_interval_ps: float) -> Shapes:
    """Return the shapes for runs of a length; the runs of a campaign share them.

    Parameters
    ----------
    n_increments
        Number of frames less one.
    frame_interval_ps
        Time between frames.
    """
    modes = choose_modes(n_increments, frame_interval_ps)
    duration = modes.duration_ps
    limit = FAST * duration
    start = min(max(frame_interval_ps / 2, SHORTEST_TIME_PS), limit / 2)
    n_fast = int(np.clip(round(4 * np.log(limit / start)), 2, MAX_FAST_TIMES))
    fast = np.geomspace(start, limit, n_fast)
    slow = np.geomspace(limit, duration, N_SLOW_TIMES)[1:]
    times = np.concatenate([fast, slow])
    lags = np.arange(n_increments + 1) * frame_interval_ps
    return Shapes(
        diffusion=np.ones(len(modes.counts)),
        vibration=vibration_powers(modes),
        times_ps=times,
        n_fast=n_fast,
        n_seen=int(np.sum(times <= SEEN * duration)),
        relaxations=cage_powers(modes, times),
        power_laws=np.array([powers_of_msd(modes, lags**exponent) for exponent in EXPONENTS]),
    )


@dataclass(frozen=True)
class Fit:
    """The most likely strengths of some terms.

    Attributes
    ----------
    loss
        Σ (ν m/2) (P/S - 1 - ln(P/S)) over bins of m modes: minus ln L, less that of S = P.
    strengths
        Of each term, shape (n_terms,).
    terms
        Shape (n_terms, n_bins).
    times
        Numbers of its relaxations in `Shapes.times_ps`.
    """

    loss: float
    strengths: Array
    terms: Array
    times: tuple[int, ...] = ()

    @property
    def cost(self) -> float:
        """The loss, and half of what every relaxation must gain in 2 ln L."""
        return self.loss + RELAXATION_GAIN / 2 * len(self.times)

    @property
    def spectrum(self) -> Array:
        """S, shape (n_bins,)."""
        return np.asarray(self.strengths @ self.terms)


@dataclass(frozen=True)
class Powers:
    """Powers of one kind (a mean over axes, or along a direction) and the fits of their terms.

    Attributes
    ----------
    modes
        The modes and their bins.
    values
        P in Å²/ps, shape (n_bins,).
    freedom
        ν, shape (n_bins,).
    """

    modes: Modes
    values: Array
    freedom: Array

    @property
    def weights(self) -> Array:
        """The weights of the bins in ln L: ν/2 times the modes in a bin."""
        return self.freedom * self.modes.counts / 2

    @property
    def shapes(self) -> Shapes:
        """The shapes of the terms."""
        return shapes_of(self.modes.n_increments, self.modes.frame_interval_ps)

    def fits(
        self,
        n_relaxations: int,
        pairs: NDArray[Any] | None = None,
        *,
        diffusion: bool = True,
    ) -> list[Fit]:
        """Return the best fits with vibration and some relaxations, the best first.

        Parameters
        ----------
        n_relaxations
            0, 1 or 2.
        pairs
            Numbers of relaxation times to choose from, (n_choices, n_relaxations); default: the
            fast ones.
        diffusion
            Whether D is among the terms; it is the first then.
        """
        shapes = self.shapes
        if pairs is None:
            pairs = choices(range(shapes.n_fast), n_relaxations)
        chosen = np.asarray(pairs, dtype=int)
        fixed = [shapes.diffusion, shapes.vibration] if diffusion else [shapes.vibration]
        terms = np.empty((len(chosen), len(fixed) + n_relaxations, len(self.values)))
        terms[:, : len(fixed)] = fixed
        terms[:, len(fixed) :] = shapes.relaxations[chosen]
        return self.best(terms, chosen)

    def best(self, terms: Array, chosen: Array | None = None) -> list[Fit]:
        """Return the best of the fits of several sets of terms, the best first.

        Parameters
        ----------
        terms
            Shape (n_sets, n_terms, n_bins).
        chosen
            The relaxations of every set.
        """
        if len(terms) > _MANY:  # a few turns tell which sets have a chance
            losses, _ = maximise(self.values, self.weights, terms, n_turns=_FEW_TURNS)
            likely = np.argsort(losses)[:_KEPT]
            terms, chosen = terms[likely], None if chosen is None else chosen[likely]
        losses, strengths = maximise(self.values, self.weights, terms)
        return [
            Fit(
                float(losses[i]),
                strengths[i],
                terms[i],
                () if chosen is None else tuple(chosen[i].tolist()),
            )
            for i in np.argsort(losses)
        ]


BANDS = (0, 12, 25, 50, 100)
"""Modes between which ν is taken to be the same; beyond the last it is as before it."""


def freedom_of(modes: Modes, values: Array, overlap: Array, most: float) -> Array:
    """Return ν of every bin.

    Parameters
    ----------
    modes
        The modes and their bins.
    values
        P in Å²/ps, shape (n_bins,).
    overlap
        The same for products of two single modes, shape (n_single, n_single).
    most
        The ν of independent ions: their number times the number of axes.
    """
    expected = Powers(modes, values, np.ones(len(values))).fits(1)[0].spectrum[: len(overlap)]
    expected = np.maximum(expected, _FLOOR * (1 + values.mean()))
    squares = overlap**2 / np.outer(expected, expected)
    np.fill_diagonal(squares, 0.0)
    freedom = np.full(len(values), most)
    for first, last in pairwise(BANDS):
        band = squares[first:last, first:last]
        n = len(band)
        if n > MIN_BAND:
            found = n * (n - 1) / max(float(band.sum()), 1e-12)
            freedom[first:] = np.clip(found, 1.0, most)
    return freedom


def choices(numbers: range, n: int) -> Array:
    """Return all sets of n different numbers, (n_sets, n)."""
    sets = list(combinations(numbers, n))
    return np.array(sets, dtype=int).reshape(len(sets), n)


def maximise(
    powers: Array,
    weights: Array,
    terms: Array,
    offset: Array | float = 0.0,
    n_turns: int = 30,
) -> tuple[Array, Array]:
    """Return losses and strengths of sets of terms, by Fisher scoring with halved steps.

    A step is a weighted least-squares fit with strengths that are not negative, weights 1/S².

    Parameters
    ----------
    powers
        P in Å²/ps, shape (n_bins,).
    weights
        Of the bins in ln L.
    terms
        Shape (n_sets, n_terms, n_bins).
    offset
        A part of S that is known, in Å²/ps.
    n_turns
        Most steps.
    """
    scale = terms.mean(axis=2, keepdims=True)
    scaled = terms / scale
    smallest = _FLOOR * (1 + float(powers.mean()))
    powers = np.maximum(powers, smallest)
    smooth = np.convolve(np.pad(powers, 2, "edge"), np.full(5, 0.2), "valid")
    spectrum = np.broadcast_to(smooth, (len(terms), len(powers)))
    strengths, losses = np.zeros(terms.shape[:2]), np.full(len(terms), np.inf)
    for turn in range(n_turns):
        target = _least_squares(powers - offset, weights / spectrum**2, scaled)
        step = np.ones(len(terms))
        for _ in range(8 if turn else 1):
            trial = strengths + step[:, None] * (target - strengths)
            seen = np.maximum(np.einsum("bi,bin->bn", trial, scaled) + offset, smallest)
            ratio = powers / seen
            found = np.sum(weights * (ratio - 1 - np.log(ratio)), axis=1)
            worse = found > losses + 1e-12
            if not worse.any():
                break
            step = np.where(worse, step / 2, step)
        better = found <= losses
        gain = np.max(np.where(better, losses - found, 0.0))
        strengths = np.where(better[:, None], trial, strengths)
        spectrum = np.where(better[:, None], seen, spectrum)
        losses = np.where(better, found, losses)
        if gain < _SETTLED:
            break
    return losses, strengths / scale[..., 0]


def _least_squares(values: Array, weights: Array, terms: Array) -> Array:
    """Return strengths that are not negative for every set, by trying every subset of terms."""
    n_terms = terms.shape[1]
    weighted = terms * weights[:, None]
    matrix = weighted @ terms.transpose(0, 2, 1)
    matrix += 1e-12 * np.trace(matrix, axis1=1, axis2=2)[:, None, None] * np.eye(n_terms)
    right = np.einsum("bin,bn->bi", weighted, np.broadcast_to(values, weights.shape))
    best = np.linalg.solve(matrix, right[..., None])[..., 0]
    left = np.flatnonzero((best < 0).any(axis=1))
    matrix, right = matrix[left], right[left]
    found, lowest = np.zeros((len(left), n_terms)), np.zeros(len(left))
    for n in range(1, n_terms):
        for subset in combinations(range(n_terms), n):
            some = np.array(subset)
            solution = np.linalg.solve(matrix[:, some[:, None], some], right[:, some, None])[..., 0]
            value = -np.sum(right[:, some] * solution, axis=1) / 2
            taken = (solution >= 0).all(axis=1) & (value < lowest)
            lowest[taken] = value[taken]
            found[taken] = 0.0
            found[np.ix_(taken, some)] = solution[taken]
    best[left] = found
    return best


def standard_error(fit: Fit, weights: Array) -> float:
    """Return the standard error of the first strength, from Fisher's information.

    Parameters
    ----------
    fit
        Its strengths; those that are zero are no parameters.
    weights
        Of the bins in ln L.
    """
    free = fit.strengths > 0
    free[0] = True
    terms = fit.terms[free] / fit.terms[free].mean(axis=1, keepdims=True)
    information = (terms * weights / fit.spectrum**2) @ terms.T
    information += 1e-12 * np.trace(information) * np.eye(len(information))
    return float(np.sqrt(np.linalg.inv(information)[0, 0]))

"""Likelihood of diffusivities over temperature: one line, or two that meet.

| equation                                                     | code                     |
|--------------------------------------------------------------|--------------------------|
| var D = e D + r² D²                                          | `Counts`                 |
| deviance = 2 Σ [n ln(n/m) - (n+κ) ln((n+κ)/(m+κ))]/φ, κ = 1/r² | `Counts.deviance`      |
| ln D = x - E (b - b*)                                        | `line`                   |
| ln D = x - E₁ Δmax(b, b_c) - E₂ Δmin(b, b_c)                 | `two_lines`              |
| β += (XᵀWX)⁻¹ Xᵀ W (n - m)/m, W = m / (1 + m/κ) / φ          | `_maximise`              |
| φ = max(deviance/ν, lack of fit/(temperatures - parameters)) | `Model.dispersion`       |
| P(x ≤ v) = Φ(±√(deviance(v) - least deviance))               | `Model.confidence`       |

b = 1/(k_B T), b* where x is wanted, Δf the difference of f from its value at b*. A run is a
count n = D/e of independent events, m is what the line expects of it: r = 0 is the quasi-Poisson
likelihood, the general one is that of a negative binomial count (McCullagh and Nelder,
Generalized Linear Models, 2nd ed. 1989, chapter 9 and section 11.2; scoring: section 2.5). A run
in which nothing moved is the count zero, so nothing has to be left out and nothing is selected
on its outcome. The dispersion φ is 1 until runs are found to scatter beyond their errors (McCullagh
and Nelder, section 4.5; the lack of fit is what the deviance exceeds that of a free D at each
temperature by, so that replicas which agree with each other do not hide that a line misses them).
The confidence distribution is the signed root of the profile likelihood
(Barndorff-Nielsen and Cox, Inference and Asymptotics, 1994, section 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, xlogy

Array = NDArray[np.floating[Any]]
MIN_TEMPERATURES = 6
"""Two lines that meet have four parameters; a fifth run alone could not contradict them."""
_N_TURNS = 40
_LARGEST_STEP = 1.5
_SETTLED = 1e-6
_RIDGE = 1e-10
_LEAST_SCATTER = 1e-6
_FEWEST_EVENTS = 0.3
_N_CROSSINGS = 16
_N_REFINEMENTS = 2
_LIKELY = 16.0
_N_VALUES = 21
_REACH = 5.0
_LARGEST_ERROR = 10.0


@dataclass(frozen=True)
class Counts:
    """Runs as counts of independent events.

    Attributes
    ----------
    inverse_kt_per_ev
        1/(k_B T) of each run, shape (n_runs,).
    diffusivities_m2_per_s
        Their most likely D, zero or more.
    events_m2_per_s
        The D that a single event contributes to each run.
    scatter
        The relative standard deviation of D that more events do not reduce.
    dispersion
        φ, the factor by which the variance of all runs is larger than their errors say.
    """

    inverse_kt_per_ev: Array
    diffusivities_m2_per_s: Array
    events_m2_per_s: Array
    scatter: float = 0.0
    dispersion: float = 1.0

    @property
    def numbers(self) -> Array:
        """The number of events in each run."""
        return self.diffusivities_m2_per_s / self.events_m2_per_s

    @property
    def _size(self) -> float:
        """The κ of the negative binomial distribution; very large for Poisson's."""
        return 1 / max(self.scatter, _LEAST_SCATTER) ** 2

    def expected(self, log_diffusivities: Array) -> Array:
        """Return the number of events that ln D leads one to expect."""
        return np.asarray(np.exp(np.clip(log_diffusivities, -200, 0)) / self.events_m2_per_s)

    def deviance(self, log_diffusivities: Array) -> Array:
        """Return twice the loss of log-likelihood against a perfect fit.

        The last axis is that of the runs.
        """
        n, m, size = self.numbers, self.expected(log_diffusivities), self._size
        terms = xlogy(n, n / m) - (n + size) * np.log1p((n - m) / (m + size))
        return np.asarray(np.maximum(2 * np.sum(terms, axis=-1), 0) / self.dispersion)

    def weights(self, expected: Array) -> Array:
        """Return the information on ln D in runs with so many expected events."""
        return np.asarray(expected / (1 + expected / self._size) / self.dispersion)


@dataclass(frozen=True)
class Model:
    """A family of curves of ln D that are linear in their coefficients, fitted to counts.

    Attributes
    ----------
    counts
        The runs.
    wanted_per_ev
        1/(k_B T) where ln D is wanted.
    designs
        One for each crossing, shape (n_crossings, n_runs, n_coefficients). The first coefficient
        is ln D where it is wanted, the second the barrier on the cold side in eV.
    crossings_per_ev
        1/(k_B T) where the slope changes, of each design; NaN for a single line.
    coefficients
        Most likely ones, shape (n_crossings, n_coefficients).
    deviances
        Deviance of each design, shape (n_crossings,).
    """

    counts: Counts
    wanted_per_ev: float
    designs: Array
    crossings_per_ev: Array
    coefficients: Array
    deviances: Array

    @property
    def n_lines(self) -> int:
        """The number of lines: 1 or 2."""
        return int(self.designs.shape[-1]) - 1

    @property
    def best(self) -> int:
        """The index of the most likely design."""
        return int(np.argmin(self.deviances))

    @property
    def deviance(self) -> float:
        """The deviance of the most likely curve."""
        return float(self.deviances[self.best])

    @property
    def most_likely(self) -> Array:
        """The coefficients of the most likely curve."""
        return np.asarray(self.coefficients[self.best])

    @property
    def degrees_of_freedom(self) -> int:
        """The number of runs beyond that of the parameters."""
        return len(self.counts.numbers) - 2 * self.n_lines

    def lack_of_fit(self) -> tuple[float, int]:
        """Return how much less the deviance of a free D at each temperature is, and for how many.

        The second number is that of the temperatures beyond the parameters.
        """
        temperatures = np.unique(self.counts.inverse_kt_per_ev)
        n_free = len(temperatures) - 2 * self.n_lines
        if n_free < 1:
            return 0.0, 0
        each = (self.counts.inverse_kt_per_ev[:, None] == temperatures).astype(float)
        at_each = _fitted(self.counts, self.wanted_per_ev, each[None], np.array([np.nan]))
        return max(self.deviance - at_each.deviance, 0.0), n_free

    def dispersion(self) -> float:
        """Return the φ with which the runs lie on the most likely curve, 1 at least."""
        lack_of_fit, n_free = self.lack_of_fit()
        n_runs_free = max(self.degrees_of_freedom, 1)
        return max(1.0, self.deviance / n_runs_free, lack_of_fit / n_free if n_free else 0.0)

    def covariances(self) -> Array:
        """Return the covariance of each design's coefficients, from the expected information."""
        log_d = np.einsum("kni,ki->kn", self.designs, self.coefficients)
        weights = self.counts.weights(self.counts.expected(log_d))
        information = np.einsum("kni,kn,knj->kij", self.designs, weights, self.designs)
        return np.asarray(np.linalg.inv(information + _RIDGE * np.eye(information.shape[-1])))

    def profile(self, column: int, values: Array) -> Array:
        """Return the least deviance at each fixed value of a coefficient.

        Parameters
        ----------
        column
            Index of the coefficient.
        values
            Shape (n_values,).
        """
        others = [i for i in range(self.designs.shape[-1]) if i != column]
        offset = values[:, None, None] * self.designs[..., column]
        shape = (len(values), len(self.designs), len(others))
        start = np.broadcast_to(self.coefficients[:, others], shape)
        _, deviances = _maximise(self.counts, self.designs[..., others], offset, start)
        return np.asarray(deviances.min(axis=1))

    def grid(self, column: int) -> Array:
        """Return values that span what is likely of a coefficient, in order.

        Parameters
        ----------
        column
            Index of the coefficient.
        """
        likely = self.deviances <= self.deviance + _LIKELY
        middles = self.coefficients[likely, column]
        errors = np.sqrt(self.covariances()[likely, column, column])
        errors = _REACH * np.minimum(errors, _LARGEST_ERROR)
        low, high = (middles - errors).min(), (middles + errors).max()
        return np.linspace(low, high, _N_VALUES)

    def confidence(self, column: int, values: Array) -> Array:
        """Return the confidence that a coefficient is below each of some values.

        Parameters
        ----------
        column
            Index of the coefficient.
        values
            In order, shape (n_values,).
        """
        middle = self.most_likely[column]
        above = np.maximum(self.profile(column, values) - self.deviance, 0)
        right = values >= middle
        # outside a second, less likely maximum all of what lies before it is inside the interval
        above[right] = np.minimum.accumulate(above[right][::-1])[::-1]
        above[~right] = np.minimum.accumulate(above[~right])
        return np.asarray(ndtr(np.where(right, 1, -1) * np.sqrt(above)))


def line(counts: Counts, wanted_per_ev: float) -> Model:
    """Return the model of a single line.

    Parameters
    ----------
    counts
        The runs.
    wanted_per_ev
        1/(k_B T) where ln D is wanted.
    """
    b = counts.inverse_kt_per_ev
    design = np.stack([np.ones_like(b), wanted_per_ev - b], axis=-1)
    return _fitted(counts, wanted_per_ev, design[None], np.array([np.nan]))


def two_lines(counts: Counts, wanted_per_ev: float) -> Model | None:
    """Return the model of two lines that meet between the second and the last but one temperature.

    Parameters
    ----------
    counts
        The runs.
    wanted_per_ev
        1/(k_B T) where ln D is wanted.

    Returns
    -------
    Model or None
        None where the events leave no crossing with motion on both of its sides.
    """
    crossings = _crossings(counts)
    if not len(crossings):
        return None
    for _ in range(_N_REFINEMENTS):
        model = _crossing_at(counts, wanted_per_ev, crossings)
        likely = np.flatnonzero(model.deviances <= model.deviance + _LIKELY)
        first, last = max(likely[0] - 1, 0), min(likely[-1] + 1, len(crossings) - 1)
        crossings = np.linspace(crossings[first], crossings[last], _N_CROSSINGS)
    return _crossing_at(counts, wanted_per_ev, crossings)


def _crossing_at(counts: Counts, wanted_per_ev: float, crossings: Array) -> Model:
    """Return the model of two lines that meet at one of some 1/(k_B T)."""
    b, at = counts.inverse_kt_per_ev, crossings[:, None]
    cold = np.maximum(wanted_per_ev, at) - np.maximum(b, at)
    hot = np.minimum(wanted_per_ev, at) - np.minimum(b, at)
    designs = np.stack([np.ones_like(cold), cold, hot], axis=-1)
    return _fitted(counts, wanted_per_ev, designs, crossings)


def _crossings(counts: Counts) -> Array:
    """Return where lines may meet, with motion on both sides; none below six temperatures."""
    b = np.unique(counts.inverse_kt_per_ev)
    moved = np.unique(counts.inverse_kt_per_ev[counts.diffusivities_m2_per_s > 0])
    if len(b) < MIN_TEMPERATURES or len(moved) < 3:  # noqa: PLR2004 - of ln D and two slopes
        return np.array([])
    crossings = np.unique(np.append(np.linspace(b[1], b[-2], _N_CROSSINGS), b[1:-1]))
    return np.asarray(crossings[(crossings > moved[0]) & (crossings < moved[-1])])


def _fitted(counts: Counts, wanted_per_ev: float, designs: Array, crossings: Array) -> Model:
    n_coefficients = designs.shape[-1]
    seen = np.maximum(counts.numbers, _FEWEST_EVENTS)
    weights = counts.weights(seen)[:, None]
    information = np.swapaxes(designs, -1, -2) @ (weights * designs)
    information = information + _RIDGE * np.eye(n_coefficients)
    score = np.swapaxes(designs, -1, -2) @ (weights[:, 0] * np.log(seen * counts.events_m2_per_s))
    start = np.linalg.solve(information, score[..., None])[..., 0]
    coefficients, deviances = _maximise(
        counts, designs, np.zeros((1, *designs.shape[:2])), start[None]
    )
    return Model(counts, wanted_per_ev, designs, crossings, coefficients[0], deviances[0])


def _maximise(counts: Counts, designs: Array, offset: Array, start: Array) -> tuple[Array, Array]:
    """Return the most likely coefficients and the deviance, by Fisher's scoring.

    Parameters
    ----------
    counts
        The runs.
    designs
        Shape (n_crossings, n_runs, n_coefficients).
    offset
        What is fixed of ln D, shape (n_values, n_crossings, n_runs).
    start
        First coefficients, shape (n_values, n_crossings, n_coefficients).
    """
    found, (n_crossings, n_runs, n_coefficients) = np.array(start), designs.shape
    squares = np.einsum("kni,knj->knij", designs, designs).reshape(n_crossings, n_runs, -1)
    shape = (*found.shape, n_coefficients)
    log_d = offset + np.einsum("kni,vki->vkn", designs, found)
    for _ in range(_N_TURNS):
        m = counts.expected(log_d)
        weights = counts.weights(m)
        score = np.einsum("kni,vkn->vki", designs, weights * (counts.numbers / m - 1))
        information = np.einsum("vkn,knq->vkq", weights, squares).reshape(shape)
        information = information + _RIDGE * np.eye(n_coefficients)
        step = np.linalg.solve(information, score[..., None])[..., 0]
        change = np.einsum("kni,vki->vkn", designs, step)
        most = np.abs(change).max(axis=-1, keepdims=True)
        share = np.minimum(1, _LARGEST_STEP / np.maximum(most, _SETTLED))
        found, log_d = found + share * step, log_d + share * change
        if np.max(np.sum(score * step, axis=-1)) < _SETTLED:  # what 2 ln L can still gain
            break
    return found, counts.deviance(log_d)


def quantiles(
    models: Sequence[Model], weights: ArrayLike, column: int, levels: ArrayLike
) -> tuple[float, ...]:
    """Return quantiles of a coefficient under several models, each with its weight.

    Parameters
    ----------
    models
        Fitted to the same runs.
    weights
        Theirs, with sum 1.
    column
        Index of the coefficient.
    levels
        Between 0 and 1.
    """
    values = np.unique(np.concatenate([model.grid(column) for model in models]))
    confidences = np.stack([model.confidence(column, values) for model in models])
    scores = ndtri(np.clip(np.asarray(weights) @ confidences, 1e-12, 1 - 1e-12))
    return tuple(np.interp(ndtri(levels), scores, values).tolist())

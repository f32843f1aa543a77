"""The powers of the modes of a trajectory: independent estimates of D, one for each mode.

The increments x(t+1) - x(t) of every ion and axis are transformed by the orthonormal DCT-II over
time. For Brownian motion the coefficients Z_k are independent and of the same variance 2 D dt, so
that P_k = <Z_k²> / (2 dt) is an unbiased D for every k, and the likelihood of D needs no
covariance between lags. Mode k has the period 2 t / k. Where increments are correlated, E[P_k] is
the spectrum of the velocity: low modes are slow motion, high ones vibration.

| equation                                                        | code             |
|-----------------------------------------------------------------|------------------|
| Z_k = √(2/n) Σ_t d_t cos(π k (t + 1/2) / n), Z_0 = Σ_t d_t / √n | `mode_powers`    |
| E[Z_k²] = g_0 + 2 Σ_m g_m ((n - m) cos θm - sin θm / sin θ) / n | the other three  |

with θ = π k / n and g_m the covariance of two increments m frames apart. The weight of g_m is the
sum over t of the product of two cosines, an arithmetic series. Covariance-based optimal estimation
from such modes: Vestergaard, Blainey, Flyvbjerg, Phys. Rev. E 89, 022726 (2014), who transform by
sines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, dst, prev_fast_len

Array = NDArray[np.floating[Any]]

N_SINGLE_MODES = 100
"""Modes 0 to 99 stand alone, where there are as many; higher ones are averaged in bins."""
BIN_GROWTH = 1.05
"""Ratio of the last mode of a bin to its first; E[P] hardly changes over it."""
MIN_MODES = 40
"""A short run keeps so many modes, however fast."""
SHORTEST_PERIOD_PS = 1.0
"""Modes faster than this are an ion's vibration, of which no model here knows the shape."""
_N_SAMPLES = 8
"""Modes of a bin whose expectations are averaged."""
_LONG = 5000
"""Frames beyond which up to 2 % of them are left out for a faster transform."""
_BLOCK = 1_000_000
"""Numbers transformed at a time: bounds the memory beside the positions."""


@dataclass(frozen=True)
class Modes:
    """The modes of a trajectory and the bins in which their powers are averaged.

    Attributes
    ----------
    n_increments
        Number of frames less one.
    frame_interval_ps
        Time between frames.
    first
        First mode of every bin, and the mode after the last bin: shape (n_bins + 1,).
    """

    n_increments: int
    frame_interval_ps: float
    first: NDArray[np.int64]

    @property
    def duration_ps(self) -> float:
        """The time from the first frame to the last."""
        return self.n_increments * self.frame_interval_ps

    @property
    def counts(self) -> NDArray[np.int64]:
        """The number of modes in every bin."""
        return np.diff(self.first)

    @property
    def periods_ps(self) -> Array:
        """The period of the middle of every bin; that of mode 0 is infinite."""
        middle = (self.first[:-1] + self.first[1:] - 1) / 2
        with np.errstate(divide="ignore"):
            return np.asarray(2 * self.duration_ps / middle)

    def samples(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return some modes of every bin, in one row, and where each bin's begin."""
        per_bin = np.minimum(self.counts, _N_SAMPLES)
        starts = np.concatenate([[0], np.cumsum(per_bin)])
        within = np.arange(starts[-1]) - np.repeat(starts[:-1], per_bin)
        stretch = np.repeat(self.counts / per_bin, per_bin)
        modes = np.repeat(self.first[:-1], per_bin) + ((within + 0.5) * stretch - 0.5).round()
        return modes.astype(np.int64), starts[:-1]

    def averaged(self, values: Array) -> Array:
        """Return the means over bins of values at the modes of `samples`, along the last axis."""
        starts = self.samples()[1]
        return np.asarray(
            np.add.reduceat(values, starts, axis=-1) / np.minimum(self.counts, _N_SAMPLES)
        )


@dataclass(frozen=True)
class Spectrum:
    """Mode powers of the mobile ions, in Å²/ps; for Brownian motion each is D, or its tensor.

    Attributes
    ----------
    modes
        The modes and their bins.
    n_ions
        N.
    tracer
        <Z_a Z_b> / (2 dt), mean over ions and the modes of a bin: shape (n_bins, 3, 3).
    collective
        The same of the sum of all ions' displacements, divided by N: shape (n_bins, 3, 3). For
        ions that move independently it is `tracer` within its noise.
    overlap
        Σ_i Z_a(k) Z_b(l) / (2 dt N) of the single modes k and l: shape (3, 3, n_single, n_single).
    """

    modes: Modes
    n_ions: int
    tracer: Array
    collective: Array
    overlap: Array

    @property
    def powers(self) -> Array:
        """The mean over axes of `tracer`, shape (n_bins,)."""
        return np.asarray(np.trace(self.tracer, axis1=1, axis2=2) / 3)

    @property
    def collective_powers(self) -> Array:
        """The mean over axes of `collective`, shape (n_bins,)."""
        return np.asarray(np.trace(self.collective, axis1=1, axis2=2) / 3)


def choose_modes(n_increments: int, frame_interval_ps: float) -> Modes:
    """Return the modes that are slower than vibration, single ones first, then in growing bins.

    Parameters
    ----------
    n_increments
        Number of frames less one.
    frame_interval_ps
        Time between frames.
    """
    slow = int(2 * n_increments * frame_interval_ps / SHORTEST_PERIOD_PS) + 1
    last = min(n_increments, max(MIN_MODES, slow))
    first = list(range(min(N_SINGLE_MODES, last)))
    edge = N_SINGLE_MODES
    while edge < last:
        first.append(edge)
        edge = max(edge + 1, round(edge * BIN_GROWTH))
    return Modes(n_increments, frame_interval_ps, np.array([*first, last]))


def mode_powers(positions_ang: Array, frame_interval_ps: float) -> Spectrum:
    """Return the mode powers of ions, averaged over ions and bins of modes.

    Parameters
    ----------
    positions_ang
        Unwrapped positions, drift removed, (n_frames, n_ions, 3) in Å.
    frame_interval_ps
        Time between frames.
    """
    if len(positions_ang) > _LONG:  # a length with a large prime factor takes ten times as long
        positions_ang = positions_ang[: prev_fast_len(len(positions_ang) - 1, real=True) + 1]
    n_frames, n_ions, _ = positions_ang.shape
    modes = choose_modes(n_frames - 1, frame_interval_ps)
    n_modes = int(modes.first[-1])
    squares = np.zeros((n_modes, 3, 3))
    total = np.zeros((n_modes, 3))
    n_single = min(n_modes, N_SINGLE_MODES)
    overlap = np.zeros((3, 3, n_single, n_single))
    block = max(1, _BLOCK // (3 * n_frames))
    for start in range(0, n_ions, block):
        ions = positions_ang[:, start : start + block].transpose(1, 2, 0)
        z = dct(np.diff(ions, axis=2), type=2, norm="ortho", axis=2)[..., :n_modes]
        squares += np.einsum("iak,ibk->kab", z, z)
        total += z.sum(axis=0).T
        slow = z[..., :n_single]
        overlap += np.tensordot(slow, slow, (0, 0)).transpose(0, 2, 1, 3)
    scale = 2 * frame_interval_ps * n_ions
    collective = np.einsum("ka,kb->kab", total, total)
    return Spectrum(
        modes=modes,
        n_ions=n_ions,
        tracer=_binned(squares, modes) / scale,
        collective=_binned(collective, modes) / scale,
        overlap=overlap / scale,
    )


def _binned(values: Array, modes: Modes) -> Array:
    """Return the means over bins of values at all modes, along the first axis."""
    sums = np.add.reduceat(values, modes.first[:-1], axis=0)
    return np.asarray(sums / modes.counts.reshape(-1, *[1] * (values.ndim - 1)))


def vibration_powers(modes: Modes) -> Array:
    """Return the powers of white vibration of 1 Å² an axis: g_0 = 2, g_1 = -1, shape (n_bins,)."""
    k, _ = modes.samples()
    cosine = np.cos(np.pi * k / modes.n_increments)
    squares = 2 - 2 * cosine + np.where(k == 0, 1, 1 + cosine) * 2 / modes.n_increments
    return modes.averaged(squares / (2 * modes.frame_interval_ps))


def cage_powers(modes: Modes, times_ps: Array) -> Array:
    """Return the powers of ions in harmonic cages of 1 Å² an axis, by relaxation time.

    An Ornstein-Uhlenbeck process of time τ has g_0 = 2 (1 - φ), g_m = -(1 - φ)² φ^(m - 1) with
    φ = exp(-dt / τ); the sums over m are geometric ones.

    Parameters
    ----------
    modes
        The modes and their bins.
    times_ps
        Relaxation times τ, shape (n_times,).

    Returns
    -------
    ndarray
        Shape (n_times, n_bins), in Å²/ps.
    """
    n = modes.n_increments
    k, _ = modes.samples()
    theta = np.pi * k / n
    turn = np.exp(1j * theta)
    phi = np.exp(-modes.frame_interval_ps / np.asarray(times_ps))[:, None]
    z = phi * turn
    power = z ** (n - 1)
    plain = turn * (1 - power) / (1 - z)  # Σ φ^(m-1) exp(iθm), m = 1 to n - 1
    weighted = turn * (1 - n * power + (n - 1) * power * z) / (1 - z) ** 2  # the same times m
    sine = np.where(k == 0, 1.0, np.sin(theta))
    edge = np.where(k == 0, 0.0, plain.imag / sine)
    summed = plain.real - (weighted.real + edge) / n
    squares = 2 * (1 - phi) - 2 * (1 - phi) ** 2 * summed
    return modes.averaged(squares / (2 * modes.frame_interval_ps))


def powers_of_msd(modes: Modes, msd_ang2: Array) -> Array:
    """Return the powers of stationary increments with a given MSD along an axis.

    g_m is half the second difference of the MSD, MSD(-1) = MSD(1); the sums over m are a DCT-I and
    a DST-I.

    Parameters
    ----------
    modes
        The modes and their bins.
    msd_ang2
        MSD along one axis at lags 0 to n in frames, shape (n + 1,) in Å².

    Returns
    -------
    ndarray
        Shape (n_bins,), in Å²/ps.
    """
    n, k = modes.n_increments, np.arange(int(modes.first[-1]))
    msd = np.concatenate([[msd_ang2[1]], msd_ang2[: n + 1]])
    covariance = (msd[2:] - 2 * msd[1:-1] + msd[:-2]) / 2  # g_0 to g_(n-1)
    m = np.arange(n)
    even = dct(np.append((n - m) / n * covariance, 0.0), type=1)[k]  # g_0 + 2 Σ ... cos
    odd = np.zeros(n + 1)
    odd[1:n] = dst(covariance[1:], type=1) / n  # 2 Σ g_m sin θm / n
    with np.errstate(invalid="ignore", divide="ignore"):
        edge = np.where(k == 0, 0.0, odd[k] / np.sin(np.pi * k / n))
    return _binned((even - edge) / (2 * modes.frame_interval_ps), modes)

"""Walks with a known diffusivity: ideal, correlated, in groups, ageing, sub-diffusive.

Every generator returns the positions of the ions, (n_frames, n_ions, 3) in Å, at the times of a
`Clock`. `lattice_walkers` vibrate; the others do not until `vibrating` is applied, so that motion
can be added up: positions of ions in cages plus positions of ions that hop are ions that do both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lycb_flows.errors import InputError
from lycb_flows.units import ANG2_PER_PS_M2_PER_S

HOP_ANG = 3.0
VIBRATION_ANG = 0.2


@dataclass(frozen=True)
class Clock:
    """The times of the frames.

    Attributes
    ----------
    duration_ps
        Time between the first and the last frame.
    frame_interval_ps
        Time between frames.
    """

    duration_ps: float
    frame_interval_ps: float

    @property
    def n_increments(self) -> int:
        """The number of frames less one."""
        return round(self.duration_ps / self.frame_interval_ps)

    @property
    def times_ps(self) -> np.ndarray:
        """The times of the frames, from zero."""
        return np.arange(self.n_increments + 1) * self.frame_interval_ps


def vibrating(positions_ang: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return positions with white noise of 0.2 Å per axis from frame to frame.

    Parameters
    ----------
    positions_ang
        Positions without vibration.
    rng
        Source of the noise.
    """
    return np.asarray(positions_ang + rng.normal(0, VIBRATION_ANG, positions_ang.shape))


def lattice_walkers(  # noqa: PLR0913 - a walk is its number, speed, length, frames, seed and shape
    n_ions: int,
    diffusivity_m2_per_s: float,
    duration_ps: float,
    frame_interval_ps: float,
    seed: int,
    *,
    hop_ang: float = HOP_ANG,
    vibration_ang: float = VIBRATION_ANG,
) -> np.ndarray:
    """Return the positions of independent ions that hop on a cubic lattice and vibrate.

    This is a continuous-time random walk: each ion hops to one of its six neighbours at the rate
    6 D / a². Between two frames the net number of hops along an axis is exactly the difference
    of two Poisson numbers of mean D Δt / a². The vibration is white noise from frame to frame.

    Parameters
    ----------
    n_ions
        Number of ions, all of which start at the origin.
    diffusivity_m2_per_s
        Their tracer diffusivity D.
    duration_ps
        Time between the first and the last frame.
    frame_interval_ps
        Time between frames.
    seed
        Seed of `numpy.random.default_rng`.
    hop_ang
        Lattice constant a.
    vibration_ang
        Standard deviation of the vibration per Cartesian component.

    Returns
    -------
    ndarray
        Unwrapped positions in Å, (n_frames, n_ions, 3).
    """
    if min(n_ions, duration_ps, frame_interval_ps, hop_ang) <= 0 or diffusivity_m2_per_s < 0:
        raise InputError("walkers need positive numbers", fix="check the arguments")
    rng = np.random.default_rng(seed)
    n_steps = round(duration_ps / frame_interval_ps)
    shape = (n_steps + 1, n_ions, 3)
    diffusivity_ang2_per_ps = diffusivity_m2_per_s / float(ANG2_PER_PS_M2_PER_S)
    mean_hops = diffusivity_ang2_per_ps * frame_interval_ps / hop_ang**2
    net_hops = rng.poisson(mean_hops, shape) - rng.poisson(mean_hops, shape)
    net_hops[0] = 0
    vibration = rng.standard_normal(shape) * vibration_ang
    return np.asarray(hop_ang * np.cumsum(net_hops, axis=0) + vibration)


def hoppers(
    n_ions: int,
    vectors_ang: np.ndarray,
    rates_per_ps: np.ndarray,
    clock: Clock,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return independent ions that hop along given vectors, forwards and back alike.

    The tensor of D is Σ_j r_j v_j v_jᵀ, as for each vector the two directions have the rate r_j.

    Parameters
    ----------
    n_ions
        Number of ions.
    vectors_ang
        Hops v_j, shape (n_vectors, 3).
    rates_per_ps
        Rate r_j of either direction; its last axis is (n_vectors,), and one before it is time,
        (n_increments, n_vectors), where the rates age.
    clock
        The times of the frames.
    rng
        Source of chance.
    """
    vectors = np.asarray(vectors_ang, dtype=float)
    mean = np.asarray(rates_per_ps, dtype=float) * clock.frame_interval_ps
    mean = np.broadcast_to(mean, (clock.n_increments, len(vectors)))[:, None]
    shape = (clock.n_increments, n_ions, len(vectors))
    steps = (rng.poisson(mean, shape) - rng.poisson(mean, shape)) @ vectors
    return _from_steps(steps)


def free_walkers(
    n_ions: int,
    diffusivity_ang2_per_ps: float | np.ndarray,
    clock: Clock,
    rng: np.random.Generator,
    hop_ang: float = HOP_ANG,
) -> np.ndarray:
    """Return independent ions that hop on a cubic lattice.

    Parameters
    ----------
    n_ions
        Number of ions.
    diffusivity_ang2_per_ps
        D, or its course in time, shape (n_increments,).
    clock
        The times of the frames.
    rng
        Source of chance.
    hop_ang
        Lattice constant a.
    """
    rates = np.asarray(diffusivity_ang2_per_ps)[..., None] / hop_ang**2 * np.ones(3)
    return hoppers(n_ions, hop_ang * np.eye(3), rates, clock, rng)


def back_jumpers(
    n_ions: int,
    diffusivity_ang2_per_ps: float,
    back: float,
    clock: Clock,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return independent ions whose hop undoes the one before with a probability.

    Otherwise the direction is a random one of six. The mean cosine of two hops in a row is minus
    that probability p, and as the hops form a Markov chain the correlation factor is
    f = (1 - p) / (1 + p); hops come at the rate 6 D / (a² f).

    Parameters
    ----------
    n_ions
        Number of ions.
    diffusivity_ang2_per_ps
        D.
    back
        Probability p.
    clock
        The times of the frames.
    rng
        Source of chance.
    """
    factor = (1 - back) / (1 + back)
    rate_per_ps = 6 * diffusivity_ang2_per_ps / (HOP_ANG**2 * factor)
    counts = rng.poisson(rate_per_ps * clock.frame_interval_ps, (n_ions, clock.n_increments))
    ends = np.cumsum(counts, axis=1)
    n_hops = int(ends[:, -1].max()) + 1
    fresh = rng.random((n_ions, n_hops)) >= back
    fresh[:, 0] = True
    number = np.arange(n_hops)
    since = np.maximum.accumulate(np.where(fresh, number, 0), axis=1)  # the last fresh direction
    axis = np.take_along_axis(rng.integers(0, 3, (n_ions, n_hops)), since, axis=1)
    sign = np.take_along_axis(rng.choice([-1, 1], (n_ions, n_hops)), since, axis=1)
    sign = np.where((number - since) % 2, -sign, sign)
    hops = HOP_ANG * sign[..., None] * np.eye(3)[axis]
    path = np.concatenate([np.zeros((n_ions, 1, 3)), np.cumsum(hops, axis=1)], axis=1)
    at = np.concatenate([np.zeros((n_ions, 1), dtype=int), ends], axis=1)
    return np.asarray(np.take_along_axis(path, at[..., None], axis=1).transpose(1, 0, 2))


def strings(leaders_ang: np.ndarray, length: int) -> np.ndarray:
    """Return ions that make every jump together, in strings, given one ion of each.

    Their Haven ratio is one over the length.

    Parameters
    ----------
    leaders_ang
        Positions of one ion of every string.
    length
        Ions in a string.
    """
    return np.repeat(leaders_ang, length, axis=1)


def random_groups(
    n_ions: int,
    diffusivity_ang2_per_ps: float,
    size: int,
    clock: Clock,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return ions of which random ones make the same jump at every event.

    Parameters
    ----------
    n_ions
        Number of ions.
    diffusivity_ang2_per_ps
        D.
    size
        Ions that move in an event.
    clock
        The times of the frames.
    rng
        Source of chance.
    """
    rate_per_ps = 6 * diffusivity_ang2_per_ps / HOP_ANG**2 * n_ions / size
    n_events = rng.poisson(rate_per_ps * clock.duration_ps)
    frame = rng.integers(0, clock.n_increments, n_events)
    movers = np.argsort(rng.random((n_events, n_ions)), axis=1)[:, :size]
    jumps = (
        HOP_ANG * rng.choice([-1, 1], n_events)[:, None] * np.eye(3)[rng.integers(0, 3, n_events)]
    )
    steps = np.zeros((clock.n_increments, n_ions, 3))
    np.add.at(steps, (frame[:, None], movers), jumps[:, None])
    return _from_steps(steps)


def sub_diffusive(
    n_ions: int,
    msd_at_1_ps_ang2: float,
    exponent: float,
    clock: Clock,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return ions in fractional Brownian motion, whose MSD grows as a power of time.

    The increments are drawn exactly by circulant embedding (Davies and Harte, Biometrika 74, 95
    (1987)).

    Parameters
    ----------
    n_ions
        Number of ions.
    msd_at_1_ps_ang2
        MSD at a lag of 1 ps.
    exponent
        The power α; 1 is Brownian motion.
    clock
        The times of the frames.
    rng
        Source of chance.
    """
    n = clock.n_increments
    lag = np.abs(np.arange(-1, n + 2)).astype(float) ** exponent
    covariance = (lag[2:] - 2 * lag[1:-1] + lag[:-2]) / 2
    spectrum = np.fft.fft(np.concatenate([covariance, covariance[-2:0:-1]])).real.clip(0)
    noise = rng.standard_normal((2, 2 * n, n_ions, 3))
    waves = np.sqrt(spectrum / (2 * n))[:, None, None] * (noise[0] + 1j * noise[1])
    step_ang = np.sqrt(msd_at_1_ps_ang2 / 3 * clock.frame_interval_ps**exponent)
    return _from_steps(step_ang * np.fft.fft(waves, axis=0).real[:n])


def _from_steps(steps_ang: np.ndarray) -> np.ndarray:
    start = np.zeros((1, *steps_ang.shape[1:]))
    return np.concatenate([start, np.cumsum(steps_ang, axis=0)])

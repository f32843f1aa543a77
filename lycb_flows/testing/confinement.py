"""Ions in cages, in boxes without a way out, and in files that no ion can pass."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from lycb_flows.testing.walks import HOP_ANG, Clock


def caged(
    n_ions: int, plateau_ang2: float, time_ps: float, clock: Clock, rng: np.random.Generator
) -> np.ndarray:
    """Return ions in harmonic cages: exact Ornstein-Uhlenbeck processes, stationary.

    Parameters
    ----------
    n_ions
        Number of ions.
    plateau_ang2
        MSD at long times: six times the variance per axis.
    time_ps
        Relaxation time.
    clock
        The times of the frames.
    rng
        Source of chance.
    """
    decay = np.exp(-clock.frame_interval_ps / time_ps)
    noise = rng.standard_normal((clock.n_increments + 1, n_ions, 3))
    noise[1:] *= np.sqrt(1 - decay**2)
    return np.asarray(np.sqrt(plateau_ang2 / 6) * lfilter([1.0], [1.0, -decay], noise, axis=0))


def boxed(
    shape: tuple[int, int, int],
    n_ions: int,
    rate_per_ps: float,
    clock: Clock,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return independent ions in boxes of lattice sites without a way out; the true D is zero.

    A step along an axis is tried at a rate in either direction and not made at a wall.
    (5, 1, 1) is a row of five sites. Every ion starts at a random site.

    Parameters
    ----------
    shape
        Sites along x, y and z.
    n_ions
        Number of ions.
    rate_per_ps
        Rate of a step in one direction.
    clock
        The times of the frames.
    rng
        Source of chance.
    """
    path = np.zeros((clock.n_increments + 1, n_ions, 3))
    for axis, n_sites in enumerate(shape):
        if n_sites > 1:
            path[..., axis] = _between_walls(n_sites, n_ions, rate_per_ps, clock, rng)
    return HOP_ANG * path


def _between_walls(
    n_sites: int, n_ions: int, rate_per_ps: float, clock: Clock, rng: np.random.Generator
) -> np.ndarray:
    """Return sites of walkers on a row, by frame: tries beyond its ends are not made."""
    mean_tries = 2 * rate_per_ps * clock.frame_interval_ps
    counts = rng.poisson(mean_tries, (clock.n_increments, n_ions))
    ways = rng.choice([-1, 1], (int(counts.max()), *counts.shape))
    at = rng.integers(0, n_sites, n_ions)
    path = np.empty((clock.n_increments + 1, n_ions))
    path[0] = at
    for frame, count in enumerate(counts):
        for attempt in range(int(count.max())):
            at = np.clip(at + ways[attempt, frame] * (count > attempt), 0, n_sites - 1)
        path[frame + 1] = at
    return path


def single_file(
    n_ions: int,
    n_sites: int,
    rate_per_ps: float,
    clock: Clock,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the path of ions along a ring of sites, (n_frames, n_ions); no two share a site.

    At long times all ions of the ring move as one with D = r a² (1 - (n - 1) / (L - 1)) / n along
    the ring: hops to free neighbours are uncorrelated, as there are as many free places ahead of
    ions as behind them.

    Parameters
    ----------
    n_ions
        Ions on the ring, n.
    n_sites
        Sites of the ring, L.
    rate_per_ps
        Rate r at which an ion tries one direction.
    clock
        The times of the frames.
    rng
        Source of chance.
    """
    n_tries = rng.poisson(2 * rate_per_ps * n_ions * clock.frame_interval_ps, clock.n_increments)
    mover = rng.integers(0, n_ions, int(n_tries.sum())).tolist()
    step = rng.choice([-1, 1], len(mover)).tolist()
    at = np.sort(rng.choice(n_sites, n_ions, replace=False)).tolist()
    taken = np.isin(np.arange(n_sites), at).tolist()
    path = np.empty((clock.n_increments + 1, n_ions))
    path[0] = at
    done = 0
    for frame, tries in enumerate(n_tries.tolist(), start=1):
        for ion, way in zip(mover[done : done + tries], step[done : done + tries], strict=True):
            target = (at[ion] + way) % n_sites
            if not taken[target]:
                taken[at[ion] % n_sites], taken[target] = False, True
                at[ion] += way
        done += tries
        path[frame] = at
    return HOP_ANG * path


def rings(paths_ang: list[np.ndarray]) -> np.ndarray:
    """Return the positions of ions on rings along x, y, z, x, ..., given the paths along them.

    Parameters
    ----------
    paths_ang
        One `single_file` for every ring.
    """
    axes = [path[..., None] * np.eye(3)[ring % 3] for ring, path in enumerate(paths_ang)]
    return np.concatenate(axes, axis=1)

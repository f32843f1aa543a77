"""Random walks with a known diffusivity."""

from __future__ import annotations

import numpy as np

from lycb_flows.errors import InputError
from lycb_flows.units import ANG2_PER_PS_M2_PER_S


def lattice_walkers(  # noqa: PLR0913 - a walk is its number, speed, length, frames, seed and shape
    n_ions: int,
    diffusivity_m2_per_s: float,
    duration_ps: float,
    frame_interval_ps: float,
    seed: int,
    *,
    hop_ang: float = 3.0,
    vibration_ang: float = 0.2,
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

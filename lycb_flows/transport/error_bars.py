"""The error bar of a diffusivity: He's empirical one, and that of a random walk.

| equation                                          | code                   |
|---------------------------------------------------|------------------------|
| s_D / D = 3.43 / √N_eff + 0.04                    | `he_relative_error`    |
| var ∣A∣² = a² m + g m², m = 6 D o, g = 2 tr M² / (tr M)² | `_msd_covariance` |
| cov(MSD(n), MSD(m)) = mean over interval pairs of var∣A∣²(overlap o) / N | `_overlap_moments` |
| D < f a² / (6 N t) χ²(2 n/f + 2) / 2              | `upper_bound_m2_per_s` |

The second moment of ∣A∣² is that of a compound Poisson walk with hops of length a; two
displacements of an ion share only the overlap of their intervals. Where the D of single ions
scatter more than those of such a walk would (some ions are trapped), that scatter is the bar
instead. He, Zhu, Epstein, Mo, npj Comput. Mater. 4, 18 (2018); the authors' code (MoGroup/aimd).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from lycb_flows.units import ANG2_PER_PS_M2_PER_S

Array = NDArray[np.floating[Any]]
HETEROGENEITY_CONFIDENCE = 0.99
_N_TURNS = 4
_RIDGE = 1e-4
_N_OFFSETS = 256
_N_THINNED_FRAMES = 1000


@dataclass(frozen=True)
class Walk:
    """Displacements of the mobile ions, and their MSD at every lag.

    Attributes
    ----------
    positions_ang
        Shape (n_frames, n_ions, 3), drift removed.
    msd_tensor_ang2
        Shape (n_frames, 3, 3), by lag.
    frame_interval_ps
        Time between frames.
    hop_ang
        Length a of a hop.
    """

    positions_ang: Array  # (n_frames, n_ions, 3), drift removed
    msd_tensor_ang2: Array  # (n_frames, 3, 3)
    frame_interval_ps: float
    hop_ang: float

    @property
    def n_ions(self) -> int:
        """The number of mobile ions."""
        return int(self.positions_ang.shape[1])

    @property
    def duration_ps(self) -> float:
        """The time from the first frame to the last."""
        return (len(self.positions_ang) - 1) * self.frame_interval_ps

    @property
    def msd_ang2(self) -> Array:
        """The mean squared displacement at every lag, shape (n_frames,)."""
        return np.asarray(np.trace(self.msd_tensor_ang2, axis1=1, axis2=2))


def he_relative_error(effective_hops: float) -> float:
    """Return He's relative error, s_D / D = 3.43 / √N_eff + 0.04 (He et al. 2018)."""
    return float(3.43 / np.sqrt(effective_hops) + 0.04)


def upper_bound_m2_per_s(
    hops: float, n_ions: int, duration_ps: float, hop_ang: float, confidence: float = 0.95
) -> float:
    """Return the upper bound on D when `hops` effective hops were seen.

    With few hops per ion it is the Poisson bound a² / (6 N t) χ²(2n + 2) / 2. But n is read from
    an MSD, whose variance over that of a hop count is f = 1 + 2n / (3N) (compound Poisson), so
    n / f independent hops are worth f each. Without f the 95 % bound holds in 67 to 94 % of runs
    with more than one hop per ion.

    Parameters
    ----------
    hops
        n = N max MSD / a², vibration subtracted.
    n_ions
        N.
    duration_ps
        t, from the first to the last frame.
    hop_ang
        a.
    confidence
        One-sided confidence.
    """
    worth = 1 + 2 * hops / (3 * n_ions)
    most_hops = worth * float(chi2.ppf(confidence, 2 * hops / worth + 2)) / 2
    return most_hops * hop_ang**2 / (6 * n_ions * duration_ps) * float(ANG2_PER_PS_M2_PER_S)


def slope_weights(lags: Array) -> Array:
    """Return weights w of the OLS slope: slope = Σ w_k y_k."""
    centred = lags - lags.mean()
    return np.asarray(centred / (centred @ centred))


def model_error(walk: Walk, lags: NDArray[np.int64], diffusivity: float) -> tuple[float, float]:
    """Return a low-noise D and the standard error of the OLS D, from the walk's covariance.

    The covariance S needs a D, and generalised least squares with S gives a better D; a few turns
    settle it. A D that is not positive is returned as found, with an infinite error.

    Parameters
    ----------
    walk
        The mobile ions.
    lags
        Lags in frames, within the window of the fit.
    diffusivity
        The OLS D in Å²/ps.

    Returns
    -------
    tuple of float
        Both in Å²/ps.
    """
    lags_ps = lags * walk.frame_interval_ps
    design = np.column_stack([np.ones_like(lags_ps), 6 * lags_ps])
    moments = _overlap_moments(lags_ps, walk.duration_ps)
    at_start = walk.msd_tensor_ang2[lags[0]]
    anisotropy = 2 * float(np.sum(at_start**2)) / float(np.trace(at_start)) ** 2
    efficient = diffusivity
    for _ in range(_N_TURNS):
        if efficient <= 0:
            return efficient, np.inf
        covariance = _msd_covariance(efficient, moments, anisotropy, walk)
        ridge = _RIDGE * np.diag(np.diag(covariance))  # the lags are nearly collinear
        weighted = np.linalg.solve(covariance + ridge, design)
        efficient = float(np.linalg.solve(design.T @ weighted, weighted.T @ walk.msd_ang2[lags])[1])
    covariance = _msd_covariance(max(efficient, 0.0), moments, anisotropy, walk)
    slope = slope_weights(lags_ps)
    return efficient, float(np.sqrt(slope @ covariance @ slope)) / 6


def _msd_covariance(
    diffusivity: float, moments: tuple[Array, Array], anisotropy: float, walk: Walk
) -> Array:
    """Return the covariance in Å⁴ of the windowed MSD of a walk of hops a with D in Å²/ps."""
    rate = 6 * diffusivity
    linear, quadratic = moments
    return (walk.hop_ang**2 * rate * linear + anisotropy * rate**2 * quadratic) / walk.n_ions


def _overlap_moments(lags_ps: Array, duration_ps: float) -> tuple[Array, Array]:
    """Return the mean overlap o (ps) and o² (ps²) of all pairs of intervals of two lags.

    Intervals [s, s+n] and [s+d, s+d+m] lie in [0, t]; the mean over s and d is an integral
    over the offset d of o(d) times the share of origins with that offset. Both are (n, n).
    """
    n, m = lags_ps[:, None, None], lags_ps[None, :, None]
    middle = (np.arange(_N_OFFSETS) + 0.5) / _N_OFFSETS
    offset = -m + (n + m) * middle
    overlap = np.minimum(n, offset + m) - np.maximum(0, offset)
    room = np.minimum(duration_ps - n, duration_ps - m - offset) - np.maximum(0, -offset)
    share = np.clip(room, 0, None) / ((duration_ps - n) * (duration_ps - m))
    share = share * (n + m) / _N_OFFSETS
    return np.sum(share * overlap, axis=2), np.sum(share * overlap**2, axis=2)


def standard_error(walk: Walk, lags: NDArray[np.int64], walk_error: float) -> float:
    """Return the standard error of the OLS D in Å²/ps.

    It is the walk's own, or the scatter between ions where that is larger than chance allows.

    Parameters
    ----------
    walk
        The mobile ions.
    lags
        Lags in frames, within the window of the fit.
    walk_error
        From `model_error`.
    """
    scatter = _ion_scatter(walk, lags)
    freedom = max(walk.n_ions - 1, 1)
    by_chance = np.sqrt(chi2.ppf(HETEROGENEITY_CONFIDENCE, freedom) / freedom)
    return scatter if scatter > by_chance * walk_error else walk_error


def _ion_scatter(walk: Walk, lags: NDArray[np.int64]) -> float:
    """Return the standard error of D in Å²/ps from the spread of single ions' D, frames thinned."""
    if walk.n_ions == 1:
        return 0.0
    stride = max(1, len(walk.positions_ang) // _N_THINNED_FRAMES)
    thinned = walk.positions_ang[::stride]
    steps = np.unique(lags // stride)
    steps = steps[steps > 0]
    if len(steps) < 2:  # noqa: PLR2004 - a slope needs two points
        return 0.0
    weights = slope_weights(steps * stride * walk.frame_interval_ps)
    slopes = np.zeros(walk.n_ions)
    for k, weight in zip(steps, weights, strict=True):
        moved = thinned[k:] - thinned[:-k]
        slopes += weight * np.einsum("tia,tia->i", moved, moved) / len(moved)
    return float(np.std(slopes, ddof=1) / np.sqrt(walk.n_ions)) / 6

"""From a trajectory to a diffusivity with an error bar, or to an upper bound.

D is the paper's: MSD over all origins (`msd.py`), ordinary least squares (OLS) over a
window of lags, slope / 6. Two error bars stand beside it: He's empirical one, and our own,
the exact standard error of this very estimator for a random walk as fast as the one seen:

| equation                                          | code                   |
|---------------------------------------------------|------------------------|
| s_D / D = 3.43 / √N_eff + 0.04                    | `he_relative_error`    |
| var ∣A∣² = a² m + g m², m = 6 D o, g = 2 tr M² / (tr M)² | `_msd_covariance` |
| cov(MSD(n), MSD(m)) = mean over interval pairs of var∣A∣²(overlap o) / N | `_overlap_moments` |
| D < f a² / (6 N t) χ²(2 n/f + 2) / 2              | `upper_bound_m2_per_s` |

The second moment of ∣A∣² is that of a compound Poisson walk with hops of length a; two
displacements of one ion share only the overlap of their intervals. Where single ions' D
scatter beyond a walk's luck (some ions trapped), that scatter is the bar instead.
He, Zhu, Epstein, Mo, npj Comput. Mater. 4, 18 (2018); the authors' code (MoGroup/aimd).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, norm

from lycb_flows.config import MIN_MEASURED_FRAMES, DiffusionConfig
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.schemas import DiffusionEstimate, Matrix, Vector
from lycb_flows.transport.msd import (
    mean_squared_displacement,
    msd_tensor,
    select_lags,
    subtract_drift,
)
from lycb_flows.units import ANG2_PER_PS_M2_PER_S, nernst_einstein_ms_per_cm

Array = NDArray[np.floating[Any]]

MIN_FIT_LAGS = 5
MAX_RELATIVE_ERROR = 0.5
"""A D less than two standard errors above zero is no measurement."""
VIBRATION_PS = 1.0
"""Lag at which ions have vibrated to their plateau."""
HETEROGENEITY_CONFIDENCE = 0.99
_N_COVARIANCE_LAGS = 16
_N_TURNS = 4
_RIDGE = 1e-4
_N_OFFSETS = 256
_N_THINNED_FRAMES = 1000


@dataclass(frozen=True)
class DiffusionResult:
    """What a trajectory says about transport; the fields of `schemas.Transport`."""

    n_mobile: int
    n_atoms: int
    volume_ang3_per_atom: float
    duration_ps: float
    lags_ps: tuple[float, ...]
    msd_ang2: tuple[float, ...]
    framework_msd_ang2: tuple[float, ...]
    estimate: DiffusionEstimate
    diffusivity_tensor_m2_per_s: Matrix | None
    lattice_diffusivities_m2_per_s: Vector | None
    conductivity_ms_per_cm: float | None
    conductivity_err_ms_per_cm: float | None
    conductivity_upper_ms_per_cm: float | None


@dataclass(frozen=True)
class _Walk:
    """The mobile ions' displacements and their MSD at every lag."""

    positions_ang: Array  # (n_frames, n_ions, 3), drift removed
    msd_tensor_ang2: Array  # (n_frames, 3, 3)
    frame_interval_ps: float
    hop_ang: float

    @property
    def n_ions(self) -> int:
        return int(self.positions_ang.shape[1])

    @property
    def duration_ps(self) -> float:
        return (len(self.positions_ang) - 1) * self.frame_interval_ps

    @property
    def msd_ang2(self) -> Array:
        return np.asarray(np.trace(self.msd_tensor_ang2, axis1=1, axis2=2))


@dataclass(frozen=True)
class _Fit:
    """OLS over the lags first..last (frames): D tensor, D, error, and a low-noise D."""

    first: int
    last: int
    tensor_ang2_per_ps: Array  # (3, 3)
    diffusivity: float  # Å²/ps, as all of this class
    standard_error: float
    walk_error: float  # of a random walk, before the ions' own scatter has its say
    efficient_diffusivity: float


def he_relative_error(effective_hops: float) -> float:
    """s_D / D = 3.43 / √N_eff + 0.04 (He et al. 2018)."""
    return float(3.43 / np.sqrt(effective_hops) + 0.04)


def upper_bound_m2_per_s(
    hops: float, n_ions: int, duration_ps: float, hop_ang: float, confidence: float = 0.95
) -> float:
    """Upper bound on D when `hops` effective hops were seen.

    Few hops per ion: the Poisson bound a² / (6 N t) χ²(2n + 2) / 2. But n is read from an
    MSD, whose variance over that of a hop count is f = 1 + 2n / (3N) (compound Poisson), so
    n / f independent hops are worth f each; without f the 95 % bound holds in 67 to 94 % of
    runs with more than one hop per ion.

    Parameters
    ----------
    hops
        n = N max MSD / a², vibration subtracted.
    n_ions
        N.
    duration_ps
        t, first to last frame.
    hop_ang
        a.
    confidence
        One-sided.
    """
    worth = 1 + 2 * hops / (3 * n_ions)
    most_hops = worth * float(chi2.ppf(confidence, 2 * hops / worth + 2)) / 2
    return most_hops * hop_ang**2 / (6 * n_ions * duration_ps) * float(ANG2_PER_PS_M2_PER_S)


def analyse_diffusion(
    positions_ang: ArrayLike,
    frame_interval_ps: float,
    mobile_mask: ArrayLike,
    lattice_ang: ArrayLike,
    temperature_k: float,
    config: DiffusionConfig,
) -> DiffusionResult:
    """D of the mobile ions, its tensor, errors and Nernst-Einstein conductivity.

    Parameters
    ----------
    positions_ang
        Unwrapped positions of all atoms, (n_frames, n_atoms, 3) in Å.
    frame_interval_ps
        Time between frames.
    mobile_mask
        True for mobile ions, (n_atoms,); the others are the framework.
    lattice_ang
        Rows a, b, c of the (average) cell in Å, (3, 3).
    temperature_k
        Of the run.
    config
        Window, hop length, charge, confidence.

    Raises
    ------
    InputError
        No mobile ion, no framework, or too few frames.
    PhysicsError
        A position that is not finite.
    """
    mobile = np.asarray(mobile_mask, dtype=bool)
    lattice = np.asarray(lattice_ang, dtype=float)
    discarded = round(config.discard_ps / frame_interval_ps)
    positions = np.asarray(positions_ang, dtype=float)[discarded:]
    _check_trajectory(positions, mobile)
    positions = subtract_drift(positions, ~mobile)
    walkers = positions[:, mobile]
    walk = _Walk(walkers, msd_tensor(walkers), frame_interval_ps, config.site_distance_ang)
    fit, estimate = _estimate(walk, config)

    volume_ang3 = abs(float(np.linalg.det(lattice)))
    per_ang3 = walk.n_ions / volume_ang3

    def conductivity(diffusivity: float | None) -> float | None:
        if diffusivity is None:
            return None
        return nernst_einstein_ms_per_cm(diffusivity, per_ang3, temperature_k, config.charge_number)

    tensor = along = None
    if fit is not None:
        in_si = fit.tensor_ang2_per_ps * float(ANG2_PER_PS_M2_PER_S)
        unit = lattice / np.linalg.norm(lattice, axis=1, keepdims=True)
        tensor = cast("Matrix", tuple(map(tuple, in_si.tolist())))
        along = tuple(np.einsum("ia,ab,ib->i", unit, in_si, unit).tolist())
    lags = select_lags(len(positions))
    return DiffusionResult(
        n_mobile=walk.n_ions,
        n_atoms=mobile.size,
        volume_ang3_per_atom=volume_ang3 / mobile.size,
        duration_ps=walk.duration_ps,
        lags_ps=tuple((lags * frame_interval_ps).tolist()),
        msd_ang2=tuple(walk.msd_ang2[lags].tolist()),
        framework_msd_ang2=tuple(mean_squared_displacement(positions[:, ~mobile])[lags].tolist()),
        estimate=estimate,
        diffusivity_tensor_m2_per_s=tensor,
        lattice_diffusivities_m2_per_s=along,
        conductivity_ms_per_cm=conductivity(estimate.diffusivity_m2_per_s),
        conductivity_err_ms_per_cm=conductivity(estimate.diffusivity_err_m2_per_s),
        conductivity_upper_ms_per_cm=conductivity(estimate.diffusivity_upper_m2_per_s),
    )


def unmeasured(mobile_mask: ArrayLike, lattice_ang: ArrayLike, reason: str) -> DiffusionResult:
    """The result of a run that says nothing about transport, and why."""
    mobile = np.asarray(mobile_mask, dtype=bool)
    volume_ang3 = abs(float(np.linalg.det(np.asarray(lattice_ang, dtype=float))))
    nothing = dict.fromkeys(field.name for field in fields(DiffusionResult))
    known = {
        "n_mobile": int(mobile.sum()),
        "n_atoms": mobile.size,
        "volume_ang3_per_atom": volume_ang3 / mobile.size,
        "duration_ps": 0.0,
        "lags_ps": (),
        "msd_ang2": (),
        "framework_msd_ang2": (),
        "estimate": DiffusionEstimate(
            effective_hops=0.0, max_msd_ang2=0.0, plateau_msd_ang2=0.0, reason=reason
        ),
    }
    return DiffusionResult(**{**nothing, **known})  # type: ignore[arg-type]  # by field name


def _check_trajectory(positions: Array, mobile: NDArray[np.bool_]) -> None:
    if positions.ndim != 3 or positions.shape[1:] != (mobile.size, 3):  # noqa: PLR2004 - frames, atoms, xyz
        raise InputError(
            "positions must be (n_frames, n_atoms, 3)", fix="check the mask", found=positions.shape
        )
    if not mobile.any():
        raise InputError("no mobile ion", fix="check mobile_species")
    if len(positions) < MIN_MEASURED_FRAMES:
        raise InputError(
            "too few frames for an MSD",
            fix=f"give at least {MIN_MEASURED_FRAMES}",
            found=len(positions),
        )
    if not np.isfinite(positions).all():
        raise PhysicsError("a position is not finite", fix="cut the run where it left physics")


def _estimate(walk: _Walk, config: DiffusionConfig) -> tuple[_Fit | None, DiffusionEstimate]:
    """The estimate, and the fit when it is a measurement."""
    msd, a = walk.msd_ang2, walk.hop_ang
    max_msd, plateau = float(msd.max()), _vibration_plateau(msd, walk.frame_interval_ps)
    hops = walk.n_ions * max_msd / a**2
    seen = {"effective_hops": hops, "max_msd_ang2": max_msd, "plateau_msd_ang2": plateau}
    first, last, reason = _find_window(walk, config)
    fit = None if reason else _fit_window(walk, first, last)
    if fit is not None:
        log_slope = _log_slope(msd, first, last)
        ends = {"fit_start_ps": first * walk.frame_interval_ps}
        ends["fit_end_ps"] = last * walk.frame_interval_ps
        seen |= ends | {"log_slope": log_slope}
        reason = _why_not_measured(fit)
    if fit is None or reason:
        diffusive_hops = max(0.0, walk.n_ions * (max_msd - plateau) / a**2)
        upper = upper_bound_m2_per_s(
            diffusive_hops, walk.n_ions, walk.duration_ps, a, config.confidence
        )
        return None, DiffusionEstimate(diffusivity_upper_m2_per_s=upper, reason=reason, **seen)
    si = float(ANG2_PER_PS_M2_PER_S)
    # relative to the low-noise D: an OLS D that came out high would else seem more certain
    log_err = fit.standard_error / fit.efficient_diffusivity
    reach = float(np.exp(norm.ppf(0.5 + config.confidence / 2) * log_err))
    return fit, DiffusionEstimate(
        diffusivity_m2_per_s=fit.diffusivity * si,
        diffusivity_err_he_m2_per_s=fit.diffusivity * si * he_relative_error(hops),
        diffusivity_err_m2_per_s=fit.standard_error * si,
        diffusivity_log_err=log_err,
        diffusivity_low_m2_per_s=fit.diffusivity * si / reach,
        diffusivity_high_m2_per_s=fit.diffusivity * si * reach,
        **seen,
    )


def _vibration_plateau(msd: Array, frame_interval_ps: float) -> float:
    """MSD of vibration alone: the line through MSD(1 ps) and MSD(2 ps) at lag zero."""
    k = max(1, round(VIBRATION_PS / frame_interval_ps))
    if 2 * k >= len(msd):
        return 0.0  # too short to tell; the bound is the looser for it
    return float(np.clip(2 * msd[k] - msd[2 * k], 0.0, msd[k]))


def _find_window(walk: _Walk, config: DiffusionConfig) -> tuple[int, int, str]:
    """First and last lag of the fit in frames, or why there is none."""
    msd, step, a2 = walk.msd_ang2, walk.frame_interval_ps, walk.hop_ang**2
    longest = min(config.max_lag_fraction * walk.duration_ps, config.max_lag_ps)
    last = int(longest / step + 1e-9)
    if config.min_lag_ps is not None:
        first = max(1, int(np.ceil(config.min_lag_ps / step - 1e-9)))
    else:
        first = int(np.argmax(msd >= a2 / 2)) or len(msd)
    if msd[last] <= a2:
        return first, last, f"MSD {msd[last]:.3g} Å² at the last lag is not above a² = {a2:g} Å²"
    if last - first + 1 < MIN_FIT_LAGS:
        return first, last, f"fewer than {MIN_FIT_LAGS} lags in the fit window"
    return first, last, ""


def _why_not_measured(fit: _Fit) -> str:
    if min(fit.diffusivity, fit.efficient_diffusivity) <= 0:
        return "the MSD does not rise over the fit window"
    # of the low-noise D and the walk's error, which hardly depend on how this OLS D came out:
    # refusing low outcomes of D itself would bias those that stay
    relative = fit.walk_error / fit.efficient_diffusivity
    if not relative <= MAX_RELATIVE_ERROR:
        return f"relative error {relative:.2g} of D is above {MAX_RELATIVE_ERROR:g}"
    return ""


def _fit_window(walk: _Walk, first: int, last: int) -> _Fit:
    lags = np.arange(first, last + 1) * walk.frame_interval_ps
    tensor = np.tensordot(_slope_weights(lags), walk.msd_tensor_ang2[first : last + 1], 1) / 2
    diffusivity = float(np.trace(tensor)) / 3
    some = np.unique(np.linspace(first, last, _N_COVARIANCE_LAGS).round().astype(int))
    efficient, walk_error = _model_error(walk, some, diffusivity)
    scatter = _ion_scatter(walk, some)
    freedom = max(walk.n_ions - 1, 1)
    luck = np.sqrt(chi2.ppf(HETEROGENEITY_CONFIDENCE, freedom) / freedom)
    error = scatter if scatter > luck * walk_error else walk_error
    return _Fit(first, last, tensor, diffusivity, error, walk_error, efficient)


def _slope_weights(lags: Array) -> Array:
    """Weights w of the OLS slope: slope = Σ w_k y_k."""
    centred = lags - lags.mean()
    return np.asarray(centred / (centred @ centred))


def _log_slope(msd: Array, first: int, last: int) -> float:
    """The slope d ln MSD / d ln t over the window, log-spaced lags; 1 for diffusion."""
    lags = np.unique(np.geomspace(first, last, 50).round().astype(int))
    return float(np.polyfit(np.log(lags), np.log(msd[lags]), 1)[0])


def _model_error(walk: _Walk, lags: NDArray[np.int64], diffusivity: float) -> tuple[float, float]:
    """Low-noise D and standard error of the OLS D, both Å²/ps, from the walk's covariance.

    The covariance S needs a D, and generalised least squares with S gives one; a few turns
    settle it. A D that is not positive is returned as found, with an infinite error.
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
    slope = _slope_weights(lags_ps)
    return efficient, float(np.sqrt(slope @ covariance @ slope)) / 6


def _msd_covariance(
    diffusivity: float, moments: tuple[Array, Array], anisotropy: float, walk: _Walk
) -> Array:
    """Covariance in Å⁴ of the windowed MSD of a walk of hops a with D in Å²/ps."""
    rate = 6 * diffusivity
    linear, quadratic = moments
    return (walk.hop_ang**2 * rate * linear + anisotropy * rate**2 * quadratic) / walk.n_ions


def _overlap_moments(lags_ps: Array, duration_ps: float) -> tuple[Array, Array]:
    """Mean overlap o (ps) and o² (ps²) of all pairs of intervals of two lags, (n, n) each.

    Intervals [s, s+n] and [s+d, s+d+m] lie in [0, t]; the mean over s and d is an integral
    over the offset d of o(d) times the share of origins with that offset.
    """
    n, m = lags_ps[:, None, None], lags_ps[None, :, None]
    middle = (np.arange(_N_OFFSETS) + 0.5) / _N_OFFSETS
    offset = -m + (n + m) * middle
    overlap = np.minimum(n, offset + m) - np.maximum(0, offset)
    room = np.minimum(duration_ps - n, duration_ps - m - offset) - np.maximum(0, -offset)
    share = np.clip(room, 0, None) / ((duration_ps - n) * (duration_ps - m))
    share = share * (n + m) / _N_OFFSETS
    return np.sum(share * overlap, axis=2), np.sum(share * overlap**2, axis=2)


def _ion_scatter(walk: _Walk, lags: NDArray[np.int64]) -> float:
    """Standard error of D in Å²/ps from the spread of single ions' D, frames thinned."""
    if walk.n_ions == 1:
        return 0.0
    stride = max(1, len(walk.positions_ang) // _N_THINNED_FRAMES)
    thinned = walk.positions_ang[::stride]
    steps = np.unique(lags // stride)
    steps = steps[steps > 0]
    if len(steps) < 2:  # noqa: PLR2004 - a slope needs two points
        return 0.0
    weights = _slope_weights(steps * stride * walk.frame_interval_ps)
    slopes = np.zeros(walk.n_ions)
    for k, weight in zip(steps, weights, strict=True):
        moved = thinned[k:] - thinned[:-k]
        slopes += weight * np.einsum("tia,tia->i", moved, moved) / len(moved)
    return float(np.std(slopes, ddof=1) / np.sqrt(walk.n_ions)) / 6

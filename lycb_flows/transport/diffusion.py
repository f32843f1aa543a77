"""The diffusivity of a trajectory with an error bar, or an upper bound.

D is the paper's: MSD over all origins (`msd.py`), ordinary least squares (OLS) over a
window of lags, slope / 6. Its two error bars are those of `error_bars.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from lycb_flows.config import MIN_MEASURED_FRAMES, DiffusionConfig
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.schemas import DiffusionEstimate, Matrix, Vector
from lycb_flows.transport.error_bars import (
    Array,
    Walk,
    he_relative_error,
    model_error,
    slope_weights,
    standard_error,
    upper_bound_m2_per_s,
)
from lycb_flows.transport.msd import (
    mean_squared_displacement,
    msd_tensor,
    select_lags,
    subtract_drift,
)
from lycb_flows.units import ANG2_PER_PS_M2_PER_S, nernst_einstein_ms_per_cm

MIN_FIT_LAGS = 5
MAX_RELATIVE_ERROR = 0.5
"""A D less than two standard errors above zero is no measurement."""
VIBRATION_PS = 1.0
"""Lag at which ions have vibrated to their plateau."""
_N_COVARIANCE_LAGS = 16


@dataclass(frozen=True)
class DiffusionResult:
    """What a trajectory says about transport; the fields of the Transport document."""

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
class _Fit:
    """OLS over the lags first..last (frames): D tensor, D, error, and a low-noise D."""

    first: int
    last: int
    tensor_ang2_per_ps: Array  # (3, 3)
    diffusivity: float  # Å²/ps, as all of this class
    standard_error: float
    walk_error: float  # of a random walk, before the ions' own scatter has its say
    efficient_diffusivity: float


def analyse_diffusion(
    positions_ang: ArrayLike,
    frame_interval_ps: float,
    mobile_mask: ArrayLike,
    lattice_ang: ArrayLike,
    temperature_k: float,
    config: DiffusionConfig,
) -> DiffusionResult:
    """Return D of the mobile ions, its tensor, errors and Nernst-Einstein conductivity.

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
        Temperature of the run.
    config
        Window, hop length, charge, confidence.

    Raises
    ------
    InputError
        When there is no mobile ion, no framework, or too few frames.
    PhysicsError
        When a position is not finite.
    """
    mobile = np.asarray(mobile_mask, dtype=bool)
    lattice = np.asarray(lattice_ang, dtype=float)
    discarded = round(config.discard_ps / frame_interval_ps)
    positions = np.asarray(positions_ang, dtype=float)[discarded:]
    _check_trajectory(positions, mobile)
    positions = subtract_drift(positions, ~mobile)
    walkers = positions[:, mobile]
    walk = Walk(walkers, msd_tensor(walkers), frame_interval_ps, config.site_distance_ang)
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
    """Return the result of a run that says nothing about transport.

    Parameters
    ----------
    mobile_mask
        True for mobile ions, (n_atoms,).
    lattice_ang
        Rows a, b, c of the cell in Å, (3, 3).
    reason
        Why it says nothing.
    """
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


def _estimate(walk: Walk, config: DiffusionConfig) -> tuple[_Fit | None, DiffusionEstimate]:
    """Return the estimate, and the fit when it is a measurement."""
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
    """Return the MSD of vibration alone: the line through MSD(1 ps) and MSD(2 ps) at lag zero."""
    k = max(1, round(VIBRATION_PS / frame_interval_ps))
    if 2 * k >= len(msd):
        return 0.0  # too short to tell; the bound is the looser for it
    return float(np.clip(2 * msd[k] - msd[2 * k], 0.0, msd[k]))


def _find_window(walk: Walk, config: DiffusionConfig) -> tuple[int, int, str]:
    """Return first and last lag of the fit in frames, and why there is none, if so."""
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


def _fit_window(walk: Walk, first: int, last: int) -> _Fit:
    lags = np.arange(first, last + 1) * walk.frame_interval_ps
    tensor = np.tensordot(slope_weights(lags), walk.msd_tensor_ang2[first : last + 1], 1) / 2
    diffusivity = float(np.trace(tensor)) / 3
    some = np.unique(np.linspace(first, last, _N_COVARIANCE_LAGS).round().astype(int))
    efficient, walk_error = model_error(walk, some, diffusivity)
    error = standard_error(walk, some, walk_error)
    return _Fit(first, last, tensor, diffusivity, error, walk_error, efficient)


def _log_slope(msd: Array, first: int, last: int) -> float:
    """Return the slope d ln MSD / d ln t over the window, log-spaced lags; 1 for diffusion."""
    lags = np.unique(np.geomspace(first, last, 50).round().astype(int))
    return float(np.polyfit(np.log(lags), np.log(msd[lags]), 1)[0])

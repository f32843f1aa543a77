"""The diffusivity of a trajectory with an error bar, an upper bound, or why there is neither.

D is the most likely one, given the powers of the trajectory's modes (`spectrum.py`, `fits.py`,
`likelihood.py`) and the events that it is made of (`events.py`), and it stands where the motion is
diffusion (`regimes.py`). The paper's D is computed beside it: MSD over all origins (`msd.py`),
ordinary least squares (OLS) over a window of lags, slope / 6, with He's error.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lycb_flows.config import MIN_MEASURED_FRAMES, DiffusionConfig
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.schemas import DiffusionEstimate, Matrix, Vector
from lycb_flows.transport.directions import Directions, directions
from lycb_flows.transport.events import windows
from lycb_flows.transport.fits import Powers, freedom_of
from lycb_flows.transport.msd import (
    Array,
    msd_tensor,
    select_lags,
)
from lycb_flows.transport.regimes import Motion, judge
from lycb_flows.transport.spectrum import Spectrum, mode_powers
from lycb_flows.units import ANG2_PER_PS_M2_PER_S, nernst_einstein_ms_per_cm

MIN_FIT_LAGS = 5
HALVES_INTERVAL_PS = 0.5
"""Halves of a run are only compared, for which frames half a ps apart will do."""
MIN_HALF_FRAMES = 100
MAX_ORIGINS = 1000
VIBRATION_PS = 1.0
"""Lag at which ions have vibrated to their plateau."""
_SI = float(ANG2_PER_PS_M2_PER_S)


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
    lattice_errors_m2_per_s: Vector | None
    principal_diffusivities_m2_per_s: Vector | None
    principal_errors_m2_per_s: Vector | None
    principal_axes: Matrix | None
    anisotropy: float | None
    anisotropy_err: float | None
    conductivity_ms_per_cm: float | None
    conductivity_err_ms_per_cm: float | None
    conductivity_upper_ms_per_cm: float | None


def analyse_diffusion(
    positions_ang: ArrayLike,
    frame_interval_ps: float,
    mobile_mask: ArrayLike,
    lattice_ang: ArrayLike,
    temperature_k: float,
    config: DiffusionConfig,
) -> DiffusionResult:
    """Return D of the mobile ions, its regime, tensor, errors and Nernst-Einstein conductivity.

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
        Window of the paper's fit, hop length, charge, confidence.

    Raises
    ------
    InputError
        When there is no mobile ion, no framework, or too few frames.
    PhysicsError
        When a position is not finite.
    """
    arguments = (positions_ang, frame_interval_ps, mobile_mask, lattice_ang, temperature_k, config)
    return analyse_walk(*arguments)[0]


def analyse_walk(
    positions_ang: ArrayLike,
    frame_interval_ps: float,
    mobile_mask: ArrayLike,
    lattice_ang: ArrayLike,
    temperature_k: float,
    config: DiffusionConfig,
) -> tuple[DiffusionResult, Walk]:
    """Return what `analyse_diffusion` does, and the walk, whose modes are then known.

    Parameters
    ----------
    positions_ang, frame_interval_ps, mobile_mask, lattice_ang, temperature_k, config
        Those of `analyse_diffusion`.
    """
    mobile = np.asarray(mobile_mask, dtype=bool)
    lattice = np.asarray(lattice_ang, dtype=float)
    discarded = round(config.discard_ps / frame_interval_ps)
    positions = np.asarray(positions_ang, dtype=float)[discarded:]
    _check_trajectory(positions, mobile)
    lags = select_lags(len(positions))
    walkers, framework_msd = _relative_to_framework(positions, mobile, lags)
    walk = Walk(walkers, frame_interval_ps, config.site_distance_ang)
    msd = np.trace(msd_tensor(walk.positions_ang), axis1=1, axis2=2)
    estimate, along = _estimate(walk, msd, lattice, config)
    volume_ang3 = abs(float(np.linalg.det(lattice)))
    per_ang3 = walk.n_ions / volume_ang3

    def conductivity(diffusivity: float | None) -> float | None:
        if diffusivity is None:
            return None
        return nernst_einstein_ms_per_cm(diffusivity, per_ang3, temperature_k, config.charge_number)

    result = DiffusionResult(
        n_mobile=walk.n_ions,
        n_atoms=mobile.size,
        volume_ang3_per_atom=volume_ang3 / mobile.size,
        duration_ps=walk.duration_ps,
        lags_ps=tuple((lags * frame_interval_ps).tolist()),
        msd_ang2=tuple(msd[lags].tolist()),
        framework_msd_ang2=tuple(framework_msd.tolist()),
        estimate=estimate,
        **_by_direction(along),
        conductivity_ms_per_cm=conductivity(estimate.diffusivity_m2_per_s),
        conductivity_err_ms_per_cm=conductivity(estimate.diffusivity_err_m2_per_s),
        conductivity_upper_ms_per_cm=conductivity(estimate.diffusivity_upper_m2_per_s),
    )
    return result, walk


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
            regime="unmeasured",
            effective_hops=0.0,
            max_msd_ang2=0.0,
            plateau_msd_ang2=0.0,
            reason=reason,
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
    if mobile.all():
        raise InputError(
            "no framework to measure the drift from",
            fix="check the mobile species",
            atoms=mobile.size,
        )
    if len(positions) < MIN_MEASURED_FRAMES:
        raise InputError(
            "too few frames for an MSD",
            fix=f"give at least {MIN_MEASURED_FRAMES}",
            found=len(positions),
        )
    if not np.isfinite(positions).all():
        raise PhysicsError("a position is not finite", fix="cut the run where it left physics")


def _relative_to_framework(
    positions: Array, mobile: NDArray[np.bool_], lags: NDArray[np.int64]
) -> tuple[Array, Array]:
    """Return the ions relative to the framework's mean (`subtract_drift`), and its MSD at lags.

    One copy of the positions is made: a long run has gigabytes.
    """
    framework = positions.take(np.flatnonzero(~mobile), axis=1)
    drift = framework.mean(axis=1, keepdims=True)
    drift -= drift[0].copy()
    framework -= drift
    walkers = positions.take(np.flatnonzero(mobile), axis=1)
    walkers -= drift
    return walkers, np.array([_displacement(framework, int(lag)) for lag in lags])


def _displacement(positions: Array, lag: int) -> float:
    """Return the MSD at a lag over a thousand origins: it says whether a framework holds."""
    stride = max(1, (len(positions) - lag) // MAX_ORIGINS)
    moved = positions[lag::stride] - positions[:-lag:stride]
    return float(np.vdot(moved, moved) / (moved.shape[0] * moved.shape[1]))


@dataclass(frozen=True)
class Walk:
    """The mobile ions of a run: positions (n_frames, n_ions, 3), unwrapped and without drift.

    `hop_ang` is the length a of a hop.
    """

    positions_ang: Array
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
    def hop(self) -> float:
        """The D of one hop of one ion, a² / (6 N t), in Å²/ps."""
        return self.hop_ang**2 / (6 * self.n_ions * self.duration_ps)

    def halves(self) -> tuple[Walk, Walk]:
        """Return the first and the second half, which share a frame, with few frames a ps."""
        middle = len(self.positions_ang) // 2
        enough = int(HALVES_INTERVAL_PS / self.frame_interval_ps + 1e-9)
        stride = max(1, min(enough, middle // MIN_HALF_FRAMES))
        first = self.positions_ang[: middle + 1 : stride]
        second = self.positions_ang[middle::stride]
        interval_ps = stride * self.frame_interval_ps
        return Walk(first, interval_ps, self.hop_ang), Walk(second, interval_ps, self.hop_ang)

    @cached_property
    def motion(self) -> tuple[Motion, Spectrum]:
        """The mean over axes of the powers and windows, and the spectrum."""
        spectrum = mode_powers(self.positions_ang, self.frame_interval_ps)
        overlap = np.einsum("aakl->kl", spectrum.overlap) / 3
        most = 3.0 * self.n_ions
        freedom = freedom_of(spectrum.modes, spectrum.powers, overlap, most)
        powers = Powers(spectrum.modes, spectrum.powers, freedom)
        parts = windows(self.positions_ang, self.frame_interval_ps)
        traces = [np.trace(part.tensors, axis1=1, axis2=2) / 3 for part in parts]
        return Motion(powers, list(zip(parts, traces, strict=True)), self.hop, most), spectrum


def _estimate(
    walk: Walk, msd: Array, lattice_ang: Array, config: DiffusionConfig
) -> tuple[DiffusionEstimate, Directions | None]:
    """Return the estimate, and D by direction where the motion is diffusion."""
    motion, spectrum = walk.motion
    halves = [half.motion[0] for half in walk.halves()]
    verdict = judge(motion, halves, walk.n_ions, walk.hop_ang)
    likelihood, known = motion.likelihood, motion.interval(config.confidence)
    d = likelihood.diffusivity
    facts: dict[str, Any] = vars(verdict) | {
        "most_likely_m2_per_s": d * _SI,
        "event_m2_per_s": motion.event * _SI,
        "confidence": config.confidence,
    }
    along = None
    if verdict.regime == "diffusive":
        along = directions(spectrum, motion, lattice_ang)
        facts |= {
            "diffusivity_m2_per_s": d * _SI,
            "diffusivity_err_m2_per_s": known.error * _SI,
            "diffusivity_log_err": known.error / d,
            "diffusivity_low_m2_per_s": known.low * _SI,
            "diffusivity_high_m2_per_s": known.high * _SI,
        }
    elif verdict.regime == "bound":
        facts["diffusivity_upper_m2_per_s"] = known.upper * _SI
    return DiffusionEstimate(**facts, **_papers(walk, msd, config)), along


def _by_direction(along: Directions | None) -> dict[str, Any]:
    """Return the fields of a result that are by direction, in m²/s; None where there are none."""
    if along is None:
        return dict.fromkeys(_DIRECTIONAL)
    values = (
        tuple(map(tuple, (along.tensor * _SI).tolist())),
        tuple((along.lattice * _SI).tolist()),
        tuple((along.lattice_errors * _SI).tolist()),
        tuple((along.principal * _SI).tolist()),
        tuple((along.principal_errors * _SI).tolist()),
        tuple(map(tuple, along.axes.tolist())),
        along.anisotropy,
        along.anisotropy_error,
    )
    return dict(zip(_DIRECTIONAL, values, strict=True))


_DIRECTIONAL = (
    "diffusivity_tensor_m2_per_s",
    "lattice_diffusivities_m2_per_s",
    "lattice_errors_m2_per_s",
    "principal_diffusivities_m2_per_s",
    "principal_errors_m2_per_s",
    "principal_axes",
    "anisotropy",
    "anisotropy_err",
)


# -- the paper's D ---------------------------------------------------------------------------------


def he_relative_error(effective_hops: float) -> float:
    """Return He's relative error, s_D / D = 3.43 / √N_eff + 0.04.

    He, Zhu, Epstein, Mo, npj Comput. Mater. 4, 18 (2018); the authors' code is MoGroup/aimd.
    """
    return float(3.43 / np.sqrt(effective_hops) + 0.04)


def _papers(walk: Walk, msd: Array, config: DiffusionConfig) -> dict[str, Any]:
    """Return the paper's D, He's error and what they rest on."""
    hops = walk.n_ions * float(msd.max()) / walk.hop_ang**2
    seen: dict[str, Any] = {
        "effective_hops": hops,
        "max_msd_ang2": float(msd.max()),
        "plateau_msd_ang2": _vibration_plateau(msd, walk.frame_interval_ps),
    }
    first, last = _find_window(walk, msd, config)
    if msd[last] <= walk.hop_ang**2 or last - first + 1 < MIN_FIT_LAGS:
        return seen
    lags = np.arange(first, last + 1) * walk.frame_interval_ps
    centred = lags - lags.mean()
    d = float(centred @ msd[first : last + 1] / (centred @ centred)) / 6 * _SI
    return seen | {
        "paper_diffusivity_m2_per_s": d,
        "diffusivity_err_he_m2_per_s": abs(d) * he_relative_error(hops),
        "fit_start_ps": first * walk.frame_interval_ps,
        "fit_end_ps": last * walk.frame_interval_ps,
        "log_slope": _log_slope(msd, first, last),
    }


def _vibration_plateau(msd: Array, frame_interval_ps: float) -> float:
    """Return the MSD of vibration alone: the line through MSD(1 ps) and MSD(2 ps) at lag zero."""
    k = max(1, round(VIBRATION_PS / frame_interval_ps))
    if 2 * k >= len(msd):
        return 0.0  # too short to tell
    return float(np.clip(2 * msd[k] - msd[2 * k], 0.0, msd[k]))


def _find_window(walk: Walk, msd: Array, config: DiffusionConfig) -> tuple[int, int]:
    """Return first and last lag of the fit in frames."""
    step = walk.frame_interval_ps
    longest = min(config.max_lag_fraction * walk.duration_ps, config.max_lag_ps)
    last = int(longest / step + 1e-9)
    if config.min_lag_ps is not None:
        return max(1, int(np.ceil(config.min_lag_ps / step - 1e-9))), last
    return int(np.argmax(msd >= walk.hop_ang**2 / 2)) or len(msd), last


def _log_slope(msd: Array, first: int, last: int) -> float:
    """Return the slope d ln MSD / d ln t over the window, log-spaced lags; 1 for diffusion."""
    lags = np.unique(np.geomspace(first, last, 50).round().astype(int))
    return float(np.polyfit(np.log(lags), np.log(msd[lags]), 1)[0])

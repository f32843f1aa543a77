"""Arrhenius fits: from D at several temperatures to a barrier and a conductivity.

ln D = ln D0 - E_A / (k_B T), weighted by the standard errors of ln D, which are taken as
absolute. The variance of an extrapolated ln D is vᵀ C v with v = (1, -1 / (k_B T*)) and the
full covariance C of (ln D0, E_A): the two are correlated at about 0.99, and adding their
variances alone would make the bar many times too wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from lycb_flows.errors import InputError
from lycb_flows.schemas import DiffusionEstimate
from lycb_flows.units import BOLTZMANN_EV_PER_K, nernst_einstein_ms_per_cm

MIN_POINTS = 3

Covariance = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class ArrheniusPoint:
    """An estimate of D at a temperature."""

    temperature_k: float
    estimate: DiffusionEstimate


@dataclass(frozen=True)
class ArrheniusFit:
    """The fit, or why there is none; the fields of the Arrhenius document."""

    n_points: int
    fitted: bool
    extrapolation_temperature_k: float
    reason: str = ""
    activation_energy_ev: float | None = None
    activation_energy_err_ev: float | None = None
    log_prefactor: float | None = None
    log_prefactor_err: float | None = None
    covariance: Covariance | None = None
    extrapolated_diffusivity_m2_per_s: float | None = None
    extrapolated_log_err: float | None = None
    extrapolated_conductivity_ms_per_cm: float | None = None
    extrapolated_conductivity_low_ms_per_cm: float | None = None
    extrapolated_conductivity_high_ms_per_cm: float | None = None


def fit_arrhenius(
    points: Sequence[ArrheniusPoint],
    extrapolation_temperature_k: float,
    mobile_ions_per_ang3: float,
    charge_number: int = 1,
) -> ArrheniusFit:
    """Fit barrier, prefactor and conductivity at the extrapolation temperature.

    Parameters
    ----------
    points
        Measured D and upper bounds; the bounds are left out of the fit.
    extrapolation_temperature_k
        Where D and σ are wanted (paper: 300 K).
    mobile_ions_per_ang3
        Density of the mobile ion at that temperature.
    charge_number
        Charge of the mobile ion.

    Returns
    -------
    ArrheniusFit
        Not fitted, with the reason, below three measured points or two temperatures.

    Raises
    ------
    InputError
        When a measured D has no standard error.
    """
    measured = [point for point in points if point.estimate.diffusivity_m2_per_s is not None]
    inverse_kt, log_d, log_err = _fit_data(measured)
    reason = ""
    if len(measured) < MIN_POINTS:
        reason = f"{len(measured)} measured points, {MIN_POINTS} are needed"
    elif len(np.unique(inverse_kt)) == 1:
        reason = "all measured points are at one temperature"
    if reason:
        return ArrheniusFit(len(measured), False, extrapolation_temperature_k, reason)  # noqa: FBT003 - fitted

    coefficients, unscaled = np.polyfit(inverse_kt, log_d, 1, w=1 / log_err, cov="unscaled")
    to_physics = np.array([[0.0, 1.0], [-1.0, 0.0]])  # (slope, intercept) -> (ln D0, E_A)
    log_prefactor, barrier_ev = to_physics @ coefficients
    covariance = to_physics @ unscaled @ to_physics.T

    v = np.array([1.0, -1 / (BOLTZMANN_EV_PER_K * extrapolation_temperature_k)])
    log_extrapolated = float(v @ [log_prefactor, barrier_ev])
    extrapolated_err = float(np.sqrt(v @ covariance @ v))
    low, middle, high = (
        nernst_einstein_ms_per_cm(
            float(np.exp(log_extrapolated + sigmas * extrapolated_err)),
            mobile_ions_per_ang3,
            extrapolation_temperature_k,
            charge_number,
        )
        for sigmas in (-1, 0, 1)
    )
    return ArrheniusFit(
        n_points=len(measured),
        fitted=True,
        extrapolation_temperature_k=extrapolation_temperature_k,
        activation_energy_ev=float(barrier_ev),
        activation_energy_err_ev=float(np.sqrt(covariance[1, 1])),
        log_prefactor=float(log_prefactor),
        log_prefactor_err=float(np.sqrt(covariance[0, 0])),
        covariance=cast("Covariance", tuple(map(tuple, covariance.tolist()))),
        extrapolated_diffusivity_m2_per_s=float(np.exp(log_extrapolated)),
        extrapolated_log_err=extrapolated_err,
        extrapolated_conductivity_ms_per_cm=middle,
        extrapolated_conductivity_low_ms_per_cm=low,
        extrapolated_conductivity_high_ms_per_cm=high,
    )


def _fit_data(measured: Sequence[ArrheniusPoint]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return 1 / (k_B T) in 1/eV, ln D and its standard error."""
    errors = [point.estimate.diffusivity_log_err for point in measured]
    if any(error is None or error <= 0 for error in errors):
        raise InputError("a measured D has no standard error", fix="analyse its run again")
    temperatures = np.array([point.temperature_k for point in measured])
    diffusivities = np.array([point.estimate.diffusivity_m2_per_s for point in measured])
    return (
        1 / (BOLTZMANN_EV_PER_K * temperatures),
        np.log(diffusivities),
        np.array(errors, dtype=float),
    )

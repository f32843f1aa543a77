"""Arrhenius fits: from D at several temperatures to a barrier and a conductivity.

Every run that is diffusive or a bound enters with the likelihood of its D (`lines.py`); what is
confined, sub-diffusive or ageing has no D, stays out and is named. Whether the runs lie on one
line or on two that meet (another mechanism in the cold) is decided by the data: two need a gain
of 2 ln L above 8 (`line_choice.py`). Runs that scatter beyond their errors widen all errors of
the fit and lower that gain. The interval of the extrapolated conductivity is that of both
models, each weighted by its likelihood with that gain as the price of the second line.

| equation                                                   | code           |
|------------------------------------------------------------|----------------|
| ln D_paper = ln D0 - E_A/(k_B T), weights (D/s_D)², s_D He's | `_paper_line` |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lycb_flows.schemas import LeftOut, Prediction
from lycb_flows.transport.arrhenius_points import ArrheniusPoint, enters, left_out, pool_events
from lycb_flows.transport.line_choice import (
    ONE_SIGMA,
    Choice,
    Covariance,
    barriers,
    choose_lines,
    goodness,
    settled_choice,
)
from lycb_flows.transport.lines import Counts, quantiles
from lycb_flows.units import BOLTZMANN_EV_PER_K, nernst_einstein_ms_per_cm

MIN_POINTS = 3
MIN_BARRIER_ERRORS = 2.0
_N_PREDICTIONS = 9
_NINETY_FIVE = (0.025, 0.975)


@dataclass(frozen=True)
class ArrheniusFit:
    """The fit, or why there is none; the fields of the Arrhenius document."""

    n_points: int
    fitted: bool
    extrapolation_temperature_k: float
    reason: str = ""
    n_bounds: int = 0
    left_out: tuple[LeftOut, ...] = ()
    cautions: tuple[str, ...] = ()
    event_m2_per_s: float | None = None
    relative_scatter: float | None = None
    dispersion: float = 1.0
    deviance: float | None = None
    degrees_of_freedom: int | None = None
    p_value: float | None = None
    lack_of_fit: float | None = None
    lack_of_fit_degrees_of_freedom: int | None = None
    lack_of_fit_p_value: float | None = None
    n_regimes: int = 1
    regime_gain: float | None = None
    crossover_temperature_k: float | None = None
    crossover_low_k: float | None = None
    crossover_high_k: float | None = None
    activation_energy_ev: float | None = None
    activation_energy_err_ev: float | None = None
    hot_activation_energy_ev: float | None = None
    hot_activation_energy_err_ev: float | None = None
    log_prefactor: float | None = None
    log_prefactor_err: float | None = None
    covariance: Covariance | None = None
    coldest_temperature_k: float | None = None
    extrapolation_distance_k: float | None = None
    extrapolation_distance_per_ev: float | None = None
    measured_span_per_ev: float | None = None
    extrapolated_diffusivity_m2_per_s: float | None = None
    extrapolated_log_err: float | None = None
    extrapolated_conductivity_ms_per_cm: float | None = None
    extrapolated_conductivity_low_ms_per_cm: float | None = None
    extrapolated_conductivity_high_ms_per_cm: float | None = None
    extrapolated_conductivity_low95_ms_per_cm: float | None = None
    extrapolated_conductivity_high95_ms_per_cm: float | None = None
    predictions: tuple[Prediction, ...] = ()
    paper_activation_energy_ev: float | None = None
    paper_activation_energy_err_ev: float | None = None
    paper_conductivity_ms_per_cm: float | None = None
    paper_conductivity_log_err: float | None = None


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
        Every run. Those that are diffusive or bounds are fitted, the others are left out.
    extrapolation_temperature_k
        Where D and σ are wanted (paper: 300 K).
    mobile_ions_per_ang3
        Density of the mobile ion at that temperature.
    charge_number
        Charge of the mobile ion.

    Returns
    -------
    ArrheniusFit
        Not fitted, with the reason, below three runs or where D was measured at fewer than two
        temperatures; without a conductivity where the barrier is not two errors above zero.
    """
    entering = [p for p in points if enters(p.estimate)]
    measured = [p for p in entering if p.estimate.diffusivity_m2_per_s is not None]
    fit = ArrheniusFit(
        n_points=len(entering),
        fitted=False,
        extrapolation_temperature_k=extrapolation_temperature_k,
        n_bounds=len(entering) - len(measured),
        left_out=tuple(left_out(p) for p in points if not enters(p.estimate)),
        reason=_why_not_fitted(points, entering, measured),
    )
    if fit.reason:
        return fit
    choice = settled_choice(pool_events(entering), extrapolation_temperature_k)
    counts = choice.model.counts
    fit = replace(
        fit, fitted=True, **goodness(choice), **barriers(choice), **_distance(fit, measured)
    )
    density = (mobile_ions_per_ang3, extrapolation_temperature_k, charge_number)
    fit = replace(
        fit,
        reason=_why_no_conductivity(fit),
        predictions=_predictions(counts, max(p.temperature_k for p in entering), fit),
        **_paper_line(measured, *density),
    )
    if fit.reason:
        return fit
    fit = replace(fit, **_extrapolated(choice, *density))
    return replace(fit, cautions=tuple(_cautions(fit, measured)))


# -- why nothing is fitted ------------------------------------------------------------------------


def _why_not_fitted(
    points: Sequence[ArrheniusPoint],
    entering: Sequence[ArrheniusPoint],
    measured: Sequence[ArrheniusPoint],
) -> str:
    others = Counter(p.estimate.regime or "unmeasured" for p in points if p not in entering)
    named = ", ".join(f"{count} {regime}" for regime, count in sorted(others.items()))
    remark = f" ({named})" if named else ""
    if len(entering) < MIN_POINTS:
        return (
            f"{len(entering)} of {len(points)} runs are diffusive or bounds{remark}, "
            f"{MIN_POINTS} are needed"
        )
    if len({p.temperature_k for p in entering}) == 1:
        return "all runs are at one temperature"
    n_measured, n_all = (len({p.temperature_k for p in some}) for some in (measured, points))
    if n_measured < 2:  # noqa: PLR2004 - a slope needs two
        return f"D was measured at {n_measured} of {n_all} temperatures{remark}, 2 are needed"
    return ""


# -- what follows ---------------------------------------------------------------------------------


def _extrapolated(
    choice: Choice, ions_per_ang3: float, temperature_k: float, charge_number: int
) -> dict[str, Any]:
    """Return D and the conductivity at the extrapolation temperature, with their intervals."""
    log_d = float(choice.model.most_likely[0])
    levels = (*ONE_SIGMA, *_NINETY_FIVE)
    low, high, low95, high95 = quantiles(choice.models, choice.weights, 0, levels)

    def conductivity(log_diffusivity: float) -> float:
        diffusivity = float(np.exp(log_diffusivity))
        return nernst_einstein_ms_per_cm(diffusivity, ions_per_ang3, temperature_k, charge_number)

    return {
        "extrapolated_diffusivity_m2_per_s": float(np.exp(log_d)),
        "extrapolated_log_err": (high - low) / 2,
        "extrapolated_conductivity_ms_per_cm": conductivity(log_d),
        "extrapolated_conductivity_low_ms_per_cm": conductivity(low),
        "extrapolated_conductivity_high_ms_per_cm": conductivity(high),
        "extrapolated_conductivity_low95_ms_per_cm": conductivity(low95),
        "extrapolated_conductivity_high95_ms_per_cm": conductivity(high95),
    }


def _predictions(counts: Counts, hottest_k: float, fit: ArrheniusFit) -> tuple[Prediction, ...]:
    """Return what both models predict from the hottest run to the extrapolation, evenly in 1/T."""
    low, high = sorted([1 / hottest_k, 1 / fit.extrapolation_temperature_k])
    inverse_k = np.linspace(low, high, _N_PREDICTIONS)
    if fit.crossover_temperature_k is not None:
        inverse_k = np.sort(np.append(inverse_k, 1 / fit.crossover_temperature_k))
    return tuple(_prediction(counts, float(1 / b)) for b in inverse_k)


def _prediction(counts: Counts, temperature_k: float) -> Prediction:
    choice = choose_lines(counts, temperature_k)
    low, high = quantiles(choice.models, choice.weights, 0, _NINETY_FIVE)
    middle = float(choice.model.most_likely[0])
    return Prediction(
        temperature_k=temperature_k,
        diffusivity_m2_per_s=float(np.exp(middle)),
        diffusivity_low_m2_per_s=float(np.exp(min(low, middle))),
        diffusivity_high_m2_per_s=float(np.exp(max(high, middle))),
    )


def _distance(fit: ArrheniusFit, measured: Sequence[ArrheniusPoint]) -> dict[str, Any]:
    """Return how far the extrapolation temperature lies outside the measured ones."""
    coldest, hottest = _measured_range(measured)
    wanted = fit.extrapolation_temperature_k
    nearest = min(max(wanted, coldest), hottest)
    wanted_per_ev, nearest_per_ev, coldest_per_ev, hottest_per_ev = (
        1 / (BOLTZMANN_EV_PER_K * t) for t in (wanted, nearest, coldest, hottest)
    )
    return {
        "coldest_temperature_k": coldest,
        "extrapolation_distance_k": abs(wanted - nearest),
        "extrapolation_distance_per_ev": abs(wanted_per_ev - nearest_per_ev),
        "measured_span_per_ev": coldest_per_ev - hottest_per_ev,
    }


def _measured_range(measured: Sequence[ArrheniusPoint]) -> tuple[float, float]:
    temperatures = [p.temperature_k for p in measured]
    return min(temperatures), max(temperatures)


def _why_no_conductivity(fit: ArrheniusFit) -> str:
    """Return why nothing follows from the barrier; empty where something does."""
    barrier_ev, error_ev = fit.activation_energy_ev, fit.activation_energy_err_ev
    if barrier_ev is None or error_ev is None or barrier_ev < MIN_BARRIER_ERRORS * error_ev:
        return (
            f"the barrier, {barrier_ev:.3f} eV with an error of {error_ev:.3f} eV, is not "
            f"{MIN_BARRIER_ERRORS:g} errors above zero"
        ) + (f"; {_widened(fit)}" if fit.dispersion > 1 else "")
    return ""


def _widened(fit: ArrheniusFit) -> str:
    """Return why all errors are widened, and by how much, as a clause."""
    who, deviance = "the runs do not lie on the fit: deviance", fit.deviance
    n_free, p_value = fit.degrees_of_freedom, fit.p_value
    if p_value is None or (fit.lack_of_fit_p_value or 1.0) < p_value:
        who = "the means of the temperatures do not lie on the fit: their part of the deviance"
        deviance, n_free = fit.lack_of_fit, fit.lack_of_fit_degrees_of_freedom
        p_value = fit.lack_of_fit_p_value
    return (
        f"{who} {deviance:.1f} for {n_free} degrees of freedom, p = {p_value:.1g}, for which all "
        f"errors are widened by a factor of {np.sqrt(fit.dispersion):.1f}"
    )


def _cautions(fit: ArrheniusFit, measured: Sequence[ArrheniusPoint]) -> Iterator[str]:
    """Yield why the conductivity is not conclusive, as clauses."""
    if fit.dispersion > 1:
        yield _widened(fit)
    distance, span = fit.extrapolation_distance_per_ev, fit.measured_span_per_ev
    if distance is not None and span is not None and distance > span:
        yield (
            f"the extrapolation reaches {distance:.1f} in 1/(k_B T eV), further than the measured "
            f"range of {span:.1f}"
        )
    (coldest, hottest), wanted = _measured_range(measured), fit.extrapolation_temperature_k
    between = [
        run
        for run in fit.left_out
        if run.regime != "unmeasured"
        and (
            run.temperature_k < coldest
            if wanted < coldest
            else hottest < run.temperature_k <= wanted
        )
    ]
    if between:
        named = ", ".join(f"{run.temperature_k:g} K {run.regime}" for run in between)
        yield f"runs between the fit and the extrapolation do not diffuse: {named}"


def _paper_line(
    measured: Sequence[ArrheniusPoint], ions_per_ang3: float, temperature_k: float, charge: int
) -> dict[str, Any]:
    """Return barrier and conductivity as the paper has them: a line through its own D.

    Böhm and Champagne fit ln D against 1/T without saying how it is weighted; the weights here
    are those of the code of He et al. (npj Comput. Mater. 4, 18, 2018).
    """
    known = [
        (p.temperature_k, d, err)
        for p in measured
        for d, err in [
            (p.estimate.paper_diffusivity_m2_per_s, p.estimate.diffusivity_err_he_m2_per_s)
        ]
        if d is not None and err is not None and min(d, err) > 0
    ]
    if len({t for t, _, _ in known}) < MIN_POINTS:
        return {}
    temperatures, d, errors = np.array(known).T
    wanted = 1 / (BOLTZMANN_EV_PER_K * temperature_k)
    x = wanted - 1 / (BOLTZMANN_EV_PER_K * temperatures)
    coefficients, covariance = np.polyfit(x, np.log(d), 1, w=d / errors, cov="unscaled")
    at = float(np.exp(coefficients[1]))
    return {
        "paper_activation_energy_ev": float(coefficients[0]),
        "paper_activation_energy_err_ev": float(np.sqrt(covariance[0, 0])),
        "paper_conductivity_ms_per_cm": nernst_einstein_ms_per_cm(
            at, ions_per_ang3, temperature_k, charge
        ),
        "paper_conductivity_log_err": float(np.sqrt(covariance[1, 1])),
    }

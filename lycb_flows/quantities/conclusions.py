"""What follows from an Arrhenius fit: sentences, reservations, differences from others' numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from lycb_flows.quantities.transports import regime_of
from lycb_flows.report import (
    MISSING,
    ROOM_TEMPERATURE_K,
    KnownCrossover,
    PaperTransport,
    ReportData,
    as_printed,
    counted,
    experiments,
    known_crossovers,
    number,
    paper_model_row,
    paper_system,
    paper_transport,
    probability,
    with_error,
)
from lycb_flows.schemas import FITTED_REGIMES, Arrhenius, Transport

MIN_COLDER_RUNS: Final = 2
"""Runs below a known change of the barrier without which a fit cannot have seen it."""
_AMBIENT_BAR: Final = 1000.0
"""Experiments are of pressed pellets; what was simulated above is compared with none of them,
but for the paper's crystals, as the paper does."""


def reservations(data: ReportData, fit: Arrhenius) -> list[str]:
    """Return why a conductivity is not conclusive, as clauses; none where it passes all tests.

    Parameters
    ----------
    data
        What the report rests on.
    fit
        A fit with a conductivity.
    """
    temperatures = set(_temperatures(data, fit))
    unseen = [
        f"{crossover_text(known)}, where too few runs are colder"
        for known in known_crossovers(data.structure_of_system(fit.system))
        if fit.extrapolation_temperature_k < known.temperature_k
        and sum(t < known.temperature_k for t in temperatures) < MIN_COLDER_RUNS
    ]
    untested = ["it was fitted before fits were tested"] if fit.deviance is None else []
    return [*fit.cautions, *unseen, *untested]


def _temperatures(data: ReportData, fit: Arrhenius) -> list[float]:
    """Return the temperature of every run in a fit that the report knows."""
    runs = (data.find(Transport, key) for key in fit.transports)
    return [
        run.temperature_k for run in runs if run is not None and regime_of(run) in FITTED_REGIMES
    ]


def crossover_text(known: KnownCrossover) -> str:
    """Return what is known of a change of the barrier, as a clause."""
    return (
        f"the barrier is known to change at {known.temperature_k:g} K, from "
        f"{known.hot_activation_energy_ev:g} eV above to {known.cold_activation_energy_ev:g} eV "
        f"below ({known.source} of the paper)"
    )


def result_text(data: ReportData, fit: Arrhenius) -> str:
    """Return barrier and conductivity of a fit, on what they rest, and how they compare.

    Parameters
    ----------
    data
        What the report rests on.
    fit
        A fit with a conductivity.
    """
    text = (
        f"{fit.system} at {fit.pressure_bar:g} bar, by {data.model_name(fit.model)}: "
        f"Eₐ = {barrier_text(fit)} eV from {_points_text(data, fit)}"
        f"{_remark(fit)}; σ({fit.extrapolation_temperature_k:g} K) = "
        f"{number(fit.extrapolated_conductivity_ms_per_cm)} mS/cm ({interval_text(fit)})"
    )
    return " ".join([f"{text}, {_distance(fit)}.", *disagreements(data, fit)])


def _points_text(data: ReportData, fit: Arrhenius) -> str:
    """Return from how many temperatures a fit is, or from how many runs where these are more."""
    temperatures = _temperatures(data, fit)
    n_temperatures = len(set(temperatures))
    if n_temperatures >= fit.n_points:
        return counted(fit.n_points, "temperature")
    are_all_known = len(temperatures) == fit.n_points
    where = f" at {counted(n_temperatures, 'temperature')}" if are_all_known else ""
    return f"{counted(fit.n_points, 'run')}{where}"


def barrier_text(fit: Arrhenius) -> str:
    """Return the barrier of a fit, or both of them with the temperature at which they meet."""
    barrier = with_error(fit.activation_energy_ev, fit.activation_energy_err_ev)
    if fit.crossover_temperature_k is None:
        return barrier
    hot = with_error(fit.hot_activation_energy_ev, fit.hot_activation_energy_err_ev)
    return f"{barrier} below {fit.crossover_temperature_k:.0f} K, {hot} above,"


def _remark(fit: Arrhenius) -> str:
    words = [f"{fit.n_bounds} of them bounds"] if fit.n_bounds else []
    words += [f"left out: {left_out_text(fit)}"] if fit.left_out else []
    words += [goodness_text(fit)] if fit.deviance is not None else []
    return f" ({'; '.join(words)})" if words else ""


def left_out_text(fit: Arrhenius) -> str:
    """Return the runs that a fit leaves out, with their regimes."""
    return ", ".join(f"{run.temperature_k:g} K {run.regime}" for run in fit.left_out)


def interval_text(fit: Arrhenius) -> str:
    """Return the interval of the extrapolated conductivity in mS/cm."""
    low, high = (
        fit.extrapolated_conductivity_low95_ms_per_cm,
        fit.extrapolated_conductivity_high95_ms_per_cm,
    )
    if low is not None and high is not None:
        return f"95 %: {number(low)} to {number(high)}"
    low, high = (
        fit.extrapolated_conductivity_low_ms_per_cm,
        fit.extrapolated_conductivity_high_ms_per_cm,
    )
    return f"1σ: {number(low)} to {number(high)}"  # until method version 2


def _distance(fit: Arrhenius) -> str:
    """Return how far a conductivity is extrapolated."""
    if fit.coldest_temperature_k is None or fit.extrapolation_distance_per_ev is None:
        return "extrapolated"
    if not fit.extrapolation_distance_k:
        return "within the measured temperatures"
    nearest_k, end = fit.coldest_temperature_k, "below the coldest"
    if fit.extrapolation_temperature_k > nearest_k:
        nearest_k = fit.extrapolation_temperature_k - fit.extrapolation_distance_k
        end = "above the hottest"
    return (
        f"extrapolated {number(fit.extrapolation_distance_k)} K {end} measured run, "
        f"{nearest_k:g} K: {number(fit.extrapolation_distance_per_ev)} per eV in "
        f"1/(k_B T), where the runs span {number(fit.measured_span_per_ev)}"
    )


def goodness_text(fit: Arrhenius) -> str:
    """Return the deviance of a fit with its probability, and what a second line gains, if used."""
    if fit.deviance is None:
        return MISSING
    freedom = counted(fit.degrees_of_freedom or 0, "degree")
    chance = "" if fit.p_value is None else f", p {probability(fit.p_value)}"
    over = " over the dispersion" if fit.dispersion > 1 else ""
    gain = f", two lines gain {number(fit.regime_gain)} in 2 ln L{over}" * (fit.n_regimes > 1)
    return f"χ² {fit.deviance:.1f} for {freedom} of freedom{chance}{gain}"


def spread_text(values: Sequence[float]) -> str:
    """Return the lowest and the highest of some printed values."""
    if not values:
        return MISSING
    low, high = as_printed(min(values)), as_printed(max(values))
    return low if low == high else f"{low} to {high}"


# -- what others found ---------------------------------------------------------------------------


def disagreements(data: ReportData, fit: Arrhenius) -> Iterator[str]:
    """Yield by how many errors a fit differs from the paper and from experiments, as sentences.

    Parameters
    ----------
    data
        What the report rests on.
    fit
        A fit with a conductivity.
    """
    if fit.extrapolation_temperature_k != ROOM_TEMPERATURE_K:
        return
    structure = data.structure_of_system(fit.system)
    rows = paper_transport((structure and paper_system(structure)) or "")
    row = rows.get(paper_model_row(fit.pressure_bar, data.physics_of(fit.model)))
    if row is not None:
        yield _against_paper(fit, row)
    measured = [row.conductivity_ms_per_cm for row in experiments(structure)]
    if measured and (row is not None or fit.pressure_bar <= _AMBIENT_BAR):
        yield _against_experiments(fit, measured)


def _against_paper(fit: Arrhenius, row: PaperTransport) -> str:
    """Return how the paper's own recipe differs from the paper; where it is not known, our fit."""
    recipe = "By the paper's recipe"
    barrier, error = fit.paper_activation_energy_ev, fit.paper_activation_energy_err_ev
    sigma, log_err = fit.paper_conductivity_ms_per_cm, fit.paper_conductivity_log_err
    if barrier is None or sigma is None:
        recipe = "This"
        barrier, error = fit.activation_energy_ev, fit.activation_energy_err_ev
        sigma, log_err = fit.extrapolated_conductivity_ms_per_cm, fit.extrapolated_log_err
    both_errors = float(np.hypot(error or np.nan, row.activation_energy_err_ev or 0))
    barrier_errors = ((barrier or np.nan) - row.activation_energy_ev) / both_errors
    sigma_errors = _log_ratio(sigma, row.conductivity_300k_ms_per_cm) / float(
        np.hypot(log_err or np.nan, row.conductivity_log_err)
    )
    values = f"Eₐ = {with_error(barrier, error)} eV and σ = {number(sigma)} mS/cm"
    printed = as_printed(row.activation_energy_ev, row.activation_energy_err_ev)
    return (
        f"{recipe}: {values}, {_errors(barrier_errors)} and {_errors(sigma_errors)} the paper's "
        f"{printed} eV and {as_printed(row.conductivity_300k_ms_per_cm)} mS/cm ({row.name})."
    )


def _against_experiments(fit: Arrhenius, measured_ms_per_cm: Sequence[float]) -> str:
    sigma, log_err = fit.extrapolated_conductivity_ms_per_cm, fit.extrapolated_log_err or np.nan
    low, high = min(measured_ms_per_cm), max(measured_ms_per_cm)
    n_experiments = counted(len(measured_ms_per_cm), "experiment")
    band = f"{spread_text(measured_ms_per_cm)} mS/cm of {n_experiments}"
    above, below = _log_ratio(sigma, high) / log_err, _log_ratio(sigma, low) / log_err
    if above <= 0 <= below:
        return f"σ lies within the {band}."
    return f"σ lies {_errors(above if above > 0 else below)} the {band}."


def _log_ratio(value: float | None, other: float) -> float:
    return float(np.log((value or np.nan) / other))


def _errors(difference: float) -> str:
    """Return a difference in errors, as in '2.1 errors above'."""
    return f"{abs(difference):.1f} errors {'above' if difference > 0 else 'below'}"

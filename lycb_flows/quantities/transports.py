"""Transports in words: the regime of every run, and the table of a system's runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from lycb_flows.quantities import temperature_text
from lycb_flows.report import (
    MISSING,
    Cell,
    ReportData,
    Table,
    confidence_text,
    counted,
    number,
    ours,
    paper_model_row,
    paper_numbers,
    paper_system,
    paper_transport,
    papers,
    scientific,
    together,
    with_error,
)
from lycb_flows.schemas import FITTED_REGIMES, DiffusionEstimate, Regime, Run, Transport


def regime_of(transport: Transport) -> Regime:
    """Return the regime of a run; documents of method version 2 have a value, a bound, or none."""
    estimate = transport.estimate
    if estimate.regime is not None:
        return estimate.regime
    if estimate.diffusivity_m2_per_s is not None:
        return "diffusive"
    return "unmeasured" if estimate.diffusivity_upper_m2_per_s is None else "bound"


def of_regime(transports: Sequence[Transport], regime: str) -> list[Transport]:
    """Return the runs of a regime.

    Parameters
    ----------
    transports
        Some runs.
    regime
        Its name.
    """
    return [t for t in transports if regime_of(t) == regime]


def confidence_of(transports: Iterable[Transport]) -> str:
    """Return the confidence of the intervals and bounds of some runs, as in '95 %'."""
    return confidence_text(
        t.estimate.confidence for t in transports if regime_of(t) in FITTED_REGIMES
    )


REGIME_WORDS: Final = {
    "bound": "{n} of {all} diffusivities are upper bounds ({confidence}), not values",
    "confined": "{n} of {runs} show confined ions, which move and come back: D may be zero",
    "sub-diffusive": "{n} of {runs} are sub-diffusive: the displacement grows as a power of time, "
    "so there is no D",
    "ageing": "{n} of {runs} age: D differs between their halves",
    "not linear": "{n} of {runs} are shorter than a relaxation of their ions, so D is not reached",
    "unmeasured": "{n} of {runs} left physics and gave neither a diffusivity nor a bound",
}
"""What is said of the runs of every regime but the diffusive one."""
_IN_SHORT: Final = {
    "bound": "D is an upper bound in {n}",
    "confined": "the ions are confined in {n}",
    "sub-diffusive": "sub-diffusive in {n}",
    "ageing": "ageing in {n}",
    "not linear": "too short for D in {n}",
    "unmeasured": "nothing was measured in {n}",
}


def summary(transports: Sequence[Transport]) -> str:
    """Return in how many runs D was measured and which regimes the others show.

    Ions without a way out come first where there are any: it is what a reader must know.
    """
    n_measured = len(of_regime(transports, "diffusive"))
    n_confined = len(of_regime(transports, "confined"))
    parts = [f"D was measured in {n_measured} of {counted(len(transports), 'run')}"]
    if n_confined:
        parts = [f"The ions are confined in {n_confined} of {counted(len(transports), 'run')}"]
        if n_measured:
            parts.append(f"D was measured in {n_measured}")
    for regime, words in _IN_SHORT.items():
        found = of_regime(transports, regime)
        if found and regime not in {"confined", "bound"}:
            parts.append(words.format(n=len(found)))
    return "; ".join(parts)


def transport_table(data: ReportData, system: str) -> Table:
    """Return D or its bound, and the conductivity, of every production run of a system.

    Parameters
    ----------
    data
        What the report rests on.
    system
        Name of the system.
    """
    measured_here = [t for t in data.measured(Transport) if t.system == system]
    rows = [_transport_row(data, t) for t in measured_here]
    confidence = confidence_of(measured_here)
    columns: tuple[str, ...] = (
        "T (K)", "p (bar)", "length (ps)", "regime", "D (m²/s)", f"{confidence} interval (m²/s)",
        "the paper's way (m²/s)", "eff. hops", "log slope", "D along a, b, c (m²/s)",
        "D_c/D_ab", "σ(T) (mS/cm)",
    )  # fmt: skip
    ions = " and ".join(dict.fromkeys(t.mobile_species for t in measured_here)) or "the mobile ion"
    note = (
        f"D of {ions}: the most likely one, ± its standard error, where the motion is diffusion. "
        f"“<”: {confidence} upper bound. The paper's way: slope of the displacement over its "
        "window, ± He's error (He et al. 2018). a, b, c are those of the simulation cell; "
        "D_c/D_ab: D along c over the mean along a and b."
    )
    structure = data.structure_of_system(system)
    if paper_transport((structure and paper_system(structure)) or ""):
        columns += ("paper σ(T) (mS/cm)",)
        note += (
            " Paper σ(T): derived here from its Eₐ and σ(300 K) of CHGNet_600K at the nearest "
            "pressure; beside a SevenNet as published at 1 bar, of SevenNet_1bar."
        )
    shown = tuple(row[: len(columns)] for row in rows)
    return Table("", columns, shown, note + _paper_remark(data, system))


def _paper_remark(data: ReportData, system: str) -> str:
    structure = data.structure_of_system(system)
    name = (structure and paper_system(structure)) or ""
    rows = paper_numbers()["transport"].get(name, {})
    if name == "LYB":
        return f" The paper prints D(500 K) = {scientific(rows['D_500K_m2_s'])} m²/s, isotropic."
    if name == "LYC":
        low, high = rows["anisotropy_500K"]["Dc_over_Dab"]
        return f" The paper finds D along c {low} to {high} times that in the ab plane at 500 K."
    return ""


def _transport_row(data: ReportData, transport: Transport) -> tuple[Cell, ...]:
    estimate = transport.estimate
    texts = (
        temperature_text(transport),
        f"{transport.pressure_bar:g}",
        number(transport.duration_ps or None),
        regime_of(transport),
        diffusivity_text(estimate),
        _interval(estimate),
        _papers_way(estimate),
        number(estimate.effective_hops if transport.duration_ps else None, 2),
        number(estimate.log_slope, 2),
        _along(transport),
        MISSING
        if transport.anisotropy is None
        else with_error(transport.anisotropy, transport.anisotropy_err),
        _conductivity_text(transport),
    )
    structure = data.structure_of_run(transport.run)
    rows = paper_transport((structure and paper_system(structure)) or "")
    run = data.find(Run, transport.run)
    physics = None if run is None else data.physics_of(run.model)
    target = rows.get(paper_model_row(transport.pressure_bar, physics))
    sigma = target.conductivity_ms_per_cm(transport.temperature_k) if target else None
    return (*ours(transport.key, texts), *papers(number(sigma)))


def _interval(estimate: DiffusionEstimate) -> str:
    low, high = estimate.diffusivity_low_m2_per_s, estimate.diffusivity_high_m2_per_s
    return MISSING if low is None or high is None else together((low, high), " to ")


def _papers_way(estimate: DiffusionEstimate) -> str:
    """Return the paper's D with He's error; that of method version 2 is the D itself."""
    value = estimate.paper_diffusivity_m2_per_s
    if estimate.regime is None:
        value = estimate.diffusivity_m2_per_s
    return MISSING if value is None else scientific(value, estimate.diffusivity_err_he_m2_per_s)


def _along(transport: Transport) -> str:
    values, errors = transport.lattice_diffusivities_m2_per_s, transport.lattice_errors_m2_per_s
    if values is None:
        return MISSING
    if errors is None:
        return together(values, ", ")
    return ", ".join(map(scientific, values, errors))


def diffusivity_text(estimate: DiffusionEstimate) -> str:
    """Return D ± error in m²/s, or its upper bound, or a dash."""
    if estimate.diffusivity_m2_per_s is not None:
        return scientific(estimate.diffusivity_m2_per_s, estimate.diffusivity_err_m2_per_s)
    if estimate.diffusivity_upper_m2_per_s is not None:
        return f"< {scientific(estimate.diffusivity_upper_m2_per_s)}"
    return MISSING


def _conductivity_text(transport: Transport) -> str:
    if transport.conductivity_ms_per_cm is not None:
        return with_error(transport.conductivity_ms_per_cm, transport.conductivity_err_ms_per_cm)
    if transport.conductivity_upper_ms_per_cm is not None:
        return f"< {number(transport.conductivity_upper_ms_per_cm)}"
    return MISSING

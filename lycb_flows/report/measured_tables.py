"""The tables of what was measured: volumes, diffusivities, barriers, beside the paper's."""

from __future__ import annotations

from typing import Final

from lycb_flows import schemas
from lycb_flows.report.collection import CellRun, ReportData
from lycb_flows.report.paper import (
    paper_model_row,
    paper_numbers,
    paper_system,
    paper_transport,
    paper_volumes,
)
from lycb_flows.report.quantities import (
    MISSING,
    as_printed,
    fixed,
    number,
    scientific,
    together,
    with_error,
)
from lycb_flows.report.tables import Cell, Table, ours, papers

_PERCENT: Final = 100.0
_VOLUME_SERIES: Final = ("CHGNet_1bar", "SevenNet_1bar", "AIMD", "exp8", "exp3_7")


# -- volumes --------------------------------------------------------------------------------


def volume_table(data: ReportData, system: str) -> Table:
    """Volumes of one system beside the paper's at the same temperature."""
    structure = data.structure_of_system(system)
    paper = paper_volumes((structure and paper_system(structure)) or "")
    rows = [_relaxed_row(r, paper) for r in data.rankings if r.system == system and r.best]
    rows += [_volume_row(cell, paper) for cell in data.cell_runs if cell.system == system]
    return Table(
        "",
        (
            "T (K)", "p (bar)", "run", "here (Å³/atom)", "equilibrated",
            "paper, CHGNet_600K", "here / paper", *(f"paper, {name}" for name in _VOLUME_SERIES),
        ),
        tuple(rows),
        "± is the fluctuation from frame to frame, not an error. Paper: at the same temperature "
        "and, for CHGNet_600K, the nearest of its pressures (1 bar, 10 kbar).",
    )  # fmt: skip


def _relaxed_row(
    ranking: schemas.Ranking, paper: dict[str, dict[float, float]]
) -> tuple[Cell, ...]:
    ground = next((c for c in ranking.best if c.structure == ranking.ground_state), ranking.best[0])
    volume = ground.volume_ang3_per_atom
    cells = ours(ranking.key, ("0", MISSING, "relaxed", fixed(volume), MISSING))
    return (*cells, *_paper_volume_cells(paper, "CHGNet600K_1bar", 0.0, volume))


def _volume_row(cell: CellRun, paper: dict[str, dict[float, float]]) -> tuple[Cell, ...]:
    run = cell.run
    volume, pressure_bar = run.average_volume_ang3_per_atom, run.pressure_bar or 0.0
    spread = run.means.volume_std_ang3_per_atom if run.means else None
    trust = Cell("yes", run.key) if run.equilibrated else Cell("no", run.key, "warn")
    return (
        *ours(run.key, (f"{run.temperature_k:g}", f"{pressure_bar:g}", cell.role)),
        *ours(run.key, (with_error(volume, spread),)),
        trust if run.health.healthy else Cell("left physics", run.key, "warn"),
        *_paper_volume_cells(paper, paper_model_row(pressure_bar), run.temperature_k, volume),
    )


def _paper_volume_cells(
    paper: dict[str, dict[float, float]], row: str, temperature_k: float, volume: float | None
) -> tuple[Cell, ...]:
    target = paper.get(row, {}).get(temperature_k)
    ratio = volume / target if volume is not None and target is not None else None
    others = (paper.get(name, {}).get(temperature_k) for name in _VOLUME_SERIES)
    return (
        *papers(as_printed(target)),
        Cell(fixed(ratio, 3)),
        *papers(*(as_printed(value) for value in others)),
    )


# -- transport ----------------------------------------------------------------------------------


def transport_table(data: ReportData, system: str) -> Table:
    """D or its bound, and the conductivity, of every production run of one system."""
    rows = [_transport_row(data, t) for t in data.transports if t.system == system]
    return Table(
        "",
        (
            "T (K)", "p (bar)", "length (ps)", "D (m²/s)", "95 % interval (m²/s)",
            "He's error", "eff. hops", "log slope", "D along a, b, c (m²/s)",
            "σ(T) (mS/cm)", "paper σ(T) (mS/cm)",
        ),
        tuple(rows),
        "D: slope of the MSD over the paper's window, ± our standard error; He's error is the "
        "paper's (He et al. 2018). “<”: 95 % upper bound. Paper σ(T): derived here from its Eₐ "
        "and σ(300 K) of CHGNet_600K at the nearest pressure."
        + _paper_remark(data, system),
    )  # fmt: skip


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


def _transport_row(data: ReportData, transport: schemas.Transport) -> tuple[Cell, ...]:
    estimate = transport.estimate
    along = transport.lattice_diffusivities_m2_per_s
    texts = (
        f"{transport.temperature_k:g}",
        f"{transport.pressure_bar:g}",
        number(transport.duration_ps),
        diffusivity_text(estimate),
        _interval(estimate),
        _he_error(estimate),
        number(estimate.effective_hops, 2),
        number(estimate.log_slope, 2),
        MISSING if along is None else together(along, ", "),
        _conductivity_text(transport),
    )
    structure = data.structure_of(transport)
    rows = paper_transport((structure and paper_system(structure)) or "")
    target = rows.get(paper_model_row(transport.pressure_bar))
    sigma = target.conductivity_ms_per_cm(transport.temperature_k) if target else None
    return (*ours(transport.key, texts), *papers(number(sigma)))


def _interval(estimate: schemas.DiffusionEstimate) -> str:
    low, high = estimate.diffusivity_low_m2_per_s, estimate.diffusivity_high_m2_per_s
    return MISSING if low is None or high is None else together((low, high), " to ")


def _he_error(estimate: schemas.DiffusionEstimate) -> str:
    value, error = estimate.diffusivity_m2_per_s, estimate.diffusivity_err_he_m2_per_s
    return MISSING if not value or error is None else f"± {_PERCENT * error / value:.0f} %"


def diffusivity_text(estimate: schemas.DiffusionEstimate) -> str:
    """D ± error, or the bound."""
    if estimate.diffusivity_m2_per_s is not None:
        return scientific(estimate.diffusivity_m2_per_s, estimate.diffusivity_err_m2_per_s)
    if estimate.diffusivity_upper_m2_per_s is not None:
        return f"< {scientific(estimate.diffusivity_upper_m2_per_s)}"
    return MISSING


def _conductivity_text(transport: schemas.Transport) -> str:
    if transport.conductivity_ms_per_cm is not None:
        return with_error(transport.conductivity_ms_per_cm, transport.conductivity_err_ms_per_cm)
    if transport.conductivity_upper_ms_per_cm is not None:
        return f"< {number(transport.conductivity_upper_ms_per_cm)}"
    return MISSING


def arrhenius_table(data: ReportData, system: str) -> Table:
    """Barrier and conductivity of one system, above every row that the paper prints."""
    rows = []
    for fit in (fit for fit in data.fits if fit.system == system):
        low, high = (
            fit.extrapolated_conductivity_low_ms_per_cm,
            fit.extrapolated_conductivity_high_ms_per_cm,
        )
        sigma = number(fit.extrapolated_conductivity_ms_per_cm)
        texts = (
            f"here, {fit.pressure_bar:g} bar",
            with_error(fit.activation_energy_ev, fit.activation_energy_err_ev),
            sigma if not fit.fitted else f"{sigma} ({number(low)} to {number(high)})",
            f"{fit.n_points}",
            fit.reason or f"at {fit.extrapolation_temperature_k:g} K",
        )
        rows.append(ours(fit.key, texts))
    structure = data.structure_of_system(system)
    for row in paper_transport((structure and paper_system(structure)) or "").values():
        barrier = as_printed(row.activation_energy_ev, row.activation_energy_err_ev)
        sigma = as_printed(row.conductivity_300k_ms_per_cm)
        rows.append(papers(f"paper: {row.name}", barrier, sigma, MISSING, "at 300 K"))
    return Table(
        "",
        ("source", "Eₐ (eV)", "σ (mS/cm), 1σ range", "points", "remark"),
        tuple(rows),
        "Fitted to measured D only, weighted by their errors; bounds are left out.",
    )

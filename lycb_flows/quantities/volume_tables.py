"""Tables of volumes: ours beside the paper's, by model, cell parameters, thermal expansion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lycb_flows.quantities.cells import MIN_TEMPERATURES
from lycb_flows.report import (
    MISSING,
    AtRest,
    Cell,
    CellRun,
    ReportData,
    Table,
    as_printed,
    fixed,
    number,
    ours,
    paper_model_row,
    paper_system,
    paper_volume_row,
    paper_volumes,
    papers,
    volumes_at_rest,
    with_error,
)
from lycb_flows.schemas import CellAverage, CellVolumes, Ranking

_PPM: Final = 1e6
_SERIES: Final = ("CHGNet_1bar", "SevenNet_1bar", "AIMD", "exp8", "exp3_7")
_PAPERS: Final = ("paper, CHGNet_600K", "here / paper", *(f"paper, {n}" for n in _SERIES))
_PAPERS_NOTE: Final = (
    " Paper: at the same temperature and, for CHGNet_600K, the nearest of its pressures. Here / "
    "paper: over CHGNet_600K; of a model as it was published, over the paper's unchanged CHGNet or "
    "SevenNet at 1 bar."
)
_Volumes = dict[str, dict[float, float]]


def papers_volumes(data: ReportData, system: str) -> _Volumes:
    """Return the paper's volumes of a system, by series and temperature in K; {} without any.

    Parameters
    ----------
    data
        What the report rests on.
    system
        Name of the system.
    """
    structure = data.structure_of_system(system)
    return paper_volumes((structure and paper_system(structure)) or "")


def volume_table(data: ReportData, system: str) -> Table:
    """Return volumes of a system beside the paper's at the same temperature.

    Volumes that the quantity has measured have the error of their mean; the others, those of rounds
    among them, only the fluctuation from frame to frame.

    Parameters
    ----------
    data
        What the report rests on.
    system
        Name of the system.
    """
    paper = papers_volumes(data, system)
    cells = [cell for cell in data.cell_runs if cell.system == system]
    measured = any(cell.mean is not None for cell in cells)
    at_rest = volumes_at_rest(data, system)
    relaxed = [
        *(
            _ranked(data, ranking)
            for ranking in data.rankings
            if ranking.system == system
            and ranking.best
            and ranking.model not in {each.model for each in at_rest}
        ),
        *at_rest,
    ]
    rows = [_relaxed_row(data, each, paper, measured=measured) for each in relaxed]
    rows += [_volume_row(data, cell, paper, measured=measured) for cell in cells]
    here = ("here (Å³/atom)", "fluctuation (Å³/atom)") if measured else ("here (Å³/atom)",)
    return Table(
        "",
        ("T (K)", "p (bar)", "run", *here, "equilibrated", *(_PAPERS if paper else ())),
        tuple(rows),
        (
            "± is the standard error of the mean, from blocks; volumes without it belong to runs "
            "that the quantity does not average."
            if measured
            else "± is the fluctuation from frame to frame, not an error."
        )
        + _PAPERS_NOTE * bool(paper),
    )


def _ranked(data: ReportData, ranking: Ranking) -> AtRest:
    """Return the volume of a ground state by the model that has ranked it."""
    ground = next((c for c in ranking.best if c.structure == ranking.ground_state), ranking.best[0])
    name, volume_ang3 = data.model_name(ranking.model), ground.volume_ang3_per_atom
    return AtRest(ranking.model, name, name, volume_ang3, (), ranking.key)


def _relaxed_row(
    data: ReportData, found: AtRest, paper: _Volumes, *, measured: bool
) -> tuple[Cell, ...]:
    volume = found.volume_ang3_per_atom
    here = (fixed(volume), MISSING) if measured else (fixed(volume),)
    cells = ours(found.document, ("0", MISSING, f"relaxed by {found.name}", *here, MISSING))
    return (*cells, *_paper_cells(data, paper, found.model, (0.0, 0.0), volume))


def _volume_row(
    data: ReportData, cell: CellRun, paper: _Volumes, *, measured: bool
) -> tuple[Cell, ...]:
    run, volume, pressure_bar = cell.run, cell.volume_ang3_per_atom, cell.run.pressure_bar or 0.0
    spread = run.means.volume_std_ang3_per_atom if run.means else None
    here = [with_error(volume, spread)]
    if measured:
        error = cell.mean.volume_err_ang3_per_atom if cell.mean else None
        here = [with_error(volume, error), number(spread, 2)]
    trust = Cell("yes", run.key) if run.equilibrated else Cell("no", run.key, "warn")
    return (
        *ours(run.key, (f"{run.temperature_k:g}", f"{pressure_bar:g}", cell.series)),
        *ours(run.key, here),
        trust if run.health.healthy else Cell("left physics", run.key, "warn"),
        *_paper_cells(data, paper, run.model, (pressure_bar, run.temperature_k), volume),
    )


def _paper_cells(
    data: ReportData,
    paper: _Volumes,
    model: str,
    place: tuple[float, float],
    volume: float | None,
) -> tuple[Cell, ...]:
    """Return the paper's volumes at a pressure and temperature, and ours over its counterpart."""
    if not paper:
        return ()
    pressure_bar, temperature_k = place
    counterpart = paper_volume_row(pressure_bar, data.physics_of(model)) or ""
    target = paper.get(counterpart, {}).get(temperature_k)
    ratio = volume / target if volume is not None and target is not None else None
    tuned, *others = (
        paper.get(name, {}).get(temperature_k) for name in (paper_model_row(pressure_bar), *_SERIES)
    )
    return (*papers(as_printed(tuned)), Cell(fixed(ratio, 3)), *papers(*map(as_printed, others)))


# -- what was measured ---------------------------------------------------------------------------


def measured_tables(data: ReportData, system: str) -> Iterator[Table]:
    """Yield the cell parameters and the thermal expansion, where the quantity was measured."""
    documents = documents_of(data, system)
    yield from (_model_table(each, data.other_models()) for each in documents if each.by_model)
    if documents:
        names = ("a (Å)", "b (Å)", "c (Å)", "α (°)", "β (°)", "γ (°)", "")
        rows = (_cell_row(document, cell) for document in documents for cell in document.cells)
        yield Table(
            "Cell parameters",
            ("T (K)", "p (bar)", *names),
            tuple(rows),
            "Means of the NpT runs, for the cell of the ground state, ± standard errors from "
            "blocks.",
        )
        yield Table(
            "Thermal expansion (10⁻⁶ per K)",
            ("p (bar)", "T (K)", "volume", "a", "b", "c", "χ² of the line"),
            tuple(map(_expansion_row, documents)),
            "Slope over value of a straight line through the means of equilibrated runs.",
        )


def _model_table(document: CellVolumes, others: dict[str, str]) -> Table:
    """Return the volumes of all models at a pressure, a column for each."""
    models = document.by_model
    rows = [("0, relaxed, 0 bar", *(fixed(each.at_rest_ang3_per_atom) for each in models))]
    rows += [
        (f"{cell.temperature_k:g}", *(_volume_text(each.cells[i]) for each in models))
        for i, cell in enumerate(document.cells)
    ]
    return Table(
        f"Volume by model at {document.pressure_bar:g} bar (Å³/atom)",
        ("T (K)", *(others.get(each.model, each.name) for each in models)),
        tuple(ours(document.key, row) for row in rows),
        "The first is the one that measures. Means of NpT runs ± standard errors from blocks.",
    )


def _volume_text(cell: CellAverage) -> str:
    if cell.volume_ang3_per_atom is None:
        return cell.reason
    return with_error(cell.volume_ang3_per_atom, cell.volume_err_ang3_per_atom)


def _cell_row(document: CellVolumes, cell: CellAverage) -> tuple[Cell, ...]:
    place, nothing = (f"{cell.temperature_k:g}", f"{document.pressure_bar:g}"), (None, None, None)
    means = (*(cell.lengths_ang or nothing), *(cell.angles_deg or nothing))
    errors = (*(cell.lengths_err_ang or nothing), *(cell.angles_err_deg or nothing))
    return ours(document.key, (*place, *map(with_error, means, errors), cell.reason))


def _expansion_row(document: CellVolumes) -> tuple[Cell, ...]:
    found, place = document.expansion, f"{document.pressure_bar:g}"
    if found is None:
        return ours(document.key, (place, *[MISSING] * 5, document.reason))
    between = f"{found.lowest_temperature_k:g} to {found.highest_temperature_k:g}"
    texts = (
        *(place, between),
        ppm(found.volume_per_k, found.volume_err_per_k),
        *map(ppm, found.lengths_per_k, found.lengths_err_per_k),
        MISSING if found.n_temperatures <= MIN_TEMPERATURES else number(found.volume_chi2, 2),
    )
    return ours(document.key, texts)


def ppm(per_k: float, err_per_k: float) -> str:
    """Return an expansion and its error, both per K, in 10⁻⁶ per K."""
    return with_error(per_k * _PPM, err_per_k * _PPM)


def documents_of(data: ReportData, system: str) -> list[CellVolumes]:
    """Return the mean cells of a system, a document for each pressure."""
    return [document for document in data.measured(CellVolumes) if document.system == system]

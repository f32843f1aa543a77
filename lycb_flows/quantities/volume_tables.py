"""Tables of what `volumes` has measured: by model, cell parameters, thermal expansion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lycb_flows.quantities.cells import MIN_TEMPERATURES
from lycb_flows.report import (
    MISSING,
    Cell,
    ReportData,
    Table,
    fixed,
    number,
    ours,
    with_error,
)
from lycb_flows.schemas import CellAverage, CellVolumes

_PPM: Final = 1e6


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

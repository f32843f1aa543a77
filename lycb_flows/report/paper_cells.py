"""What fills the paper's figure S4: relaxed cells over x by the models and by DFT."""

from __future__ import annotations

from collections.abc import Iterator

from ase.geometry import cell_to_cellpar

from lycb_flows.report.blocks import Cell, Table, ours
from lycb_flows.report.data import ReportData
from lycb_flows.report.numbers import MISSING, as_printed, fixed, listed
from lycb_flows.report.paper_figures import Filled
from lycb_flows.schemas import CompositionSeries, Ranking, Relaxation, SeriesPoint, Structure

_COLUMNS = ("a (Å)", "b (Å)", "c (Å)", "α (°)", "β (°)", "γ (°)")
_SAME_ANG3 = 1e-6


def by_x(point: SeriesPoint) -> tuple[bool, float]:
    """Sort points over x, those without at the end."""
    return point.x is None, point.x or 0.0


def relaxed_cells(data: ReportData, document: CompositionSeries) -> Filled:
    """Return volume and cell of every composition at 0 K, by the models and by DFT.

    Parameters
    ----------
    data
        What the report rests on.
    document
        The series.
    """
    lowest: dict[tuple[str, float | None], SeriesPoint] = {}
    for point in sorted(document.points, key=lambda each: -each.energy_ev_per_atom):
        lowest[point.lattice, point.x] = point  # a parent is a decoration, too
    shown = sorted(lowest.values(), key=lambda each: (each.lattice, *by_x(each)))
    rows, without = list[tuple[Cell, ...]](), set[str]()
    for point in shown:
        for source, key, volume_ang3, cell in _sources(data, document, point):
            percent = _percent(volume_ang3, point.dft_volume_ang3_per_atom)
            place = (point.lattice, as_printed(point.x), source, fixed(volume_ang3))
            rows.append(ours(key, (*place, fixed(percent), *_parameters(cell))))
            without |= {source} if cell is None else set()
    if not any(point.dft_volume_ang3_per_atom for point in shown):
        without.add("DFT")
    columns = ("lattice of", "x", "by", "volume (Å³/atom)", "over DFT (%)", *_COLUMNS)
    table = Table("", columns, tuple(rows)).without_empty("over DFT (%)", *_COLUMNS)
    what = "volumes, lengths and angles" if without == {"DFT"} else "lengths and angles"
    lacks = f"{what} by {listed(sorted(without))} are not known" if without else ""
    return Filled((table,), lacks=lacks)


def _sources(
    data: ReportData, document: CompositionSeries, point: SeriesPoint
) -> Iterator[tuple[str, str, float, Structure | None]]:
    """Yield what has relaxed a composition, the document, the volume, and the cell if known."""
    at_rest = _relaxation(data, document.model, point)
    cell = None if at_rest is None else data.find(Structure, at_rest.final_structure)
    yield data.model_name(document.model), document.key, point.volume_ang3_per_atom, cell
    start = data.find(Structure, point.start)
    for ranking in data.rankings:
        ranked = _ranked(data, ranking, point) if ranking.system == point.name else None
        if ranked is not None and ranking.model != document.model:
            volume_ang3, structure = ranked
            cell = data.find(Structure, structure)
            yield data.model_name(ranking.model), ranking.key, volume_ang3, cell
    if point.dft_volume_ang3_per_atom is not None:  # the series starts from DFT's cell
        yield "DFT", document.key, point.dft_volume_ang3_per_atom, start


def _relaxation(data: ReportData, model: str, point: SeriesPoint) -> Relaxation | None:
    """Return the relaxation that a point's volume is from."""
    for found in data.documents.values():
        if (
            isinstance(found, Relaxation)
            and (found.model, found.structure) == (model, point.start)
            and abs(found.volume_ang3_per_atom - point.volume_ang3_per_atom) < _SAME_ANG3
        ):
            return found
    return None


def _ranked(data: ReportData, ranking: Ranking, point: SeriesPoint) -> tuple[float, str] | None:
    """Return volume and structure of a point's ordering as the ranking's model has relaxed it.

    It is the ranking's ground state, where DFT has not decided for another one.
    """
    decided = {
        row.structure: row.ordering
        for found in data.by_dft
        if found.ranking == ranking.key
        for row in found.candidates
    }
    ordering = decided.get(point.start)
    for candidate in ranking.best:
        is_lowest = candidate.structure == ranking.ground_state
        if candidate.ordering == ordering or (ordering is None and is_lowest):
            return candidate.volume_ang3_per_atom, candidate.structure
    return None


def _percent(volume_ang3: float, dft_ang3: float | None) -> float | None:
    return None if dft_ang3 is None else 100 * (volume_ang3 / dft_ang3 - 1)


def _parameters(cell: Structure | None) -> tuple[str, ...]:
    """Return lengths in Å and angles in degrees of a cell, as texts."""
    if cell is None:
        return (MISSING,) * len(_COLUMNS)
    parameters = cell_to_cellpar(cell.lattice_ang)
    return (*(fixed(length, 3) for length in parameters[:3]), *map(fixed, parameters[3:]))

"""Volumes at 0 K and no pressure, by the models whose runs find cells at temperatures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lycb_flows.report.data import PRODUCTION, CellRun, ReportData
from lycb_flows.schemas import CellVolumes, Relaxation

_COLD_BAR: Final = 10.0
"""Up to this pressure (0.01 % of the volume of a soft crystal) a volume without pressure continues
those of the runs."""


@dataclass(frozen=True)
class AtRest:
    """The volume of a system at 0 K by a model.

    Attributes
    ----------
    model, name
        Key of the model, and what it is called.
    other_model
        As of a `CellRun`: empty for the model that measures.
    pressures_bar
        Of the runs by the model whose volumes this one continues.
    document
        Key of the document that has the volume.
    """

    model: str
    name: str
    other_model: str
    volume_ang3_per_atom: float
    pressures_bar: tuple[float, ...]
    document: str


def volumes_at_rest(data: ReportData, system: str) -> list[AtRest]:
    """Return the volumes of a system at 0 K, that of the model that measures first.

    Parameters
    ----------
    data
        What the report rests on.
    system
        Name of the system.
    """
    cells = [c for c in data.cell_runs if c.system == system and c.role == PRODUCTION]
    others = data.other_models() | {c.run.model: c.other_model for c in cells}
    pressures: dict[str, dict[float, None]] = {}
    for model, pressure_bar in _pressures(data, system, cells):
        if pressure_bar <= _COLD_BAR:
            pressures.setdefault(model, {})[pressure_bar] = None
    found = {
        model: AtRest(
            model=model,
            name=others.get(model) or data.model_name(model),
            other_model=others.get(model, ""),
            volume_ang3_per_atom=volume_ang3,
            pressures_bar=tuple(pressures.get(model, ())),
            document=key,
        )
        for model, volume_ang3, key in reversed([*_found(data, system, cells)])
    }
    return sorted(found.values(), key=lambda each: each.other_model)


def _pressures(data: ReportData, system: str, cells: list[CellRun]) -> Iterator[tuple[str, float]]:
    """Yield the models that volumes were measured by, with the pressure of each."""
    for cell in cells:
        yield cell.run.model, cell.run.pressure_bar or 0.0
    for document in data.measured(CellVolumes):
        for each in document.by_model if document.system == system else ():
            yield each.model, document.pressure_bar


def _found(data: ReportData, system: str, cells: list[CellRun]) -> Iterator[tuple[str, float, str]]:
    """Yield models, their volumes at 0 K, and the documents: the first of a model counts."""
    for document in data.measured(CellVolumes):
        for each in document.by_model if document.system == system else ():
            if each.at_rest_ang3_per_atom is not None:
                yield each.model, each.at_rest_ang3_per_atom, document.key
    starts = {(cell.run.model, cell.run.start) for cell in cells}
    for found in data.documents.values():
        if (
            isinstance(found, Relaxation)
            and found.model is not None
            and found.converged
            and (found.model, found.structure) in starts
        ):
            yield found.model, found.volume_ang3_per_atom, found.key

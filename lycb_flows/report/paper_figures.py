"""The paper's figures and tables as data, and which crystals of a campaign they are about."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources
from typing import Final

import yaml

from lycb_flows.config import decorated_name, name_of_ordering
from lycb_flows.report import PRODUCTION, ReportData, Table, paper_system, volumes_at_rest
from lycb_flows.schemas import Enumeration, Transport

FORMULAS: Final = {"LYC": "Li3YCl6", "LYB": "Li3YBr6", "LYCB": "Li3YCl3Br3"}
_MIXED_X: Final = 3.0


@dataclass(frozen=True)
class Entry:
    """A figure or table of the paper, or panels that one picture of ours fills.

    Attributes
    ----------
    panels
        Their names, such as 'Figure 2a'.
    shows, paper
        What they show, and what the paper finds.
    here
        Name of the function that fills them.
    about
        The composition, 'LYC', 'LYB' or 'LYCB'; empty where they are about all.
    test_set
        Name of the test set that they are about.
    lacks
        What of the first panel is not shown here, even where it is filled.
    """

    panels: tuple[str, ...]
    shows: str
    here: str
    paper: str = ""
    about: str = ""
    test_set: str = ""
    lacks: str = ""


@dataclass(frozen=True)
class Filled:
    """What fills an entry: tables, names of figures of the other chapters, and what is absent."""

    tables: tuple[Table, ...]
    figures: tuple[str, ...] = ()
    lacks: str = ""


@functools.cache
def paper_entries() -> tuple[Entry, ...]:
    """Return the paper's figures and tables, in its order."""
    path = resources.files(__package__).joinpath("paper_figures.yaml")
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tuple(Entry(**{**row, "panels": tuple(row["panels"])}) for row in rows)


def crystals(data: ReportData) -> list[str]:
    """Return the names of ranked and measured crystals, those of the rankings first."""
    names = [ranking.system for ranking in data.rankings]
    names += [transport.system for transport in data.measured(Transport)]
    names += [cell.system for cell in data.cell_runs]
    return list(dict.fromkeys(name for name in names if name == name_of_ordering(name)))


def system_of_paper(data: ReportData, about: str) -> str | None:
    """Return the campaign's name of a crystal of the paper; None where it has no such crystal.

    A mixed halide at an end of the range has the other lattice, so only parents are looked at.

    Parameters
    ----------
    data
        What the report rests on.
    about
        'LYC', 'LYB', or 'LYCB' for the mixed halide of figure S5.
    """
    if about == "LYCB":
        lattice = system_of_paper(data, "LYB")
        mixed = None if lattice is None else decorated_name(lattice, _MIXED_X)
        return mixed if mixed in crystals(data) else None
    enumerations = {
        ranking.system: data.find(Enumeration, ranking.enumeration) for ranking in data.rankings
    }
    for name in crystals(data):
        listed, structure = enumerations.get(name), data.structure_of_system(name)
        is_parent = listed is None or listed.x is None
        if is_parent and structure is not None and paper_system(structure) == about:
            return name
    return None


def no_system(entry: Entry) -> str:
    """Return the sentence that the campaign lacks the crystal of an entry."""
    return f"the campaign has no {FORMULAS[entry.about]} on this lattice yet."


def volumes_here(data: ReportData, system: str) -> dict[str, dict[float, tuple[float, str]]]:
    """Return volumes in Å^3 per atom with their documents, by series and temperature in K.

    Parameters
    ----------
    data
        What the report rests on.
    system
        Name of the system.
    """
    found: dict[str, dict[float, tuple[float, str]]] = {}
    at_rest = volumes_at_rest(data, system)
    for ranking in data.rankings:
        best = [each for each in ranking.best if each.structure == ranking.ground_state]
        is_beside = ranking.model not in {each.model for each in at_rest}
        if ranking.system == system and best and is_beside:
            source = f"here, relaxed by {data.model_name(ranking.model)}"
            found[source] = {0.0: (best[0].volume_ang3_per_atom, ranking.key)}
    for each in at_rest:
        for pressure_bar in each.pressures_bar or (0.0,):
            volume = (each.volume_ang3_per_atom, each.document)
            found[_source(each.other_model, pressure_bar)] = {0.0: volume}
    for cell in data.cell_runs:
        volume_ang3 = cell.volume_ang3_per_atom
        is_shown = cell.system == system and cell.role == PRODUCTION
        if is_shown and volume_ang3 is not None:
            series = found.setdefault(_source(cell.other_model, cell.run.pressure_bar or 0.0), {})
            series[cell.run.temperature_k] = (volume_ang3, cell.run.key)
    return found


def _source(other_model: str, pressure_bar: float) -> str:
    return f"here{other_model and f' by {other_model}'}, {pressure_bar:g} bar"

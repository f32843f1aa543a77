"""Published conductivities of a compound, and what is known of its regimes.

The paper's collection for Li3YCl6 and Li3YBr6 is in `paper_numbers.yaml`, that for other
compounds in `published_conductivities.yaml`. A nominal composition has no single conductivity:
experiments on the same one differ by up to a factor of hundreds, so all of them are shown.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from lycb_flows.report.paper import paper_numbers, paper_system
from lycb_flows.schemas import Structure

ROOM_TEMPERATURE_K = 300.0
_EXPERIMENT, _TWO_REGIMES = "exp", "two_regimes_"


@dataclass(frozen=True)
class Experiment:
    """A conductivity that was measured at room temperature, with its barrier where it is known."""

    source: str
    conductivity_ms_per_cm: float
    activation_energy_ev: float | None
    in_paper: bool


@dataclass(frozen=True)
class Reference:
    """Diffusivities of others for a figure: a line through several temperatures, or a spread."""

    label: str
    temperatures_k: tuple[float, ...]
    diffusivities_m2_per_s: tuple[float, ...]

    @property
    def is_line(self) -> bool:
        """Whether there is more than a single temperature."""
        return len(set(self.temperatures_k)) > 1


@dataclass(frozen=True)
class KnownCrossover:
    """A temperature at which the barrier of a compound is known to change."""

    source: str
    temperature_k: float
    cold_activation_energy_ev: float
    hot_activation_energy_ev: float


@functools.cache
def _collection() -> Sequence[dict[str, Any]]:
    text = resources.files(__package__).joinpath("published_conductivities.yaml")
    collection: Sequence[dict[str, Any]] = yaml.safe_load(text.read_text(encoding="utf-8"))
    return collection


def experiments(structure: Structure | None) -> tuple[Experiment, ...]:
    """Return the published conductivities of a structure's composition, lowest first.

    They are those of every experiment that is listed; none where the composition is unknown.
    """
    if structure is None:
        return ()
    rows = paper_numbers()["transport"].get(paper_system(structure) or "", {})
    found = [
        Experiment(name, row["sigma300_mS_cm"], row.get("Ea_eV"), in_paper=True)
        for name, row in rows.items()
        if name.startswith(_EXPERIMENT) and "sigma300_mS_cm" in row
    ]
    found += [
        Experiment(row["doi"], row["sigma_ms_per_cm"], row.get("ea_ev"), in_paper=False)
        for entry in _collection()
        if _is_composition(structure, entry["composition"])
        for row in entry["measured"]
    ]
    return tuple(sorted(found, key=lambda row: row.conductivity_ms_per_cm))


def known_crossovers(structure: Structure | None) -> tuple[KnownCrossover, ...]:
    """Return the temperatures at which the barrier of a structure's compound is known to change."""
    rows = paper_numbers()["transport"].get((structure and paper_system(structure)) or "", {})
    return tuple(
        KnownCrossover(
            name.removeprefix(_TWO_REGIMES), row["T_cross_K"], row["Ea_lowT_eV"], row["Ea_highT_eV"]
        )
        for name, row in rows.items()
        if isinstance(row, dict) and "T_cross_K" in row
    )


def _is_composition(structure: Structure, composition: dict[str, int]) -> bool:
    counts, wanted = Counter(structure.species), Counter(composition)
    n_units, rest = divmod(counts.total(), wanted.total())
    return not rest and counts == Counter({s: n * n_units for s, n in wanted.items()})

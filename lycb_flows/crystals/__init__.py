"""Crystals in: disordered parents, binaries, and the enumeration of orderings."""

from __future__ import annotations

from lycb_flows.crystals.binaries import BINARY_NAMES, load_binary
from lycb_flows.crystals.enumeration import (
    EnumerationResult,
    count_orderings,
    enumerate_decorations,
    enumerate_orderings,
    parent_cell,
)
from lycb_flows.crystals.relaxed import Relaxed
from lycb_flows.crystals.structures import (
    PARENT_NAMES,
    DisorderedCrystal,
    canonical_structure,
    load_parent,
    parse_cif,
    structure_from_arrays,
    to_ase,
    to_pymatgen,
    volume_ang3_per_atom,
)

__all__ = [
    "BINARY_NAMES",
    "PARENT_NAMES",
    "DisorderedCrystal",
    "EnumerationResult",
    "Relaxed",
    "canonical_structure",
    "count_orderings",
    "enumerate_decorations",
    "enumerate_orderings",
    "load_binary",
    "load_parent",
    "parent_cell",
    "parse_cif",
    "structure_from_arrays",
    "to_ase",
    "to_pymatgen",
    "volume_ang3_per_atom",
]

"""Crystals in: disordered parents, binaries, and the enumeration of orderings."""

from __future__ import annotations

from lycb_flows.crystals.binaries import BINARY_NAMES, load_binary
from lycb_flows.crystals.cell_filter import CellFilter
from lycb_flows.crystals.charges import guessed_charges, mobile_ion
from lycb_flows.crystals.distances import with_rules
from lycb_flows.crystals.enumeration import (
    MAX_ATOMS,
    N_SEARCHES,
    AutomaticChoice,
    CountOutOfReachError,
    EnumerationResult,
    choose,
    count_orderings,
    enumerate_decorations,
    enumerate_orderings,
    parent_cell,
    supercell_text,
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
    "MAX_ATOMS",
    "N_SEARCHES",
    "PARENT_NAMES",
    "AutomaticChoice",
    "CellFilter",
    "CountOutOfReachError",
    "DisorderedCrystal",
    "EnumerationResult",
    "Relaxed",
    "canonical_structure",
    "choose",
    "count_orderings",
    "enumerate_decorations",
    "enumerate_orderings",
    "guessed_charges",
    "load_binary",
    "load_parent",
    "mobile_ion",
    "parent_cell",
    "parse_cif",
    "structure_from_arrays",
    "supercell_text",
    "to_ase",
    "to_pymatgen",
    "volume_ang3_per_atom",
    "with_rules",
]

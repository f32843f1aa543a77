"""Orderings of a disordered parent, and Cl/Br decorations of an ordered halide.

>>> from lycb_flows.config import EnumerationConfig
>>> from lycb_flows.crystals.structures import load_parent
>>> count_orderings(load_parent("Li3YCl6"), EnumerationConfig(supercell=(1, 1, 1)))
(24, 220)

Files, each importing only those before it: `colourings` (exact counts), `listing` (masks),
`sites` (symmetry and neighbours of a supercell), `enumlib` (the other engine),
`occupancies` (a parent as a colouring problem), `orderings`, `decorations`.
"""

from __future__ import annotations

from lycb_flows.crystals.enumeration.decorations import enumerate_decorations
from lycb_flows.crystals.enumeration.listing import Member
from lycb_flows.crystals.enumeration.occupancies import parent_cell
from lycb_flows.crystals.enumeration.orderings import (
    EnumerationResult,
    count_orderings,
    enumerate_orderings,
)

__all__ = [
    "EnumerationResult",
    "Member",
    "count_orderings",
    "enumerate_decorations",
    "enumerate_orderings",
    "parent_cell",
]

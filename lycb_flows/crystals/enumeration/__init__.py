"""Orderings of a disordered parent, and decorations of an ordered crystal.

>>> from lycb_flows.config import EnumerationConfig
>>> from lycb_flows.crystals.structures import load_parent
>>> count_orderings(load_parent("Li3YCl6"), EnumerationConfig(supercell=(1, 1, 1)))
(24, 220)

Files, each importing only those before it: `colourings` (exact counts), `subgroups` (normal ones),
`listing` (masks), `sites` (symmetry and neighbours of a supercell), `enumlib` (the other engine),
`compositions` (whole numbers of atoms), `formula_units`, `site_mixing` (mixing that is kept),
`occupancies` (a parent as a colouring problem), `swaps` (placements under energies),
`quasi_random` (placements by correlations), `search` (candidates without a count), `orderings`,
`decorations`, `automatic` (cell, composition and rules chosen for a crystal).
"""

from __future__ import annotations

from lycb_flows.crystals.enumeration.automatic import MAX_ATOMS, AutomaticChoice, choose
from lycb_flows.crystals.enumeration.colourings import CountOutOfReachError
from lycb_flows.crystals.enumeration.decorations import (
    count_placements,
    decorated_amounts,
    enumerate_decorations,
)
from lycb_flows.crystals.enumeration.listing import Member
from lycb_flows.crystals.enumeration.occupancies import disordered_cell, supercell_text
from lycb_flows.crystals.enumeration.orderings import (
    EnumerationResult,
    count_orderings,
    enumerate_orderings,
)
from lycb_flows.crystals.enumeration.search import N_SEARCHES
from lycb_flows.crystals.enumeration.site_mixing import substituted

__all__ = [
    "MAX_ATOMS",
    "N_SEARCHES",
    "AutomaticChoice",
    "CountOutOfReachError",
    "EnumerationResult",
    "Member",
    "choose",
    "count_orderings",
    "count_placements",
    "decorated_amounts",
    "disordered_cell",
    "enumerate_decorations",
    "enumerate_orderings",
    "substituted",
    "supercell_text",
]

"""Cl/Br decorations of an ordered halide: which halide sites hold bromine.

x counts Br per Li3YX6, so x = 6 n_Br / n_X. Formal charges cannot rank decorations (Cl and
Br have the same charge in an Ewald sum), so all are listed. Beyond the cap, those are listed
that keep a normal subgroup of the crystal's symmetry, and a uniform sample beside them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array

from lycb_flows.config import DecorationConfig
from lycb_flows.crystals.enumeration.colourings import Colourings, count_distinct
from lycb_flows.crystals.enumeration.listing import list_all, list_some
from lycb_flows.crystals.enumeration.orderings import EnumerationResult, result_of
from lycb_flows.crystals.enumeration.sites import SiteModel, supercell_symmetry
from lycb_flows.errors import InputError
from lycb_flows.schemas import Structure

HALIDES = ("Br", "Cl")
SYMPREC_ANG = 0.05
"""A ground state relaxed in single precision keeps its symmetry to about this."""
_X_MAX = 6
_SERIES_STEPS = 12
"""The paper's series: x from 0 to 6 in steps of 0.5."""


def enumerate_decorations(structure: Structure, config: DecorationConfig) -> EnumerationResult:
    """Return the distinct placements of Cl and Br on the halide sites of an ordered crystal.

    Parameters
    ----------
    structure
        The crystal.
    config
        The amount of bromine, and limits of the list.

    Raises
    ------
    InputError
        When there is no halide site, or x is no whole number of bromines.
    """
    species = list(structure.species)
    free = np.flatnonzero([symbol in HALIDES for symbol in species])
    n_br = _n_bromine(len(free), config.x)
    kinds = ["X" if symbol in HALIDES else symbol for symbol in species]
    lattice, coords = np.array(structure.lattice_ang), np.array(structure.frac_coords)
    symmetry = supercell_symmetry(lattice, coords, kinds, (1, 1, 1), SYMPREC_ANG).on(free)
    colours = (*HALIDES, *sorted(set(species) - set(HALIDES)))
    fixed = np.array([colours.index(symbol) for symbol in species])
    model = SiteModel(lattice, coords, colours, fixed, free)
    problem = Colourings(
        allowed=np.ones((len(free), len(HALIDES)), dtype=bool),
        counts=(n_br, len(free) - n_br),
        permutations=symmetry.permutations,
        conflicts=csr_array((len(free) * len(HALIDES),) * 2),
        weights=np.ones(len(free), dtype=np.int64),
    )
    exact = count_distinct(problem)
    if exact[0] <= config.cap:
        listing = list_all(problem, exact)
    else:
        whole, rest = divmod(len(free), _SERIES_STEPS)
        reach = range(0, len(free) + 1, whole) if not rest else ()
        series = tuple((n, len(free) - n) for n in reach)
        listing = list_some(problem, exact, config, series)
    found = result_of(listing, model, problem, symmetry)
    return replace(found, x=config.x, seed=None if listing.exhaustive else config.seed)


def _n_bromine(n_halides: int, x: float) -> int:
    if not n_halides:
        raise InputError("no Cl or Br to decorate", fix="give an ordered chloride or bromide")
    exact = x * n_halides / _X_MAX
    if abs(exact - round(exact)) > 1e-6 * n_halides:
        raise InputError(
            "this x is no whole number of bromines",
            fix=f"x goes in steps of 6/{n_halides} = {_X_MAX / n_halides:.6g} in this cell",
            x=x,
            found=round(exact, 4),
        )
    return round(exact)

"""Decorations of an ordered crystal: which sites of a species hold another one instead.

Without `substitute` Cl and Br share all halide sites, and x counts Br per Li3YX6, so
x = 6 n_Br / n_X. Formal charges cannot rank decorations by ions of one charge (Cl and Br have the
same in an Ewald sum), so all are listed. Beyond the cap, those are listed that keep a normal
subgroup of the crystal's symmetry, and a uniform sample beside them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import factorial, prod

import numpy as np
from scipy.sparse import csr_array

from lycb_flows.config import DecorationConfig
from lycb_flows.crystals.enumeration.colourings import Colourings, Ints, count_distinct
from lycb_flows.crystals.enumeration.formula_units import check_elements, formula_units
from lycb_flows.crystals.enumeration.listing import list_all, list_some
from lycb_flows.crystals.enumeration.orderings import EnumerationResult, result_of
from lycb_flows.crystals.enumeration.sites import SiteModel, SiteSymmetry, supercell_symmetry
from lycb_flows.errors import InputError
from lycb_flows.schemas import Structure

HALIDES = ("Br", "Cl")
SYMPREC_ANG = 0.05
"""A ground state relaxed in single precision keeps its symmetry to about this."""
_X_MAX = 6
_SERIES_STEPS = 12
"""The paper's series: x from 0 to 6 in steps of 0.5."""


@dataclass(frozen=True, eq=False)
class _Sublattice:
    """Sites that share species, with the number of atoms of each."""

    sites: Ints
    species: tuple[str, ...]
    counts: tuple[int, ...]


def enumerate_decorations(structure: Structure, config: DecorationConfig) -> EnumerationResult:
    """Return the distinct placements of species on the sites of an ordered crystal.

    Parameters
    ----------
    structure
        The crystal.
    config
        What replaces what, and limits of the list.

    Raises
    ------
    InputError
        When there is no such site, or an amount is no whole number of atoms.
    """
    parts = _sublattices(structure.species, config)
    model, problem, symmetry = _problem(structure, parts)
    exact = count_distinct(problem)
    if exact[0] <= config.cap:
        listing = list_all(problem, exact)
    else:
        series = _halide_series(problem) if config.substitute is None else ()
        listing = list_some(problem, exact, config, series)
    found = result_of(listing, model, problem, symmetry)
    return replace(found, x=config.x, seed=None if listing.exhaustive else config.seed)


def count_placements(species: Sequence[str], config: DecorationConfig) -> int:
    """Return in how many ways species can be placed: no crystal has more distinct decorations.

    Parameters
    ----------
    species
        Of the ordered crystal's sites.
    config
        What replaces what.

    Raises
    ------
    InputError
        As of `enumerate_decorations`.
    """
    parts = _sublattices(species, config)
    return prod(factorial(len(p.sites)) // prod(map(factorial, p.counts)) for p in parts)


def decorated_amounts(species: Sequence[str], config: DecorationConfig) -> dict[str, int]:
    """Return how many atoms of each species an ordered crystal has once it is decorated.

    Parameters
    ----------
    species
        Of the ordered crystal's sites.
    config
        What replaces what.

    Raises
    ------
    InputError
        As of `enumerate_decorations`.
    """
    amounts = Counter(species)
    for part in _sublattices(species, config):
        amounts.subtract(species[site] for site in part.sites)
        amounts.update(dict(zip(part.species, part.counts, strict=True)))
    return {symbol: n_atoms for symbol, n_atoms in amounts.items() if n_atoms}


def _sublattices(species: Sequence[str], config: DecorationConfig) -> list[_Sublattice]:
    if config.substitute is None:
        return [_halides(species, config.x)]
    return _substituted(species, config)


def _problem(
    structure: Structure, parts: list[_Sublattice]
) -> tuple[SiteModel, Colourings, SiteSymmetry]:
    """Return an ordered crystal whose sublattices hold several species as colours of free sites.

    A species has a colour of its own on each sublattice.
    """
    species = list(structure.species)
    free = np.sort(np.concatenate([part.sites for part in parts]))
    kinds: list[object] = list(species)
    names = [name for part in parts for name in part.species]
    allowed = np.zeros((len(species), len(names)), dtype=bool)
    first = 0
    for number, part in enumerate(parts):
        allowed[part.sites, first : first + len(part.species)] = True
        first += len(part.species)
        for site in part.sites.tolist():
            kinds[site] = number
    lattice, coords = np.array(structure.lattice_ang), np.array(structure.frac_coords)
    symmetry = supercell_symmetry(lattice, coords, kinds, (1, 1, 1), SYMPREC_ANG).on(free)
    colours = (*names, *sorted(set(species) - set(names)))
    fixed = np.array([colours.index(symbol) for symbol in species])
    problem = Colourings(
        allowed=allowed[free],
        counts=tuple(count for part in parts for count in part.counts),
        permutations=symmetry.permutations,
        conflicts=csr_array((len(free) * len(names),) * 2),
        weights=np.ones(len(free), dtype=np.int64),
    )
    return SiteModel(lattice, coords, colours, fixed, free), problem, symmetry


# -- mixed halides -----------------------------------------------------------------------


def _halides(species: Sequence[str], x: float) -> _Sublattice:
    sites = np.flatnonzero([symbol in HALIDES for symbol in species])
    n_br = _n_bromine(len(sites), x)
    return _Sublattice(sites, HALIDES, (n_br, len(sites) - n_br))


def _halide_series(problem: Colourings) -> tuple[tuple[int, ...], ...]:
    n_sites = len(problem.allowed)
    whole, rest = divmod(n_sites, _SERIES_STEPS)
    reach = range(0, n_sites + 1, whole) if not rest else ()
    return tuple((n, n_sites - n) for n in reach)


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


# -- any species -------------------------------------------------------------------------


def _substituted(species: Sequence[str], config: DecorationConfig) -> list[_Sublattice]:
    """Return a sublattice for each species that is replaced."""
    check_elements(config.elements)
    amounts, found = Counter(species), []
    for element, by in config.amounts.items():
        sites = np.flatnonzero([symbol == element for symbol in species])
        if not len(sites):
            raise InputError(
                "nothing to replace",
                fix=f"name one of {', '.join(sorted(amounts))}",
                found=element,
            )
        n_units = formula_units(amounts, config.formula, element)
        counts = [_n_atoms(symbol, amount, n_units) for symbol, amount in by.items()]
        left = len(sites) - sum(counts)
        if left < 0:
            raise InputError(
                "more is replaced than there is",
                fix=f"at most {len(sites) / n_units:g} {element} per formula unit",
                found=" ".join(f"{symbol}{amount:g}" for symbol, amount in by.items()),
            )
        found.append(_Sublattice(sites, (*by, element), (*counts, left)))
    return found


def _n_atoms(species: str, amount: float, n_units: float) -> int:
    exact = amount * n_units
    if abs(exact - round(exact)) > 1e-6 * n_units:
        raise InputError(
            "this amount is no whole number of atoms",
            fix=f"amounts of {species} go in steps of 1/{n_units:g} = {1 / n_units:.6g} in this "
            f"cell of {n_units:g} formula units",
            amount=amount,
            found=round(exact, 4),
        )
    return round(exact)

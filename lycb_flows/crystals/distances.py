"""Which sites of a crystal exclude each other, found from distances, radii and occupancies.

Two sites closer than two ions can be are alternatives: split sites, or places of one ion
that the refinement could not tell apart. They are so only if their occupancies leave room,
that is sum to at most one: what must sometimes stand side by side is no alternative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure

from lycb_flows.config import HALIDE_FORBIDDEN_PAIRS, EnumerationConfig, ForbiddenPair
from lycb_flows.crystals.charges import guessed_charges
from lycb_flows.crystals.structures import DisorderedCrystal
from lycb_flows.errors import InputError

FURTHEST_ANG = 3.3
_ROOM = 0.02
"""Occupancies of alternatives sum to one within the precision of a refinement."""
_HIGH_CHARGE = 2.5
_GAP_ANG = 0.01
_HYDROGEN_ANG = 0.75


@dataclass(frozen=True, eq=False)
class _Pairs:
    """All pairs of sites that a rule can reach, periodic images included."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance_ang: NDArray[np.float64]


def with_rules(parent: DisorderedCrystal, config: EnumerationConfig) -> EnumerationConfig:
    """Return the config with distance rules: its own, a preset's, or those of the crystal.

    Parameters
    ----------
    parent
        The disordered crystal; built-in parents have rules of their own.
    config
        What it states stays as it is.
    """
    if config.forbidden_pairs is not None:
        return config
    rules = (
        HALIDE_FORBIDDEN_PAIRS
        if parent.is_built_in
        else rules_from(parent.structure, config.charges)
    )
    return config.model_copy(update={"forbidden_pairs": rules})


def check_elements(parent: DisorderedCrystal, config: EnumerationConfig) -> None:
    """Check that rules and charges speak of the crystal's elements, or of what is brought in.

    Parameters
    ----------
    parent
        The disordered crystal.
    config
        With the rules and charges by hand.

    Raises
    ------
    InputError
        When they name another element: they would have no effect.
    """
    own = {element.symbol for element in parent.structure.composition.elements} | config.brought
    ruled = {symbol for rule in config.forbidden_pairs or () for symbol in rule.species}
    if others := sorted((ruled | set(config.charges or ())) - own):
        raise InputError(
            "a distance rule or a charge names what the crystal does not have",
            fix=f"name some of {', '.join(sorted(own))}",
            crystal=parent.name,
            found=", ".join(others),
        )


def filled_in(parent: DisorderedCrystal, config: EnumerationConfig) -> EnumerationConfig:
    """Return the config with the distance rules and the threshold that apply to a parent.

    Parameters
    ----------
    parent
        The disordered crystal.
    config
        What it states stays as it is.
    """
    config = with_rules(parent, config)
    if config.min_occupancy is not None:
        return config
    return config.model_copy(update={"min_occupancy": parent.min_occupancy})


def rules_from(
    structure: Structure, charges: Mapping[str, float] | None = None
) -> tuple[ForbiddenPair, ...]:
    """Return the pairs of species that exclude each other on a crystal's sites, if any do.

    Parameters
    ----------
    structure
        All sites with their occupancies. Of an ordered crystal there are no rules.
    charges
        Oxidation states that are known; the others are guessed.
    """
    shares = element_shares(structure)
    if all(sum(site.values()) > 1 - _ROOM and len(site) == 1 for site in shares):
        return ()
    amounts = summed_shares(shares)
    charges = guessed_charges(amounts, charges)
    first, second, _, distance = structure.get_neighbor_list(FURTHEST_ANG + 2 * _GAP_ANG)
    pairs = _Pairs(first, second, distance)
    rules = []
    for a, b in combinations_with_replacement(sorted(amounts), 2):
        limit = smallest_distance_ang(a, b, charges)
        found = _rule(shares, pairs, (a, b), limit)
        if found is not None:
            rules.append(ForbiddenPair(species=(a, b), min_distance_ang=found))
    return tuple(rules)


def element_shares(structure: Structure) -> list[dict[str, float]]:
    """Return element -> occupancy of each site; oxidation states of an element are one."""
    found = []
    for site in structure:
        shares: dict[str, float] = {}
        for species, share in site.species.items():
            shares[species.symbol] = shares.get(species.symbol, 0.0) + float(share)
        found.append({symbol: share for symbol, share in shares.items() if share > 0})
    return found


def summed_shares(shares: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the atoms of each element on sites with these occupancies."""
    sums: dict[str, float] = {}
    for site in shares:
        for symbol, share in site.items():
            sums[symbol] = sums.get(symbol, 0.0) + share
    return sums


def _rule(
    shares: Sequence[Mapping[str, float]], pairs: _Pairs, species: tuple[str, str], limit: float
) -> float | None:
    """Return the distance below which two species exclude each other; None where none are."""
    own = np.array([site.get(species[0], 0.0) for site in shares])
    other = np.array([site.get(species[1], 0.0) for site in shares])
    there = (own[pairs.first] > 0) & (other[pairs.second] > 0)
    total = (own[pairs.first] + other[pairs.second])[there]
    distance = pairs.distance_ang[there]
    highest = float(distance[total > 1 + _ROOM].min(initial=np.inf)) - 1e-3
    limit = min(limit, highest)
    if not (distance < limit).any():
        return None
    return round(_in_a_gap(distance, limit, highest), 3)


def _in_a_gap(distance_ang: NDArray[np.float64], limit: float, highest: float) -> float:
    """Return a limit near the given one, at most the highest, that no pair is within 5 mÅ of."""
    inside = np.sort(distance_ang[distance_ang < limit])
    while len(inside) and limit - inside[-1] < _GAP_ANG:
        limit = float(inside[-1]) + _GAP_ANG
        if limit <= highest and not (abs(distance_ang - limit) < _GAP_ANG / 2).any():
            break
        limit, inside = float(inside[-1]) - _GAP_ANG, inside[:-1]
    return limit


def smallest_distance_ang(a: str, b: str, charges: Mapping[str, float]) -> float:
    """Return the distance in Å below which two ions are taken as alternatives.

    ours: 1.3 times the sum of the radii for like cations (1.5 where both carry charges of 3
    and more), within 2.3 and 3.2 Å; 0.8 times for anions; 0.7 times for unlike ions. Shannon's
    radii (Acta Cryst. A 32, 751 (1976)), averaged over coordinations by pymatgen.

    Parameters
    ----------
    a, b
        Elements.
    charges
        Oxidation state of each.
    """
    total = _radius_ang(a, charges) + _radius_ang(b, charges)
    if "H" in (a, b):
        return 2 * _HYDROGEN_ANG if a == b else 0.8 * _HYDROGEN_ANG + 0.2
    low, high = sorted((charges.get(a, 0.0), charges.get(b, 0.0)))
    if low > 0:
        factor = 1.5 if low > _HIGH_CHARGE else 1.3
        return min(max(factor * total, 2.3), 3.2)
    if high < 0:
        return min(0.8 * total, FURTHEST_ANG)
    return 0.7 * total


def _radius_ang(symbol: str, charges: Mapping[str, float]) -> float:
    element, charge = Element(symbol), charges.get(symbol, 0.0)
    radius = element.average_cationic_radius if charge > 0 else element.average_anionic_radius
    return float(radius or element.atomic_radius or 1.0)

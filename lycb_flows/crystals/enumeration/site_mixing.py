"""Occupancies before anything is counted: species that are replaced, mixing that is kept.

A substitution changes the shares of every site that holds a species. `keep_occupancies` fixes how
many atoms of a species each crystallographic site (orbit) holds: disorder that was quenched when
the crystal was made, such as the S/Cl exchange of an argyrodite, and that an energy would undo.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pymatgen.core.structure import Structure

from lycb_flows.config import EnumerationConfig, ForbiddenPair
from lycb_flows.crystals.distances import element_shares, summed_shares
from lycb_flows.crystals.enumeration.formula_units import check_elements, formula_units
from lycb_flows.crystals.enumeration.sites import VACANCY, Floats
from lycb_flows.crystals.structures import DisorderedCrystal
from lycb_flows.errors import InputError

_AT = "@"
_EDGE = 1e-9
Shares = list[dict[str, float]]


# -- substitutions -----------------------------------------------------------------------


def shares_of(cell: DisorderedCrystal, config: EnumerationConfig) -> Shares:
    """Return element -> occupancy of each site, after what the config replaces.

    A formula unit that is not named is that of the primitive cell, so one in every cell.

    Parameters
    ----------
    cell
        The parent, in any cell.
    config
        Its `substitute` and `formula` decide.

    Raises
    ------
    InputError
        When the parent lacks a species that is replaced, or more of it is replaced than it has.
    """
    shares = element_shares(cell.structure)
    if not config.substitute:
        return shares
    check_elements(config.brought)
    parts = _parts(summed_shares(element_shares(cell.primitive().structure)), config)
    found = []
    for site in shares:
        now: dict[str, float] = {}
        for element, share in site.items():
            by = parts.get(element, {})
            for species, part in {**by, element: 1.0 - sum(by.values())}.items():
                if part > _EDGE:
                    now[species] = now.get(species, 0.0) + share * part
        found.append(now)
    return found


def substituted(cell: DisorderedCrystal, config: EnumerationConfig) -> DisorderedCrystal:
    """Return a parent on whose sites stands what the config brings, in the same cell.

    Parameters
    ----------
    cell, config
        As of `shares_of`.
    """
    if not config.substitute:
        return cell
    old = cell.structure
    return replace(cell, structure=Structure(old.lattice, shares_of(cell, config), old.frac_coords))


def _parts(amounts: Mapping[str, float], config: EnumerationConfig) -> dict[str, dict[str, float]]:
    """Return element -> what replaces it -> share of the element's atoms."""
    found = {}
    for element, by in (config.substitute or {}).items():
        if not amounts.get(element):
            raise InputError(
                "nothing to replace", fix=f"name one of {', '.join(sorted(amounts))}", found=element
            )
        per_unit = amounts[element] / formula_units(amounts, config.formula, element)
        if sum(by.values()) > per_unit + _EDGE:
            raise InputError(
                "more is replaced than there is",
                fix=f"at most {per_unit:.6g} {element} per formula unit; `formula` names the unit",
                found=" ".join(f"{species}{amount:g}" for species, amount in by.items()),
            )
        found[element] = {species: amount / per_unit for species, amount in by.items()}
    return found


def with_substitutes(
    options: Sequence[tuple[str, ...]], config: EnumerationConfig, shares: Shares
) -> list[tuple[str, ...]]:
    """Return what sites may hold, with what replaces the species among it; vacancies last.

    Parameters
    ----------
    options
        Species of the parent that each site may hold.
    config
        Its `substitute` decides.
    shares
        From `shares_of`.
    """
    found = []
    for allowed, site in zip(options, shares, strict=True):
        new = {s for e in allowed for s in (config.substitute or {}).get(e, {}) if s in site}
        gone = {e for e in allowed if e in (config.substitute or {}) and e not in site}
        found.append(tuple(sorted({*allowed, *new} - gone, key=lambda s: (s == VACANCY, s))))
    return found


def pairs_with_substitutes(config: EnumerationConfig) -> tuple[ForbiddenPair, ...]:
    """Return the distance rules, those of a species also for what replaces it."""
    pairs = {pair.species: pair for pair in config.forbidden_pairs or ()}
    family = {e: (e, *by) for e, by in (config.substitute or {}).items()}
    for pair in config.forbidden_pairs or ():
        first, second = (family.get(species, (species,)) for species in pair.species)
        for species in ((a, b) for a in first for b in second):
            if species not in pairs and species[::-1] not in pairs:
                pairs[species] = pair.model_copy(update={"species": species})
    return tuple(pairs.values())


# -- mixing that is kept -----------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """Atoms of a species on a crystallographic site, in the supercell.

    Attributes
    ----------
    orbit
        Number of the crystallographic site.
    site_label
        Its label in the CIF.
    species
        What is kept on it.
    n_atoms, n_sites
        Atoms and sites in the supercell.
    refined
        The share of the sites that it had.
    """

    orbit: int
    site_label: str
    species: str
    n_atoms: int
    n_sites: int
    refined: float

    @property
    def change(self) -> float:
        """The share of the sites less the refined one."""
        return self.n_atoms / self.n_sites - self.refined


@dataclass(frozen=True)
class Orbits:
    """The sites of a cell by what distinguishes them.

    Attributes
    ----------
    number
        Orbit of each site.
    labels
        Label of each site.
    shares
        Element -> occupancy of each site.
    options
        What each site may hold.
    """

    number: tuple[int, ...]
    labels: tuple[str, ...]
    shares: Shares
    options: list[tuple[str, ...]]

    @classmethod
    def of(
        cls,
        kinds: Sequence[Hashable],
        labels: tuple[str, ...],
        shares: Shares,
        options: list[tuple[str, ...]],
    ) -> Orbits:
        """Return the orbits of sites of these kinds."""
        number = {kind: k for k, kind in enumerate(dict.fromkeys(kinds))}
        return cls(tuple(number[kind] for kind in kinds), labels, shares, options)

    @property
    def first_labels(self) -> tuple[str, ...]:
        """Label of the first site of each orbit."""
        n_orbits = max(self.number, default=-1) + 1
        return tuple(self.labels[self.number.index(orbit)] for orbit in range(n_orbits))

    def kept(
        self, species: Sequence[str], composition: Mapping[str, int], n_cells: int
    ) -> list[Kept]:
        """Return how many atoms of each species that is kept each orbit holds.

        The whole numbers whose distances from the refined ones have the smallest sum, under the
        composition and the number of sites.

        Parameters
        ----------
        species
            What is kept.
        composition
            Atoms of each species in the supercell.
        n_cells
            Cells in it.

        Raises
        ------
        InputError
            When a species is not there, or the composition does not fit the sites.
        """
        missing = sorted(set(species) - set(composition))
        if missing:
            raise InputError(
                "keep_occupancies or sqs names what the parent does not have",
                fix=f"name some of {', '.join(sorted(composition))}",
                found=", ".join(missing),
            )
        first = {orbit: self.number.index(orbit) for orbit in dict.fromkeys(self.number)}
        places = [(o, s) for o, i in first.items() for s in self.options[i] if s != VACANCY]
        n_sites = np.array([n_cells * self.number.count(orbit) for orbit, _ in places], dtype=float)
        refined = np.array([self.shares[first[o]].get(s, 0.0) for o, s in places])
        weights = np.array([float(s in species) for _, s in places])
        atoms = _nearest(
            places, n_sites, refined * n_sites, weights, self._limits(composition, n_cells)
        )
        return [
            Kept(o, self.labels[first[o]], s, int(n), int(m), float(share))
            for (o, s), n, m, share in zip(places, atoms, n_sites, refined, strict=True)
            if s in species
        ]

    def _limits(
        self, composition: Mapping[str, int], n_cells: int
    ) -> dict[Hashable, tuple[float, float]]:
        """Return species and orbits -> the fewest and the most atoms."""
        limits: dict[Hashable, tuple[float, float]] = {s: (n, n) for s, n in composition.items()}
        for orbit in dict.fromkeys(self.number):
            n_sites = n_cells * self.number.count(orbit)
            allowed = self.options[self.number.index(orbit)]
            fewest = 0 if VACANCY in allowed or not allowed else n_sites
            limits[orbit] = (fewest, n_sites)
        return limits

    def named(
        self, kept: Sequence[Kept], composition: Mapping[str, int]
    ) -> tuple[list[tuple[str, ...]], dict[str, int]]:
        """Return options and composition with a name of its own for a species on each orbit."""
        names = {(each.orbit, each.species): f"{each.species}{_AT}{each.orbit}" for each in kept}
        options = [
            tuple(names.get((orbit, s), s) for s in allowed)
            for orbit, allowed in zip(self.number, self.options, strict=True)
        ]
        rest = {s: n for s, n in composition.items() if s not in {each.species for each in kept}}
        return options, rest | {names[each.orbit, each.species]: each.n_atoms for each in kept}


def element_of(name: str) -> str:
    """Return the species of a name that `Orbits.named` gave."""
    return name.partition(_AT)[0]


def _nearest(
    places: Sequence[tuple[int, str]],
    most: Floats,
    wanted: Floats,
    weights: Floats,
    limits: Mapping[Hashable, tuple[float, float]],
) -> Floats:
    """Return the whole numbers of atoms (p,) nearest to those that are wanted."""
    # a tenth of the start of every command
    from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: PLC0415

    n = len(places)
    rows = list(limits)
    member = np.array([[float(row in place) for place in places] for row in rows])
    identity = np.eye(n)
    low, high = np.array([limits[row] for row in rows]).T
    constraints = [
        LinearConstraint(np.hstack([member, np.zeros_like(member)]), low, high),
        LinearConstraint(np.hstack([identity, -identity]), -np.inf, wanted),  # n - d <= wanted
        LinearConstraint(np.hstack([identity, identity]), wanted, np.inf),  # n + d >= wanted
    ]
    found = milp(
        np.concatenate([np.zeros(n), weights]),
        constraints=constraints,
        bounds=Bounds(np.zeros(2 * n), np.concatenate([most, np.full(n, np.inf)])),
        integrality=np.concatenate([np.ones(n), np.zeros(n)]),
    )
    if found.x is None:
        raise InputError(
            "the composition does not fit the sites whose mixing is kept",
            fix="name fewer species in keep_occupancies, or take another supercell",
        )
    return np.asarray(np.rint(found.x[:n]), dtype=np.float64)

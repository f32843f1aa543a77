"""A disordered parent as a colouring problem on the free sites of a supercell.

Rounding is done once, on the composition of the whole supercell: an occupancy only says
which species a site may hold. The symmetry is that of the full parent as refined; label
and occupancies distinguish its orbits.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.csgraph import connected_components

from lycb_flows.config import EnumerationConfig, Supercell
from lycb_flows.crystals.enumeration.colourings import Bools, Colourings, Ints
from lycb_flows.crystals.enumeration.sites import (
    VACANCY,
    SiteModel,
    SiteSymmetry,
    forbidden_slots,
    supercell_symmetry,
)
from lycb_flows.crystals.structures import DisorderedCrystal
from lycb_flows.errors import InputError
from lycb_flows.schemas import DroppedOccupant

SYMPREC_ANG = 0.01
"""Special positions in a CIF carry at least three decimals."""
OCCUPANCY_TOLERANCE = 1e-3
"""A refined occupancy has three digits; per site."""


def parent_cell(parent: DisorderedCrystal, config: EnumerationConfig) -> DisorderedCrystal:
    """Return the parent in the cell whose multiples are enumerated.

    Parameters
    ----------
    parent
        The disordered crystal.
    config
        Its `cell` decides.
    """
    return parent.primitive() if config.cell == "primitive" else parent


@dataclass(frozen=True, eq=False)
class DisorderedCell:
    """A supercell as a colouring problem on its free sites."""

    model: SiteModel
    problem: Colourings
    symmetry: SiteSymmetry
    dropped: tuple[DroppedOccupant, ...]


def disordered_cell(parent: DisorderedCrystal, config: EnumerationConfig) -> DisorderedCell:
    """Return the colouring problem of a parent in a supercell.

    Parameters
    ----------
    parent
        The disordered crystal.
    config
        The supercell and the rules, with the threshold of minor occupants.

    Raises
    ------
    InputError
        When the composition does not fit the supercell, or a species has no site.
    """
    parent = parent_cell(parent, config)
    occupancies = _occupancies(parent)
    composition = _composition(occupancies, config.supercell)
    options, dropped = _options(parent, occupancies, config)
    colours, allowed, counts = _colours(options, composition, math.prod(config.supercell))
    lattice, coords = parent.structure.lattice.matrix, parent.structure.frac_coords
    symmetry = supercell_symmetry(
        lattice, coords, _kinds(parent, occupancies, options), config.supercell, SYMPREC_ANG
    )
    shape = np.array(config.supercell)
    cells = np.indices(config.supercell).reshape(3, -1).T
    site_coords = ((coords[:, None] + cells[None]) / shape).reshape(-1, 3)
    allowed = np.repeat(allowed, len(cells), axis=0)
    usable = np.flatnonzero(allowed.any(axis=1))
    allowed, symmetry = allowed[usable], symmetry.on(usable)
    model = SiteModel(
        lattice * shape[:, None], site_coords[usable], colours, allowed.argmax(axis=1), usable
    )
    conflicts = forbidden_slots(model, allowed, symmetry.permutations, config.forbidden_pairs)
    allowed = _settled(allowed, counts, conflicts, colours)
    is_free = allowed.sum(axis=1) > 1
    free, fixed = np.flatnonzero(is_free), allowed.argmax(axis=1)
    taken = np.bincount(fixed[~is_free], minlength=len(colours))
    slots = (free[:, None] * len(colours) + np.arange(len(colours))).ravel()
    symmetry = symmetry.on(free)
    problem = Colourings(
        allowed=allowed[free],
        counts=tuple((np.array(counts) - taken).tolist()),
        permutations=symmetry.permutations,
        conflicts=_among(conflicts, slots, allowed[free]),
        weights=np.ones(len(free), dtype=np.int64),
    )
    return DisorderedCell(replace(model, fixed=fixed, free=free), problem, symmetry, dropped)


def _occupancies(parent: DisorderedCrystal) -> list[dict[str, float]]:
    """Return element -> occupancy of each site; oxidation states of an element are one species."""
    found = []
    for site in parent.structure:
        shares: dict[str, float] = {}
        for species, share in site.species.items():
            shares[species.symbol] = shares.get(species.symbol, 0.0) + float(share)
        found.append({symbol: share for symbol, share in shares.items() if share > 0})
    return found


def _composition(occupancies: list[dict[str, float]], supercell: Supercell) -> dict[str, int]:
    """Return the atoms of each species in the supercell: the refined formula, an exact multiple.

    Raises
    ------
    InputError
        When the refined sums, within their own precision, are whole numbers only in
        another supercell.
    """
    n_cells = math.prod(supercell)
    n_sites = Counter(species for shares in occupancies for species in shares)
    sums = {s: sum(shares.get(s, 0.0) for shares in occupancies) for s in n_sites}
    per_cell = {s: _simplest(n, OCCUPANCY_TOLERANCE * n_sites[s]) for s, n in sums.items()}
    multiple = math.lcm(*(n.denominator for n in per_cell.values()))
    if n_cells % multiple:
        refined = " ".join(f"{s}{n:.6g}" for s, n in sorted(sums.items()))
        raise InputError(
            "the composition cannot be made commensurate with this supercell",
            fix=f"use a multiple of {multiple} unit cells, or refine the occupancies in the CIF",
            supercell="x".join(map(str, supercell)),
            found=refined,
        )
    return {s: int(n * n_cells) for s, n in per_cell.items()}


def _simplest(value: float, tolerance: float) -> Fraction:
    """Return the positive fraction of smallest denominator within the tolerance of a value."""
    denominator = 1
    while True:
        numerator = round(value * denominator)
        if numerator and abs(value - numerator / denominator) <= tolerance:
            return Fraction(numerator, denominator)
        denominator += 1


def _options(
    parent: DisorderedCrystal, occupancies: list[dict[str, float]], config: EnumerationConfig
) -> tuple[list[tuple[str, ...]], tuple[DroppedOccupant, ...]]:
    """Return the species (or vacancy, last) that each site may hold, and the occupants left out."""
    by_hand = config.allowed_species or {}
    known = {VACANCY, *(s for shares in occupancies for s in shares)}
    unknown = sorted(by_hand.keys() - set(parent.site_labels))
    unknown += sorted({s for allowed in by_hand.values() for s in allowed} - known)
    if unknown:
        raise InputError(
            "allowed_species names what the parent does not have",
            fix=f"labels are {', '.join(dict.fromkeys(parent.site_labels))}",
            found=", ".join(unknown),
        )
    options, dropped = [], {}
    for label, shares in zip(parent.site_labels, occupancies, strict=True):
        kept = {s for s, share in shares.items() if share >= (config.min_occupancy or 0.0)}
        if sum(shares.values()) < 1 - OCCUPANCY_TOLERANCE:
            kept.add(VACANCY)
        kept = set(by_hand.get(label, kept))
        options.append(() if kept == {VACANCY} else tuple(sorted(kept, key=_vacancy_last)))
        for species in sorted(shares.keys() - kept):
            dropped[label, species] = DroppedOccupant(
                site_label=label, species=species, occupancy=shares[species]
            )
    return options, tuple(dropped.values())


def _vacancy_last(species: str) -> tuple[bool, str]:
    return species == VACANCY, species


def _kinds(
    parent: DisorderedCrystal,
    occupancies: list[dict[str, float]],
    options: list[tuple[str, ...]],
) -> list[tuple[object, ...]]:
    """Return what distinguishes orbits: label, occupancies, options.

    Labels that are all different name sites, not orbits (a CIF written in P1).
    """
    labels = parent.site_labels
    if len(set(labels)) == len(labels):
        labels = ("",) * len(labels)
    shares = [tuple(sorted((s, round(n, 5)) for s, n in o.items())) for o in occupancies]
    return list(zip(labels, shares, options, strict=True))


def _colours(
    options: list[tuple[str, ...]], composition: dict[str, int], n_cells: int
) -> tuple[tuple[str, ...], Bools, tuple[int, ...]]:
    """Return colours, allowed (n_sites of the unit cell, c), and counts in the supercell.

    Sites that share species are a sublattice; each has vacancies of its own, the last colours.
    """
    species = sorted(composition)
    holds = np.array([[s in allowed for s in species] for allowed in options])
    homeless = [s for s, held in zip(species, holds.T, strict=True) if not held.any()]
    if homeless:
        raise InputError(
            "a species has no site left",
            fix="lower min_occupancy, or allow it somewhere by allowed_species",
            found=", ".join(homeless),
        )
    open_sites = np.array([len(allowed) > 1 for allowed in options])
    link = csr_array((holds & open_sites[:, None]).astype(float))
    _, group = connected_components(link.T @ link, directed=False)
    names, columns, counts = list(species), list(holds.T), [composition[s] for s in species]
    closed = n_cells * (holds & ~open_sites[:, None]).sum(axis=0)
    for number in dict.fromkeys(group.tolist()):
        inside = (holds[:, group == number]).any(axis=1) & open_sites
        vacancy = inside & [VACANCY in allowed for allowed in options]
        if vacancy.any():
            atoms = (np.array(counts[: len(species)]) - closed)[group == number].sum()
            names.append(VACANCY)
            columns.append(vacancy)
            counts.append(int(n_cells * inside.sum() - atoms))
    return tuple(names), np.array(columns).T, tuple(counts)


def _settled(
    allowed: Bools, counts: tuple[int, ...], conflicts: csr_array, colours: tuple[str, ...]
) -> Bools:
    """Return what the counts and the fixed sites leave allowed, (n, c).

    Raises
    ------
    InputError
        When a species finds too few or too many sites.
    """
    allowed = allowed & (conflicts.diagonal() == 0).reshape(allowed.shape)
    while True:
        before = allowed.copy()
        sure = allowed & (allowed.sum(axis=1) == 1)[:, None]
        allowed &= (conflicts @ sure.ravel().astype(float)).reshape(allowed.shape) == 0
        for colour, count in enumerate(counts):
            may = allowed[:, colour].copy()
            must = may & (allowed.sum(axis=1) == 1)
            if not must.sum() <= count <= may.sum():
                raise InputError(
                    "the composition does not fit the sites that are left",
                    fix="lower min_occupancy, or change allowed_species or forbidden_pairs",
                    species=colours[colour],
                    wanted=count,
                    sites=f"{must.sum()} to {may.sum()}",
                )
            if count == may.sum():
                allowed[may] = np.arange(len(counts)) == colour
            elif count == must.sum():
                allowed[~must, colour] = False
        if np.array_equal(allowed, before):
            return allowed


def _among(conflicts: csr_array, slots: Ints, allowed: Bools) -> csr_array:
    """Return the conflicts among some slots, as far as they are still allowed."""
    still = diags_array(allowed.ravel().astype(float))
    return (still @ conflicts[slots][:, slots] @ still).tocsr()

"""A disordered parent as a colouring problem on the free sites of a supercell.

Rounding is done once, on the composition of the whole supercell: an occupancy only says
which species a site may hold. The symmetry is that of the full parent as refined; label
and occupancies distinguish its orbits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.csgraph import connected_components

from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals.distances import element_shares, filled_in
from lycb_flows.crystals.enumeration.colourings import Bools, Colourings, Ints
from lycb_flows.crystals.enumeration.compositions import (
    OCCUPANCY_TOLERANCE,
    nearest_compositions,
    refined_composition,
)
from lycb_flows.crystals.enumeration.site_mixing import (
    Kept,
    Orbits,
    element_of,
    pairs_with_substitutes,
    shares_of,
    with_substitutes,
)
from lycb_flows.crystals.enumeration.sites import (
    VACANCY,
    SiteModel,
    SiteSymmetry,
    forbidden_slots,
    nearest_excluded,
    supercell_symmetry,
)
from lycb_flows.crystals.structures import DisorderedCrystal, parent_cell
from lycb_flows.errors import InputError
from lycb_flows.schemas import DroppedOccupant

SYMPREC_ANG = 0.01
"""Special positions in a CIF carry at least three decimals."""


def supercell_text(config: EnumerationConfig) -> str:
    """Return the supercell of a config as people write it."""
    multiples = "x".join(map(str, config.supercell))
    if config.matrix is None:
        return multiples
    rows = " / ".join(" ".join(map(str, row)) for row in config.matrix)
    return rows if multiples == "1x1x1" else f"{multiples} of {rows}"


@dataclass(frozen=True, eq=False)
class DisorderedCell:
    """A supercell as a colouring problem on its free sites.

    Attributes
    ----------
    kinds
        Number of each free site's crystallographic site, (f,).
    kind_labels
        Labels of the crystallographic sites in the CIF.
    """

    model: SiteModel
    problem: Colourings
    symmetry: SiteSymmetry
    dropped: tuple[DroppedOccupant, ...]
    kinds: Ints
    kind_labels: tuple[str, ...]


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
    config, parent = filled_in(parent, config), parent_cell(parent, config)
    orbits, kinds, dropped = _orbits(parent, config)
    colours, allowed, counts = _coloured(parent, config, orbits)
    lattice, coords = parent.structure.lattice.matrix, parent.structure.frac_coords
    symmetry = supercell_symmetry(
        lattice, coords, kinds, config.supercell, config.symprec_ang or SYMPREC_ANG
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
    pairs = pairs_with_substitutes(config)
    conflicts = forbidden_slots(model, allowed, symmetry.permutations, pairs)
    allowed = _settled(allowed, counts, conflicts, model)
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
    return DisorderedCell(
        model=replace(model, fixed=fixed, free=free),
        problem=problem,
        symmetry=symmetry,
        dropped=dropped,
        kinds=np.repeat(orbits.number, len(cells))[usable][free],
        kind_labels=orbits.first_labels,
    )


def _coloured(
    parent: DisorderedCrystal, config: EnumerationConfig, orbits: Orbits
) -> tuple[tuple[str, ...], Bools, tuple[int, ...]]:
    """Return the colours of a cell's sites, allowed (n, c), and counts in the supercell."""
    composition, n_cells = composition_of(parent, config), math.prod(config.supercell)
    options = orbits.options
    if config.kept_species:
        kept = orbits.kept(config.kept_species, composition, n_cells)
        options, composition = orbits.named(kept, composition)
    colours, allowed, counts = _colours(options, composition, n_cells)
    return tuple(map(element_of, colours)), allowed, counts


def _orbits(
    parent: DisorderedCrystal, config: EnumerationConfig
) -> tuple[Orbits, list[tuple[object, ...]], tuple[DroppedOccupant, ...]]:
    """Return the orbits of a cell, what distinguishes its sites, and the occupants left out."""
    options, dropped = _options(parent, element_shares(parent.structure), config)
    shares = shares_of(parent, config)
    options = with_substitutes(options, config, shares)
    kinds = _kinds(parent, shares, options)
    return Orbits.of(kinds, parent.site_labels, shares, options), kinds, dropped


def kept_mixing(
    cell: DisorderedCrystal, config: EnumerationConfig, composition: Mapping[str, int], n_cells: int
) -> list[Kept]:
    """Return how many atoms each crystallographic site holds of species whose mixing is kept.

    Parameters
    ----------
    cell
        The parent in the cell whose multiples are enumerated.
    config
        Its `keep_occupancies` and `sqs` decide.
    composition
        Atoms of each species in the supercell.
    n_cells
        Cells in it.

    Raises
    ------
    InputError
        When the composition does not fit.
    """
    orbits, _, _ = _orbits(cell, filled_in(cell, config))
    return orbits.kept(config.kept_species, composition, n_cells)


def composition_of(cell: DisorderedCrystal, config: EnumerationConfig) -> dict[str, int]:
    """Return the atoms of each species in the supercell, as the config wants them.

    Parameters
    ----------
    cell
        The parent in the cell whose multiples are enumerated.
    config
        Its `composition` decides: given, nearest, or as refined.

    Raises
    ------
    InputError
        When the refined composition does not fit, or the given one names other species.
    """
    shares, n_cells = shares_of(cell, config), math.prod(config.supercell)
    if config.composition is None:
        return refined_composition(shares, n_cells, supercell_text(config))
    if config.composition == "nearest":
        near = nearest_compositions(shares, n_cells, config.charges)
        if near:
            return dict(near[0].atoms)
        return refined_composition(shares, n_cells, supercell_text(config))
    species = {s for site in shares for s in site}
    if set(config.composition) != species:
        raise InputError(
            "the composition names other species than the parent has",
            fix=f"give the atoms of {', '.join(sorted(species))} in the supercell",
            found=", ".join(sorted(config.composition)) or "none",
        )
    return dict(config.composition)


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
        kept |= shares.keys() & set(config.kept_species)
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
    allowed: Bools, counts: tuple[int, ...], conflicts: csr_array, model: SiteModel
) -> Bools:
    """Return what the counts and the fixed sites leave allowed, (n, c).

    Raises
    ------
    InputError
        When a species finds too few or too many sites.
    """
    initial, colours = allowed, model.colours
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
                    **nearest_excluded(model, initial, conflicts),
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

"""The sites of a supercell: their symmetry, their neighbours, and structures made on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import spglib
from ase.neighborlist import primitive_neighbor_list
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lycb_flows.config import ForbiddenPair, Supercell
from lycb_flows.crystals.enumeration.colourings import Bools, Ints
from lycb_flows.crystals.structures import structure_from_arrays
from lycb_flows.errors import InputError
from lycb_flows.schemas import Structure

Floats = NDArray[np.float64]
VACANCY = "vacancy"


@dataclass(frozen=True, eq=False)
class SiteSymmetry:
    """The symmetry operations of a cell that keep a supercell, as permutations of its sites.

    Attributes
    ----------
    permutations
        (g, n): site i goes to site `permutations[k, i]`; lattice translations included.
    rotations
        (g, 3, 3): the rotation of each, in the cell's fractional coordinates.
    """

    permutations: Ints
    rotations: Ints

    def on(self, sites: Ints) -> SiteSymmetry:
        """Return the group as it acts on some of the sites, each permutation once."""
        index = np.full(self.permutations.shape[1], -1)
        index[sites] = np.arange(len(sites))
        acting = index[self.permutations[:, sites]]
        distinct, first = np.unique(acting, axis=0, return_index=True)
        return SiteSymmetry(distinct, self.rotations[first])


def supercell_symmetry(
    lattice_ang: Floats,
    frac_coords: Floats,
    kinds: Sequence[Hashable],
    supercell: Supercell,
    symprec_ang: float,
) -> SiteSymmetry:
    """Return the symmetry of a cell with n sites, acting on the sites of a supercell.

    Site s of cell (i, j, k) is number `s * n_cells + (i * nb + j) * nc + k`.

    Parameters
    ----------
    lattice_ang
        Rows a, b, c of the cell in Å, (3, 3).
    frac_coords
        Sites of the cell, (n, 3).
    kinds
        Kind of each site; symmetry maps a site onto sites of its kind only.
    supercell
        Multiples na, nb, nc of a, b, c.
    symprec_ang
        How far a site may lie from its image, in Å.

    Raises
    ------
    InputError
        When no symmetry can be found, e.g. because sites coincide.
    """
    if not (np.isfinite(lattice_ang).all() and np.isfinite(frac_coords).all()):
        # spglib would end the process
        raise InputError("a cell or a site that is not finite", fix="check the crystal")
    kind = {name: number for number, name in enumerate(dict.fromkeys(kinds))}
    types = np.array([kind[name] for name in kinds])
    cell = (lattice_ang.tolist(), frac_coords.tolist(), types.tolist())
    try:
        found = spglib.get_symmetry(cell, symprec=symprec_ang)
    except spglib.SpglibError:  # what spglib will do by default; today it returns None
        found = None
    if found is None:
        raise InputError("no symmetry found", fix="check the CIF for sites that coincide")
    shape = np.array(supercell)
    cells = np.indices(supercell).reshape(3, -1).T
    permutations, rotations = [], []
    for rotation, shift in zip(found["rotations"], found["translations"], strict=True):
        if (rotation * shape % shape[:, None]).any():  # the superlattice is not kept
            continue
        image, hop = _site_map(lattice_ang, frac_coords, types, (rotation, shift))
        moved = (cells @ rotation.T)[None] + hop[:, None]
        for translation in cells:
            flat = np.ravel_multi_index(((moved + translation) % shape).T, supercell).T
            permutations.append((image[:, None] * len(cells) + flat).ravel())
            rotations.append(rotation)
    return SiteSymmetry(np.array(permutations, dtype=np.int64), np.array(rotations))


def _site_map(
    lattice_ang: Floats, frac_coords: Floats, types: Ints, operation: tuple[Ints, Floats]
) -> tuple[Ints, Ints]:
    """Return the image site (n,) and the lattice vector (n, 3) of each site under an operation."""
    rotation, shift = operation
    gap = (frac_coords @ rotation.T + shift)[:, None] - frac_coords[None]
    hops = np.rint(gap)
    distance_ang = np.linalg.norm((gap - hops) @ lattice_ang, axis=-1)
    distance_ang[types[:, None] != types[None]] = np.inf
    image = distance_ang.argmin(axis=1)
    return image, hops[np.arange(len(image)), image].astype(np.int64)


@dataclass(frozen=True, eq=False)
class SiteModel:
    """A supercell whose sites are fixed or free, ready to become structures.

    Attributes
    ----------
    lattice_ang
        Rows a, b, c of the supercell, (3, 3).
    frac_coords
        All sites that anything may occupy, (n, 3).
    colours
        Species (or "vacancy") of each colour number.
    fixed
        Colour number of each site, (n,); any number at free sites.
    free
        The free sites, (f,), in the order of the bits of a mask.
    """

    lattice_ang: Floats
    frac_coords: Floats
    colours: tuple[str, ...]
    fixed: Ints
    free: Ints

    def composition(self, free_counts: Sequence[int]) -> dict[str, int]:
        """Return the number of atoms of each species, given how many free sites have a colour."""
        atoms = Counter(np.array(self.colours)[np.delete(self.fixed, self.free)].tolist())
        for name, count in zip(self.colours, free_counts, strict=False):  # the rest is fixed
            atoms[name] += count
        return {name: count for name, count in atoms.items() if count and name != VACANCY}

    def structure(self, free_colours: Ints) -> Structure:
        """Return the ordered crystal whose free sites have these colours (f,)."""
        colours = self.fixed.copy()
        colours[self.free] = free_colours
        symbols = [self.colours[colour] for colour in colours.tolist()]
        taken = [index for index, symbol in enumerate(symbols) if symbol != VACANCY]
        return structure_from_arrays(
            self.lattice_ang, [symbols[index] for index in taken], self.frac_coords[taken]
        )


def forbidden_slots(
    model: SiteModel, allowed: Bools, permutations: Ints, pairs: Sequence[ForbiddenPair]
) -> csr_array:
    """Return the (site, species) pairs that are closer than allowed, periodic images included.

    Distances that the symmetry makes equal may differ in the last digits, so a pair is
    forbidden when any of its images is.

    Parameters
    ----------
    model
        The supercell with n sites and c colours.
    allowed
        Which colours each site may have, (n, c).
    permutations
        The group, (g, n).
    pairs
        Species and their smallest distances.

    Returns
    -------
    csr_array
        Shape (n*c, n*c), non-zero where a pair is forbidden.
    """
    n_sites, n_colours = allowed.shape
    slots = csr_array((n_sites * n_colours,) * 2)
    for pair in pairs:
        first, second = (
            [k for k, name in enumerate(model.colours) if name == species]
            for species in pair.species
        )
        if not first or not second:
            continue
        source, target = primitive_neighbor_list(
            "ij",
            (True, True, True),
            model.lattice_ang,
            model.frac_coords @ model.lattice_ang,
            pair.min_distance_ang,
        )
        images = np.unique(
            permutations[:, source].astype(np.int64) * n_sites + permutations[:, target]
        )
        source, target = np.divmod(images, n_sites)
        for a, b in {*product(first, second), *product(second, first)}:
            both = allowed[source, a] & allowed[target, b]
            rows, columns = source[both] * n_colours + a, target[both] * n_colours + b
            slots += csr_array((np.ones(len(rows)), (rows, columns)), shape=slots.shape)
    return slots


def nearest_excluded(model: SiteModel, allowed: Bools, conflicts: csr_array) -> dict[str, str]:
    """Return the pair of species and sites that exclude each other at the smallest distance.

    Parameters
    ----------
    model
        The supercell with n sites and c colours.
    allowed
        Which colours each site may have, (n, c).
    conflicts
        From `forbidden_slots`.

    Returns
    -------
    dict
        A fact for a message; empty when nothing is excluded.
    """
    first, second = conflicts.nonzero()
    taken = allowed.ravel()[first] & allowed.ravel()[second]
    first, second = first[taken], second[taken]
    if not len(first):
        return {}
    n_colours = allowed.shape[1]
    gap = model.frac_coords[first // n_colours] - model.frac_coords[second // n_colours]
    distance = np.linalg.norm((gap - np.rint(gap)) @ model.lattice_ang, axis=1)
    distance[first // n_colours == second // n_colours] = np.linalg.norm(
        model.lattice_ang, axis=1
    ).min()
    k = int(distance.argmin())
    names = (model.colours[first[k] % n_colours], model.colours[second[k] % n_colours])
    place = " ".join(f"{x:.3f}" for x in model.frac_coords[first[k] // n_colours])
    return {"nearest_excluded_pair": f"{'-'.join(names)} {distance[k]:.2f} Å apart, at {place}"}

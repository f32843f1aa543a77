"""The sites of the mobile ion in the simulation cell, from a parent and from the density.

A parent's sites are taken over, each moved to the middle of the ions that are seen around it.
Peaks of the density that lie elsewhere become sites as well. The anions around a site say what
it is: octahedral, tetrahedral, or else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from pymatgen.core.periodic_table import Element
from scipy.ndimage import map_coordinates, maximum_filter
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from lycb_flows.errors import InputError
from lycb_flows.transport.density import DensityGrid, Floats, Ints

MIN_SEPARATION_ANG = 1.2
"""Sites closer than this are the same; face-sharing octahedra and tetrahedra are 2 Å apart."""
SMOOTHING_ANG = 0.25
MIN_PEAK = 1.0
"""A peak below the mean density of the cell is no site; a full site is some sixty times it."""
MAX_SADDLE = 0.7
"""A peak is one of its own if the density falls to this share of it on the way to the next."""
MIN_SIGMAS = 4.0
"""A peak must rise above its saddle by so many standard deviations of the counts."""
_NEIGHBOURHOOD_ANG = 3.5
_MAX_CENTRING_ANG = 0.8
_N_CENTRINGS = 3
_N_ON_THE_WAY = 15
_ANION_ELECTRONEGATIVITY = 2.5
_MAX_COORDINATION = 8
_SHAPES = {4: "tetrahedral", 6: "octahedral"}
_IMAGES = np.array(list(product((-1, 0, 1), repeat=3)))


@dataclass(frozen=True, eq=False)
class Polyhedron:
    """The anions around a site: their numbers (n,) and the cells (n, 3) that they are in."""

    anions: Ints
    images: Ints

    @property
    def shape(self) -> str:
        """What the site is called by the number of its anions."""
        return _SHAPES.get(len(self.anions), f"{len(self.anions)}-fold")

    def shared(self, other: Polyhedron, image: Ints) -> int:
        """Return how many anions this polyhedron shares with another.

        Parameters
        ----------
        other
            The other polyhedron.
        image
            The cell that the other stands in, (3,).
        """
        mine = np.column_stack([self.anions, self.images]).tolist()
        others = np.column_stack([other.anions, other.images + image]).tolist()
        return len(set(map(tuple, mine)) & set(map(tuple, others)))


@dataclass(frozen=True, eq=False)
class SiteSet:
    """The sites of the mobile ion in a cell.

    Attributes
    ----------
    lattice_ang
        Rows a, b, c of the cell, (3, 3).
    frac_coords
        Middle of each site, (n, 3), in [0, 1).
    labels
        The orbit of each site: the parent's label, or what the density shows.
    from_parent
        Whether each site is the parent's, (n,).
    polyhedra
        The anions around each.
    """

    lattice_ang: Floats
    frac_coords: Floats
    labels: tuple[str, ...]
    from_parent: tuple[bool, ...]
    polyhedra: tuple[Polyhedron, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def nearest_ang(self) -> Floats:
        """The distance of each site to the nearest other one, images included, (n,)."""
        tree, _ = site_tree(self.lattice_ang, self.frac_coords)
        found, _ = tree.query(self.frac_coords @ self.lattice_ang, k=2)
        nearest: Floats = found[:, 1]
        return nearest


def site_tree(lattice_ang: Floats, frac_coords: Floats) -> tuple[cKDTree, Ints]:
    """Return a tree of sites in a cell and its 26 neighbours, and which site each point is.

    Parameters
    ----------
    lattice_ang
        Rows a, b, c, (3, 3).
    frac_coords
        The sites, (n, 3), in [0, 1).
    """
    images = (frac_coords[None] + _IMAGES[:, None]).reshape(-1, 3)
    return cKDTree(images @ lattice_ang), np.tile(np.arange(len(frac_coords)), len(_IMAGES))


def find_sites(
    grid: DensityGrid,
    parent_sites: tuple[Floats, Sequence[str]] | None = None,
) -> SiteSet:
    """Return the parent's sites and those that only the density shows.

    Parameters
    ----------
    grid
        The density in the simulation cell.
    parent_sites
        Fractional coordinates (n, 3) and labels of the parent's sites in the same cell; None
        when no parent is known, which leaves the density alone.

    Raises
    ------
    InputError
        When there is no site at all.
    """
    coords: Floats = np.empty((0, 3))
    labels: list[str] = []
    if parent_sites is not None:
        coords, labels = _merged(grid.lattice_ang, parent_sites[0] % 1.0, list(parent_sites[1]))
        coords = _centred(grid, coords)
    n_parent = len(labels)
    found = _peaks(grid, coords)
    coords = np.concatenate([coords, found]) % 1.0
    if not len(coords):
        raise InputError("the density shows no site", fix="give more frames", frames=grid.n_frames)
    around = polyhedra(grid, coords)
    labels += [shape.shape for shape in around[n_parent:]]
    from_parent = tuple(i < n_parent for i in range(len(coords)))
    return SiteSet(grid.lattice_ang, coords, tuple(labels), from_parent, around)


def relabelled(sites: SiteSet, labels: Sequence[str]) -> SiteSet:
    """Return the same sites under other labels.

    Parameters
    ----------
    sites
        The sites.
    labels
        The orbit of each.
    """
    return replace(sites, labels=tuple(labels))


def differences(first: Floats, second: Floats, lattice_ang: Floats) -> Floats:
    """Return Cartesian vectors from each first point to each second, nearest images, (n, m, 3).

    Parameters
    ----------
    first, second
        Fractional coordinates, (n, 3) and (m, 3).
    lattice_ang
        Rows a, b, c, (3, 3).
    """
    gap = second[None] - first[:, None]
    nearest: Floats = (gap - np.rint(gap)) @ lattice_ang
    return nearest


def _merged(lattice_ang: Floats, coords: Floats, labels: list[str]) -> tuple[Floats, list[str]]:
    """Return sites of which those too close to be told apart are one, under joined labels."""
    distance = np.linalg.norm(differences(coords, coords, lattice_ang), axis=2)
    n_groups, group = connected_components(csr_array(distance < MIN_SEPARATION_ANG), directed=False)
    middles, names = np.empty((n_groups, 3)), []
    for number in range(n_groups):
        members = np.flatnonzero(group == number)
        gap = coords[members] - coords[members[0]]
        middles[number] = coords[members[0]] + (gap - np.rint(gap)).mean(axis=0)
        names.append("+".join(sorted({labels[i] for i in members})))
    return middles, names


def _centred(grid: DensityGrid, coords: Floats) -> Floats:
    """Return sites moved to the mean position of the ions around them.

    What lies closer to another site does not count. A site that nothing visits stays.
    """
    filled = np.argwhere(grid.counts) / grid.counts.shape
    weight = grid.counts[grid.counts > 0].astype(float)
    centred = coords.copy()
    for _ in range(_N_CENTRINGS if len(coords) else 0):
        tree, owner = site_tree(grid.lattice_ang, centred % 1.0)
        distance, index = tree.query(filled @ grid.lattice_ang, distance_upper_bound=1.0)
        near = np.flatnonzero(np.isfinite(distance))
        site = owner[index[near]]
        gap = filled[near] - centred[site]
        gap -= np.rint(gap)
        total = np.bincount(site, weight[near], len(coords))
        moved = (
            np.stack([np.bincount(site, weight[near] * g, len(coords)) for g in gap.T], axis=1)
            / np.maximum(total, 1.0)[:, None]
        )
        shift = centred + moved - coords
        length = np.linalg.norm(shift @ grid.lattice_ang, axis=1, keepdims=True)
        centred = coords + shift * np.minimum(1.0, _MAX_CENTRING_ANG / np.maximum(length, 1e-9))
    return centred


# -- peaks of the density ------------------------------------------------------------------------


def _peaks(grid: DensityGrid, known: Floats) -> Floats:
    """Return the peaks of the density that are no known site, the highest first, (n, 3)."""
    density = grid.smoothed(SMOOTHING_ANG)
    is_peak = (density == maximum_filter(density, 3, mode="wrap")) & (
        density > MIN_PEAK * grid.n_ions / grid.volume_ang3
    )
    candidates = np.argwhere(is_peak)
    height = density[is_peak]
    accepted = known
    for index in np.argsort(-height, kind="stable"):
        point = candidates[index] / density.shape
        if _is_separate(grid, density, point, accepted):
            accepted = np.concatenate([accepted, point[None]])
    return _centred(grid, accepted)[len(known) :]


def _is_separate(grid: DensityGrid, density: Floats, point: Floats, accepted: Floats) -> bool:
    """Return whether a peak stands apart from the accepted sites: by distance, and by a valley."""
    if not len(accepted):
        return True
    away = differences(point[None], accepted, grid.lattice_ang)[0]
    distance = np.linalg.norm(away, axis=1)
    if distance.min() < MIN_SEPARATION_ANG:
        return False
    top = _values(density, point[None])[0]
    inverse = np.linalg.inv(grid.lattice_ang)
    steps = np.linspace(0, 1, _N_ON_THE_WAY)[:, None]
    ways = [point + steps * (vector @ inverse) for vector in away[distance < _NEIGHBOURHOOD_ANG]]
    saddle = max((_values(density, way).min() for way in ways), default=0.0)
    # frames whose ions contribute to a value of the smoothed density
    per_density = grid.n_frames * (2 * np.sqrt(np.pi) * SMOOTHING_ANG) ** 3
    sigma = np.sqrt((top + saddle) * per_density)
    rises = (top - saddle) * per_density > MIN_SIGMAS * sigma
    return bool(rises and saddle < MAX_SADDLE * top)


def _values(density: Floats, points: Floats) -> Floats:
    where = (points * density.shape).T
    values: Floats = map_coordinates(density, where, order=1, mode="grid-wrap")
    return values


# -- anions --------------------------------------------------------------------------------------


def anion_species(framework_species: Sequence[str]) -> set[str]:
    """Return the elements of a framework that are anions.

    These are the elements with a Pauling electronegativity of 2.5 or more (S, Se, halogens, N,
    O); where there is none, the most electronegative.
    """
    strength = {name: float(Element(name).X) for name in set(framework_species)}
    anions = {name for name, value in strength.items() if value >= _ANION_ELECTRONEGATIVITY}
    return anions or {max(strength, key=lambda name: (strength[name], name))}


def polyhedra(grid: DensityGrid, coords: Floats) -> tuple[Polyhedron, ...]:
    """Return the anions around each site, as many as stand before the widest gap in distance.

    Parameters
    ----------
    grid
        Knows the framework.
    coords
        Fractional coordinates of the sites, (n, 3).
    """
    wanted = anion_species(grid.framework_species)
    is_anion = np.array([name in wanted for name in grid.framework_species])
    anions = grid.framework[is_anion]
    inside = anions % 1.0
    tree, owner = site_tree(grid.lattice_ang, inside)
    images = np.repeat(_IMAGES, len(anions), axis=0)
    n_near = min(_MAX_COORDINATION + 1, len(owner))
    distance, index = tree.query((coords % 1.0) @ grid.lattice_ang, k=n_near)
    found = []
    for far, near in zip(distance, index, strict=True):
        ratios = far[3:] / np.maximum(far[2:-1], 1e-9)  # three anions at least
        count = 3 + int(np.argmax(ratios))
        found.append(Polyhedron(owner[near[:count]], images[near[:count]]))
    return tuple(found)

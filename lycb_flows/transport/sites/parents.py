"""The sites of a disordered parent in the simulation cell, and the way back into the parent's cell.

The simulation cell is a supercell of the parent, strained by relaxation and by the average over
an NpT run; its axes are multiples of the parent's. So fractional coordinates lead from one to
the other, up to a shift, which the framework's atoms give.
"""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass

import numpy as np
from pymatgen.core.lattice import Lattice
from pymatgen.io.cif import CifBlock, CifFile, CifParser
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from lycb_flows.config import EnumerationConfig, Supercell
from lycb_flows.crystals import DisorderedCrystal, parent_cell, substituted
from lycb_flows.errors import InputError
from lycb_flows.transport.density import DensityGrid, Floats, Ints
from lycb_flows.transport.sites.finding import differences, site_tree

MAX_RMS_ANG = 1.0
"""A framework that lies further from the parent's sites is not that parent's any more."""
SAME_SITE_ANG = 0.8
"""Peaks that symmetry brings closer than this are equivalent; an ordering breaks symmetry."""
_N_ALIGNMENTS = 5
_LARGEST_STRAIN = 0.1
_LARGEST_TURN_DEG = 6.0
"""Of a simulation cell against multiples of its parent's: relaxed, hot, and in an ordering."""
_INTEGER_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class PlacedParent:
    """A parent whose sites are known in a simulation cell.

    Attributes
    ----------
    crystal
        The parent in the cell of its CIF, with what replaced its species.
    multiples
        How often `cell` stands in the simulation cell along a, b, c.
    cell
        The parent in the cell that is repeated: the CIF's, or the primitive one.
    shift
        Added to ideal coordinates in the simulation cell, fractional, (3,).
    rms_ang
        Root of the mean squared distance of the framework's atoms from their sites.
    framework_shares
        Share of the sites of a label that an element of the framework occupies in the
        simulation, by label and element.
    """

    crystal: DisorderedCrystal
    multiples: Supercell
    cell: DisorderedCrystal
    shift: Floats
    rms_ang: float
    framework_shares: dict[str, dict[str, float]]

    @property
    def n_cif_cells(self) -> float:
        """How often the cell of the CIF stands in the simulation cell."""
        cells = float(np.prod(self.multiples))
        return cells * self.cell.structure.volume / self.crystal.structure.volume

    def sites_of(self, species: str) -> tuple[Floats, list[str]]:
        """Return coordinates in the simulation cell, (n, 3), and labels of the sites of a species.

        Parameters
        ----------
        species
            An element; sites count that hold any share of it.
        """
        coords, labels = _ideal(self.cell, self.multiples)
        holds = [species in _elements(self.cell, s) for s in range(len(self.cell.structure))]
        chosen = np.repeat(holds, len(coords) // len(holds))
        return coords[chosen] + self.shift, [n for n, c in zip(labels, chosen, strict=True) if c]

    def note(self, species: str) -> str:
        """Return why sites of a species cannot be the parent's; empty where it has some.

        Parameters
        ----------
        species
            An element.
        """
        return "" if self.sites_of(species)[1] else f"no site of the parent holds {species}"

    def refined(self, species: str) -> dict[str, float]:
        """Return the occupancies of a species as refined, by label.

        Parameters
        ----------
        species
            An element.
        """
        found: dict[str, float] = {}
        for label, site in zip(self.crystal.site_labels, self.crystal.structure, strict=True):
            share = sum(float(n) for s, n in site.species.items() if s.symbol == species)
            if share:
                found[label] = share
        return found

    def in_cif_cell(self, frac_coords: Floats) -> Floats:
        """Return points of the simulation cell in the cell of the CIF, (n, 3) in [0, 1).

        Parameters
        ----------
        frac_coords
            Fractional coordinates in the simulation cell, (n, 3).
        """
        inside = (frac_coords - self.shift) * self.multiples
        folded: Floats = inside @ self.to_cif
        return folded % 1.0

    @property
    def to_cif(self) -> Floats:
        """The matrix by which coordinates in `cell` become those in the CIF's cell."""
        matrix: Floats = self.cell.structure.lattice.matrix @ np.linalg.inv(
            self.crystal.structure.lattice.matrix
        )
        return matrix


def cell_of_simulation(crystal: DisorderedCrystal, lattice_ang: Floats) -> EnumerationConfig:
    """Return which cell of a parent, and how often, makes a simulation cell, by its shape.

    Parameters
    ----------
    crystal
        The parent.
    lattice_ang
        Rows a, b, c of the simulation cell, (3, 3), in any orientation.

    Raises
    ------
    InputError
        When the axes are multiples of neither the CIF's axes nor the primitive cell's.
    """
    simulated = Lattice(lattice_ang)
    for cell in (None, "primitive"):
        config = EnumerationConfig(cell=cell)
        ideal = parent_cell(crystal, config).structure.lattice
        ratios = np.array(simulated.abc) / ideal.abc
        a, b, c = (max(1, round(ratio)) for ratio in ratios)
        strain = np.abs(ratios / (a, b, c) - 1).max()
        turn_deg = np.abs(np.subtract(simulated.angles, ideal.angles)).max()
        if strain < _LARGEST_STRAIN and turn_deg < _LARGEST_TURN_DEG:
            return config.model_copy(update={"supercell": (a, b, c)})
    raise InputError(
        "the simulation cell is no multiple of the parent's cell along its axes",
        fix="give the CIF in the setting of the simulation",
        parent=crystal.name,
        cell_ang=" ".join(f"{length:.2f}" for length in simulated.abc),
        cif_ang=" ".join(f"{length:.2f}" for length in crystal.structure.lattice.abc),
    )


def place_parent(
    crystal: DisorderedCrystal,
    enumeration: EnumerationConfig,
    repeat: Supercell,
    grid: DensityGrid,
) -> PlacedParent:
    """Return a parent with the place of its sites in the simulation cell.

    Parameters
    ----------
    crystal
        The parent.
    enumeration
        How its orderings were made: which cell, which supercell, what was replaced.
    repeat
        Repeats of an ordering in the simulation.
    grid
        Knows the mean positions of the framework.

    Raises
    ------
    InputError
        When the framework is not on the parent's sites.
    """
    cell = substituted(parent_cell(crystal, enumeration, keep_labels=True), enumeration)
    na, nb, nc = (n * m for n, m in zip(enumeration.supercell, repeat, strict=True))
    multiples = (na, nb, nc)
    coords, labels = _ideal(cell, multiples)
    holds = [bool(_elements(cell, s) - {grid.mobile_species}) for s in range(len(cell.structure))]
    still = np.flatnonzero(np.repeat(holds, len(coords) // len(holds)))
    shift = np.zeros(3)
    for _ in range(_N_ALIGNMENTS):
        tree, owner = site_tree(grid.lattice_ang, (coords[still] + shift) % 1.0)
        _, index = tree.query((grid.framework % 1.0) @ grid.lattice_ang)
        gap = grid.framework - coords[still][owner[index]] - shift
        gap -= np.rint(gap)
        shift = shift + gap.mean(axis=0)
        gap = gap - gap.mean(axis=0)
    rms = float(np.sqrt((((gap) @ grid.lattice_ang) ** 2).sum(axis=1).mean()))
    if not rms < MAX_RMS_ANG:
        raise InputError(
            "the framework is not on the parent's sites",
            fix="look at the last frames of the run",
            rms_ang=round(rms, 2),
            parent=crystal.name,
        )
    held = Counter(
        (labels[still[owner[i]]], name)
        for i, name in zip(index.tolist(), grid.framework_species, strict=True)
    )
    sites = Counter(labels)
    shares: dict[str, dict[str, float]] = {label: {} for label in sites}
    for (label, name), count in sorted(held.items()):
        shares[label][name] = count / sites[label]
    simulated = substituted(crystal, enumeration)
    return PlacedParent(simulated, multiples, cell, shift, rms, shares)


def _ideal(cell: DisorderedCrystal, multiples: Supercell) -> tuple[Floats, list[str]]:
    """Return all sites in a supercell, each site of the cell with its images in a row."""
    images = np.indices(multiples).reshape(3, -1).T
    coords = (cell.structure.frac_coords[:, None] + images[None]) / multiples
    labels = [label for label in cell.site_labels for _ in range(len(images))]
    return coords.reshape(-1, 3), labels


def _elements(cell: DisorderedCrystal, site: int) -> set[str]:
    return {species.symbol for species in cell.structure[site].species}


# -- the symmetry of the CIF ---------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class FoundOrbit:
    """Peaks of the density that the parent's symmetry makes equivalent.

    Attributes
    ----------
    members
        Numbers among the given points.
    frac_coords
        Of one of the sites in the CIF's cell, (3,).
    multiplicity
        Sites of the orbit in the CIF's cell, whether a peak was seen there or not.
    """

    members: tuple[int, ...]
    frac_coords: Floats
    multiplicity: int


def cif_block(crystal: DisorderedCrystal) -> CifBlock:
    """Return the block of a parent's CIF that holds the crystal."""
    blocks = CifFile.from_str(crystal.cif.decode()).data.values()
    return next(block for block in blocks if "_atom_site_label" in block.data)


def symmetry(crystal: DisorderedCrystal) -> tuple[Ints, Floats]:
    """Return the operations of a parent's CIF: rotations (g, 3, 3) and translations (g, 3)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns where only the name of a group is given
        text = crystal.cif.decode()
        operations = CifParser.from_str(text).get_symops(cif_block(crystal))
    rotations = np.array([np.rint(found.rotation_matrix) for found in operations], dtype=np.int64)
    return rotations, np.array([found.translation_vector for found in operations])


def found_orbits(placed: PlacedParent, points: Floats) -> list[FoundOrbit]:
    """Return peaks of the density by the orbits of the parent's symmetry.

    Parameters
    ----------
    placed
        The parent in the simulation cell.
    points
        Fractional coordinates in the simulation cell, (n, 3).
    """
    if not len(points):
        return []
    lattice = placed.crystal.structure.lattice.matrix
    operations = symmetry(placed.crystal)
    folded = placed.in_cif_cell(points)
    near = np.zeros((len(folded),) * 2, dtype=bool)
    for image in _images(operations, folded):
        near |= np.linalg.norm(differences(image, folded, lattice), axis=2) < SAME_SITE_ANG
    n_orbits, orbit = connected_components(csr_array(near), directed=False)
    return [
        _found_orbit(operations, folded, np.flatnonzero(orbit == number), lattice)
        for number in range(n_orbits)
    ]


def _images(operations: tuple[Ints, Floats], points: Floats) -> list[Floats]:
    return [points @ rotation.T + shift for rotation, shift in zip(*operations, strict=True)]


def _found_orbit(
    operations: tuple[Ints, Floats], folded: Floats, members: Ints, lattice_ang: Floats
) -> FoundOrbit:
    """Return an orbit with a site in its middle: the mean of all images near its first member."""
    middle = folded[members[0]]
    for points in (folded[members], None):  # then onto the symmetry element, if it lies on one
        images = np.concatenate(_images(operations, middle[None] if points is None else points))
        gap = images - middle
        gap -= np.rint(gap)
        near = np.linalg.norm(gap @ lattice_ang, axis=1) < SAME_SITE_ANG
        middle = (middle + gap[near].mean(axis=0)) % 1.0
    images = np.concatenate(_images(operations, middle[None]))
    distance = np.linalg.norm(differences(images, images, lattice_ang), axis=2)
    count, _ = connected_components(csr_array(distance < SAME_SITE_ANG / 2), directed=False)
    return FoundOrbit(tuple(members.tolist()), middle, int(count))


def average_cif_lattice(placed: PlacedParent, lattice_ang: Floats) -> Floats | None:
    """Return the metric of the CIF's cell in a simulation, made as symmetric as the parent.

    Parameters
    ----------
    placed
        The parent in the simulation cell.
    lattice_ang
        Rows a, b, c of the average simulation cell, (3, 3).

    Returns
    -------
    ndarray or None
        Rows a, b, c, (3, 3); None where the CIF's cell is no multiple of the repeated one.
    """
    back = np.linalg.inv(placed.to_cif)
    if np.abs(back - np.rint(back)).max() > _INTEGER_TOLERANCE:
        return None
    cell = np.rint(back) @ (lattice_ang / np.array(placed.multiples)[:, None])
    rotations, _ = symmetry(placed.crystal)
    metric = np.mean([r.T @ cell @ cell.T @ r for r in rotations], axis=0)
    symmetric: Floats = np.linalg.cholesky(metric)
    return symmetric

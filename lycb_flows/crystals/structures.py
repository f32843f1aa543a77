"""Crystals: the built-in disordered parents, a user's own CIF, and the canonical form.

A structure is canonical at birth: lattice rounded to 1e-8 Å, fractional coordinates
wrapped and rounded to 1e-10, sites in the order given. The document stores exactly these
numbers and its key hashes them, so `key(load(store(s))) == key(s)`, also through ASE.
Nothing is sorted or reduced, because a cached label's forces must belong to the right atoms.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure as PymatgenStructure

from lycb_flows.config import EnumerationConfig, Supercell
from lycb_flows.errors import InputError
from lycb_flows.schemas import Matrix, Parent, Structure, Vector, blob_of

MOST_ENUMERATED_ATOMS = 10_000
"""ours: the symmetry of 7,000 atoms takes 15 s, and four times that for twice as many."""
MOST_ATOMS = 100_000
"""ours, of a cell for MD: CHGNet takes 1.5 MB for each atom, and no machine has much more."""
LATTICE_DECIMALS = 8
FRAC_DECIMALS = 10
_MIN_VOLUME_ANG3 = 1e-3
USER_MIN_OCCUPANCY = 0.15

_SCHLEM = (
    "Schlem et al., Chem. Mater. 2021, 33, 327 ({icsd}), as carried by OBELiX entry {entry} "
    "(CC-BY-4.0, Therrien et al., arXiv:2502.14234)"
)
_BUILT_IN = {  # name -> (file, provenance)
    "Li3YCl6": ("Li3YCl6_P-3m1_refined.cif", _SCHLEM.format(icsd="ICSD 29969", entry="ei3")),
    "Li3YBr6": ("Li3YBr6_C2m_refined.cif", _SCHLEM.format(icsd="ICSD 29961", entry="elz")),
}
PARENT_NAMES = tuple(_BUILT_IN)
_BUILT_IN_MIN_OCCUPANCY = 0.5


@dataclass(frozen=True)
class DisorderedCrystal:
    """A parent as refined: every site with its occupancies, and the CIF it came from.

    Attributes
    ----------
    name
        Built-in name or the file's stem.
    structure
        All sites of the unit cell with partial occupancies.
    site_labels
        The CIF's label of each site; equal labels are one crystallographic site.
    cif
        The CIF's bytes.
    provenance
        Where the numbers come from.
    min_occupancy
        Occupants below this share are dropped by default.
    notes
        What is doubtful about the CIF, a line each.
    origin
        The crystal in the cell of its CIF; None where this is it.
    """

    name: str
    structure: PymatgenStructure
    site_labels: tuple[str, ...]
    cif: bytes
    provenance: str
    min_occupancy: float
    notes: tuple[str, ...] = ()
    origin: DisorderedCrystal | None = field(default=None, repr=False, compare=False)

    @property
    def is_built_in(self) -> bool:
        """Whether this is a parent of the package, with rules of its own."""
        return self.provenance == _BUILT_IN.get(self.name, ("", ""))[1]

    def primitive(self) -> DisorderedCrystal:
        """Return the same crystal in its reduced primitive cell; sites keep their labels.

        It is that of the CIF's cell, whatever cell this is.
        """
        return self._primitive if self.origin is None else self.origin.primitive()

    @functools.cached_property
    def _primitive(self) -> DisorderedCrystal:
        from lycb_flows.crystals.cif import SAME_SITE_ANG  # noqa: PLC0415 - takes a while

        labelled = self.structure.copy(site_properties={"site_label": list(self.site_labels)})
        cell = labelled.get_primitive_structure(SAME_SITE_ANG, use_site_props=True)
        labels = tuple(cell.site_properties["site_label"])
        return replace(self, structure=cell, site_labels=labels, origin=self)

    def transformed(self, matrix: ArrayLike, *, keep_labels: bool = False) -> DisorderedCrystal:
        """Return the same crystal in a supercell.

        Parameters
        ----------
        matrix
            Rows: the supercell's vectors in terms of a, b, c, (3, 3).
        keep_labels
            Whether sites keep their labels also where each label is there once. It then names a
            site and no orbit, and would tell apart what an enumeration takes for equal.
        """
        labels = self.site_labels
        if len(set(labels)) == len(labels) and not keep_labels:
            labels = ("site",) * len(labels)
        cell = self.structure.copy(site_properties={"site_label": list(labels)})
        cell.make_supercell(np.asarray(matrix), to_unit_cell=True)
        labels = tuple(cell.site_properties["site_label"])
        return replace(self, structure=cell, site_labels=labels, origin=self.origin or self)

    def document(self) -> Parent:
        """Return the parent as a document; its blob is `cif`."""
        occupancies = tuple(
            {str(species): float(share) for species, share in sorted(site.species.items())}
            for site in self.structure
        )
        lattice, frac_coords = _rounded(self.structure.lattice.matrix, self.structure.frac_coords)
        blob = blob_of(self.cif, "chemical/x-cif")
        facts = {
            "name": self.name,
            "cif": blob,
            "provenance": self.provenance,
            "min_occupancy": self.min_occupancy,
            "lattice_ang": lattice,
            "site_labels": self.site_labels,
            "occupancies": occupancies,
            "frac_coords": frac_coords,
        }
        key = Parent.key_of(
            blob,
            lattice_ang=lattice,
            site_labels=self.site_labels,
            occupancies=occupancies,
            frac_coords=frac_coords,
        )
        return Parent(key=key, **facts)


@functools.cache  # every step of a campaign asks for it
def _load_built_in(name: str) -> DisorderedCrystal:
    file, provenance = _BUILT_IN[name]
    content = resources.files(__package__).joinpath(file).read_bytes()
    return parse_cif(name, content, provenance, _BUILT_IN_MIN_OCCUPANCY)


def load_parent(name_or_path: str) -> DisorderedCrystal:
    """Return a built-in parent by name, or a user's CIF by path.

    Raises
    ------
    InputError
        When it is neither, or the CIF cannot be read or holds not exactly one structure.
    """
    if name_or_path in _BUILT_IN:
        return _load_built_in(name_or_path)
    path = Path(name_or_path)
    if not path.is_file():
        raise InputError(
            "no such parent",
            fix=f"give one of {', '.join(PARENT_NAMES)}, or the path of a CIF",
            found=name_or_path,
        )
    provenance = f"user's file {path.name}"
    return parse_cif(path.stem, path.read_bytes(), provenance, USER_MIN_OCCUPANCY)


def parse_cif(
    name: str, content: bytes, provenance: str, min_occupancy: float
) -> DisorderedCrystal:
    """Return the disordered crystal of a CIF.

    Parameters
    ----------
    name
        Name of the crystal.
    content
        The CIF's bytes.
    provenance
        Where the numbers come from.
    min_occupancy
        Share below which occupants are dropped by default.

    Raises
    ------
    InputError
        When the bytes cannot be read or hold not exactly one structure.
    """
    from lycb_flows.crystals.cif import read_cif  # noqa: PLC0415 - takes a while

    read = read_cif(name, content)
    labels = tuple(str(site.label) for site in read.structure)
    return DisorderedCrystal(
        name, read.structure, labels, read.content, provenance, min_occupancy, read.notes
    )


def parent_cell(
    parent: DisorderedCrystal, config: EnumerationConfig, *, keep_labels: bool = False
) -> DisorderedCrystal:
    """Return the parent in the cell whose multiples are enumerated.

    Parameters
    ----------
    parent
        The disordered crystal.
    config
        Its `cell` and `matrix` decide.
    keep_labels
        Whether every site keeps its label of the CIF: `DisorderedCrystal.transformed`.

    Raises
    ------
    InputError
        When the supercell is too large.
    """
    check_size(parent, config)
    cell = parent.primitive() if config.cell == "primitive" else parent
    if config.matrix is None:
        return cell
    return cell.transformed(config.matrix, keep_labels=keep_labels)


def check_size(
    parent: DisorderedCrystal, config: EnumerationConfig, repeat: Supercell = (1, 1, 1)
) -> None:
    """Check that a supercell can be enumerated, and run in molecular dynamics when repeated.

    Parameters
    ----------
    parent
        The disordered crystal.
    config
        Its `cell`, `matrix` and `supercell` decide.
    repeat
        Repeats of the supercell along a, b, c for molecular dynamics.

    Raises
    ------
    InputError
        When it has too many atoms.
    """
    cell = parent.primitive() if config.cell == "primitive" else parent
    n_cells = math.prod(config.supercell) * abs(np.linalg.det(config.matrix or np.eye(3)))
    n_atoms = round(cell.structure.composition.num_atoms, 3) * float(n_cells)
    if n_atoms > MOST_ENUMERATED_ATOMS:
        raise _too_large("to be enumerated", n_atoms, MOST_ENUMERATED_ATOMS)
    if n_atoms * math.prod(repeat) > MOST_ATOMS:
        raise _too_large("for molecular dynamics", n_atoms * math.prod(repeat), MOST_ATOMS)


def _too_large(purpose: str, n_atoms: float, most: int) -> InputError:
    message = f"a cell of {n_atoms:,.0f} atoms is too large {purpose}"
    return InputError(message, fix=f"repeat it less: {most:,} atoms at most")


def repeated(structure: Structure, repeat: Supercell) -> Atoms:
    """Return a crystal's atoms, repeated along a, b, c.

    Parameters
    ----------
    structure
        The crystal.
    repeat
        How often.

    Raises
    ------
    InputError
        When these are too many atoms for molecular dynamics.
    """
    n_atoms = len(structure.species) * math.prod(repeat)
    if n_atoms > MOST_ATOMS:
        raise _too_large("for molecular dynamics", n_atoms, MOST_ATOMS)
    atoms: Atoms = to_ase(structure).repeat(repeat)
    return atoms


def canonical_structure(structure: PymatgenStructure | Atoms) -> Structure:
    """Return the canonical document of an ordered crystal.

    Raises
    ------
    InputError
        When a site is partially occupied, or ASE's atoms are no crystal.
    """
    if isinstance(structure, Atoms):
        check_crystal(structure)
        return structure_from_arrays(
            structure.cell.array,
            structure.get_chemical_symbols(),
            structure.get_scaled_positions(wrap=False),
        )
    if not structure.is_ordered:
        raise InputError("a structure must be ordered", fix="enumerate it", found=structure.formula)
    symbols = [site.specie.symbol for site in structure]
    return structure_from_arrays(structure.lattice.matrix, symbols, structure.frac_coords)


def check_crystal(atoms: Atoms) -> None:
    """Check that ASE's atoms are a crystal.

    Raises
    ------
    InputError
        When there are no atoms, or no cell that repeats in all directions.
    """
    if not len(atoms) or not atoms.pbc.all() or atoms.cell.volume < _MIN_VOLUME_ANG3:
        raise InputError(
            "this is no crystal, and the potentials are for crystals",
            fix="set pbc=True and a cell",
            atoms=len(atoms),
            pbc=atoms.pbc.tolist(),
            volume_ang3=f"{atoms.cell.volume:g}",
        )


def structure_from_arrays(
    lattice_ang: ArrayLike, symbols: list[str], frac_coords: ArrayLike
) -> Structure:
    """Return the canonical document of a crystal given by its numbers.

    Parameters
    ----------
    lattice_ang
        Rows a, b, c in Å, (3, 3).
    symbols
        Element of each of n atoms.
    frac_coords
        Fractional coordinates, (n, 3); they need not be wrapped.
    """
    lattice, coords = _rounded(lattice_ang, frac_coords)
    species = tuple(symbols)
    key = Structure.key_of(lattice, species, coords)
    return Structure(key=key, lattice_ang=lattice, species=species, frac_coords=coords)


def _rounded(lattice_ang: ArrayLike, frac_coords: ArrayLike) -> tuple[Matrix, tuple[Vector, ...]]:
    lattice = np.round(np.asarray(lattice_ang, dtype=float), LATTICE_DECIMALS) + 0.0
    coords = np.round(np.asarray(frac_coords, dtype=float) % 1.0, FRAC_DECIMALS) % 1.0 + 0.0
    rows = tuple(tuple(row) for row in lattice.tolist())
    return rows, tuple(tuple(row) for row in coords.tolist())  # type: ignore[return-value]  # 3x3


def to_pymatgen(structure: Structure) -> PymatgenStructure:
    """Return the document as a pymatgen Structure."""
    return PymatgenStructure(
        Lattice(structure.lattice_ang), structure.species, structure.frac_coords
    )


def to_ase(structure: Structure) -> Atoms:
    """Return the document as ASE Atoms, periodic in all directions."""
    return Atoms(
        symbols=list(structure.species),
        scaled_positions=np.array(structure.frac_coords),
        cell=np.array(structure.lattice_ang),
        pbc=True,
    )


def volume_ang3_per_atom(structure: Structure) -> float:
    """Return the cell volume in Å^3 divided by the number of atoms."""
    return abs(float(np.linalg.det(structure.lattice_ang))) / len(structure.species)

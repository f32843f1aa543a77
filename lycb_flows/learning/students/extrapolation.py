"""How far a frame lies outside what a student was trained on: MaxVol's extrapolation grade.

The descriptors of the training atoms of one species are rows; a square set of them with the
largest determinant is chosen (D-optimality; Podryabinkin and Shapeev, Comput. Mater. Sci. 2017,
140, 171, and Lysogorskiy et al., Phys. Rev. Mater. 2023, 7, 043801). The grade of an atom is the
largest coefficient by which these rows make up its own descriptors: up to 1 it is an interpolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from lycb_flows.crystals import to_ase
from lycb_flows.potentials.nep.potential import NepPotential
from lycb_flows.schemas import Structure

Floats = NDArray[np.float64]

_SWAP = 1.01  # a row enters when it makes the determinant larger by so much
_RANK = 1e-5  # singular values below this share of the largest are noise of single precision


@dataclass(frozen=True)
class ActiveSet:
    """What grades are measured by, for each species.

    Attributes
    ----------
    bases
        Directions of descriptors that vary at all, shape (D + 1, rank) each.
    inverses
        Of the chosen rows in this basis, (rank, rank) each.
    """

    bases: tuple[Floats, ...]
    inverses: tuple[Floats, ...]

    @property
    def transforms(self) -> Floats:
        """What takes descriptors and a one to coefficients, (species, D + 1, D + 1) with zeros."""
        width = len(self.bases[0])
        transforms = np.zeros((len(self.bases), width, width))
        for s, (basis, inverse) in enumerate(zip(self.bases, self.inverses, strict=True)):
            transforms[s, :, : inverse.shape[1]] = basis @ inverse
        return transforms

    def grades(self, student: NepPotential, structures: Sequence[Structure]) -> Floats:
        """Return the largest grade of any atom of each structure, shape (structures,).

        Parameters
        ----------
        student
            Whose descriptors are meant.
        structures
            The frames.
        """
        grades = []
        for structure in structures:
            rows, species = descriptors(student, structure)
            graded = [
                np.abs(rows[species == s] @ basis @ inverse).max(initial=0.0)
                for s, (basis, inverse) in enumerate(zip(self.bases, self.inverses, strict=True))
            ]
            grades.append(max(graded))
        return np.array(grades)


def find_active_set(student: NepPotential, structures: Sequence[Structure]) -> ActiveSet:
    """Return the active set of the atoms of some structures.

    Parameters
    ----------
    student
        Whose descriptors are meant.
    structures
        What it was trained on.
    """
    parts = [descriptors(student, structure) for structure in structures]
    rows = np.concatenate([part[0] for part in parts])
    species = np.concatenate([part[1] for part in parts])
    pairs = [_active_rows(rows[species == s]) for s in range(len(student.shape.species))]
    return ActiveSet(tuple(basis for basis, _ in pairs), tuple(inverse for _, inverse in pairs))


def descriptors(student: NepPotential, structure: Structure) -> tuple[Floats, NDArray[np.int64]]:
    """Return each atom's scaled descriptors and a one, (n, D + 1), and its species (n,).

    Parameters
    ----------
    student
        Whose descriptors are meant.
    structure
        A crystal.
    """
    atoms = to_ase(structure)
    rows = student.descriptors(atoms)
    return np.append(rows, np.ones((len(rows), 1)), axis=1), np.asarray(
        student.species_of(atoms.numbers), np.int64
    )


def _active_rows(rows: Floats) -> tuple[Floats, Floats]:
    """Return a basis and the inverse of the rows with the largest determinant, by MaxVol."""
    if not len(rows):
        return np.zeros((rows.shape[1], 1)), np.zeros((1, 1))
    _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
    basis = directions[sizes > _RANK * sizes[0]].T
    reduced = rows @ basis
    chosen = qr(reduced.T, mode="r", pivoting=True)[1][: basis.shape[1]]
    coefficients = reduced @ np.linalg.inv(reduced[chosen])
    for _ in range(10 * len(chosen)):
        i, j = np.unravel_index(np.abs(coefficients).argmax(), coefficients.shape)
        if abs(coefficients[i, j]) < _SWAP:
            break
        chosen[j] = i
        coefficients = reduced @ np.linalg.inv(reduced[chosen])
    return basis, np.linalg.inv(reduced[chosen])

"""Inputs of the stand-in for VASP: the files in its folder, with VASP's defaults."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, product
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar

Mesh = tuple[int, int, int]
_VALENCE = {"Li": 1, "Li_sv": 3, "Y_sv": 11, "Cl": 7, "Br": 7}
_CLOSED_SHELLS = (2, 10, 18, 36, 54, 86)
_CELL_RELAXES = frozenset({3, 6, 7})
_STATIC, _CG, _DAMPED = -1, 2, 3


@dataclass(frozen=True)
class Task:
    """INCAR, mesh, structure and POTCAR symbols.

    Attributes
    ----------
    groups
        (element, number of atoms, POTCAR symbol) as in the POSCAR.
    """

    incar: dict[str, Any]
    centred: bool
    mesh: Mesh
    atoms: Atoms
    groups: tuple[tuple[str, int, str], ...]

    @property
    def nelm(self) -> int:
        """Maximum number of electronic steps.

        VASP's default is 60.
        """
        return int(self.incar.get("NELM", 60))

    @property
    def nelmin(self) -> int:
        """Minimum number of electronic steps.

        VASP's default is 2.
        """
        return int(self.incar.get("NELMIN", 2))

    @property
    def ediff_ev(self) -> float:
        """Largest change of the energy between the last two electronic steps, in eV.

        VASP's default is 1e-4 eV.
        """
        return float(self.incar.get("EDIFF", 1e-4))

    @property
    def ediffg(self) -> float:
        """VASP's EDIFFG: a force in eV/Å where it is negative, otherwise an energy in eV.

        VASP's default is ten times EDIFF.
        """
        return float(self.incar.get("EDIFFG", 10 * self.ediff_ev))

    @property
    def force_limit_ev_per_ang(self) -> float:
        """Largest force at which a relaxation ends, in eV/Å.

        It is 0.01 eV/Å where EDIFFG is an energy, which ASE's optimizers cannot use.
        """
        return -self.ediffg if self.ediffg < 0 else 0.01

    @property
    def nsw(self) -> int:
        """Maximum number of ionic steps.

        VASP's default is 0, a static calculation.
        """
        return int(self.incar.get("NSW", 0))

    @property
    def ibrion(self) -> int:
        """VASP's algorithm of the ionic steps.

        Its default is -1 (none) for static calculations, otherwise 0 (MD).
        """
        return int(self.incar.get("IBRION", _STATIC if self.nsw <= 0 else 0))

    @property
    def iopt(self) -> int:
        """Optimizer of VTST; 7 is FIRE."""
        return int(self.incar.get("IOPT", 0))

    @property
    def isif(self) -> int:
        """VASP's choice of what is computed and moves: 0 has no stress, 3 relaxes the cell.

        Its default is 0 for MD, otherwise 2.
        """
        return int(self.incar.get("ISIF", 0 if self.ibrion == 0 else 2))

    @property
    def relaxes_cell(self) -> bool:
        """Whether a relaxation changes the cell."""
        return self.isif in _CELL_RELAXES

    @property
    def n_electrons(self) -> int:
        """Number of valence electrons, from the POTCARs' names."""
        return sum(number * _valence(symbol, element) for element, number, symbol in self.groups)

    @property
    def n_bands(self) -> int:
        """Number of bands.

        VASP's default without spin is half the electrons plus half the atoms (3 at least), or
        0.6 of the electrons where that is more.
        """
        default = max(
            self.n_electrons // 2 + max(len(self.atoms) // 2, 3), self.n_electrons * 6 // 10
        )
        return int(self.incar.get("NBANDS", default))

    @property
    def kpoints(self) -> list[tuple[tuple[float, float, float], float]]:
        """Points of the mesh, in fractional coordinates, and their weights.

        k and -k count as one point; the crystal's symmetries are not used.
        """
        shifts = [0.5 if not self.centred and n % 2 == 0 else 0.0 for n in self.mesh]
        found: dict[tuple[float, ...], tuple[tuple[float, ...], int]] = {}
        for place in product(*map(range, self.mesh)):
            point = [(i + s) / n for i, s, n in zip(place, shifts, self.mesh, strict=True)]
            point = [x - round(x) for x in point]
            names = [tuple(round(sign * x % 1, 8) % 1 for x in point) for sign in (1, -1)]
            name = min(names)
            kept, weight = found.get(name, (tuple(point), 0))
            found[name] = (kept, weight + 1)
        total = sum(weight for _, weight in found.values())
        return [((k[0], k[1], k[2]), weight / total) for k, weight in found.values()]


def read_task(folder: Path) -> Task:
    """Read the inputs of a folder.

    Raises
    ------
    FileNotFoundError
        When INCAR, POSCAR or POTCAR is missing; VASP stops then, too.
    """
    incar = dict(Incar.from_file(folder / "INCAR"))
    poscar = Poscar.from_file(folder / "POSCAR", check_for_potcar=False)
    atoms = AseAtomsAdaptor.get_atoms(poscar.structure, msonable=False)
    plain = Atoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=poscar.structure.frac_coords,
        pbc=True,
    )
    elements = [(element, len(list(run))) for element, run in groupby(plain.get_chemical_symbols())]
    symbols = _potcar_symbols(folder)
    groups = tuple(
        (element, n, symbol) for (element, n), symbol in zip(elements, symbols, strict=True)
    )
    centred, mesh = _mesh(folder, incar, np.array(plain.cell.array))
    return Task(incar, centred, mesh, plain, groups)


def _potcar_symbols(folder: Path) -> list[str]:
    """Read the symbols of POTCAR.spec, one a line, or those in the titles of a POTCAR."""
    if (folder / "POTCAR.spec").is_file():
        return (folder / "POTCAR.spec").read_text().split()
    lines = (folder / "POTCAR").read_text().splitlines()
    return [line.split("=")[1].split()[1] for line in lines if "TITEL" in line]


def _mesh(folder: Path, incar: dict[str, Any], cell_ang: np.ndarray) -> tuple[bool, Mesh]:
    """Read the mesh of KPOINTS, or compute it from KSPACING, which VASP rounds up."""
    if (folder / "KPOINTS").is_file():
        kpoints = Kpoints.from_file(folder / "KPOINTS")
        first, second, third = (int(n) for n in kpoints.kpts[0])
        return kpoints.style == Kpoints.supported_modes.Gamma, (first, second, third)
    lengths = np.linalg.norm(2 * np.pi * np.linalg.inv(cell_ang).T, axis=1)
    spacing = float(incar.get("KSPACING", 0.5))
    first, second, third = (max(1, ceil(length / spacing)) for length in lengths)
    return bool(incar.get("KGAMMA", True)), (first, second, third)


def _valence(symbol: str, element: str) -> int:
    if symbol in _VALENCE:
        return _VALENCE[symbol]
    number = atomic_numbers[element]
    return number - max((shell for shell in _CLOSED_SHELLS if shell < number), default=0)

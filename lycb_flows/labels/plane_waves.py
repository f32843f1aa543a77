"""The cost of labels by plane waves."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from lycb_flows.labels.theory import Theory


def plane_wave_s(n_atoms: int, mesh: tuple[int, int, int], cutoff_ev: float) -> float:
    """Return the CPU seconds of a label by plane waves, within a factor of two of GPAW's.

    One busy core, 350 eV, Davidson's solver: 10 atoms 6, 40 and 225 s with Gamma, 3x3x3 and
    5x5x5; 60 atoms and Gamma 114 s. RMM-DIIS takes half to two thirds of it. Time reversal halves
    the mesh; work per point grows with the square of the atoms and with the number of plane waves.

    Parameters
    ----------
    n_atoms
        Number of atoms in the cell.
    mesh
        Points along the reciprocal vectors, before symmetry.
    cutoff_ev
        Kinetic energy of the last plane wave, in eV.
    """
    n_points = (prod(mesh) + 1) // 2
    return float(2.8 * n_points * (n_atoms / 10) ** 2 * (cutoff_ev / 350.0) ** 1.5)


def plane_wave_label_s(
    theory: Theory, lattice_ang: NDArray[np.float64], n_atoms: int
) -> float | None:
    """Return the CPU seconds of a cell's label at a level of theory, None without plane waves.

    Parameters
    ----------
    theory
        Gives the mesh and the cutoff.
    lattice_ang
        Rows a, b, c of the cell, shape (3, 3), in Å.
    n_atoms
        Number of atoms in the cell.
    """
    if theory.kpoints is None or theory.cutoff_ev is None:
        return None
    mesh = theory.kpoints.mesh_for(lattice_ang.tolist())
    return plane_wave_s(n_atoms, mesh, theory.cutoff_ev)

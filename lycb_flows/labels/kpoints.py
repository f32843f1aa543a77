"""Rules of k-point meshes: a level of theory has a rule, from which a cell's mesh follows.

All meshes are centred at Gamma. A cell's *height* along an axis is the distance between its two
faces, 2 pi over the length of the reciprocal vector.
"""

from __future__ import annotations

from math import ceil, floor
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lycb_flows.config import Config, Positive, Supercell
from lycb_flows.schemas import Matrix

Mesh = tuple[int, int, int]
_EDGE = 1e-6
"""Tolerance of a division, so that rounding a lattice to 1e-8 Å does not change its mesh."""


class GridRule(Config):
    """One mesh for all cells whose heights lie in a range; outside of it the density is kept.

    All cells of a training set then have the same mesh, as long as their heights stay in the range.
    """

    rule: Literal["grid"] = "grid"
    mesh: Supercell
    heights_ang: tuple[Positive, Positive] = Field(
        description="Shortest and longest height with this mesh; n h is kept beyond either."
    )

    def mesh_for(self, lattice_ang: Matrix) -> Mesh:
        """Return the mesh of a cell.

        Parameters
        ----------
        lattice_ang
            Rows a, b, c of the cell, shape (3, 3), in Å.

        Returns
        -------
        tuple of int
            Divisions along the three reciprocal vectors.
        """
        shortest, longest = self.heights_ang
        first, second, third = (
            max(1, ceil(n * min(max(height, shortest), longest) / height - _EDGE))
            for n, height in zip(self.mesh, heights_ang(lattice_ang), strict=True)
        )
        return first, second, third


class SpacingRule(Config):
    """A distance of neighbouring points, 2 pi included, rounded to the nearest mesh.

    VASP's automatic mode rounds in the same way (N = int(R |b| + 0.5)); its KSPACING rounds up.
    """

    rule: Literal["spacing"] = "spacing"
    spacing_per_ang: Positive

    def mesh_for(self, lattice_ang: Matrix) -> Mesh:
        """Return the mesh of a cell.

        Parameters
        ----------
        lattice_ang
            Rows a, b, c of the cell, shape (3, 3), in Å.

        Returns
        -------
        tuple of int
            Divisions along the three reciprocal vectors.
        """
        first, second, third = (
            max(1, floor(2 * np.pi / (height * self.spacing_per_ang) + 0.5 + _EDGE))
            for height in heights_ang(lattice_ang)
        )
        return first, second, third


class DensityRule(Config):
    """Points per volume of reciprocal space, as the Materials Project counts them.

    `pymatgen.io.vasp.inputs.Kpoints.automatic_density_by_vol`: n_i is the whole part of
    (density V_reciprocal a b c)^(1/3) over the length of axis i.
    """

    rule: Literal["density"] = "density"
    points_ang3: Positive = Field(description="Points per 1/Å^3 of reciprocal volume.")

    def mesh_for(self, lattice_ang: Matrix) -> Mesh:
        """Return the mesh of a cell.

        Parameters
        ----------
        lattice_ang
            Rows a, b, c of the cell, shape (3, 3), in Å.

        Returns
        -------
        tuple of int
            Divisions along the three reciprocal vectors.
        """
        lengths = np.linalg.norm(lattice_ang, axis=1)
        reciprocal = (2 * np.pi) ** 3 / abs(np.linalg.det(lattice_ang))
        scale = (self.points_ang3 * reciprocal * lengths.prod()) ** (1 / 3)
        first, second, third = (max(1, floor(scale / length + _EDGE)) for length in lengths)
        return first, second, third


KPointRule = Annotated[GridRule | SpacingRule | DensityRule, Field(discriminator="rule")]


def heights_ang(lattice_ang: Matrix) -> tuple[float, float, float]:
    """Return the distances between opposite faces of a cell, in Å.

    Parameters
    ----------
    lattice_ang
        Rows a, b, c of the cell, shape (3, 3), in Å.
    """
    reciprocal = np.linalg.inv(np.asarray(lattice_ang))  # columns, without 2 pi
    first, second, third = 1.0 / np.linalg.norm(reciprocal, axis=0)
    return float(first), float(second), float(third)

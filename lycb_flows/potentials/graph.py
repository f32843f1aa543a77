"""Pairs of atoms within a cutoff and a skin, found anew only when an atom has moved too far.

A list made with reach = cutoff + skin holds every pair below the cutoff until atoms and cell
have moved by about half the skin. With M = c0⁻¹ c the affine map from the cell then to the cell
now and d the largest departure of an atom from that map, a pair that is not in the list has

    distance >= smin(M) (cutoff + skin) - 2 d,     smin(M) >= 1 - |M - 1|_F

so the list serves while the right-hand side is at least the cutoff.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres

Floats = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

_PERIODIC = np.ones(3, dtype=np.int64)
_TOLERANCE_ANG = 1e-8  # chgnet's, for the neighbour search


@dataclass(frozen=True)
class Pairs:
    """Periodic pairs of m crystals, each once, sorted by centre, neighbour and image.

    Attributes
    ----------
    ends
        Centre and neighbour, shape (pairs, 2); atoms are numbered through all crystals.
    images
        Lattice vectors that lead to the neighbour, shape (pairs, 3).
    starts
        Where each atom's directed candidates begin, shape (atoms + 1,).
    candidates
        The pair of each directed candidate, sorted by the atom it starts from, (2 pairs,).
    reversed
        Whether the candidate runs from the pair's neighbour to its centre, (2 pairs,).
    """

    ends: Int32
    images: Int32
    starts: Int64
    candidates: Int32
    reversed: NDArray[np.uint8]

    def vectors_ang(self, positions_ang: Floats, cells_ang: Floats) -> Floats:
        """Return vectors from centre to neighbour, shape (pairs, 3).

        Parameters
        ----------
        positions_ang
            Shape (atoms, 3).
        cells_ang
            The cell of each pair, shape (pairs, 3, 3), or (1, 3, 3) of all of them.
        """
        i, j = self.ends.T
        shifts = np.einsum("pi,pij->pj", self.images, np.broadcast_to(cells_ang, (len(i), 3, 3)))
        vectors: Floats = positions_ang[j] - positions_ang[i] + shifts
        return vectors


def join_pairs(parts: Sequence[tuple[Int32, Int32]], sizes: Sequence[int]) -> Pairs:
    """Return the pairs of some crystals, as `find_pairs` gives them, side by side.

    Parameters
    ----------
    parts
        Ends and images of each crystal.
    sizes
        Atoms of each crystal.
    """
    offsets = np.cumsum([0, *sizes[:-1]])
    ends = np.concatenate(
        [pairs + offset for (pairs, _), offset in zip(parts, offsets, strict=True)]
    )
    ends = ends.astype(np.int32)
    images = np.ascontiguousarray(np.concatenate([images for _, images in parts]))
    froms = np.concatenate([ends[:, 0], ends[:, 1]])
    order = np.argsort(froms, kind="stable").astype(np.int32)
    counts = np.bincount(froms, minlength=sum(sizes))
    return Pairs(
        ends=ends,
        images=images,
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        candidates=order % np.int32(max(len(ends), 1)),
        reversed=(order >= len(ends)).astype(np.uint8),
    )


def find_pairs(positions_ang: Floats, cell_ang: Floats, reach_ang: float) -> tuple[Int32, Int32]:
    """Return the pairs of one crystal, each once: ends (pairs, 2) and images (pairs, 3).

    Parameters
    ----------
    positions_ang
        Shape (atoms, 3); they need not be wrapped, images refer to them as they are.
    cell_ang
        Rows a, b, c.
    reach_ang
        Longer pairs are left out.
    """
    shifts = np.floor(np.linalg.solve(cell_ang.T, positions_ang.T).T)
    wrapped = np.ascontiguousarray(positions_ang - shifts @ cell_ang)
    cell = np.ascontiguousarray(cell_ang)
    centres, neighbours, found, _ = find_points_in_spheres(
        wrapped, wrapped, r=reach_ang, pbc=_PERIODIC, lattice=cell, tol=_TOLERANCE_ANG
    )
    images = (found - shifts[neighbours] + shifts[centres]).astype(np.int32)
    x, y, z = images.T
    forwards = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
    once = (centres < neighbours) | ((centres == neighbours) & forwards)
    centres, neighbours, images = centres[once], neighbours[once], images[once]
    order = np.lexsort((images[:, 2], images[:, 1], images[:, 0], neighbours, centres))
    ends = np.stack([centres, neighbours], axis=1).astype(np.int32)
    return ends[order], images[order]


class SkinList:
    """The pairs of a fixed list of crystals, kept up to date as they move.

    Parameters
    ----------
    sizes
        Atoms of each crystal.
    cutoff_ang, skin_ang
        Every pair below the cutoff is always listed; the skin decides how long a list serves.
    """

    def __init__(self, sizes: Sequence[int], cutoff_ang: float, skin_ang: float) -> None:
        self.sizes, self.cutoff_ang, self.skin_ang = tuple(sizes), cutoff_ang, skin_ang
        self.slices = [slice(end - n, end) for n, end in zip(sizes, np.cumsum(sizes), strict=True)]
        self.owners = np.repeat(np.arange(len(sizes)), sizes)
        self._parts: list[tuple[Int32, Int32]] = [
            (np.empty((0, 2), np.int32), np.empty((0, 3), np.int32)) for _ in sizes
        ]
        self._cells = np.full((len(sizes), 3, 3), np.nan)
        self._inverses = np.full((len(sizes), 3, 3), np.nan)
        self._positions = np.full((sum(sizes), 3), np.nan)
        self.pairs = join_pairs(self._parts, self.sizes)

    def update(self, positions_ang: Floats, cells_ang: Floats) -> bool:
        """Find pairs anew where they may have changed, and return whether any were.

        Crystals with positions or cells that are not finite, or a cell without volume, have
        no pairs.

        Parameters
        ----------
        positions_ang
            Shape (atoms, 3), all crystals side by side.
        cells_ang
            Shape (crystals, 3, 3); rows a, b, c.
        """
        stale = np.flatnonzero(~self._serves(positions_ang, cells_ang))
        for crystal in stale:
            positions, cell = positions_ang[self.slices[crystal]], cells_ang[crystal]
            if _describes_a_crystal(positions, cell):
                self._parts[crystal] = find_pairs(positions, cell, self.cutoff_ang + self.skin_ang)
                self._inverses[crystal] = np.linalg.inv(cell)
            else:
                self._parts[crystal] = (np.empty((0, 2), np.int32), np.empty((0, 3), np.int32))
                self._inverses[crystal] = np.nan
            self._positions[self.slices[crystal]], self._cells[crystal] = positions, cell
        if len(stale):
            self.pairs = join_pairs(self._parts, self.sizes)
        return bool(len(stale))

    def _serves(self, positions_ang: Floats, cells_ang: Floats) -> NDArray[np.bool_]:
        """Return which crystals' lists hold every pair below the cutoff, shape (crystals,)."""
        if np.array_equal(cells_ang, self._cells):  # NVT: the map is the identity
            shrinkage: Floats | float = 0.0
            moved = positions_ang - self._positions
        else:
            maps = self._inverses @ cells_ang
            shrinkage = np.sqrt(((maps - np.eye(3)) ** 2).sum(axis=(1, 2)))
            mapped = np.einsum("ni,nij->nj", self._positions, maps[self.owners])
            moved = positions_ang - mapped
        squares = np.einsum("ni,ni->n", moved, moved)
        starts = [crystal.start for crystal in self.slices]
        reach = (1 - shrinkage) * (self.cutoff_ang + self.skin_ang)
        left = reach - 2 * np.sqrt(np.maximum.reduceat(squares, starts))
        serves: NDArray[np.bool_] = left >= self.cutoff_ang  # False for NaN
        return serves


def _describes_a_crystal(positions_ang: Floats, cell_ang: Floats) -> bool:
    finite = np.isfinite(positions_ang).all() and np.isfinite(cell_ang).all()
    return bool(finite and abs(np.linalg.det(cell_ang)) > 0)

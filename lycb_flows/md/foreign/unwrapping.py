"""Positions whose differences are displacements, from what files hold.

Wrapped positions are unwrapped by adding up minimum-image displacements in the instantaneous cell
(TOR: Bullerjahn et al., J. Chem. Theory Comput. 2023, 19, 3406), in place, for positions of a long
run fill the memory. Formats that do not tell whether positions are wrapped get the same treatment,
which changes nothing in unwrapped ones while no atom moves half a cell between frames.

Unwrapped positions in a cell that changes are of two kinds. LAMMPS writes w + m C: an atom that is
m cells C away moves with every change of C. Others add up displacements. The first kind has larger
steps, by m dC, and that is how it is recognised and corrected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lycb_flows.md.foreign.frames import FloatArray

FAR = 0.4
"""A displacement between frames, in cells, that may as well be one in the other direction."""
LEAP_ANG = 1.5
_WRAPPED_SPAN = 1.1
"""Range of a wrapped coordinate in cells; programs let atoms leave the cell for a while."""
_CHUNK_FRAMES = 512
_N_THINNED = 500
_N_FOR_SPEED = 200


@dataclass(frozen=True)
class LongSteps:
    """Displacements between frames that are longer than they should be.

    Attributes
    ----------
    far
        Shape (n_atoms,): how many of each atom exceed 0.4 of a cell, so that their direction is
        doubtful; zero where positions were unwrapped in the file.
    leaping
        Shape (n_frames,): share of atoms that moved by over 1.5 Å since the frame before, of the
        species of which the fewest did.
    """

    far: NDArray[np.int64]
    leaping: FloatArray


def unwrap_in_place(
    positions_ang: FloatArray,
    cells_ang: FloatArray,
    species: Sequence[str],
    *,
    unwrapped: bool | None,
    periodic: Sequence[bool] = (True, True, True),
) -> LongSteps:
    """Replace positions by such whose differences are displacements.

    Parameters
    ----------
    positions_ang
        Shape (n_frames, n_atoms, 3) in Å; the first frame stays.
    cells_ang
        Shape (n_frames, 3, 3), rows a, b, c in Å.
    species
        Element of each atom.
    unwrapped
        Whether they are unwrapped; None: they are where a coordinate spans more than a cell while
        minimum images are ambiguous.
    periodic
        Whether the cell repeats along a, b, c.
    """
    repeats = np.array(periodic, dtype=float)
    if unwrapped is None:
        unwrapped = _spans_cells(positions_ang, cells_ang) and any(
            _nearest(steps, cells_ang[chunk], repeats)[1].any()
            for chunk, _, steps in _steps(positions_ang)
        )
    with_cell = bool(unwrapped) and _moves_with_cell(positions_ang, cells_ang)
    members = _species_masks(species)
    far = np.zeros(len(species), dtype=np.int64)
    leaping = np.zeros(len(positions_ang))
    here = positions_ang[0].copy()
    for chunk, before, raw in _steps(positions_ang):
        if unwrapped:
            steps = raw - _cell_motion(before, cells_ang, chunk) if with_cell else raw
        else:
            steps, is_far = _nearest(raw, cells_ang[chunk], repeats)
            far += is_far.sum(axis=0)
        leaping[chunk] = _share_leaping(steps, members)
        np.cumsum(steps, axis=0, out=steps)
        steps += here
        positions_ang[chunk], here = steps, steps[-1].copy()
    return LongSteps(far, leaping)


def typical_step_ang(positions_ang: FloatArray, cells_ang: FloatArray) -> float:
    """Return the root mean square displacement of atoms between frames, of the first 200 frames.

    Parameters
    ----------
    positions_ang
        Shape (n_frames, n_atoms, 3) in Å, wrapped or not.
    cells_ang
        Shape (n_frames, 3, 3), rows a, b, c in Å.
    """
    steps = np.diff(positions_ang[:_N_FOR_SPEED], axis=0)
    if not len(steps):
        return 0.0
    nearest, _ = _nearest(steps, cells_ang[1:_N_FOR_SPEED], np.ones(3))
    return float(np.sqrt(np.mean(np.sum(nearest**2, axis=2))))


def _steps(positions_ang: FloatArray) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
    """Yield chunks of frames, the frames before theirs, and the steps between the two.

    A chunk may be overwritten when it has been yielded.
    """
    last = positions_ang[:1].copy()
    for first in range(1, len(positions_ang), _CHUNK_FRAMES):
        chunk = slice(first, min(first + _CHUNK_FRAMES, len(positions_ang)))
        frames = np.concatenate([last, positions_ang[chunk]])
        last = frames[-1:].copy()
        yield chunk, frames[:-1], np.diff(frames, axis=0)


def _nearest(
    steps: FloatArray, cells_ang: FloatArray, repeats: FloatArray
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return minimum-image steps, and which of them exceed `FAR` of a cell."""
    frac = steps @ np.linalg.inv(cells_ang)
    shift = np.rint(frac) * repeats
    far = np.any(np.abs(frac - shift) * repeats > FAR, axis=2)
    return steps - shift @ cells_ang, np.asarray(far)


def _spans_cells(positions_ang: FloatArray, cells_ang: FloatArray) -> bool:
    every = max(1, len(positions_ang) // _N_THINNED)
    frac = positions_ang[::every] @ np.linalg.inv(cells_ang[::every])
    return bool((np.ptp(frac, axis=0) > _WRAPPED_SPAN).any())


def _cell_motion(before: FloatArray, cells_ang: FloatArray, chunk: slice) -> FloatArray:
    """Return how far atoms move with the cell because they are whole cells away from the origin."""
    old = cells_ang[chunk.start - 1 : chunk.stop - 1]
    images = np.floor(before @ np.linalg.inv(old))
    return np.asarray(images @ (cells_ang[chunk] - old))


def _moves_with_cell(positions_ang: FloatArray, cells_ang: FloatArray) -> bool:
    if (cells_ang == cells_ang[0]).all():
        return False
    gain = 0.0
    for chunk, before, steps in _steps(positions_ang):
        corrected = steps - _cell_motion(before, cells_ang, chunk)
        gain += float(np.sum(steps**2) - np.sum(corrected**2))
    return gain > 0


def _species_masks(species: Sequence[str]) -> list[NDArray[np.bool_]]:
    """Return which atoms are of each species that has two or more, if there are several."""
    masks = [np.array(species) == name for name in dict.fromkeys(species)]
    return [mask for mask in masks if mask.sum() > 1] if len(masks) > 1 else []


def _share_leaping(steps: FloatArray, members: Sequence[NDArray[np.bool_]]) -> FloatArray:
    if not members:
        return np.zeros(len(steps))
    leaps = np.einsum("tia,tia->ti", steps, steps) > LEAP_ANG**2
    return np.asarray(np.min([leaps[:, mask].mean(axis=1) for mask in members], axis=0))

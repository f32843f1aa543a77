"""Frames of any format in arrays that grow as the file is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lycb_flows.errors import InputError
from lycb_flows.md.foreign.frames import CutOffError, FloatArray, Frame

_FIRST_CAPACITY = 256
_TELL_EVERY = 32
_MIN_VOLUME_ANG3 = 1e-3
_MAX_STILL_SHARE = 0.05


@dataclass
class Collected:
    """All frames of a file, up to where reading stopped.

    Attributes
    ----------
    species
        Element of each atom.
    positions_ang
        Shape (n_frames, n_atoms, 3), as in the file.
    cells_ang
        Shape (n_frames, 3, 3).
    steps, times_ps
        Shape (n_frames,), None where a frame has none.
    cut_off
        Whether the file ended within a frame.
    repeated
        The first frame that is equal to an earlier one, and that one, from 0; None where there is
        none, or where so many frames show no motion that repeats say nothing.
    """

    species: tuple[str, ...]
    positions_ang: FloatArray
    cells_ang: FloatArray
    steps: NDArray[np.int64] | None
    times_ps: FloatArray | None
    cut_off: bool
    repeated: tuple[int, int] | None


def collect(
    frames: Iterable[Frame],
    is_last: Callable[[int, Frame], bool],
    tell: Callable[[float], None],
    share_read: Callable[[], float],
) -> Collected:
    """Return the frames of a reader in arrays.

    Parameters
    ----------
    frames
        The reader's.
    is_last
        Whether to stop reading after a frame, given its index from 0.
    tell
        Called now and then with the share of the file that has been read.
    share_read
        How much of the file has been read, from 0 to 1.

    Raises
    ------
    InputError
        When there is no frame, or atoms change in number, order or element.
    """
    growing = _Growing()
    cut_off = False
    try:
        for index, frame in enumerate(frames):
            growing.add(frame, share_read)
            if index % _TELL_EVERY == 0:
                tell(share_read())
            if is_last(index, frame):
                break
    except CutOffError:
        cut_off = True
    if growing.n_frames == 0:
        raise InputError("the file has no whole frame", fix="look at the file")
    return growing.finish(cut_off=cut_off)


class _Growing:
    def __init__(self) -> None:
        self.n_frames = 0
        self.species: tuple[str, ...] = ()
        self.positions = np.empty((0, 0, 3))
        self.cells: list[FloatArray] = []
        self.steps: list[int | None] = []
        self.times: list[float | None] = []
        self.seen: dict[int, int] = {}
        self.repeats: list[tuple[int, int]] = []

    def add(self, frame: Frame, share_read: Callable[[], float]) -> None:
        """Take a frame."""
        if self.n_frames == 0:
            self.species = frame.species
            self.positions = np.empty((_FIRST_CAPACITY, len(frame.species), 3))
        elif frame.species != self.species:
            raise _changed(self.n_frames + 1, frame, self.species)
        self._check_cell(frame)
        if self.n_frames == len(self.positions):
            expected = int(1.02 * self.n_frames / max(share_read(), 1e-6)) + 1
            most = 16 * self.n_frames
            self._resize(max(self.n_frames + _FIRST_CAPACITY, min(expected, most)))
        self.positions[self.n_frames] = frame.positions_ang
        self.cells.append(frame.cell_ang)
        self.steps.append(frame.step)
        self.times.append(frame.time_ps)
        self._compare(self.positions[self.n_frames].tobytes())
        self.n_frames += 1

    def _check_cell(self, frame: Frame) -> None:
        if self.cells and frame.cell_ang is self.cells[-1]:
            return
        if not abs(np.linalg.det(frame.cell_ang)) > _MIN_VOLUME_ANG3:
            raise InputError("a frame has no cell", fix="write it", frame=self.n_frames + 1)

    def _compare(self, content: bytes) -> None:
        before = self.seen.get(hash(content))
        if before is not None:
            self.repeats.append((self.n_frames, before))
        self.seen[hash(content)] = self.n_frames

    def _resize(self, n_frames: int) -> None:
        # in place: a copy would need twice the memory
        self.positions.resize((n_frames, *self.positions.shape[1:]), refcheck=False)

    def finish(self, *, cut_off: bool) -> Collected:
        """Return what was taken."""
        self._resize(self.n_frames)
        still = sum(here == before + 1 for here, before in self.repeats)
        tells = self.repeats and still <= _MAX_STILL_SHARE * self.n_frames
        return Collected(
            species=self.species,
            positions_ang=self.positions,
            cells_ang=np.array(self.cells),
            steps=_complete(self.steps, np.int64),
            times_ps=_complete(self.times, np.float64),
            cut_off=cut_off,
            repeated=self.repeats[0] if tells else None,
        )


def _complete(values: list[Any], kind: type) -> NDArray[Any] | None:
    return None if any(value is None for value in values) else np.array(values, dtype=kind)


def _changed(number: int, frame: Frame, species: tuple[str, ...]) -> InputError:
    fix = "analyse the frames before it (--stop-ps), or write a file per system"
    if len(frame.species) != len(species):
        return InputError(
            "the number of atoms changes", fix=fix, frame=number, step=frame.step,
            atoms=len(frame.species), before=len(species),
        )  # fmt: skip
    pairs = enumerate(zip(frame.species, species, strict=True))
    where = next(place for place, (now, before) in pairs if now != before)
    return InputError(
        "the atoms change their order or element",
        fix=f"write all frames with the atoms in one order; {fix}",
        frame=number, step=frame.step, atom=where + 1,
        found=frame.species[where], before=species[where],
    )  # fmt: skip

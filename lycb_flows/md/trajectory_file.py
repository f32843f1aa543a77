"""A trajectory file that grows while its run goes on, and that a kill -9 cannot spoil.

HDF5 is used in its single-writer, multiple-reader mode: at every moment the file on disk is
whole for a reader. Frames are written chunk by chunk and counted (`committed`) after their
chunk, so a kill costs at most the frames since the last chunk. The arrays are those of
`lycb_flows.md.trajectory`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np
from numpy.typing import NDArray

from lycb_flows.errors import InputError
from lycb_flows.machine.files import sync_folder
from lycb_flows.md.trajectory import (
    ARRAY_NAMES,
    CHUNK_FRAMES,
    COMMITTED,
    Snapshot,
    Trajectory,
    create_arrays,
    read_arrays,
    to_trajectory,
)

RUN = "run"
_LIBVER = ("v110", "v110")


class GrowingTrajectory:
    """The only writer of a file; a context manager.

    Parameters
    ----------
    path
        A file that `create` or `cut` made.
    """

    def __init__(self, path: Path) -> None:
        self._file = _opened_to_grow(path)
        self._species = [symbol.decode() for symbol in self._file.attrs["species"]]
        self._time_step_fs = float(self._file.attrs["time_step_fs"])
        self._waiting: list[Snapshot] = []

    def append(self, frame: Snapshot) -> None:
        """Take a frame; a full chunk is written."""
        self._waiting.append(frame)
        if len(self._waiting) == CHUNK_FRAMES:
            self.flush()

    def flush(self) -> None:
        """Write the frames taken so far, then count them; a power cut does not undo it."""
        frames = to_trajectory(self._waiting, self._species, self._time_step_fs)
        first = int(self._file[COMMITTED][()])
        n_frames = first + frames.n_frames
        for name in ARRAY_NAMES:
            self._file[name].resize(n_frames, axis=0)
            self._file[name][first:] = getattr(frames, name)
            self._file[name].flush()
        self._file[COMMITTED][()] = n_frames
        self._file[COMMITTED].flush()
        os.fsync(self._file.id.get_vfd_handle())
        self._waiting.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def create(path: Path, species: Sequence[str], time_step_fs: float, run: str) -> None:
    """Make a file without frames.

    Parameters
    ----------
    path
        File to write.
    species
        Element of each atom.
    time_step_fs
        MD step in fs.
    run
        What the file belongs to, for `read_run`.
    """
    with _replacing(path) as file:
        create_arrays(file, species, time_step_fs, None)
        file.attrs[RUN] = run
        file[COMMITTED] = 0


def cut(path: Path, last_step: int) -> None:
    """Keep the frames up to a step; more may be appended.

    Parameters
    ----------
    path
        A trajectory file.
    last_step
        Step of the last frame that is kept.
    """
    with _reading(path) as source, _replacing(path) as target:
        target[COMMITTED] = _copy(source, target, last_step, grows=True)


def compact(path: Path) -> None:
    """Rewrite a finished file: equal frames give equal bytes, however they were written."""
    with _reading(path) as source, _replacing(path) as target:
        _copy(source, target, np.iinfo(np.int64).max, grows=False)


def read_trajectory_file(path: Path) -> Trajectory:
    """Return the frames of a file: finished, growing, or left behind by a killed run.

    Raises
    ------
    InputError
        When the file is no trajectory.
    """
    with _reading(path) as file:
        return read_arrays(file)


def read_run(path: Path) -> str:
    """Return what the file belongs to, as `create` was given it."""
    with _reading(path) as file:
        return str(file.attrs[RUN])


def read_steps(path: Path) -> NDArray[np.int64]:
    """Return the steps of the whole frames of a file, finished or growing."""
    with _reading(path) as file:
        return _steps_of(file)


def _steps_of(file: h5py.File) -> NDArray[np.int64]:
    steps: NDArray[np.int64] = file["steps"][: file[COMMITTED][()] if COMMITTED in file else None]
    return steps


def _copy(source: h5py.File, target: h5py.File, last_step: int, *, grows: bool) -> int:
    n_frames = int(np.searchsorted(_steps_of(source), last_step, side="right"))
    species = [symbol.decode() for symbol in source.attrs["species"]]
    arrays = create_arrays(
        target, species, source.attrs["time_step_fs"], None if grows else n_frames
    )
    target.attrs[RUN] = source.attrs[RUN]
    for name, array in arrays.items():
        if grows:
            array.resize(n_frames, axis=0)
        for first in range(0, n_frames, CHUNK_FRAMES):
            part = slice(first, min(first + CHUNK_FRAMES, n_frames))
            array[part] = source[name][part]
    return n_frames


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[h5py.File]:
    try:
        file = h5py.File(path, "r", libver=_LIBVER, swmr=True)
    except OSError as err:
        raise InputError("cannot read a trajectory", fix="look at the file", file=path) from err
    with file:
        yield file


def _opened_to_grow(path: Path) -> h5py.File:
    """Open a file for its single writer, marked so from the first moment.

    `swmr_mode` marks it a moment after `h5py.File` has; a file left between the two by a kill
    is closed to every reader.
    """
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    flags = h5py.h5f.ACC_RDWR | h5py.h5f.ACC_SWMR_WRITE
    return h5py.File(h5py.h5f.open(os.fsencode(path), flags, access))


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[h5py.File]:
    """Yield a new file that takes the place of `path` when it is whole."""
    temporary = path.with_name(f".{path.name}.writing")
    with h5py.File(temporary, "w", libver=_LIBVER) as file:
        yield file
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(path)
    sync_folder(path.parent)

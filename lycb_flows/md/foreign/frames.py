"""What the readers of all formats yield, and the text files that they read it from."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from lycb_flows.errors import InputError

FloatArray = NDArray[np.float64]
T = TypeVar("T")

BATCH_FRAMES = 64
"""Frames whose tables are decoded together."""
_HEAD_BYTES = 4096
_OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@dataclass(frozen=True)
class Frame:
    """A frame as its file has it.

    Attributes
    ----------
    species
        Element of each atom.
    cell_ang
        Shape (3, 3), rows a, b, c.
    positions_ang
        Shape (n_atoms, 3), wrapped or not.
    step
        Number of the MD step, where the file has it.
    time_ps
        Time, where the file has it; of unknown unit where `Source.time_unit` says so.
    """

    species: tuple[str, ...]
    cell_ang: FloatArray
    positions_ang: FloatArray
    step: int | None = None
    time_ps: float | None = None


@dataclass
class Source:
    """What a reader finds out about its file beside the frames; complete when they are read.

    Attributes
    ----------
    unwrapped
        Whether differences of positions are displacements; None where the format leaves it open.
    periodic
        Whether the cell repeats along a, b, c.
    steps_are_md_steps
        Whether a frame's step counts MD steps, so that a time step gives its time.
    time_is_in_ps
        Whether a frame's `time_ps` is in ps; where not, it is in ps or in fs.
    interval_ps
        Time between stored frames, where the file has it for all frames at once.
    interval_origin
        Where in the file it stands.
    temperature_k
        Temperature that the run was to have.
    frame_temperatures_k
        Temperature of each frame, where the file has these alone.
    production_start_ps
        Time from the first frame to the start of production, in files that know it.
    n_frames
        Number of frames, where it is known before they are read.
    remarks
        What a person should know of how the file was read.
    """

    unwrapped: bool | None = None
    periodic: tuple[bool, bool, bool] = (True, True, True)
    steps_are_md_steps: bool = False
    time_is_in_ps: bool = True
    interval_ps: float | None = None
    interval_origin: str = ""
    temperature_k: float | None = None
    frame_temperatures_k: FloatArray | None = None
    production_start_ps: float | None = None
    n_frames: int | None = None
    remarks: list[str] = field(default_factory=list)


class CutOffError(Exception):
    """The file ends within a frame."""


class TextFile:
    """A text file, packed or not, that is read line by line.

    Parameters
    ----------
    path
        The file; .gz, .bz2 and .xz are unpacked.
    """

    def __init__(self, path: Path) -> None:
        self._raw = path.open("rb")
        opener = _OPENERS.get(path.suffix.lower())
        self._lines: IO[bytes] = opener(self._raw, "rb") if opener else self._raw  # type: ignore[operator]
        self._size = max(1, path.stat().st_size)
        self.path = path

    def line(self) -> bytes:
        """Return the next line; empty at the end of the file."""
        return self._lines.readline()

    def needed_line(self) -> bytes:
        """Return the next line of a frame that has begun.

        Raises
        ------
        CutOffError
            When the file ends before the line does.
        """
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            raise CutOffError
        return line

    def table(self, n_lines: int) -> bytes:
        """Return the next lines, which end a frame.

        Raises
        ------
        CutOffError
            When the file ends before them, or seems to end within the last of them.
        """
        lines = list(islice(self._lines, n_lines))
        if len(lines) < n_lines:
            raise CutOffError
        if not lines[-1].endswith(b"\n"):
            if _is_shorter(lines):
                raise CutOffError
            lines[-1] += b"\n"
        return b"".join(lines)

    def head(self) -> bytes:
        """Return the next bytes, by which a format is recognised."""
        return self._lines.read(_HEAD_BYTES)

    @property
    def stream(self) -> IO[bytes]:
        """The unpacked bytes."""
        return self._lines

    def share_read(self) -> float:
        """Return how much of the file has been read, from 0 to 1."""
        return min(1.0, self._raw.tell() / self._size)

    def close(self) -> None:
        """Close the file."""
        self._lines.close()
        self._raw.close()


def _is_shorter(lines: list[bytes]) -> bool:
    """Whether the last line has fewer words, or a shorter last word, than all others have."""
    words = [line.split() for line in lines]
    if not words[-1] or len(words[-1]) < len(words[0]):
        return True
    return len(words) > 1 and len(words[-1][-1]) < min(len(line[-1]) for line in words[:-1])


Frames = Iterator[Frame]


def batches(items: Iterable[T], shape: Callable[[T], object]) -> Iterator[list[T]]:
    """Yield items in batches; those before a `CutOffError` are yielded before it is raised.

    Parameters
    ----------
    items
        Frames as text.
    shape
        What must be equal within a batch.
    """
    batch: list[T] = []
    try:
        for item in items:
            if batch and (len(batch) == BATCH_FRAMES or shape(item) != shape(batch[0])):
                yield batch
                batch = []
            batch.append(item)
    except (CutOffError, EOFError) as err:  # the latter where packed bytes end
        if batch:
            yield batch
        raise CutOffError from err
    if batch:
        yield batch


def check_elements(names: tuple[str, ...], *, fix: str) -> tuple[str, ...]:
    """Return the names, all of which are elements.

    Parameters
    ----------
    names
        Names of species.
    fix
        What a person should do where they are not.

    Raises
    ------
    InputError
        When a name is no symbol of an element.
    """
    unknown = [name for name in dict.fromkeys(names) if not atomic_numbers.get(name)]
    if unknown:
        raise InputError("a species is no element", fix=fix, found=",".join(unknown))
    return names

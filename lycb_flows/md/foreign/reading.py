"""A trajectory of any program as unwrapped positions at equal intervals.

| format | recognised by | times | positions |
|---|---|---|---|
| our HDF5 | content | steps x time step | unwrapped |
| extended XYZ | first line | `time_ps`, `time_fs`, `time` | either |
| ASE's `.traj` | content | noted by ASE's dynamics, or as above | either |
| XDATCAR | name, or second line | none | wrapped |
| vasprun.xml | content | POTIM x NBLOCK | wrapped |
| LAMMPS text dump | first line | steps x option, or `ITEM: TIME` | `lammps_dump.py` |

Text files may be packed (.gz, .bz2, .xz). Memory is one array of all positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lycb_flows.errors import InputError, first_line
from lycb_flows.machine.files import UNREADABLE
from lycb_flows.md.foreign.ase_files import read_ase_trajectory, read_extxyz
from lycb_flows.md.foreign.checks import (
    SAME_PS,
    check_end,
    check_far,
    check_order,
    check_repeats,
)
from lycb_flows.md.foreign.collecting import Collected, collect
from lycb_flows.md.foreign.frames import CutOffError, FloatArray, Frame, Frames, Source, TextFile
from lycb_flows.md.foreign.lammps_dump import read_lammps_dump
from lycb_flows.md.foreign.own import read_own
from lycb_flows.md.foreign.times import Times, check_even, find_times
from lycb_flows.md.foreign.unwrapping import typical_step_ang, unwrap_in_place
from lycb_flows.md.foreign.vasp import read_vasprun, read_xdatcar
from lycb_flows.md.trajectory import Trajectory
from lycb_flows.units import PS_FS

Reader = Callable[[TextFile, Source, Sequence[str] | None], Frames]
Tell = Callable[[float], None]

_HEADS: dict[bytes, str] = {
    b"\x89HDF": "hdf5",
    b"- of Ulm": "traj",
    b"ITEM:": "dump",
    b"<?xml": "vasprun",
}
_TEXT_READERS: dict[str, Reader] = {
    "dump": read_lammps_dump,
    "vasprun": read_vasprun,
    "extxyz": read_extxyz,
    "xdatcar": read_xdatcar,
}
_BINARY_READERS = {"hdf5": read_own, "traj": read_ase_trajectory}


@dataclass(frozen=True)
class UnwrappedTrajectory:
    """What an analysis of transport needs of a trajectory.

    Attributes
    ----------
    species
        Element of each atom.
    positions_ang
        Shape (n_frames, n_atoms, 3); differences are displacements.
    cells_ang
        Shape (n_frames, 3, 3), rows a, b, c.
    frame_interval_ps
        Time between frames.
    start_ps
        Time of the first of them since the first frame of the file.
    temperature_k
        What the run was to have, where the file says so; of our own runs that do not say it, the
        mean over these frames.
    remarks
        How the file was read, as sentences.
    """

    species: tuple[str, ...]
    positions_ang: FloatArray
    cells_ang: FloatArray
    frame_interval_ps: float
    start_ps: float
    temperature_k: float | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class ReadingOptions:
    """What the user says of a trajectory.

    Attributes
    ----------
    time_step_fs
        Time between stored frames; of a LAMMPS dump, per MD step. None: the file has it.
    species
        Elements of the types of a dump or of the groups of an XDATCAR, as ("Li", "Y", "Cl") or
        "Li,Y,Cl".
    start_ps, stop_ps
        Part to read, from the first frame of the file; None: all, and of our own runs the
        production.

    Raises
    ------
    InputError
        When the part begins before the file or ends before it begins.
    """

    time_step_fs: float | None = None
    species: str | Sequence[str] | None = None
    start_ps: float | None = None
    stop_ps: float | None = None

    def __post_init__(self) -> None:
        start_ps = 0.0 if self.start_ps is None else self.start_ps
        stop_ps = np.inf if self.stop_ps is None else self.stop_ps
        if not 0 <= start_ps < stop_ps:
            raise InputError(
                "no part of a file is between start and stop",
                fix="--start-ps is at least 0, and --stop-ps after it",
                start_ps=f"{start_ps:g}",
                stop_ps=f"{stop_ps:g}",
            )

    @property
    def names(self) -> tuple[str, ...] | None:
        """The species one by one."""
        species = self.species
        if isinstance(species, str):
            species = species.split(",")
        return None if species is None else tuple(name.strip() for name in species)


def read_any_trajectory(
    path: Path, options: ReadingOptions | None = None, tell: Tell | None = None
) -> UnwrappedTrajectory:
    """Read a trajectory of any of the formats above.

    Parameters
    ----------
    path
        The file.
    options
        What the file does not say.
    tell
        Called now and then with the share of the file that has been read.

    Raises
    ------
    InputError
        When the file is of no known format or damaged, or its frames have no time, are not evenly
        spaced, are repeated, or are of different atoms.
    """
    options = options or ReadingOptions()
    source = Source()
    is_last = _last_frame(options, source)
    with closing(_open(path, source, options.names)) as opened:
        collected = collect(opened.frames, is_last, tell or _quiet, opened.share_read)
    return prepare(collected, source, options)


def as_unwrapped(trajectory: Trajectory, options: ReadingOptions) -> UnwrappedTrajectory:
    """Return a trajectory in memory as an analysis needs it.

    Parameters
    ----------
    trajectory
        The trajectory, with times and elements of its own.
    options
        Part to take, from its first frame.

    Raises
    ------
    InputError
        When its frames are not evenly spaced, fewer than two of them are in the part, or the
        options state times or elements.
    """
    for name in ("time_step_fs", "species"):
        if (value := getattr(options, name)) is not None:
            raise InputError(
                "a trajectory in memory has times and elements", fix="leave it out", **{name: value}
            )
    times = Times(trajectory.times_ps - trajectory.times_ps[:1], trajectory.steps, "the trajectory")
    first, last = _selected(times, options, Source())
    chosen = slice(first, last + 1)
    return UnwrappedTrajectory(
        species=trajectory.species,
        positions_ang=trajectory.unwrapped_ang()[chosen],
        cells_ang=trajectory.cells_ang[chosen],
        frame_interval_ps=check_even(times, first, last),
        start_ps=float(times.times_ps[first]),
        temperature_k=float(trajectory.temperature_k[chosen].mean()),
        remarks=(),
    )


def prepare(collected: Collected, source: Source, options: ReadingOptions) -> UnwrappedTrajectory:
    """Return the frames of a file that an analysis may use, checked and unwrapped.

    Parameters
    ----------
    collected
        All frames that were read; their positions are overwritten.
    source
        What the reader found out.
    options
        What the user says.

    Raises
    ------
    InputError
        As `read_any_trajectory` does.
    """
    positions, cells = collected.positions_ang, collected.cells_ang
    speed_ang = typical_step_ang(positions, cells)
    times = find_times(
        source, len(positions), collected.steps, collected.times_ps, options.time_step_fs, speed_ang
    )
    check_end(collected, times, options.stop_ps)
    first, last = _selected(times, options, source)
    interval_ps = check_even(times, first, last)
    check_repeats(collected, source, first, last)
    chosen = slice(first, last + 1)
    steps = unwrap_in_place(
        positions[chosen], cells[chosen], collected.species,
        unwrapped=source.unwrapped, periodic=source.periodic,
    )  # fmt: skip
    check_order(steps, times, first)
    remarks = (*_remarks(source, times, first), *check_far(steps, collected.species))
    return UnwrappedTrajectory(
        species=collected.species,
        positions_ang=positions[chosen],
        cells_ang=cells[chosen],
        frame_interval_ps=interval_ps,
        start_ps=float(times.times_ps[first]),
        temperature_k=_temperature_k(source, chosen),
        remarks=remarks,
    )


def _temperature_k(source: Source, chosen: slice) -> float | None:
    per_frame = source.frame_temperatures_k
    return source.temperature_k if per_frame is None else float(per_frame[chosen].mean())


# -- formats -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Opened:
    """A file that is being read."""

    frames: Iterable[Frame]
    share_read: Callable[[], float]
    close: Callable[[], None]


def _open(path: Path, source: Source, species: Sequence[str] | None) -> _Opened:
    try:
        with closing(TextFile(path)) as file:
            name = _format_of(path, file.head())
        if name in _BINARY_READERS:
            counted = _Counted(_BINARY_READERS[name](path, source, species), path)
            return _Opened(counted, lambda: counted.n_read / (source.n_frames or np.inf), _quiet)
        file = TextFile(path)
    except UNREADABLE as err:
        raise InputError(
            "cannot read the trajectory", fix="check its path, and whether it is whole", file=path,
            reason=f"{type(err).__name__}: {first_line(err)}"[:200],
        ) from err  # fmt: skip
    counted = _Counted(_TEXT_READERS[name](file, source, species), path)
    return _Opened(counted, file.share_read, file.close)


def _format_of(path: Path, head: bytes) -> str:
    """Return the name of a file's format, by its name or how it begins."""
    if "XDATCAR" in path.name.upper():
        return "xdatcar"
    for start, name in _HEADS.items():
        if head.startswith(start):
            return name
    lines = head.split(b"\n")
    if lines[0].strip().isdigit():
        return "extxyz"
    if len(lines) > 1 and _is_number(lines[1]):
        return "xdatcar"
    raise InputError(
        "the format of the trajectory is not known",
        fix="give extended XYZ, .traj, XDATCAR, vasprun.xml, a LAMMPS text dump or our HDF5",
        file=path.name,
    )


def _is_number(line: bytes) -> bool:
    try:
        float(line)
    except ValueError:
        return False
    return True


class _Counted:
    """Frames, counted; what a damaged file leads to becomes one line that names the file."""

    def __init__(self, frames: Frames, path: Path) -> None:
        self.frames, self.path = frames, path
        self.n_read = 0

    def __iter__(self) -> Frames:
        try:
            for frame in self.frames:
                self.n_read += 1
                yield frame
        except EOFError as err:
            raise CutOffError from err
        except (*UNREADABLE, ValueError, LookupError, ArithmeticError) as err:
            raise InputError(
                "the trajectory is damaged", fix="look at the file", file=self.path.name,
                frame=self.n_read + 1, reason=f"{type(err).__name__}: {err}"[:200],
            ) from err  # fmt: skip


def _quiet(*_: object) -> None:
    """Say nothing."""


# -- which frames ------------------------------------------------------------------------------


def _last_frame(options: ReadingOptions, source: Source) -> Callable[[int, Frame], bool]:
    """Return what tells whether to stop reading after a frame."""
    first: list[Frame] = []

    def is_last(index: int, frame: Frame) -> bool:
        if options.stop_ps is None:
            return False
        if not first:
            first.append(frame)
        time_ps = _time_of(index, frame, first[0], options.time_step_fs, source)
        return time_ps is not None and time_ps > options.stop_ps - SAME_PS

    return is_last


def _time_of(
    index: int, frame: Frame, first: Frame, time_step_fs: float | None, source: Source
) -> float | None:
    """Return the time of a frame since the first, where it is known before all are read."""
    if time_step_fs is not None:
        counts_steps = source.steps_are_md_steps and frame.step is not None
        n_steps = (frame.step or 0) - (first.step or 0) if counts_steps else index
        return float(n_steps * time_step_fs / PS_FS)
    if frame.time_ps is not None and first.time_ps is not None:
        return frame.time_ps - first.time_ps if source.time_is_in_ps else None
    return None if source.interval_ps is None else index * source.interval_ps


def _selected(times: Times, options: ReadingOptions, source: Source) -> tuple[int, int]:
    """Return the first and the last frame between start and stop."""
    start_ps = options.start_ps
    if start_ps is None:
        start_ps = source.production_start_ps or 0.0
    stop_ps = np.inf if options.stop_ps is None else options.stop_ps
    inside = np.flatnonzero(
        (times.times_ps > start_ps - SAME_PS) & (times.times_ps < stop_ps + SAME_PS)
    )
    if inside.size < 2:  # noqa: PLR2004 - an interval has two ends
        last_ps = times.times_ps.max()  # of the file, unless reading ended at the stop
        length = {"file_ps": f"0 to {last_ps:g}"} if last_ps < stop_ps - SAME_PS else {}
        raise InputError(
            "no two frames between start and stop",
            fix="choose --start-ps and --stop-ps within the file",
            start_ps=f"{start_ps:g}",
            stop_ps=f"{stop_ps:g}",
            **length,
        )
    return int(inside[0]), int(inside[-1])


def _remarks(source: Source, times: Times, first: int) -> Iterator[str]:
    yield f"time: {times.origin}"
    yield from source.remarks
    if first and source.production_start_ps is not None:
        yield f"starts at {times.times_ps[first]:g} ps of the file"
    if not all(source.periodic):
        yield "the cell does not repeat in all directions; its volume may not be the crystal's"

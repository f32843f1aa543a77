"""Extended XYZ, and ASE's own `.traj`.

Positions in both may be wrapped or not; `unwrapping.py` finds out. ASE's reader of extended XYZ
takes ten times as long as `TableReader`, for it reads every property of every frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from ase import Atoms, units
from ase.data import chemical_symbols
from ase.io.trajectory import TrajectoryReader

from lycb_flows.errors import InputError
from lycb_flows.md.foreign.frames import (
    CutOffError,
    FloatArray,
    Frame,
    Frames,
    Source,
    TextFile,
    batches,
    check_elements,
)
from lycb_flows.md.foreign.tables import TableError, TableReader
from lycb_flows.units import PS_FS

_PAIR = re.compile(r"""([\w.\-]+)\s*=\s*("[^"]*"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|\S+)""")
_PLAIN = "species:S:1:pos:R:3"
_SPECIES, _POSITIONS = ("species", "element"), ("pos", "positions")
_TIMES = {"time_ps": 1.0, "time_fs": 1 / PS_FS, "time": None}
"""What a frame may call its time, with its value in ps; None: in ps or in fs."""


class _Text(NamedTuple):
    """A frame of extended XYZ, not yet decoded."""

    n_atoms: int
    properties: str
    info: dict[str, str]
    table: bytes


def read_extxyz(file: TextFile, source: Source, species: Sequence[str] | None) -> Frames:
    """Yield the frames of an extended XYZ file.

    Parameters
    ----------
    file
        The file.
    source
        Takes what is found out about the file.
    species
        Must be None: the file names its elements.

    Raises
    ------
    InputError
        When a frame has no cell, no elements, or no positions.
    """
    _no_species_needed(species)
    reader: TableReader | None = None
    n_read, shape = 0, None
    for batch in batches(_texts(file), lambda text: (text.n_atoms, text.properties)):
        if reader is None or shape != (batch[0].n_atoms, batch[0].properties):
            shape = batch[0].n_atoms, batch[0].properties
            reader = _reader_of(*shape)
        try:
            positions, names = reader.read([text.table for text in batch])
        except TableError as err:
            raise InputError(
                "a frame of extended XYZ is damaged", fix="look at the file",
                frames=f"{n_read + 1} to {n_read + len(batch)}", reason=str(err),
            ) from err  # fmt: skip
        for text, xyz, kinds in zip(batch, positions, names, strict=True):
            n_read += 1
            yield _frame(text, xyz, kinds, source, n_read)


def _no_species_needed(species: Sequence[str] | None) -> None:
    if species is not None:
        raise InputError("this format names its elements", fix="leave --species out")


def _texts(file: TextFile) -> Iterator[_Text]:
    line = file.line()
    while line.strip():
        try:
            n_atoms = int(line)
        except ValueError as err:
            raise InputError(
                "not extended XYZ: a frame begins with its number of atoms",
                fix="look at the file",
                found=line.decode(errors="replace").strip()[:60],
            ) from err
        comment = file.needed_line().decode(errors="replace")
        info = {key.lower(): value.strip("\"'{}[],") for key, value in _PAIR.findall(comment)}
        yield _Text(n_atoms, info.get("properties", _PLAIN), info, file.table(n_atoms))
        line = file.line()


def _reader_of(n_atoms: int, properties: str) -> TableReader:
    words = properties.split(":")
    first, places = 0, {}
    for name, width in zip(words[::3], words[2::3], strict=False):
        places[name.lower()] = first
        first += int(width)
    species = next((places[name] for name in _SPECIES if name in places), None)
    xyz = next((places[name] for name in _POSITIONS if name in places), None)
    if species is None or xyz is None:
        raise InputError(
            "extended XYZ without species or positions",
            fix="write the columns species and pos",
            properties=properties,
        )
    return TableReader(n_atoms, first, range(xyz, xyz + 3), species)


def _frame(
    text: _Text, positions: FloatArray, names: tuple[str, ...], source: Source, number: int
) -> Frame:
    info = text.info
    if "lattice" not in info:
        raise InputError(
            "a frame has no cell", fix='write Lattice="..." in its comment line', frame=number
        )
    cell = np.array(info["lattice"].replace(",", " ").split(), dtype=float).reshape(3, 3)
    if number == 1:
        check_elements(names, fix="write symbols of elements in the column species")
        flags = (info.get("pbc") or "T T T").upper().split()
        a, b, c = (not flag.startswith(("F", "0")) for flag in flags)
        source.periodic = a, b, c
    return Frame(names, cell, positions, *_when(info, source))


def _when(info: Mapping[str, Any], source: Source) -> tuple[int | None, float | None]:
    """Return step and time of a frame, where it has them."""
    step, time_ps = info.get("step"), None
    for name, in_ps in _TIMES.items():
        if name in info:
            source.time_is_in_ps = in_ps is not None
            time_ps = float(info[name]) * (in_ps or 1.0)
            break
    return None if step is None else int(step), time_ps


# -- ASE's own ---------------------------------------------------------------------------------


def read_ase_trajectory(path: Path, source: Source, species: Sequence[str] | None) -> Frames:
    """Yield the frames of a `.traj` file.

    Time between frames is the time step that ASE's dynamics noted, times its `loginterval`.

    Parameters
    ----------
    path
        The file.
    source
        Takes what is found out about the file.
    species
        Must be None: the file names its elements.

    Raises
    ------
    InputError
        When it is no such file, or a frame has no cell.
    """
    _no_species_needed(species)
    try:
        reader = TrajectoryReader(path)
    except Exception as err:
        raise InputError(
            "not a trajectory of ASE's", fix="look at the file", reason=str(err)[:200]
        ) from err
    with reader:
        note = reader.description if len(reader) else None
        if note and "timestep" in note:
            every = note.get("interval", 1)
            source.interval_ps = note["timestep"] * every / units.fs / PS_FS
            source.interval_origin = f"{note.get('md-type', 'dynamics')}, every {every} steps"
        yield from _frames_of(reader, source)


def _atoms(reader: TrajectoryReader, number: int) -> Atoms:
    try:
        return cast("Atoms", reader[number - 1])
    except (OSError, ValueError) as err:
        if number == 1:
            raise
        raise CutOffError from err


def _frames_of(reader: TrajectoryReader, source: Source) -> Frames:
    numbers, species = None, ()
    source.n_frames = len(reader)
    for number in range(1, len(reader) + 1):
        atoms = _atoms(reader, number)
        if numbers is None or not np.array_equal(numbers, atoms.numbers):
            numbers, species = atoms.numbers, tuple(chemical_symbols[z] for z in atoms.numbers)
        if abs(atoms.cell.volume) == 0:
            raise InputError("a frame has no cell", fix="set atoms.cell", frame=number)
        a, b, c = (bool(flag) for flag in atoms.pbc)
        source.periodic = a, b, c
        yield Frame(species, atoms.cell.array, atoms.positions, *_when(atoms.info, source))

"""Trajectories of VASP: XDATCAR and vasprun.xml, frame by frame.

pymatgen's readers hold whole files, with forces and electronic steps; a long run has gigabytes.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

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

_TITLE = re.compile(rb"\s*(?:Direct configuration|Konfig)\s*=?\s*(\d*)", re.IGNORECASE)
_MD = 0  # IBRION of molecular dynamics


# -- XDATCAR -----------------------------------------------------------------------------------


class _Crystal(NamedTuple):
    """The lines above a configuration."""

    cell_ang: FloatArray
    species: tuple[str, ...]


class _Configuration(NamedTuple):
    crystal: _Crystal
    number: int | None
    table: bytes


def read_xdatcar(file: TextFile, source: Source, species: Sequence[str] | None) -> Frames:
    """Yield the configurations of an XDATCAR, whose cell may change (ISIF = 3).

    VASP numbers the configurations of each job from the start. Where a number starts anew, the
    jobs were joined by hand; the numbers are then counted on, and a remark says so.

    Parameters
    ----------
    file
        The XDATCAR.
    source
        Takes what is found out about the file.
    species
        Elements of the groups of atoms; None: the file's.

    Raises
    ------
    InputError
        When it is no XDATCAR.
    """
    numbers = _Numbers(source)
    reader: TableReader | None = None
    for batch in batches(_configurations(file, species), lambda item: len(item.crystal.species)):
        n_atoms = len(batch[0].crystal.species)
        if reader is None or reader.n_rows != n_atoms:
            reader = TableReader(n_atoms, 3, (0, 1, 2))
        try:
            coords, _ = reader.read([item.table for item in batch])
        except TableError as err:
            raise InputError(
                "a configuration of the XDATCAR is damaged", fix="look at the file",
                configurations=f"{batch[0].number} to {batch[-1].number}", reason=str(err),
            ) from err  # fmt: skip
        for item, frac in zip(batch, coords, strict=True):
            cell = item.crystal.cell_ang
            step = numbers.step(item.number)
            yield Frame(item.crystal.species, cell, frac @ cell, step)


def _configurations(file: TextFile, species: Sequence[str] | None) -> Iterator[_Configuration]:
    crystal, line = None, file.line()
    while line.strip() or crystal is None:
        title = _TITLE.match(line)
        if title is None or crystal is None:
            crystal = _read_crystal(file, species)
            line = file.needed_line()
            title = _TITLE.match(line)
        if title is None and line.strip():
            raise _no_xdatcar(line)
        number = int(title[1]) if title and title[1] else None
        yield _Configuration(crystal, number, file.table(len(crystal.species)))
        line = file.line()


def _read_crystal(file: TextFile, species: Sequence[str] | None) -> _Crystal:
    """Return cell and species from the lines below the comment."""
    lines = [file.needed_line() for _ in range(5)]
    try:
        scale = float(lines[0])
        cell = np.array([line.split()[:3] for line in lines[1:4]], dtype=float)
        if scale < 0:  # a volume
            scale = (-scale / abs(np.linalg.det(cell))) ** (1 / 3)
        names = lines[4].decode(errors="replace").split()
        counts = names if names[0].isdigit() else file.needed_line().split()
        n_each = [int(count) for count in counts]
    except (ValueError, IndexError) as err:
        raise _no_xdatcar(lines[0]) from err
    if species or counts is names:
        names = list(species or ())
    if len(names) != len(n_each):
        raise InputError(
            "the groups of atoms in the XDATCAR need a name each",
            fix="name them in order: --species Li,Y,Cl",
            groups=len(n_each),
            names=",".join(names) or "none",
        )
    # VASP 6 may write Li_sv, or Li/ and a hash of the POTCAR
    elements = tuple(re.split("[/_]", name)[0] for name in names)
    check_elements(elements, fix="correct the species line")
    atoms = [name for name, n in zip(elements, n_each, strict=True) for _ in range(n)]
    return _Crystal(cell * scale, tuple(atoms))


def _no_xdatcar(line: bytes) -> InputError:
    return InputError(
        "not an XDATCAR of VASP 5 or 6",
        fix="give the file as VASP wrote it",
        found=line.decode(errors="replace").strip()[:60],
    )


class _Numbers:
    """The steps of configurations, counted on where a number starts anew."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.first: int | None = None
        self.last: int | None = None
        self.interval: int | None = None
        self.offset = 0

    def step(self, number: int | None) -> int | None:
        """Return the step of the next configuration."""
        if number is None:
            return None
        if self.first is None:
            self.first = number
        elif self.last is not None and self.interval is None:
            self.interval = number - self.last
        step = number + self.offset
        if self.last is not None and step <= self.last and number == self.first:
            self.offset = self.last + (self.interval or 1) - number
            step = number + self.offset
            self.source.remarks.append(
                f"the configurations are numbered anew after step {self.last}: taken as a run "
                "that went on at the same interval"
            )
        self.last = step
        return step


# -- vasprun.xml -------------------------------------------------------------------------------


def read_vasprun(file: TextFile, source: Source, species: Sequence[str] | None) -> Frames:
    """Yield the ionic steps of a vasprun.xml.

    Time between frames is POTIM, times NBLOCK where the file has only every NBLOCK-th step.

    Parameters
    ----------
    file
        The vasprun.xml.
    source
        Takes what is found out about the file.
    species
        Must be None: the file names its elements.

    Raises
    ------
    InputError
        When the file is none of VASP's.
    """
    if species is not None:
        raise InputError("a vasprun.xml names its elements", fix="leave --species out")
    names: tuple[str, ...] = ()
    parameters: dict[str, str] = {}
    n_frames = 0
    try:
        for _, element in ET.iterparse(file.stream):  # noqa: S314 - expat loads no external entity
            if element.tag in {"incar", "parameters"}:
                parameters |= {
                    str(i.get("name")): (i.text or "").strip() for i in element.iter("i")
                }
            elif element.tag == "atominfo":
                names = _species_of(element)
            elif element.tag == "calculation":
                yield _ionic_step(element, names)
                n_frames += 1
                element.clear()
    except ET.ParseError as err:
        if n_frames == 0:
            raise InputError(
                "no ionic step can be read", fix="give a vasprun.xml", reason=str(err)
            ) from err
        raise CutOffError from err
    finally:
        _take_parameters(source, parameters, n_frames)


def _species_of(atominfo: ET.Element) -> tuple[str, ...]:
    rows = atominfo.findall("array[@name='atoms']/set/rc")
    names = tuple((row.findtext("c") or "").strip() for row in rows)
    return check_elements(names, fix="give a vasprun.xml of VASP's")


def _ionic_step(calculation: ET.Element, names: tuple[str, ...]) -> Frame:
    cell = _vectors(calculation, "structure/crystal/varray[@name='basis']")
    coords = _vectors(calculation, "structure/varray[@name='positions']")
    if cell.shape != (3, 3) or coords.shape != (len(names), 3):
        raise InputError(
            "an ionic step has no structure", fix="look at the vasprun.xml", atoms=len(names)
        )
    return Frame(names, cell, coords @ cell)


def _vectors(element: ET.Element, path: str) -> FloatArray:
    rows = element.findall(f"{path}/v")
    return np.array([(row.text or "").split() for row in rows], dtype=float).reshape(len(rows), -1)


def _take_parameters(source: Source, parameters: dict[str, str], n_frames: int) -> None:
    def number(name: str, default: float) -> float:
        return float(parameters.get(name) or default)

    if "TEBEG" in parameters and number("TEBEG", 0) == number("TEEND", number("TEBEG", 0)):
        source.temperature_k = number("TEBEG", 0) or None
    every = int(number("NBLOCK", 1))
    if number("IBRION", -1) != _MD or "POTIM" not in parameters or number("ML_OUTBLOCK", 1) > 1:
        return
    if n_frames * every > max(number("NSW", 0), every):
        every = 1
    source.interval_ps = number("POTIM", 0) * every / PS_FS
    source.interval_origin = f"POTIM = {number('POTIM', 0):g} fs" + (
        f" x NBLOCK = {every}" if every > 1 else ""
    )

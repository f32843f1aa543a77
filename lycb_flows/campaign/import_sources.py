"""The files that an import of labels reads: a file, VASP's runs in a tree, or extended XYZ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lycb_flows.errors import InputError

FileFormat = Literal["vasp", "extxyz", "ase-db", "mptrj"]
_SUFFIXES = {".extxyz": "extxyz", ".xyz": "extxyz", ".db": "ase-db", ".json": "mptrj"}


@dataclass(frozen=True)
class Source:
    """A file with labels, and what the import calls it."""

    name: str
    path: Path
    file_format: str

    @property
    def media_type(self) -> str:
        """The media type of its content, as a blob has it."""
        if self.path.suffix == ".gz":
            return "application/gzip"
        return {
            "vasp": "application/xml",
            "mptrj": "application/json",
            "extxyz": "chemical/x-xyz",
        }.get(self.file_format, "application/vnd.sqlite3")


def sources_of(path: Path, file_format: str | None) -> Iterator[Source]:
    """Yield the files to read, in order.

    Parameters
    ----------
    path
        A file, or a folder: VASP's runs in it and below, or else the extended XYZ files in it.
    file_format
        None: as its name says.

    Raises
    ------
    InputError
        When there is nothing to read.
    """
    if path.is_dir():
        yield from _of_folder(path, file_format)
        return
    if not path.is_file():
        raise InputError("no such file or folder", fix="give one with labels", found=path)
    guess = "vasp" if path.name.startswith("vasprun") else _SUFFIXES.get(path.suffix)
    if file_format is None and guess is None:
        raise InputError(
            "the file's name does not say its format", fix="set --format", found=path.name
        )
    yield Source(path.name, path, file_format or guess or "")


def _of_folder(folder: Path, file_format: str | None) -> Iterator[Source]:
    if file_format not in {None, "vasp", "extxyz"}:
        raise InputError(
            "a folder holds VASP's runs or extended XYZ files", fix="give the file", folder=folder
        )
    runs, files = {}, []
    if file_format != "extxyz":
        runs = {run.parent: run for run in sorted(folder.rglob("vasprun.xml*"), reverse=True)}
    if file_format != "vasp" and not runs:
        files = sorted(folder.glob("*.extxyz"))
    if not runs and not files:
        looked_for = {"vasp": "no vasprun.xml in it", "extxyz": "no .extxyz file in it"}
        raise InputError(
            looked_for.get(file_format or "", "neither vasprun.xml nor an .extxyz file in it"),
            fix="give VASP's folder, or a file or folder of extended XYZ",
            folder=folder,
        )
    for run in sorted(runs.values()):  # the unpacked file where a packed one lies beside it
        yield Source(str(run.relative_to(folder)), run, "vasp")
    for file in files:
        yield Source(file.name, file, "extxyz")

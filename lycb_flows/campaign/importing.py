"""Labels of others into the store: checked like an engine's, each with its source and level.

A file becomes one `Import` per level of theory, which keeps the file itself, and its labels
rest on that. What is no label is refused with its reason; a file that cannot be read to its
end brings nothing. Importing again adds nothing.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pymatgen.core.structure import StructureError

from lycb_flows.errors import InputError, LabelError, LycbError
from lycb_flows.labels.checks import checked_numbers
from lycb_flows.labels.foreign.reading import (
    ForeignLabel,
    Found,
    Refusal,
    read_ase_db,
    read_extxyz,
    read_mptrj,
)
from lycb_flows.labels.foreign.stated_level import (
    Level,
    Statement,
    contradictions,
    level_of_fingerprint,
    stated_level,
)
from lycb_flows.labels.foreign.vasprun import read_run
from lycb_flows.schemas import Blob, Document, Import, Label, Structure
from lycb_flows.store import MadeNow, ResultStore

FileFormat = Literal["vasp", "extxyz", "ase-db", "mptrj"]
MAX_KEPT_BYTES = 50_000_000
"""Larger files are known by their hash only."""
_SAME_EV, _SAME_EV_PER_ANG, _SAME_GPA = 1e-6, 1e-6, 1e-5
"""What text may change of a label."""
_ON_THEIR_WORD = "imported: what it is rests on its file's word"
_KEY = re.compile(r"[0-9a-f]{64}")
_READERS: dict[str, Callable[[Path], Found]] = {
    "extxyz": read_extxyz,
    "ase-db": read_ase_db,
    "mptrj": read_mptrj,
}
_SUFFIXES = {".extxyz": "extxyz", ".xyz": "extxyz", ".db": "ase-db", ".json": "mptrj"}
_UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    StructureError,
    SyntaxError,
    TypeError,
    ValueError,
    sqlite3.Error,
    zlib.error,
)
"""What readers of damaged files raise; all of it becomes the file's refusal."""


@dataclass
class Summary:
    """What an import has brought, or, dry, would have; labels by key.

    Attributes
    ----------
    name
        Of the set.
    new, known
        Labels that were added, and that the store had with the same numbers.
    refused
        What is no label, and why.
    imports
        Keys of the `Import` documents.
    levels
        Fingerprint -> level of theory.
    """

    name: str
    new: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    levels: dict[str, Level] = field(default_factory=dict)


@dataclass(frozen=True)
class _Source:
    name: str
    path: Path
    file_format: str


@dataclass(frozen=True)
class _Checked:
    place: int
    structure: Structure
    label: Label
    level: Level


def import_labels(  # noqa: PLR0913 - each one is an option of the command
    store: ResultStore,
    path: Path,
    *,
    file_format: FileFormat | None = None,
    name: str | None = None,
    statement: Statement | None = None,
    all_steps: bool = False,
    dry_run: bool = False,
) -> Summary:
    """Labels of a file, or of a tree of VASP's folders.

    Parameters
    ----------
    store
        Where they go.
    path
        The file or folder.
    file_format
        Default: by what it is and is called.
    name
        Of the set; a campaign names it in `labels.imported`. Default: the path's own.
    statement
        What is known of labels whose files do not say; vasprun.xml does.
    all_steps
        Of VASP's runs: every ionic step instead of the last.
    dry_run
        Read and check only.

    Raises
    ------
    InputError
        When there is nothing to read, or the statement is no level of theory.
    """
    statement = statement or Statement()
    sources = list(_sources(path, file_format))
    stated = stated_level(statement)
    reader = _Reader(store, stated, stated_by_user=not statement.is_empty, all_steps=all_steps)
    summary = Summary(name or path.resolve().name)
    for source in sources:
        documents = reader.documents(source, summary)
        if documents and not dry_run:
            if source.path.stat().st_size < MAX_KEPT_BYTES:
                store.blobs.put(source.path.read_bytes(), _media_type(source))
            store.insert_all(documents)
    return summary


def _sources(path: Path, file_format: str | None) -> Iterator[_Source]:
    if path.is_dir():
        if file_format not in {None, "vasp"}:
            raise InputError("a folder can only be VASP's", fix="give the file", folder=path)
        runs = {run.parent: run for run in sorted(path.rglob("vasprun.xml*"), reverse=True)}
        for run in sorted(runs.values()):  # unpacked where there are both
            yield _Source(str(run.relative_to(path)), run, "vasp")
        if not runs:
            raise InputError("no vasprun.xml in it", fix="give VASP's folder", folder=path)
        return
    if not path.is_file():
        raise InputError("no such file or folder", fix="give one with labels", found=path)
    guess = "vasp" if path.name.startswith("vasprun") else _SUFFIXES.get(path.suffix)
    if file_format is None and guess is None:
        raise InputError(
            "the file's name does not say its format", fix="set --format", found=path.name
        )
    yield _Source(path.name, path, file_format or guess or "")


class _Reader:
    """From files to documents; remembers what it has seen, so that a dry run counts right."""

    def __init__(
        self, store: ResultStore, stated: Level, *, stated_by_user: bool, all_steps: bool
    ) -> None:
        self.store, self.stated, self.stated_by_user = store, stated, stated_by_user
        self.all_steps = all_steps
        self.seen: dict[str, Label] = {}

    def documents(self, source: _Source, summary: Summary) -> list[Document]:
        """What a file adds to the store; what it is goes into the summary."""
        try:
            found, level = self._found(source)
        except (LycbError, *_UNREADABLE) as err:
            reason = str(err) if isinstance(err, LycbError) else _unreadable(err)
            summary.refused.append(Refusal(source.name, None, reason))
            return []
        all_checked: dict[str, _Checked] = {}
        new: set[str] = set()
        for place, one in found:
            try:
                checked = self._checked(one, level)
                if self._is_new(checked.label):
                    new.add(checked.label.key)
            except LabelError as err:
                summary.refused.append(Refusal(source.name, place, str(err)))
            else:
                all_checked.setdefault(checked.label.key, checked)
        summary.new += [key for key in all_checked if key in new]
        summary.known += [key for key in all_checked if key not in new]
        return list(_documents(source, summary, all_checked, new))

    def _found(self, source: _Source) -> tuple[list[tuple[int, ForeignLabel | LabelError]], Level]:
        if source.file_format == "vasp":
            level, labels = read_run(source.path, all_steps=self.all_steps)
            return labels, self._agreed(level)
        return list(_READERS[source.file_format](source.path)), self.stated

    def _agreed(self, read: Level) -> Level:
        """The user's level for a run that states its own, unless the run contradicts it.

        One of ours by name is for runs with exactly its inputs.
        """
        if not self.stated_by_user:
            return read
        different = contradictions(self.stated, read)
        ours = self.stated.theory is not None and self.stated.theory.level is not None
        if ours and self.stated.fingerprint != read.fingerprint:
            different = [*different, read.note]
        if different:
            raise LabelError(
                "the run is of another level of theory than was stated",
                fix="leave the options of the level out",
                differs="; ".join(different),
            )
        return read if self.stated.unknown else self.stated

    def _checked(self, found: ForeignLabel | LabelError, level: Level) -> _Checked:
        if isinstance(found, LabelError):
            raise found
        level = self._level(found.notes, level)
        structure = found.structure
        key = Label.key_of(structure.key, level.fingerprint)
        claimed = found.notes.get("label")
        if isinstance(claimed, str) and _KEY.fullmatch(claimed) and claimed != key:
            raise LabelError(
                "it is not the label that it says it is: its coordinates were rounded or moved",
                fix="export it again, or take `label` out",
                says=claimed[:12],
                found=key[:12],
            )
        paw = level.theory is not None and (level.theory.paw or level.theory.code == "vasp")
        forces, stress_gpa = checked_numbers(structure, found.answer, counted_from_atoms=bool(paw))
        unknown = (f"unknown: {', '.join(level.unknown)}",) if level.unknown else ()
        label = Label(
            key=key,
            structure=structure.key,
            theory=level.fingerprint,
            theory_name=level.name,
            energy_ev=found.answer.energy_ev,
            forces_ev_per_ang=tuple(map(tuple, forces.tolist())),
            stress_gpa=tuple(map(tuple, stress_gpa.tolist())),
            converged=True,
            kpoint_mesh=_mesh(found.notes.get("kpoint_mesh")),
            warnings=(_ON_THEIR_WORD, *unknown),
        )
        return _Checked(found.place, structure, label, level)

    def _level(self, notes: Mapping[str, Any], level: Level) -> Level:
        """A frame's own, if it has one; it may not contradict the user's."""
        fingerprint = notes.get("theory")
        if not (isinstance(fingerprint, str) and _KEY.fullmatch(fingerprint)):
            return level
        unknown = tuple(str(notes.get("unknown") or "").split())
        own = level_of_fingerprint(fingerprint, str(notes.get("theory_name", "")), unknown)
        another = own.fingerprint != level.fingerprint and not level.unknown
        if self.stated_by_user and (another or contradictions(level, own)):
            raise LabelError(
                "it is of another level of theory than was stated",
                fix="leave the options of the level out",
                found=f"{own.name} [{own.fingerprint}] and {level.name} [{level.fingerprint}]",
            )
        return own

    def _is_new(self, label: Label) -> bool:
        known = self.seen.setdefault(label.key, label)
        stored = self.store.find(Label, label.key)
        for other in (known, *([stored] if stored is not None else [])):
            _check_same(label, other)
        return stored is None and known is label


def _documents(
    source: _Source, summary: Summary, all_checked: Mapping[str, _Checked], new: set[str]
) -> Iterator[Document]:
    """New structures, the import of each level, new labels."""
    made = MadeNow(f"import {source.name}")()
    file = _hash(source.path)
    levels = {one.level.fingerprint: one.level for one in all_checked.values()}
    summary.levels |= levels
    for level in levels.values():
        group = [one for one in all_checked.values() if one.label.theory == level.fingerprint]
        document = _import_of(source, summary.name, level, group, file)
        summary.imports.append(document.key)
        added = [one for one in group if one.label.key in new]
        yield from (one.structure for one in added)
        yield document.model_copy(update={"made": made})
        for one in added:
            parents = (one.label.structure, document.key)
            at = made.model_copy(update={"job": f"import {source.name}, frame {one.place}"})
            yield one.label.model_copy(update={"parents": parents, "made": at})


def _import_of(
    source: _Source, name: str, level: Level, group: list[_Checked], file: tuple[str, int]
) -> Import:
    sha256, size = file
    keyed: dict[str, Any] = {
        "name": name,
        "file": source.name,
        "file_format": source.file_format,
        "sha256": sha256,
        "theory": level.fingerprint,
        "labels": tuple(one.label.key for one in group),
        "places": tuple(one.place for one in group),
    }
    blob = Blob(sha256=sha256, size=size, media_type=_media_type(source))
    return Import(
        key=Import.key_of(keyed),
        content=blob if size < MAX_KEPT_BYTES else None,
        theory_name=level.name,
        statement=level.theory.model_dump(mode="json") if level.theory else None,
        unknown=level.unknown,
        **keyed,
    )


def _check_same(label: Label, other: Label) -> None:
    pairs = (
        (label.energy_ev, other.energy_ev, _SAME_EV),
        (label.forces_ev_per_ang, other.forces_ev_per_ang, _SAME_EV_PER_ANG),
        (label.stress_gpa, other.stress_gpa, _SAME_GPA),
    )
    if not all(np.allclose(one, two, rtol=0.0, atol=limit) for one, two, limit in pairs):
        raise LabelError(
            "the same label is there with other numbers",
            fix="find out which is right; `lycb retract` withdraws one",
            label=label.key[:12],
            energies_ev=f"{label.energy_ev:.6f} and {other.energy_ev:.6f}",
        )


def _mesh(found: object) -> tuple[int, int, int] | None:
    if found is None:
        return None
    words = found.split() if isinstance(found, str) else np.ravel(np.asarray(found)).tolist()
    if len(words) != 3 or not all(str(word).isdigit() for word in words):  # noqa: PLR2004 - axes
        return None
    first, second, third = map(int, words)
    return first, second, third


def _hash(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


def _media_type(source: _Source) -> str:
    if source.path.suffix == ".gz":
        return "application/gzip"
    return {"vasp": "application/xml", "mptrj": "application/json"}.get(
        source.file_format,
        "chemical/x-xyz" if source.file_format == "extxyz" else "application/vnd.sqlite3",
    )


def _unreadable(err: BaseException) -> str:
    return " ".join(f"unreadable: {type(err).__name__}: {err}"[:300].split())

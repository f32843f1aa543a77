"""Import of labels made elsewhere: checked like an engine's, each with its source and level.

A file becomes an `Import` for each level of theory in it. That document keeps the file
itself, and is a parent of its labels. What is no label is refused with its reason; a file that
cannot be read to its end brings nothing. Importing again adds nothing.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core.structure import StructureError

from lycb_flows.campaign.import_sources import FileFormat, Source, sources_of
from lycb_flows.errors import LabelError, LycbError
from lycb_flows.labels import (
    ForeignLabel,
    Found,
    Keys,
    Level,
    Refusal,
    Statement,
    checked_numbers,
    contradictions,
    level_of_fingerprint,
    read_ase_db,
    read_extxyz,
    read_mptrj,
    read_run,
    stated_level,
)
from lycb_flows.machine.files import UNREADABLE
from lycb_flows.schemas import Blob, Document, Import, Label, Structure
from lycb_flows.store import MadeNow, ResultStore

MAX_KEPT_BYTES = 50_000_000
"""Larger files are known by their hash only."""
_SAME_EV, _SAME_EV_PER_ANG, _SAME_GPA = 1e-6, 1e-6, 1e-5
"""Differences that writing a label as text may cause."""
_ON_THEIR_WORD = "imported: what it is rests on its file's word"
_KEY = re.compile(r"[0-9a-f]{64}")
_READERS: dict[str, Callable[[Path, Keys | None], Found]] = {
    "extxyz": read_extxyz,
    "ase-db": read_ase_db,
    "mptrj": lambda path, _: read_mptrj(path),
}
_UNREADABLE = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError),
    *(StructureError, SyntaxError, TypeError, ValueError, sqlite3.Error, *UNREADABLE),
)
"""What readers of damaged files raise; all of it becomes the file's refusal."""


@dataclass
class Summary:
    """What an import has added, or would add in a dry run; labels are given by key.

    Attributes
    ----------
    name
        Name of the set.
    new, known
        Labels that were added, and labels that the store had before with the same numbers.
    refused
        What is no label, and why.
    imports
        Keys of the `Import` documents.
    levels
        Level of theory by fingerprint.
    files
        Of an import of several extended XYZ files, in order.
    """

    name: str
    new: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    levels: dict[str, Level] = field(default_factory=dict)
    files: list[Summary] = field(default_factory=list)

    def add(self, file: Summary) -> None:
        """Add what a file has brought."""
        self.new += file.new
        self.known += file.known
        self.refused += file.refused
        self.imports += file.imports
        self.levels |= file.levels


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
    keys: Keys | None = None,
) -> Summary:
    """Import the labels of a file, of a tree of VASP's folders, or of a folder of extended XYZ.

    Parameters
    ----------
    store
        Receives the labels.
    path
        The file or folder.
    file_format
        By default follows from the name and kind of `path`.
    name
        Name of the set, by which a campaign refers to it in `labels.imported`. By default the
        last part of `path`.
    statement
        The level of theory of labels whose files do not state it; vasprun.xml does.
    all_steps
        Whether to take every ionic step of VASP's runs instead of the last.
    dry_run
        Read and check only.
    keys
        Which of two sets of numbers in a frame to take.

    Raises
    ------
    InputError
        When there is nothing to read, or the statement is no level of theory.
    """
    statement = statement or Statement()
    sources = list(sources_of(path, file_format))
    stated = stated_level(statement)
    reader = _Reader(
        store, stated, stated_by_user=not statement.is_empty, all_steps=all_steps, keys=keys
    )
    summary = Summary(name or path.resolve().name)
    for source in sources:
        of_file = Summary(summary.name)
        documents = reader.documents(source, of_file)
        summary.add(of_file)
        if len(sources) > 1 and source.file_format == "extxyz":
            summary.files.append(replace(of_file, name=source.name))
        if documents and not dry_run:
            if source.path.stat().st_size < MAX_KEPT_BYTES:
                store.blobs.put(source.path.read_bytes(), source.media_type)
            store.insert_all(documents)
    return summary


class _Reader:
    """Converts files to documents; remembers what it has seen, so that a dry run counts right."""

    def __init__(
        self,
        store: ResultStore,
        stated: Level,
        *,
        stated_by_user: bool,
        all_steps: bool,
        keys: Keys | None,
    ) -> None:
        self.store, self.stated, self.stated_by_user = store, stated, stated_by_user
        self.all_steps, self.keys = all_steps, keys
        self.seen: dict[str, Label] = {}

    def documents(self, source: Source, summary: Summary) -> list[Document]:
        """Return the documents that a file adds to the store.

        Parameters
        ----------
        source
            The file.
        summary
            Its lists grow by what the file holds.

        Returns
        -------
        list of Document
            Empty for a file that cannot be read to its end.
        """
        try:
            found, level = self._found(source)
        except (LycbError, *_UNREADABLE) as err:
            reason = str(err) if isinstance(err, LycbError) else _unreadable(err)
            summary.refused.append(Refusal(source.name, None, reason))
            return []
        all_checked: dict[str, _Checked] = {}
        new: set[str] = set()
        for place, result in found:
            try:
                checked = self._checked(result, level)
                if self._is_new(checked.label):
                    new.add(checked.label.key)
            except LabelError as err:
                summary.refused.append(Refusal(source.name, place, str(err)))
            else:
                all_checked.setdefault(checked.label.key, checked)
        summary.new += [key for key in all_checked if key in new]
        summary.known += [key for key in all_checked if key not in new]
        return list(_documents(source, summary, all_checked, new))

    def _found(self, source: Source) -> tuple[list[tuple[int, ForeignLabel | LabelError]], Level]:
        if source.file_format == "vasp":
            level, labels = read_run(source.path, all_steps=self.all_steps)
            return labels, self._agreed(level)
        return list(_READERS[source.file_format](source.path, self.keys)), self.stated

    def _agreed(self, read: Level) -> Level:
        """Return the user's level for a run that states its own, unless the run contradicts it.

        A level of this package, given by name, is accepted only for runs with exactly its inputs.
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
        """Return the level of a frame, which may not contradict the user's."""
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
    source: Source, summary: Summary, all_checked: Mapping[str, _Checked], new: set[str]
) -> Iterator[Document]:
    """Yield new structures, the import of each level, and new labels."""
    made = MadeNow(f"import {source.name}")()
    file = _hash(source.path)
    levels = {checked.level.fingerprint: checked.level for checked in all_checked.values()}
    summary.levels |= levels
    for level in levels.values():
        group = [
            checked for checked in all_checked.values() if checked.label.theory == level.fingerprint
        ]
        document = _import_of(source, summary.name, level, group, file)
        summary.imports.append(document.key)
        added = [checked for checked in group if checked.label.key in new]
        yield from (checked.structure for checked in added)
        yield document.model_copy(update={"made": made})
        for checked in added:
            parents = (checked.label.structure, document.key)
            at = made.model_copy(update={"job": f"import {source.name}, frame {checked.place}"})
            yield checked.label.model_copy(update={"parents": parents, "made": at})


def _import_of(
    source: Source, name: str, level: Level, group: list[_Checked], file: tuple[str, int]
) -> Import:
    sha256, size = file
    keyed: dict[str, Any] = {
        "name": name,
        "file": source.name,
        "file_format": source.file_format,
        "sha256": sha256,
        "theory": level.fingerprint,
        "labels": tuple(checked.label.key for checked in group),
        "places": tuple(checked.place for checked in group),
    }
    blob = Blob(sha256=sha256, size=size, media_type=source.media_type)
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
    if not all(np.allclose(first, second, rtol=0.0, atol=limit) for first, second, limit in pairs):
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


def _unreadable(err: BaseException) -> str:
    return " ".join(f"unreadable: {type(err).__name__}: {err}"[:300].split())

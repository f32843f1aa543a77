"""Files of labels as sets that train, validate and judge, for work on models without a store."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymatgen.core.composition import Composition

from lycb_flows.errors import InputError, LabelError, first_line
from lycb_flows.labels import (
    ForeignLabel,
    Theory,
    checked_numbers,
    level_of_fingerprint,
    read_extxyz,
)
from lycb_flows.learning.labelled import LabelledStructure
from lycb_flows.store import Condition

_EVERY = 3
"""Without splits every third frame fits the shift, or validates a training."""
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "~": lambda found, part: str(part).lower() in str(found).lower(),
}

Labels = list[LabelledStructure]
Found = tuple[Path, ForeignLabel]


@dataclass(frozen=True)
class LabelSets:
    """The labels of files, by what they are for.

    Attributes
    ----------
    training, validation, test
        Frames that state `split=train`, `split=validation` and `split=test`.
    raw_pbe
        Whether the level of theory, where the package knows it, is uncorrected PBE.
    """

    training: Labels = field(default_factory=list)
    validation: Labels = field(default_factory=list)
    test: Labels = field(default_factory=list)
    raw_pbe: bool = False


def read_split_labels(
    paths: Sequence[Path],
    by: str | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> tuple[Labels, Labels]:
    """Return the labels that fit a reference shift, and those that judge.

    Frames that state `split=train` fit, and those of `split=test` judge; in files without splits
    every third frame fits, and the others judge.

    Parameters
    ----------
    paths
        Extended XYZ files, or folders of them.
    by
        Key of the frames that names the `system` of a label; None: its reduced formula.
    tell
        Called with a line for people about labels that are left out.

    Raises
    ------
    InputError
        When a file cannot be read, a frame is no label, frames are of several levels of theory,
        or there are none of one of the two kinds.
    """
    splits, _ = _read(paths, ("train", "test"), by, tell=tell)
    return splits["train"], splits["test"]


def read_training_labels(
    paths: Sequence[Path],
    conditions: Sequence[Condition] = (),
    by: str | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> LabelSets:
    """Return the labels that train, those that validate, and those that judge.

    In files without splits every third frame validates, the others train, and none judges.

    Parameters
    ----------
    paths
        Extended XYZ files, or folders of them.
    conditions
        On keys of the frames that train; a frame without the key does not meet them.
    by
        As of `read_split_labels`.
    tell
        As of `read_split_labels`.

    Raises
    ------
    InputError
        As `read_split_labels`; a test label is not needed.
    """
    splits, raw_pbe = _read(paths, ("validation", "train"), by, conditions, tell)
    return LabelSets(splits["train"], splits["validation"], splits["test"], raw_pbe)


def _read(
    paths: Sequence[Path],
    needed: tuple[str, str],
    by: str | None,
    conditions: Sequence[Condition] = (),
    tell: Callable[[str], None] = lambda _line: None,
) -> tuple[dict[str, Labels], bool]:
    """Return the labels of each split, and whether they are uncorrected PBE.

    Without splits every third frame is of the first kind that is needed, the rest of the second.
    """
    found, raw_pbe = _of_one_level(
        [(path, label) for path in _files(paths) for label in _labels(path)], tell
    )
    names = [str(label.notes.get("split", "")) for _, label in found]
    if not any(names):
        names = [needed[1] if place % _EVERY else needed[0] for place in range(len(found))]
    splits: dict[str, Labels] = {"train": [], "validation": [], "test": []}
    for (path, label), name in zip(found, names, strict=True):
        if name in splits and (name != "train" or _meets(label.notes, conditions)):
            splits[name].append(_labelled(path, label, by))
    if any(not splits[name] for name in needed):
        raise InputError(
            "labels of two kinds are needed",
            fix=f"give frames with split={needed[0]} and split={needed[1]}, or none with a split",
            **{name: len(splits[name]) for name in needed},
        )
    return splits, raw_pbe


def _of_one_level(found: list[Found], tell: Callable[[str], None]) -> tuple[list[Found], bool]:
    """Return the labels that one level of theory admits, and whether it is uncorrected PBE.

    Levels that differ in the rule of k-points alone meet where their rules give a label's cell the
    same mesh (`Theory.admits`); the level that admits most labels is taken.
    """
    stated = {
        str(label.notes["theory"]): str(label.notes.get("theory_name", ""))
        for _, label in found
        if "theory" in label.notes
    }
    levels = {name: _level_of(name, text) for name, text in stated.items()}
    known = [level for level in levels.values() if level is not None]
    if len(levels) <= 1:
        return found, any(level.raw_pbe for level in known)
    alike = len(known) == len(levels) and all(
        level is known[0] or level.differs_in_kpoints_alone(known[0]) for level in known
    )
    if not alike:
        raise InputError(
            "labels of several levels of theory", fix="give files of one level", found=len(levels)
        )
    admitted = [[each for each in found if _admits(level, levels, each[1])] for level in known]
    kept = max(admitted, key=len)
    if len(kept) < len(found):
        tell(f"{len(found) - len(kept)} labels left out: they have another mesh of k-points")
    return kept, known[0].raw_pbe


def _level_of(fingerprint: str, name: str) -> Theory | None:
    """Return one of the package's levels; None where a file states another, by any text."""
    try:
        return level_of_fingerprint(fingerprint, name).theory
    except InputError:
        return None


def _admits(level: Theory, levels: Mapping[str, Theory | None], label: ForeignLabel) -> bool:
    own = levels.get(str(label.notes.get("theory")))
    mesh = label.notes.get("kpoint_mesh")
    whole = None if mesh is None else (int(mesh[0]), int(mesh[1]), int(mesh[2]))
    return own is not None and level.admits(own, label.structure.lattice_ang, whole)


def _meets(notes: Mapping[str, Any], conditions: Sequence[Condition]) -> bool:
    """Return whether a frame meets all conditions.

    Raises
    ------
    InputError
        When a value cannot be compared with the condition's.
    """
    for condition in conditions:
        value = notes.get(condition.name)
        try:
            met = value is not None and _COMPARISONS[condition.operator](value, condition.value)
        except TypeError as err:
            raise InputError(
                "a frame's value cannot be compared",
                fix="compare numbers with numbers",
                field=condition.name,
                found=value,
                condition=condition.value,
            ) from err
        if not met:
            return False
    return True


def _files(paths: Sequence[Path]) -> list[Path]:
    files = [file for path in paths for file in (
        sorted(path.glob("*.extxyz")) if path.is_dir() else [path]
    )]  # fmt: skip
    if not files:
        raise InputError("no labels there", fix="give extended XYZ files", found=paths[0])
    return files


def _labels(path: Path) -> Iterator[ForeignLabel]:
    try:
        for place, label in read_extxyz(path):
            if isinstance(label, LabelError):
                raise InputError(
                    "a frame is no label", fix="mend it there", file=path.name, frame=place,
                    reason=label,
                )  # fmt: skip
            yield label
    except (OSError, ValueError, LookupError, AttributeError, RuntimeError) as err:
        raise InputError(
            "cannot read labels", fix="give extended XYZ", file=path, reason=first_line(err)
        ) from err


def _labelled(path: Path, label: ForeignLabel, by: str | None) -> LabelledStructure:
    forces, stress_gpa = checked_numbers(label.structure, label.answer, counted_from_atoms=False)
    formula = Composition("".join(label.structure.species)).reduced_formula
    return LabelledStructure(
        energy_ev=label.answer.energy_ev,
        forces_ev_per_ang=forces,
        stress_gpa=stress_gpa,
        structure=label.structure,
        key=str(label.notes.get("label", f"{path.name}[{label.place}]")),
        system=formula if by is None else str(label.notes.get(by, "-")),
    )

"""Files of labels as fitting and testing sets, for comparing models without a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pymatgen.core.composition import Composition

from lycb_flows.errors import InputError, LabelError, first_line
from lycb_flows.labels import ForeignLabel, checked_numbers, read_extxyz
from lycb_flows.learning.labelled import LabelledStructure

_EVERY = 3
"""Without splits every third frame fits the shift, or validates a training."""

Labels = list[LabelledStructure]


def read_split_labels(paths: Sequence[Path]) -> tuple[Labels, Labels]:
    """Return the labels that fit a reference shift, and those that judge.

    Frames that state `split=train` fit, and those of `split=test` judge; in files without splits
    every third frame fits, and the others judge.

    Parameters
    ----------
    paths
        Extended XYZ files, or folders of them.

    Raises
    ------
    InputError
        When a file cannot be read, a frame is no label, frames are of several levels of theory,
        or there are none of one of the two kinds.
    """
    fitting, testing = _split(paths, ("train", "test"))
    return fitting, testing


def read_training_labels(paths: Sequence[Path]) -> tuple[Labels, Labels]:
    """Return the labels that train, and those that validate.

    They are the frames that state `split=train` and `split=validation`; those of `split=test` are
    left alone. In files without splits every third frame validates, and the others train.

    Parameters
    ----------
    paths
        Extended XYZ files, or folders of them.

    Raises
    ------
    InputError
        As `read_split_labels`.
    """
    validation, training = _split(paths, ("validation", "train"))
    return training, validation


def _split(paths: Sequence[Path], wanted: tuple[str, str]) -> tuple[Labels, Labels]:
    """Return the frames of two splits; without splits every third and the others."""
    found = [(path, label) for path in _files(paths) for label in _labels(path)]
    levels = {str(label.notes["theory"]) for _, label in found if "theory" in label.notes}
    if len(levels) > 1:
        raise InputError(
            "labels of several levels of theory", fix="give files of one level", found=len(levels)
        )
    splits = [str(label.notes.get("split", "")) for _, label in found]
    if not any(splits):
        splits = [wanted[1] if place % _EVERY else wanted[0] for place in range(len(found))]
    first, second = (
        [_labelled(path, label) for (path, label), split in zip(found, splits, strict=True)
         if split == name]
        for name in wanted
    )  # fmt: skip
    if not first or not second:
        raise InputError(
            "labels of two kinds are needed",
            fix=f"give frames with split={wanted[0]} and split={wanted[1]}, or none with a split",
            **{wanted[0]: len(first), wanted[1]: len(second)},
        )
    return first, second


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


def _labelled(path: Path, label: ForeignLabel) -> LabelledStructure:
    forces, stress_gpa = checked_numbers(label.structure, label.answer, counted_from_atoms=False)
    return LabelledStructure(
        energy_ev=label.answer.energy_ev,
        forces_ev_per_ang=forces,
        stress_gpa=stress_gpa,
        structure=label.structure,
        key=str(label.notes.get("label", f"{path.name}[{label.place}]")),
        system=Composition("".join(label.structure.species)).reduced_formula,
    )

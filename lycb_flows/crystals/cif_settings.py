"""The setting of a CIF's space group: axes and origin, as its name, its list or its cell say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import gemmi
import numpy as np
import spglib
from pymatgen.core.lattice import Lattice
from pymatgen.core.operations import SymmOp
from pymatgen.io.cif import str2float

from lycb_flows.errors import InputError

_METRIC_TOLERANCE = 0.02
_EVEN, _EVEN_DEGREES = 0.01, 0.5
_SETTING_OF = {"S": "1", "Z": "2"}
_OPERATIONS = ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz")
_NAMES = ("_symmetry_space_group_name_H-M", "_space_group_name_H-M_alt")
_HALL_NAMES = ("_symmetry_space_group_name_Hall", "_space_group_name_Hall")
_NUMBERS = ("_symmetry_Int_Tables_number", "_space_group_IT_number")
_GROUPS = range(1, 231)
_UNKNOWN = ("", "?", ".")
_SAME_SHIFT = 0.01
_RHOMBOHEDRAL = (146, 148, 155, 160, 161, 166, 167)
_SUFFIX = re.compile(r"\s*(?::\s*([12HRSZ])|([SZ]))\s*$", re.IGNORECASE)
_TWO_ORIGINS = ("1", "2")
_DENOMINATOR = gemmi.Op.DEN
Turned = tuple[tuple[int, ...], tuple[int, ...]]
"""A rotation, and a translation in units of 1/24."""


def column(data: dict[str, Any], *names: str) -> list[str]:
    """Return the values of the first of some tags that a block has; empty without one."""
    for name in names:
        if name in data:
            found = data[name]
            return list(found) if isinstance(found, list) else [found]
    return []


def number(text: str, default: float) -> float:
    """Return a CIF's number without its uncertainty, or the default."""
    try:
        return float(str2float(text))
    except (ValueError, TypeError):
        return default


CELL_TAGS = (
    *(f"_cell_length_{axis}" for axis in "abc"),
    *(f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma")),
)


def lattice_of(data: dict[str, Any]) -> Lattice | None:
    """Return the cell of a block, None where a length or an angle is missing."""
    values = [number(data.get(key, ""), np.nan) for key in CELL_TAGS]
    return Lattice.from_parameters(*values) if np.isfinite(values).all() else None


def with_operations(name: str, data: dict[str, Any], plain: Sequence[SymmOp]) -> list[str]:
    """Give a block the operations of its setting where it names one; check those it lists.

    Parameters
    ----------
    name
        Name of the crystal, for messages.
    data
        The block's values by tag, changed in place where pymatgen would take another setting.
    plain
        The operations that pymatgen takes by itself.

    Returns
    -------
    list of str
        A note where pymatgen by itself would have taken another setting, or where the block does
        not say which one it means.

    Raises
    ------
    InputError
        When cell and operations are of two settings, or nobody knows the space group's name.
    """
    lattice, stated = lattice_of(data), _stated_group(name, data)
    listed = column(data, *_OPERATIONS)
    if lattice is None:
        return []
    if listed:
        _check_operations(name, lattice, listed)
        _check_closed(name, listed)
        return []
    texts, notes = _operations_in_place_of(plain, name, data, stated, lattice)
    _check_operations(name, lattice, texts or [operation.as_xyz_str() for operation in plain])
    if texts:
        data[_OPERATIONS[0]] = texts
    return notes


def _operations_in_place_of(
    plain: Sequence[SymmOp], name: str, data: dict[str, Any], stated: int | None, lattice: Lattice
) -> tuple[list[str], list[str]]:
    """Return the operations that pymatgen does not take by itself, if any, and a note of them."""
    symbol = _text(data, *_NAMES)
    named = _named_setting(name, symbol, _text(data, *_HALL_NAMES), stated, plain)
    group, choice = stated if named is None else named.number, _choice(symbol)
    if group in _RHOMBOHEDRAL:
        choice = "R" if _is_rhombohedral(lattice) else None
    hall = _hall_number(group, choice)
    if hall is not None:
        note = "read in rhombohedral axes" if choice == "R" else f"read with origin {choice}"
        return _operations_of(hall), [note]
    if named is not None and _turned(named) != _turned(plain):
        texts = [operation.triplet() for operation in named.operations()]
        return texts, [f"read in the setting {named.xhm()}"]
    if named is not None and named.ext in _TWO_ORIGINS:
        return [], [f"no origin is stated: read with origin {named.ext}"]
    return [], []


def _text(data: dict[str, Any], *tags: str) -> str:
    """Return what a block states under the first of some tags; empty where that is unknown."""
    found = str(next(iter(column(data, *tags)), "")).strip().strip("'\"").strip()
    return "" if found in _UNKNOWN else found


def _operations_of(hall_number: int) -> list[str]:
    operations = spglib.get_symmetry_from_database(hall_number) or {}
    pairs = zip(operations["rotations"], operations["translations"], strict=True)
    return [SymmOp.from_rotation_and_translation(r, t).as_xyz_str() for r, t in pairs]


def _turned(operations: gemmi.SpaceGroup | Sequence[SymmOp]) -> set[Turned]:
    """Return operations without their order, to be compared."""
    if isinstance(operations, gemmi.SpaceGroup):
        ops = [SymmOp.from_xyz_str(operation.triplet()) for operation in operations.operations()]
        return _turned(ops)
    rotations = np.rint([op.rotation_matrix for op in operations]).astype(int)
    shifts = np.array([op.translation_vector for op in operations]) * _DENOMINATOR
    shifts = np.rint(shifts).astype(int) % _DENOMINATOR
    pairs = zip(rotations.reshape(-1, 9).tolist(), shifts.tolist(), strict=True)
    return {(tuple(rotation), tuple(shift)) for rotation, shift in pairs}


def _stated_group(name: str, data: dict[str, Any]) -> int | None:
    """Return the number of the space group that a block states; None where it is unknown."""
    written = _text(data, *_NUMBERS)
    if not written:
        return None
    value = number(written, np.nan)
    if value not in _GROUPS:
        raise InputError(
            "the number of a CIF's space group is none",
            fix="give one from 1 to 230, or ?",
            file=name,
            number=written,
        )
    return int(value)


def _named_setting(
    name: str, symbol: str, hall: str, stated: int | None, plain: Sequence[SymmOp]
) -> gemmi.SpaceGroup | None:
    """Return the setting that a block names; None where it names none that is known.

    Of two origins between which the name leaves the choice, it is the one that pymatgen takes.

    Raises
    ------
    InputError
        When its number is that of another group than its name, or when nothing else tells what
        an unknown name means.
    """
    bare = _SUFFIX.sub("", symbol).replace("_", "")
    found = _setting_of_hall(hall) or gemmi.find_spacegroup_by_name(bare)
    if found is None:
        if symbol and stated is None and len(plain) == 1:
            raise InputError(
                "the space group of a CIF is unknown",
                fix="give its number, or list the symmetry operations",
                file=name,
                name=symbol,
            )
        return None
    if stated not in (None, found.number):
        raise InputError(
            "the number of a CIF's space group is not that of its name",
            fix="mend the wrong one, or list the symmetry operations",
            file=name,
            number=stated,
            name=symbol or hall,
        )
    if hall or found.ext not in _TWO_ORIGINS:
        return found
    origins = (gemmi.find_spacegroup_by_name(f"{found.hm}:{ext}") for ext in _TWO_ORIGINS)
    return next((each for each in origins if _turned(each) == _turned(plain)), found)


def _setting_of_hall(symbol: str) -> gemmi.SpaceGroup | None:
    """Return the setting of a Hall symbol; None where it is none."""
    try:
        return gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall(symbol)) if symbol else None
    except (RuntimeError, ValueError):
        return None


def _choice(symbol: str) -> str | None:
    """Return the origin or the axes that a name ends in; None where it ends in neither."""
    suffix = _SUFFIX.search(symbol)
    if suffix is None:
        return None
    choice = (suffix[1] or suffix[2]).upper()
    return _SETTING_OF.get(choice, choice)


def _hall_number(group: int | None, choice: str | None) -> int | None:
    """Return the Hall number of a setting by origin or axes; None when none is named."""
    if group is None or choice is None:
        return None
    kinds = ((hall, spglib.get_spacegroup_type(hall)) for hall in range(1, 531))
    return next((h for h, k in kinds if k and k.number == group and k.choice == choice), None)


def _is_rhombohedral(lattice: Lattice) -> bool:
    lengths, angles = np.array(lattice.abc), np.array(lattice.angles)
    even = np.ptp(lengths) < _EVEN * lengths.mean() and np.ptp(angles) < _EVEN_DEGREES
    return bool(even and abs(angles[0] - 120) > 1)


def _check_operations(name: str, lattice: Lattice, texts: Sequence[str]) -> None:
    """Check that a block's operations keep its cell.

    Raises
    ------
    InputError
        When one changes lengths or angles: cell and operations are of two settings.
    """
    metric = lattice.matrix @ lattice.matrix.T
    for text in texts:
        rotation = SymmOp.from_xyz_str(text).rotation_matrix
        change = np.abs(rotation.T @ metric @ rotation - metric).max()
        if change > _METRIC_TOLERANCE * metric.max():
            raise InputError(
                "a symmetry operation does not keep the cell",
                fix="give cell and operations of the same setting",
                file=name,
                operation=text,
                cell=" ".join(f"{value:g}" for value in lattice.parameters),
            )


def _check_closed(name: str, texts: Sequence[str]) -> None:
    """Check that a block's operations form a group.

    Raises
    ------
    InputError
        When one is missing or wrong: the product of two is not among them.
    """
    operations = [SymmOp.from_xyz_str(text) for text in texts]
    turns = np.array([op.rotation_matrix for op in operations])
    shifts = np.array([op.translation_vector for op in operations])
    products = np.einsum("iab,jbc->ijac", turns, turns)
    moved = np.einsum("iab,jb->ija", turns, shifts) + shifts[:, None]
    is_there = np.zeros(products.shape[:2], dtype=bool)
    for turn, shift in zip(turns, shifts, strict=True):
        gap = moved - shift
        near = (np.abs(gap - np.rint(gap)) < _SAME_SHIFT).all(axis=-1)
        is_there |= near & (np.abs(products - turn) < _SAME_SHIFT).all(axis=(-2, -1))
    if not is_there.all():
        first, second = np.argwhere(~is_there)[0]
        raise InputError(
            "the symmetry operations of a CIF are no group",
            fix="one is missing or wrong: list all, or give the space group alone",
            file=name,
            product=f"{texts[first]} times {texts[second]}",
        )

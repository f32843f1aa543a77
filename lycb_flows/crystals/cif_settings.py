"""The setting of a CIF's space group: axes and origin, as its name, its list or its cell say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

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
_NUMBERS = ("_symmetry_Int_Tables_number", "_space_group_IT_number")
_GROUPS = range(1, 231)
_UNKNOWN = ("", "?", ".")
_SAME_SHIFT = 0.01
_RHOMBOHEDRAL = (146, 148, 155, 160, 161, 166, 167)


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


def with_operations(name: str, data: dict[str, Any]) -> list[str]:
    """Give a block the operations of its setting where it names one; check those it lists.

    Parameters
    ----------
    name
        Name of the crystal, for messages.
    data
        The block's values by tag, changed in place.

    Returns
    -------
    list of str
        A note where pymatgen by itself would have taken another setting.

    Raises
    ------
    InputError
        When cell and operations are of two settings.
    """
    lattice, stated = lattice_of(data), _stated_group(name, data)
    listed = column(data, *_OPERATIONS)
    if lattice is None:
        return []
    if listed:
        _check_operations(name, lattice, listed)
        _check_closed(name, listed)
        return []
    group, choice = _space_group(name, data, stated)
    if group in _RHOMBOHEDRAL:
        choice = "R" if _is_rhombohedral(lattice) else "H"
    hall = _hall_number(group, choice)
    operations = None if hall is None else spglib.get_symmetry_from_database(hall)
    if operations is None:
        return []
    pairs = zip(operations["rotations"], operations["translations"], strict=True)
    texts = [SymmOp.from_rotation_and_translation(r, t).as_xyz_str() for r, t in pairs]
    _check_operations(name, lattice, texts)
    if choice == "H":  # what pymatgen takes by itself, in its own order of sites
        return []
    data[_OPERATIONS[0]] = texts
    return ["read in rhombohedral axes"] if choice == "R" else [f"read with origin {choice}"]


def _stated_group(name: str, data: dict[str, Any]) -> int | None:
    """Return the number of the space group that a block states; None where it is unknown."""
    written = str(next(iter(column(data, *_NUMBERS)), "?")).strip().strip("'\"")
    if written in _UNKNOWN:
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


def _space_group(
    name: str, data: dict[str, Any], stated: int | None
) -> tuple[int | None, str | None]:
    """Return the number of a block's space group and the setting that its name ends in.

    Raises
    ------
    InputError
        When its number is that of another than its name.
    """
    symbol = str(next(iter(column(data, *_NAMES)), "")).strip().strip("'\"")
    suffix = re.search(r":\s*([12HRSZ])\s*$", symbol, re.IGNORECASE)
    bare = re.sub(r"\s*:?\s*[12HRSZ]\s*$", "", symbol, flags=re.IGNORECASE)
    named = _NUMBER_OF.get(_squeezed(symbol), _NUMBER_OF.get(_squeezed(bare)))
    if None not in (stated, named) and stated != named:
        raise InputError(
            "the number of a CIF's space group is not that of its name",
            fix="mend the wrong one, or list the symmetry operations",
            file=name,
            number=stated,
            name=symbol or "none",
        )
    choice = suffix[1].upper() if suffix else None
    group = stated if stated is not None else named
    return group, _SETTING_OF.get(choice, choice) if choice else None


def _squeezed(symbol: str) -> str:
    return re.sub(r"[\s_]", "", symbol).lower()


def _symbols_of_space_groups() -> dict[str, int]:
    found: dict[str, int] = {}
    for hall in range(1, 531):
        kind = spglib.get_spacegroup_type(hall)
        if kind is None:
            continue
        for symbol in (kind.international_short, kind.international_full):
            found.setdefault(_squeezed(symbol), kind.number)
    return found


_NUMBER_OF = _symbols_of_space_groups()


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

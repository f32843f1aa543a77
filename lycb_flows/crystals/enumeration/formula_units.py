"""How many formula units a cell holds, and how many of its atoms an amount per unit is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from pymatgen.core.composition import Composition, CompositionError
from pymatgen.core.periodic_table import Element

from lycb_flows.errors import InputError

_WHOLE = 0.02
"""Atoms of a cell, as refined, that count as a whole number."""


def formula_units(amounts: Mapping[str, float], formula: str | None, element: str) -> float:
    """Return the number of formula units in a cell.

    Parameters
    ----------
    amounts
        Atoms of each element in the cell.
    formula
        The formula unit; None: the greatest common divisor of the elements whose atoms are whole
        numbers, so the reduced formula of an ordered crystal.
    element
        Of several answers, which a formula beside the refined composition has, that of this one.

    Raises
    ------
    InputError
        When the formula cannot be read or lacks the element.
    """
    if formula is None:
        whole = [round(n) for n in amounts.values() if abs(n - round(n)) < _WHOLE and n > _WHOLE]
        return float(math.gcd(*whole)) or 1.0
    try:
        unit = Composition(formula).get_el_amt_dict()
    except (CompositionError, ValueError) as err:
        raise InputError("no formula", fix="write it as Li6PS5Cl", found=formula) from err
    if not unit.get(element):
        raise InputError(
            "the formula unit lacks what is replaced",
            fix=f"name the formula before anything is replaced, with {element}",
            found=formula,
        )
    return amounts[element] / float(unit[element])


def check_elements(symbols: Iterable[str]) -> None:
    """Refuse symbols of no element.

    Raises
    ------
    InputError
        When there is one.
    """
    wrong = sorted(symbol for symbol in symbols if not Element.is_valid_symbol(symbol))
    if wrong:
        raise InputError("no element", fix="write its symbol, as Br", found=", ".join(wrong))

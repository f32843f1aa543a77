"""Oxidation states of a crystal, and its mobile ion, found from its composition."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice, product

from pymatgen.core.periodic_table import Element

_ALWAYS = {  # elements that have one state beside a less electronegative partner
    **dict.fromkeys(("Li", "Na", "K", "Rb", "Cs", "Ag"), (1,)),
    **dict.fromkeys(("Be", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd"), (2,)),
    **dict.fromkeys(("Al", "Ga", "In", "Sc", "Y", "La", "B"), (3,)),
    **dict.fromkeys(("Si", "Ge", "Zr", "Hf", "Th"), (4,)),
    "F": (-1,),
    "O": (-2,),
}
_MOST_CHOICES = 100_000
_MOBILE = ("Li", "Na", "K", "Ag", "Cu", "Rb", "Mg", "Zn", "Ca", "F", "O")
_NEUTRAL = 0.02
"""Charge per atom below which a refined composition counts as neutral."""


def guessed_charges(
    amounts: Mapping[str, float], given: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return the charge of each element that makes a composition most nearly neutral.

    Among those that do equally well, negative elements are the more electronegative ones and
    states are common.

    Parameters
    ----------
    amounts
        Atoms of each element, which need not be whole.
    given
        Charges that are known; the others are guessed.
    """
    elements, given = sorted(amounts), given or {}
    total = sum(amounts.values())
    options = [
        (given[element],) if element in given else _states(element, alone=len(elements) == 1)
        for element in elements
    ]
    best: tuple[tuple[float, float, int], tuple[float, ...]] | None = None
    for states in islice(product(*options), _MOST_CHOICES):
        charge = abs(sum(q * amounts[e] for e, q in zip(elements, states, strict=True))) / total
        place = sum(o.index(q) for o, q in zip(options, states, strict=True))
        swapped = _disorder(elements, states)
        score = (max(charge - _NEUTRAL, 0.0), swapped, place)
        if best is None or score < best[0]:
            best = score, states
    return dict(zip(elements, best[1], strict=True)) if best else {}


def _states(element: str, *, alone: bool) -> tuple[float, ...]:
    """Return the charges that an element may have, the likeliest first."""
    if alone:
        return (0,)
    if element in _ALWAYS:
        return _ALWAYS[element]
    common = Element(element).common_oxidation_states
    other = [q for q in Element(element).icsd_oxidation_states if q not in common]
    return (*sorted(common, key=lambda q: (q > 0, abs(q))), *other)[:6] or (0,)


def _disorder(elements: list[str], states: tuple[float, ...]) -> float:
    """Return by how much positive elements are more electronegative than negative ones."""
    strength = [Element(element).X for element in elements]
    pairs = [(a, b) for a, q in zip(strength, states, strict=True) if q > 0
             for b, p in zip(strength, states, strict=True) if p < 0]  # fmt: skip
    return sum(max(a - b, 0.0) for a, b in pairs)


def mobile_ion(amounts: Mapping[str, float], partial: Mapping[str, float]) -> str | None:
    """Return the element that conducts: the first of the usual ones that a crystal holds.

    Parameters
    ----------
    amounts
        Atoms of each element.
    partial
        Atoms of each element on partially occupied sites.

    Returns
    -------
    str or None
        None when the crystal holds none of them.
    """
    cations = [e for e in _MOBILE if e in amounts and e not in ("F", "O")]
    alkali = [e for e in cations if e in ("Li", "Na", "K", "Ag", "Cu")]
    mixed = [e for e in alkali if partial.get(e)]
    return next(iter([*mixed[:1], *alkali, *cations, *(e for e in _MOBILE if e in amounts)]), None)

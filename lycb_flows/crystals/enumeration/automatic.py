"""A cell, a composition and rules for a crystal that nobody has looked at yet.

Cells are superlattices of the primitive cell, by their Hermite normal forms (Hart and
Forcade, Phys. Rev. B 77, 224115 (2008)): of all with a number of atoms, the one whose images
are furthest apart. The smallest number is taken whose nearest whole numbers of atoms are
neutral and change no element by more than 5 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.lattice import Lattice

from lycb_flows.config import EnumerationConfig, ForbiddenPair, Matrix3
from lycb_flows.crystals.distances import element_shares, filled_in, summed_shares
from lycb_flows.crystals.enumeration.colourings import CountOutOfReachError, count_distinct
from lycb_flows.crystals.enumeration.compositions import ChosenComposition, nearest_compositions
from lycb_flows.crystals.enumeration.occupancies import (
    DisorderedCell,
    disordered_cell,
    kept_mixing,
)
from lycb_flows.crystals.enumeration.search import N_SEARCHES, has_placement
from lycb_flows.crystals.enumeration.site_mixing import Kept, shares_of
from lycb_flows.crystals.structures import (
    MOST_ENUMERATED_ATOMS,
    DisorderedCrystal,
    parent_cell,
)
from lycb_flows.errors import InputError

MAX_ATOMS = 120
TOLERATED = 0.05
"""Relative change of an element that a chosen composition may have."""

_CAP = 20_000
_MOST_IMAGES = 500_000_000  # raw orderings times operations that a list goes through
_MOST_WORK = 200_000  # states of a count, seconds
_REACH = 6
_WHOLE = 1e-6
_SHELL_ANG = 0.05
_FARTHEST = 1.0  # relative change of an element that makes up for a charge
_TRACE = 0.5  # atoms in the largest cell, below which a species may be left out
_MOST_SHAPES = 3
_MOST_LOWERED = 12


@dataclass(frozen=True)
class AutomaticChoice:
    """Settings that were chosen for a crystal, and why.

    Attributes
    ----------
    config
        The settings.
    composition
        The atoms, and how far they are from the refined ones.
    reasons
        A line for each decision.
    exact
        Count and raw count; None when out of reach.
    """

    config: EnumerationConfig
    composition: ChosenComposition
    reasons: tuple[str, ...]
    exact: tuple[int, int] | None


def choose(
    parent: DisorderedCrystal, config: EnumerationConfig, max_atoms: int = MAX_ATOMS
) -> AutomaticChoice:
    """Return cell, supercell, composition and rules for a crystal.

    Parameters
    ----------
    parent
        The disordered crystal.
    config
        Rules by hand, charges, and the threshold of minor occupants stay as they are.
    max_atoms
        Atoms in the supercell at most; a primitive cell that exceeds it is taken as it is.

    Raises
    ------
    InputError
        When no composition near the refined one fits the sites under any rules.
    """
    if max_atoms > MOST_ENUMERATED_ATOMS:
        raise InputError(
            "too many atoms to be enumerated",
            fix=f"at most {MOST_ENUMERATED_ATOMS:,}",
            max_atoms=f"{max_atoms:,}",
        )
    given = filled_in(parent, config)
    refusal: InputError | None = None
    for cells, chosen, why in _sizes(parent, config, max_atoms):
        if not (parent.structure.is_ordered or _is_neutral(chosen)):
            refusal = refusal or _not_neutral(chosen, max_atoms)
            continue
        tried = given.model_copy(update={**cells, "composition": dict(chosen.atoms), "cap": _CAP})
        try:
            settled, cell, lowered = _fitting(parent, tried, by_hand=config)
        except CountOutOfReachError:
            raise
        except InputError as error:
            refusal = refusal or error
            continue
        beyond = sum(chosen.atoms.values()) > max_atoms
        too_large = (
            [f"no cell has --max-atoms {max_atoms} or fewer: it is larger"] if beyond else []
        )
        reasons = (why, *too_large, *_composition_reasons(chosen), *lowered)
        return _counted(AutomaticChoice(settled, chosen, reasons, None), cell)
    raise refusal or InputError("no composition near the refined one", fix="give composition")


def _is_neutral(chosen: ChosenComposition) -> bool:
    """Return whether a composition is neutral and still that of the crystal."""
    return not chosen.is_charged and (chosen.is_refined_neutral or chosen.worst <= _FARTHEST)


def _not_neutral(chosen: ChosenComposition, max_atoms: int) -> InputError:
    return InputError(
        "no neutral composition is near the refined one",
        fix="mend the occupancies, allow more atoms, give oxidation states (charges), or leave "
        "them aside (charges: {}, --charge none)",
        refined=f"{chosen.refined_charge:+.2g} e per atom with {_states(chosen)}",
        max_atoms=max_atoms,
    )


def _counted(choice: AutomaticChoice, cell: DisorderedCell) -> AutomaticChoice:
    if choice.config.is_searched:
        return choice
    try:
        exact = count_distinct(cell.problem, _MOST_WORK)
    except CountOutOfReachError:
        reasons = (*choice.reasons, "the count is out of reach: candidates by a search")
        config = choice.config.model_copy(update={"n_search": N_SEARCHES})
        return replace(choice, config=config, reasons=reasons)
    n_images = exact[1] * len(cell.problem.permutations)
    if n_images > _MOST_IMAGES:
        config = choice.config.model_copy(update={"cap": min(_CAP, max(1, exact[0] - 1))})
        choice = replace(choice, config=config)
    return replace(choice, exact=exact)


def _composition_reasons(chosen: ChosenComposition) -> Iterator[str]:
    if any(chosen.deviation.values()):
        changes = ", ".join(
            f"{s} {chosen.atoms[s]} ({100 * change:+.1f} %)"
            for s, change in sorted(chosen.relative.items())
            if abs(change) > TOLERATED / 1000
        )
        if changes:
            yield f"nearest composition: {changes}"
    states = _states(chosen)
    if not chosen.is_refined_neutral:
        yield f"the refined composition carries {chosen.refined_charge:+.2f} e per atom"
    if not chosen.charges:
        yield "charges are left aside"
    elif chosen.is_charged:
        yield f"the cell carries {chosen.charge:+g} e with {states}"
    else:
        yield f"neutral with {states}"
    if chosen.worst > TOLERATED:
        yield (
            f"an element changes by {100 * chosen.worst:.0f} %: the least that --max-atoms allows"
        )


def _states(chosen: ChosenComposition) -> str:
    return " ".join(f"{s}{q:+g}" for s, q in sorted(chosen.charges.items()))


# -- sizes and shapes ------------------------------------------------------------------------


def _sizes(
    parent: DisorderedCrystal, config: EnumerationConfig, max_atoms: int
) -> Iterator[tuple[dict[str, object], ChosenComposition, str]]:
    """Yield cells with a composition, the one to be preferred first."""
    if all(site.is_ordered for site in parent.structure) and not config.substitute:
        shares = element_shares(parent.structure)
        found = nearest_compositions(shares, 1, config.charges)
        yield {"cell": None, "supercell": (1, 1, 1)}, found[0], "ordered: the cell of the CIF"
        return
    primitive = parent.primitive()
    shares, n_atoms = shares_of(primitive, config), primitive.structure.composition.num_atoms
    most = max(1, int(max_atoms // n_atoms))
    brought = {species for by in (config.substitute or {}).values() for species in by}
    sums = summed_shares(shares)
    traces = [s for s, n in sums.items() if n * most < _TRACE and s not in brought]
    near = {k: nearest_compositions(shares, k, config.charges, traces) for k in range(1, most + 1)}
    order = sorted(
        (k for k in near if near[k]),
        key=lambda k: _preference(near[k][0], k, _mixing(primitive, config, near[k][0], k)),
    )
    for k in order[:_MOST_SHAPES]:
        cells, text = _shape(parent, primitive, k)
        text += _mixing_text(_kept(primitive, config, near[k][0], k))
        for chosen in near[k][:_MOST_SHAPES]:
            yield cells, chosen, f"{text}: {sum(chosen.atoms.values())} atoms"


def _preference(chosen: ChosenComposition, k: int, mixing: float) -> tuple[bool, float, float, int]:
    beyond = sum(max(abs(change) - TOLERATED, 0.0) for change in chosen.relative.values())
    return chosen.is_charged, round(beyond, 6), round(max(mixing - TOLERATED, 0.0), 6), k


def _kept(
    primitive: DisorderedCrystal, config: EnumerationConfig, chosen: ChosenComposition, k: int
) -> list[Kept]:
    if not config.kept_species:
        return []
    return kept_mixing(primitive, config, chosen.atoms, k)


def _mixing(
    primitive: DisorderedCrystal, config: EnumerationConfig, chosen: ChosenComposition, k: int
) -> float:
    """Return by how much the mixing of a site changes at most, where it is to be kept."""
    try:
        kept = _kept(primitive, config, chosen, k)
    except InputError:
        return np.inf
    return max((abs(each.change) for each in kept), default=0.0)


def _mixing_text(kept: list[Kept]) -> str:
    mixed = [each for each in kept if 0 < each.refined < 1]
    if not mixed:
        return ""
    texts = (
        f"{each.n_atoms} of {each.n_sites} {each.site_label} hold {each.species} "
        f"(refined {each.refined:.3g})"
        for each in mixed
    )
    return f"; mixing kept: {', '.join(texts)}"


def _shape(
    parent: DisorderedCrystal, primitive: DisorderedCrystal, k: int
) -> tuple[dict[str, object], str]:
    """Return the settings of the roundest cell of k primitive cells, and its name."""
    n_conventional = round(parent.structure.volume / primitive.structure.volume)
    if k == n_conventional:
        return {"cell": None, "matrix": None, "supercell": (1, 1, 1)}, "the cell of the CIF"
    cell: dict[str, object] = {"cell": "primitive", "matrix": None, "supercell": (1, 1, 1)}
    if k == 1:
        return cell, "the primitive cell"
    matrix = roundest_matrix(primitive.structure.lattice, k)
    rows = " / ".join(" ".join(map(str, row)) for row in matrix)
    return cell | {"matrix": matrix}, f"{k} primitive cells ({rows})"


def hermite_normal_forms(determinant: int) -> Iterator[NDArray[np.int64]]:
    """Yield the superlattices of a lattice with this many cells, each once, (3, 3)."""
    for a in range(1, determinant + 1):
        if determinant % a:
            continue
        for b in range(1, determinant // a + 1):
            if determinant // a % b:
                continue
            c = determinant // a // b
            for d, e, f in np.ndindex(b, c, c):
                yield np.array([[a, d, e], [0, b, f], [0, 0, c]])


def roundest_matrix(lattice: Lattice, determinant: int) -> Matrix3:
    """Return the superlattice whose images are furthest apart, in reduced vectors.

    Parameters
    ----------
    lattice
        Of the primitive cell.
    determinant
        Primitive cells in it.
    """
    reach = np.indices((2 * _REACH + 1,) * 3).reshape(3, -1).T - _REACH
    reach = reach[np.abs(reach).any(axis=1)]
    lengths = np.linalg.norm(reach @ lattice.matrix, axis=1)
    order = np.argsort(lengths, kind="stable")
    reach, lengths = reach[order], lengths[order]

    def image_ang(form: NDArray[np.int64]) -> float:
        inside = reach @ np.linalg.inv(form)
        own = (np.abs(inside - np.rint(inside)) < _WHOLE).all(axis=1)
        return float(lengths[own.argmax()]) if own.any() else 0.0

    best = max(hermite_normal_forms(determinant), key=lambda form: round(image_ang(form), 6))
    reduced = Lattice(best @ lattice.matrix).get_lll_reduced_lattice()
    rows = np.rint(reduced.matrix @ np.linalg.inv(lattice.matrix)).astype(int)
    if np.linalg.det(rows) < 0:
        rows = -rows
    return tuple(tuple(row) for row in rows.tolist())  # type: ignore[return-value]  # 3x3


# -- rules -----------------------------------------------------------------------------------


def _fitting(
    parent: DisorderedCrystal, config: EnumerationConfig, by_hand: EnumerationConfig
) -> tuple[EnumerationConfig, DisorderedCell, tuple[str, ...]]:
    """Return settings under which a placement exists, its cell, and what was lowered for it.

    Raises
    ------
    InputError
        When there is none, also with minor occupants and the shortest distances.
    """
    refusal: InputError | None = None
    thresholds = [config.min_occupancy]
    if by_hand.min_occupancy is None and config.min_occupancy:
        thresholds.append(0.0)
    all_rules = _weaker(parent, config, frozen=by_hand.forbidden_pairs is not None)
    for rules, threshold in product(all_rules, thresholds):  # rules weigh more than occupants
        tried = config.model_copy(update={"min_occupancy": threshold, "forbidden_pairs": rules})
        try:
            cell = disordered_cell(parent, tried)
        except InputError as error:
            refusal = refusal or error
            continue
        if has_placement(cell.problem, tried.seed):
            changed = tuple(_lowered(config.forbidden_pairs or (), rules))
            if threshold != config.min_occupancy:
                changed = ("minor occupants are kept: the others have no room", *changed)
            return tried, cell, changed
    raise refusal or InputError(
        "no ordering satisfies the forbidden pairs",
        fix="lower min_distance_ang of a forbidden pair",
        parent=parent.name,
    )


def _lowered(before: tuple[ForbiddenPair, ...], after: tuple[ForbiddenPair, ...]) -> Iterator[str]:
    left = {rule.species: rule.min_distance_ang for rule in after}
    for rule in before:
        now = left.get(rule.species)
        if now != rule.min_distance_ang:
            to = "no limit" if now is None else f"{now:g} Å"
            yield (
                f"{'-'.join(rule.species)}: {rule.min_distance_ang:g} Å leaves no room for the "
                f"composition, lowered to {to}"
            )


def _weaker(
    parent: DisorderedCrystal, config: EnumerationConfig, *, frozen: bool
) -> Iterator[tuple[ForbiddenPair, ...]]:
    """Yield the rules, then ever weaker ones: the longest distance that excludes goes first."""
    rules = config.forbidden_pairs or ()
    yield rules
    if frozen or parent.is_built_in:
        return
    shells = _shells(parent_cell(parent, config.model_copy(update={"matrix": None})), rules)
    for _ in range(_MOST_LOWERED):
        inside = {
            rule.species: [d for d in shells[rule.species] if d < rule.min_distance_ang]
            for rule in rules
        }
        longest = max(
            (rule for rule in rules if inside[rule.species]),
            key=lambda rule: inside[rule.species][-1] / rule.min_distance_ang,
            default=None,
        )
        if longest is None:
            return
        limit = inside[longest.species][-1] - 1e-3
        weaker = ForbiddenPair(species=longest.species, min_distance_ang=round(limit, 3))
        keep = any(d < weaker.min_distance_ang for d in shells[longest.species])
        others = tuple(rule for rule in rules if rule is not longest)
        rules = (weaker, *others) if keep else others
        yield rules


def _shells(
    cell: DisorderedCrystal, rules: tuple[ForbiddenPair, ...]
) -> Mapping[tuple[str, str], list[float]]:
    """Return the distances below each rule, in steps of 0.05 Å, ascending."""
    shares = element_shares(cell.structure)
    found: dict[tuple[str, str], list[float]] = {}
    for rule in rules:
        first, second, _, distance = cell.structure.get_neighbor_list(rule.min_distance_ang)
        a = np.array([rule.species[0] in site for site in shares])
        b = np.array([rule.species[1] in site for site in shares])
        near = np.sort(distance[(a[first] & b[second]) | (b[first] & a[second])])
        starts = np.flatnonzero(np.diff(near, prepend=-1.0) > _SHELL_ANG)
        found[rule.species] = near[starts].tolist()
    return found

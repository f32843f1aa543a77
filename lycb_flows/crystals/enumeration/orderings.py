"""Symmetry-distinct orderings of a disordered parent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import spglib
from pymatgen.core.composition import Composition

from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals.charges import guessed_charges
from lycb_flows.crystals.enumeration.colourings import (
    Bools,
    Colourings,
    CountOutOfReachError,
    count_distinct,
)
from lycb_flows.crystals.enumeration.enumlib import list_by_enumlib
from lycb_flows.crystals.enumeration.listing import Listing, Masks, Member, list_all, list_some
from lycb_flows.crystals.enumeration.occupancies import DisorderedCell, disordered_cell
from lycb_flows.crystals.enumeration.quasi_random import (
    CUTOFF_ANG,
    TIE,
    PairShells,
    ShellMatch,
    matched_to_ang,
)
from lycb_flows.crystals.enumeration.search import (
    N_SEARCHES,
    Found,
    Progress,
    neighbours,
    search,
    slot_energies_ev,
)
from lycb_flows.crystals.enumeration.sites import SiteModel, SiteSymmetry
from lycb_flows.crystals.structures import DisorderedCrystal
from lycb_flows.errors import InputError
from lycb_flows.schemas import DroppedOccupant, Enumeration, Structure, blob_of


@dataclass(frozen=True, eq=False)
class EnumerationResult:
    """The distinct orderings (or decorations), exactly counted, and how to build each.

    Attributes
    ----------
    formula
        Formula of the supercell.
    count, raw_count
        Numbers of distinct orderings and of those before symmetry; both exact, None when
        they are out of reach and the members come from a search.
    members
        All of them, or the symmetric stratum and the sample.
    subgroup_order, subgroup_orbit_sizes, subgroup_symbol
        The normal subgroup H that the symmetric stratum is invariant under.
    seed
        Seed of the sample; None when exhaustive.
    shells
        How near the pairs of quasi-random sites are to random mixing.
    frozen
        Which free sites are quasi-random, and swap no more, (f,).
    """

    formula: str
    n_atoms: int
    count: int | None
    raw_count: int | None
    exhaustive: bool
    members: tuple[Member, ...]
    model: SiteModel
    masks: Masks
    engine: str = "builtin"
    dropped: tuple[DroppedOccupant, ...] = ()
    subgroup_order: int | None = None
    subgroup_orbit_sizes: tuple[int, ...] | None = None
    subgroup_symbol: str | None = None
    seed: int | None = None
    x: float | None = None
    search_note: str | None = None
    stratum_note: str | None = None
    shells: tuple[ShellMatch, ...] | None = None
    frozen: Bools | None = None

    @property
    def coverage(self) -> float | None:
        """The share of the distinct orderings that are listed; None where they are not counted."""
        return None if self.count is None else len(self.members) / self.count

    @property
    def method(self) -> Literal["exact", "sampled", "search", "sqs"]:
        """How the members were found."""
        if self.shells is not None:
            return "sqs"
        if self.count is None:
            return "search"
        return "exact" if self.exhaustive else "sampled"

    def structure(self, index: int) -> Structure:
        """Return a member as a canonical structure."""
        return self.structure_of(self.members[index].mask)

    def structure_of(self, mask: str) -> Structure:
        """Return the ordering of a mask as a canonical structure, listed or not."""
        return self.model.structure(self.masks.decode(mask))

    def neighbours(self, mask: str) -> tuple[Member, ...]:
        """Return the orderings that a swap of two sites makes of one, under the rules."""
        return neighbours(self.masks, mask, self.frozen)

    def document(self, *, key: str, parent: str) -> tuple[Enumeration, bytes]:
        """Return the document and its members as JSON.

        Parameters
        ----------
        key
            Key of the document.
        parent
            Key of the crystal that was enumerated.
        """
        rows = [vars(member) for member in self.members]
        content = json.dumps(rows, separators=(",", ":")).encode()
        shared = Enumeration.model_fields.keys() & vars(self).keys() - {"members"}
        document = Enumeration(
            key=key,
            parents=(parent,),
            n_members=len(self.members),
            coverage=self.coverage,
            members=blob_of(content, "application/json"),
            **{name: getattr(self, name) for name in shared},
        )
        return document, content


def count_orderings(parent: DisorderedCrystal, config: EnumerationConfig) -> tuple[int, int]:
    """Return the numbers of distinct and of raw orderings, exact, without listing them.

    Parameters
    ----------
    parent
        The disordered crystal.
    config
        The supercell and the rules.

    Raises
    ------
    CountOutOfReachError
        When they cannot be counted in bounded time and memory.
    """
    exact = count_distinct(disordered_cell(parent, config).problem)
    if not exact[0]:
        raise _no_ordering(parent)
    return exact


def enumerate_orderings(
    parent: DisorderedCrystal, config: EnumerationConfig, progress: Progress | None = None
) -> EnumerationResult:
    """Return the distinct orderings of a parent in a supercell.

    Where they cannot be counted, candidates come from a search.

    Parameters
    ----------
    parent
        The disordered crystal.
    config
        The supercell and the rules.
    progress
        Is told how many searches of how many are done.

    Raises
    ------
    InputError
        When the composition does not fit the supercell, no ordering is possible, or the
        engine is not installed.
    LycbError
        When the members do not add up to the exact count.
    """
    cell = disordered_cell(parent, config)
    if config.is_searched:
        return _searched(cell, config, progress)
    try:
        exact = count_distinct(cell.problem)
    except CountOutOfReachError:
        return _searched(cell, config, progress)
    if not exact[0]:
        raise _no_ordering(parent)
    if exact[0] > config.cap:
        listing = list_some(cell.problem, exact, config)
    elif config.engine == "enumlib":
        listing = list_by_enumlib(cell.model, cell.problem, exact)
    else:
        listing = list_all(cell.problem, exact)
    return replace(
        result_of(listing, cell.model, cell.problem, cell.symmetry),
        engine=config.engine if listing.exhaustive else "builtin",
        dropped=cell.dropped,
        seed=None if listing.exhaustive else config.seed,
    )


def _no_ordering(parent: DisorderedCrystal) -> InputError:
    return InputError(
        "no ordering satisfies the forbidden pairs",
        fix="lower min_distance_ang of a forbidden pair, or raise min_occupancy",
        parent=parent.name,
    )


def _searched(
    cell: DisorderedCell,
    config: EnumerationConfig,
    progress: Progress | None,
) -> EnumerationResult:
    """Return the candidates of a search, annealed ones first."""
    amounts = cell.model.composition(cell.problem.counts)
    charges = guessed_charges(amounts, config.charges)
    energies = slot_energies_ev(cell.model, cell.problem, charges)
    n_searches = config.n_search or N_SEARCHES
    shells = None
    if config.sqs:
        shells = PairShells.of(cell, config.sqs, config.sqs_cutoff_ang or CUTOFF_ANG)
    found = search(cell.problem, energies, n_searches, config.seed, progress, shells)
    masks = Masks(cell.problem)
    members: dict[str, Member] = {}
    others = "random" if shells is None else "quasi-random"
    for stratum, colours in (("annealed", found.annealed), (others, found.random)):
        if len(colours):
            fresh = masks.members(masks.smallest(masks.encode(colours)), stratum)
            members = {member.mask: member for member in fresh} | members
    order = sorted(members.values(), key=lambda m: (m.stratum, m.mask))
    listing = Listing(None, None, tuple(order), exhaustive=False)
    result = replace(
        result_of(listing, cell.model, cell.problem, cell.symmetry),
        dropped=cell.dropped,
        seed=config.seed,
        search_note=_search_note(found, n_searches, charges),
    )
    if shells is None:
        return result
    matches = shells.matches(found.random[0])
    note = _sqs_note(found, matches)
    if len(found.energies_ev):
        note += f"; of the rest, {result.search_note}"
    return replace(result, search_note=note, shells=matches, frozen=shells.frozen)


def _sqs_note(found: Found, matches: tuple[ShellMatch, ...]) -> str:
    worst = max(matches, key=lambda shell: shell.deviation)
    matched = matched_to_ang(matches)
    near = "no shell" if matched is None else f"every shell to {matched:.2f} Å"
    n_agreeing = int((found.errors < found.errors.min() + TIE).sum())
    return (
        f"{n_agreeing} of {len(found.errors)} independent annealings of pairs end nearest to "
        f"random mixing: {near} as in it, the worst of {len(matches)} off by "
        f"{worst.deviation:.3f} ({worst.sites}, {worst.distance_ang:.2f} Å)"
    )


def _search_note(found: Found, n_searches: int, charges: Mapping[str, float]) -> str:
    if not len(found.energies_ev):
        return f"{len(found.random)} of {n_searches} random placements under the rules; no charges"
    states = " ".join(f"{s}{q:+g}" for s, q in sorted(charges.items()))
    spread = found.energies_ev[-1] - found.energies_ev[0]
    return (
        f"{found.n_agreeing} of {n_searches} independent searches end at the lowest Ewald energy "
        f"({states}), the others up to {spread:.2f} eV above it"
    )


def result_of(
    listing: Listing, model: SiteModel, problem: Colourings, symmetry: SiteSymmetry
) -> EnumerationResult:
    """Return a listing as orderings of a crystal.

    Parameters
    ----------
    listing
        The distinct colourings.
    model
        The sites of the crystal.
    problem
        The colouring problem of its free sites.
    symmetry
        The symmetry as it acts on the free sites.
    """
    formula = Composition(model.composition(problem.counts))
    result = EnumerationResult(
        formula=formula.formula,
        n_atoms=round(formula.num_atoms),
        count=listing.count,
        raw_count=listing.raw_count,
        exhaustive=listing.exhaustive,
        members=listing.members,
        model=model,
        masks=Masks(problem),
        stratum_note=listing.stratum_note,
    )
    if listing.subgroup is None:
        return result
    rotations = np.unique(symmetry.rotations[list(listing.subgroup)], axis=0)
    point_group = spglib.get_pointgroup(rotations.tolist())
    return replace(
        result,
        subgroup_order=len(listing.subgroup),
        subgroup_orbit_sizes=listing.orbit_sizes,
        subgroup_symbol=point_group[0].strip() if point_group else None,
    )

"""Symmetry-distinct orderings of a disordered parent."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import spglib
from pymatgen.core.composition import Composition

from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals.enumeration.colourings import Colourings, count_distinct
from lycb_flows.crystals.enumeration.enumlib import list_by_enumlib
from lycb_flows.crystals.enumeration.listing import Listing, Masks, Member, list_all, list_some
from lycb_flows.crystals.enumeration.occupancies import disordered_cell
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
        Numbers of distinct orderings and of those before symmetry; both exact.
    members
        All of them, or the symmetric stratum and the sample.
    subgroup_order, subgroup_orbit_sizes, subgroup_symbol
        The normal subgroup H that the symmetric stratum is invariant under.
    seed
        Seed of the sample; None when exhaustive.
    """

    formula: str
    n_atoms: int
    count: int
    raw_count: int
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

    @property
    def coverage(self) -> float:
        """The share of the distinct orderings that are listed."""
        return len(self.members) / self.count

    def structure(self, index: int) -> Structure:
        """Return a member as a canonical structure."""
        return self.model.structure(self.masks.decode(self.members[index].mask))

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
    """
    return count_distinct(disordered_cell(parent, _resolved(parent, config)).problem)


def enumerate_orderings(parent: DisorderedCrystal, config: EnumerationConfig) -> EnumerationResult:
    """Return the distinct orderings of a parent in a supercell.

    Parameters
    ----------
    parent
        The disordered crystal.
    config
        The supercell and the rules.

    Raises
    ------
    InputError
        When the composition does not fit the supercell, no ordering is possible, or the
        engine is not installed.
    LycbError
        When the members do not add up to the exact count.
    """
    cell = disordered_cell(parent, _resolved(parent, config))
    exact = count_distinct(cell.problem)
    if not exact[0]:
        raise InputError(
            "no ordering satisfies the forbidden pairs",
            fix="lower min_distance_ang of a forbidden pair, or raise min_occupancy",
            parent=parent.name,
        )
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


def _resolved(parent: DisorderedCrystal, config: EnumerationConfig) -> EnumerationConfig:
    """Return the config with the threshold that applies."""
    if config.min_occupancy is not None:
        return config
    return config.model_copy(update={"min_occupancy": parent.min_occupancy})

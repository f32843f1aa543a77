"""What a ranking relaxes: the orderings of a list, or those that a search chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lycb_flows.crystals import EnumerationResult
from lycb_flows.errors import PhysicsError
from lycb_flows.potentials import Potential
from lycb_flows.relaxation import Candidate, Landscape, search_orderings
from lycb_flows.schemas import Ordering, Structure
from lycb_flows.store import ResultStore

CoarseStage = Callable[[Sequence[Ordering]], Iterable[Candidate]]
_NOT_LISTED = -1


class Candidates:
    """Orderings of a list, and those that swaps make of them, as documents.

    Parameters
    ----------
    store
        Where they are kept, beside their structures.
    enumeration, parent
        Keys of the list and of the crystal that was enumerated.
    result
        The list.
    """

    def __init__(
        self, store: ResultStore, enumeration: str, parent: str, result: EnumerationResult
    ) -> None:
        self.store, self.enumeration, self.parent = store, enumeration, parent
        self.result = result
        self._members = {member.mask: member for member in result.members}

    @cached_property
    def _places(self) -> dict[str, int]:
        return {member.mask: place for place, member in enumerate(self.result.members)}

    def documents(self, masks: Iterable[str] | None = None) -> list[Ordering]:
        """Return orderings as documents, stored beside their structures; None: all of the list."""
        structures: list[Structure] = []
        orderings: list[Ordering] = []
        for mask in self._places if masks is None else masks:
            structure = self.result.structure_of(mask)
            ordering = Ordering(
                key=Ordering.key_of(self.enumeration, mask),
                parents=(self.enumeration, self.parent),
                products=(structure.key,),
                enumeration=self.enumeration,
                index=self._places.get(mask, _NOT_LISTED),
                mask=mask,
                multiplicity=self._members[mask].multiplicity,
                structure=structure.key,
            )
            structures.append(structure)
            orderings.append(ordering)
        self.store.insert_all([*structures, *orderings])
        return orderings

    def searched(
        self, n_relaxed: int, seed: int, potential: Potential, coarse: CoarseStage
    ) -> list[Ordering]:
        """Return the orderings that a search relaxes.

        Parameters
        ----------
        n_relaxed
            How many.
        seed
            Seed of the search.
        potential
            Gives the energies before relaxation.
        coarse
            The coarse stage of the funnel, each relaxation looked up first.
        """

        def static_ev(masks: Sequence[str]) -> NDArray[np.float64]:
            return np.array([self._static_ev(mask, potential) for mask in masks])

        def relaxed_ev(masks: Sequence[str]) -> NDArray[np.float64]:
            chosen = self.documents(masks)
            found = {each.ordering: each.relaxed.energy_ev for each in coarse(chosen)}
            return np.array([found.get(ordering.key, np.inf) for ordering in chosen])

        landscape = Landscape(static_ev, relaxed_ev, self._neighbours)
        return self.documents(search_orderings(list(self._places), landscape, n_relaxed, seed))

    def _static_ev(self, mask: str, potential: Potential) -> float:
        try:
            (prediction,) = potential.predict([self.result.structure_of(mask)])
        except PhysicsError:
            return np.inf
        return prediction.energy_ev

    def _neighbours(self, mask: str) -> list[str]:
        members = self.result.neighbours(mask)
        self._members |= {member.mask: member for member in members}
        return [member.mask for member in members]

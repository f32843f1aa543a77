"""Jobs that enumerate and rank."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from jobflow import Maker

from lycb_flows import schemas
from lycb_flows.campaign.results import (
    decorated_name,
    enumeration_key,
    find_ground_state,
    load_crystal,
    ranking_key,
)
from lycb_flows.config import Campaign, RankingConfig, RelaxationConfig
from lycb_flows.crystals import enumeration
from lycb_flows.crystals.relaxed import Relaxed
from lycb_flows.errors import PhysicsError, StoreError
from lycb_flows.jobs.resources import (
    open_potential,
    open_store,
    open_store_at,
    process_pool,
    static_job,
)
from lycb_flows.machine.settings import load_settings
from lycb_flows.relaxation import by_model, ranking
from lycb_flows.schemas import Produced
from lycb_flows.store import ResultStore

T = TypeVar("T")


@dataclass(kw_only=True)
class EnumerateMaker(Maker):
    """The distinct orderings of a system's parent or, with x, the ground state's decorations."""

    name: str = "enumerate"
    campaign: Campaign
    system: str
    x: float | None = None

    @static_job
    def make(self, after: object = None) -> Produced:
        """The key of the Enumeration."""
        del after  # order only
        store = open_store()
        key = enumeration_key(store, self.campaign, self.system, self.x)
        store.once(schemas.Enumeration, key, lambda: self._compute(store, key), self.name)
        return Produced(kind=schemas.Enumeration.kind, keys=(key,))

    def _compute(self, store: ResultStore, key: str) -> schemas.Enumeration:
        result, parent = list_members(store, self.campaign, self.system, self.x)
        document, members = result.document(key=key, parent=parent)
        store.blobs.put(members, document.members.media_type)
        return document


def list_members(
    store: ResultStore, campaign: Campaign, system: str, x: float | None
) -> tuple[enumeration.EnumerationResult, str]:
    """A system's orderings, or its decorations at x, and the key of what they derive from."""
    config = next(one for one in campaign.systems if one.name == system)
    if x is None:
        crystal = load_crystal(store, config.parent)
        return enumeration.enumerate_orderings(crystal, config.enumeration), config.parent
    found = find_ground_state(store, campaign, system)
    if found is None:
        raise StoreError("no ground state yet", fix="rank the system first", system=system)
    ground_state = store.load(schemas.Structure, found)
    decoration = next(one for one in config.decorations if one.x == x)
    return enumeration.enumerate_decorations(ground_state, decoration), ground_state.key


@dataclass(kw_only=True)
class RankMaker(Maker):
    """Relax every candidate of a system by the two-stage funnel and rank them."""

    name: str = "rank"
    campaign: Campaign
    system: str
    x: float | None = None

    @static_job
    def make(self, after: object = None) -> Produced:
        """The key of the Ranking."""
        del after  # order only
        store = open_store()
        key = ranking_key(store, self.campaign, self.system, self.x)
        store.once(schemas.Ranking, key, lambda: self._compute(store, key), self.name)
        return Produced(kind=schemas.Ranking.kind, keys=(key,))

    def _compute(self, store: ResultStore, key: str) -> schemas.Ranking:
        config = self.campaign.ranking
        enumeration_ = enumeration_key(store, self.campaign, self.system, self.x)
        orderings = self._orderings(store, enumeration_)
        work = functools.partial(_relax_batch, store.address, config, self.name)
        coarse = list(chain(*process_pool().map_ordered(work, _batches(orderings))))
        chosen = ranking.candidates_for_fine(coarse, config)
        work_fine = functools.partial(_refine_batch, store.address, config, self.name)
        fine = list(chain(*process_pool().map_ordered(work_fine, _batches(chosen))))
        n_lost = len(orderings) - len(coarse) + len(chosen) - len(fine)
        last = {candidate.ordering: candidate for candidate in (*coarse, *fine)}
        relaxations = {
            ordering: schemas.Relaxation.key_of(
                one.relaxed.start.key,
                ranking.stage_config(config, one.stage),
                model=config.model,
            )
            for ordering, one in last.items()
        }
        ranked = ranking.rank_candidates(coarse, fine, config, relaxations)
        table = [row.model_dump(mode="json") for row in ranked.table]
        return schemas.Ranking(
            key=key,
            parents=(
                enumeration_,
                config.model,
                *(row.relaxation for row in ranked.best),
            ),
            system=self.system if self.x is None else decorated_name(self.system, self.x),
            enumeration=enumeration_,
            model=config.model,
            n_candidates=len(orderings),
            n_not_converged=ranked.n_not_converged + n_lost,
            best=ranked.best,
            table=store.blobs.put_json(table),
            ground_state=ranked.ground_state,
            ground_state_note=ranked.note,
        )

    def _orderings(self, store: ResultStore, key: str) -> list[schemas.Ordering]:
        """Every member as a document beside its structure."""
        result, parent = list_members(store, self.campaign, self.system, self.x)
        structures: list[schemas.Structure] = []
        orderings: list[schemas.Ordering] = []
        for index, member in enumerate(result.members):
            structure = result.structure(index)
            ordering = schemas.Ordering(
                key=schemas.Ordering.key_of(key, member.mask),
                parents=(key, parent),
                products=(structure.key,),
                enumeration=key,
                index=index,
                mask=member.mask,
                multiplicity=member.multiplicity,
                structure=structure.key,
            )
            structures.append(structure)
            orderings.append(ordering)
        store.insert_all([*structures, *orderings])
        return orderings


def _batches(candidates: Sequence[T]) -> list[Sequence[T]]:
    """What one process relaxes at a time.

    On a CPU one candidate: more would gain nothing, and what it becomes may not depend on its
    neighbours. A GPU takes all.
    """
    if load_settings().device == "cpu":
        return [[candidate] for candidate in candidates]
    return [candidates]


def _relax_batch(
    address: str, config: RankingConfig, job_name: str, orderings: Sequence[schemas.Ordering]
) -> list[ranking.Candidate]:
    """The coarse stage of some candidates, each relaxation looked up first.

    One that flies apart is missing: a failed attempt that says why, and no reason to stop
    the rest.
    """
    store = open_store_at(address)
    structures = {one.key: store.load(schemas.Structure, one.structure) for one in orderings}
    relax_stage = functools.partial(_relax_once, store, config, job_name)
    return ranking.relax_candidates(structures, relax_stage)


def _refine_batch(
    address: str, config: RankingConfig, job_name: str, candidates: Sequence[ranking.Candidate]
) -> list[ranking.Candidate]:
    """The fine stage of some candidates, looked up first; without those that fly apart."""
    relax_stage = functools.partial(_relax_once, open_store_at(address), config, job_name)
    return ranking.refine_candidates(candidates, relax_stage)


def _relax_once(
    store: ResultStore,
    config: RankingConfig,
    job_name: str,
    stage: ranking.Stage,
    starts: Sequence[schemas.Structure],
) -> list[Relaxed | PhysicsError]:
    """Each relaxation looked up first; the missing ones move together.

    An attempt lasts from the previous result to its own, so that all of them together cost
    what the batch did.
    """
    stage_config = ranking.stage_config(config, stage)
    relaxing = _relax_missing(store, config.model, stage_config, starts)

    def relax(start: schemas.Structure) -> schemas.Relaxation:
        outcome = next(outcome for one, outcome in relaxing if one.key == start.key)
        if isinstance(outcome, PhysicsError):
            raise outcome
        store.insert(outcome.structure)
        return outcome.document(stage_config, model=config.model)

    def relax_once(start: schemas.Structure) -> Relaxed | PhysicsError:
        key = schemas.Relaxation.key_of(start.key, stage_config, model=config.model)
        try:
            # the ranking is claimed
            found = store.once(schemas.Relaxation, key, lambda: relax(start), job_name, claim=False)
        except PhysicsError as error:
            return error
        final = store.load(schemas.Structure, found.final_structure)
        return Relaxed.from_document(found, start, final)

    return [relax_once(start) for start in starts]


def _relax_missing(
    store: ResultStore,
    model: str,
    config: RelaxationConfig,
    starts: Sequence[schemas.Structure],
) -> Iterator[tuple[schemas.Structure, Relaxed | PhysicsError]]:
    """What the store lacks when the first is asked for, in the order of the starts."""
    keys = [schemas.Relaxation.key_of(start.key, config, model=model) for start in starts]
    missing = [
        start
        for start, key in zip(starts, keys, strict=True)
        if store.find(schemas.Relaxation, key) is None
    ]
    outcomes = by_model.relax_many(missing, open_potential(store, model), config)
    yield from zip(missing, outcomes, strict=True)

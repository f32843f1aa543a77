"""Jobs that enumerate and rank."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TypeVar

from jobflow import Job

from lycb_flows.campaign import (
    enumeration_key,
    find_ground_state,
    ranking_key,
)
from lycb_flows.config import (
    Campaign,
    Config,
    EnumerationConfig,
    RankingConfig,
    RelaxationConfig,
    SystemConfig,
    decorated_name,
    name_of_ordering,
)
from lycb_flows.crystals import (
    EnumerationResult,
    Relaxed,
    enumerate_decorations,
    enumerate_orderings,
    with_rules,
)
from lycb_flows.errors import PhysicsError, StoreError
from lycb_flows.jobs.candidates import Candidates
from lycb_flows.jobs.given import (
    GivenParent,
    PortableParent,
    portable_model,
    portable_parent,
    stored_model,
    stored_parent,
)
from lycb_flows.jobs.lookup import LookupMaker
from lycb_flows.jobs.resources import open_potential, open_store_at, process_pool
from lycb_flows.machine.settings import load_settings
from lycb_flows.relaxation import by_model, ranking
from lycb_flows.schemas import Enumeration, Ordering, Ranking, Relaxation, Structure
from lycb_flows.store import ResultStore, load_crystal

T = TypeVar("T")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


class CampaignSystem(Config):
    """What is listed and ranked: a system's orderings or, with x, its ground state's decorations.

    The parents and models of the campaign are keys.
    """

    campaign: Campaign
    system: str
    x: float | None = None

    @property
    def name(self) -> str:
        """What results call it."""
        return self.system if self.x is None else decorated_name(self.system, self.x)

    def enumeration_key(self, store: ResultStore) -> str:
        """Return the key of the list."""
        return enumeration_key(store, self.campaign, self.system, self.x)

    def ranking_key(self, store: ResultStore) -> str:
        """Return the key of the ranking."""
        return ranking_key(store, self.campaign, self.system, self.x)


def _system_of(
    store: ResultStore,
    parent: PortableParent | CampaignSystem,
    enumeration: EnumerationConfig,
    ranking: RankingConfig | None = None,
) -> CampaignSystem:
    """Return the system of a campaign as it is; a parent is a campaign of one system."""
    if isinstance(parent, CampaignSystem):
        return parent
    document = stored_parent(store, parent)
    name = name_of_ordering(_NOT_IN_A_NAME.sub("-", document.name).strip("-._")) or "parent"
    enumeration = with_rules(load_crystal(store, document.key), enumeration)
    system = SystemConfig(name=name, parent=document.key, enumeration=enumeration)
    campaign = Campaign(name=name, systems=(system,), ranking=ranking or RankingConfig())
    return CampaignSystem(campaign=campaign, system=name)


@dataclass(kw_only=True)
class EnumerateMaker(LookupMaker):
    """List the distinct orderings of a disordered crystal, or the decorations of an ordered one.

    Attributes
    ----------
    config
        The supercell and the rules; a campaign has its own.
    """

    kind = Enumeration

    name: str = "enumerate"
    config: EnumerationConfig = field(default_factory=EnumerationConfig)

    def make(self, parent: GivenParent | CampaignSystem, after: object = None) -> Job:
        """Return the job that hands on the key of the Enumeration.

        Parameters
        ----------
        parent
            The name of a built-in parent, the path of a CIF, or the key of a Parent; in a
            campaign one of its systems.
        after
            References to what comes before; only order.
        """
        given = parent if isinstance(parent, CampaignSystem) else portable_parent(parent)
        return self.look_up(parent=given, after=after)

    def prepared(
        self, store: ResultStore, parent: PortableParent | CampaignSystem
    ) -> dict[str, CampaignSystem]:
        """Return what is listed."""
        return {"system": _system_of(store, parent, self.config)}

    def key(self, store: ResultStore, system: CampaignSystem) -> str:
        """Return the key of the Enumeration."""
        return system.enumeration_key(store)

    def compute(self, store: ResultStore, key: str, system: CampaignSystem) -> Enumeration:
        """Return the list."""
        return _enumeration(store, key, system)


def _enumeration(store: ResultStore, key: str, system: CampaignSystem) -> Enumeration:
    result, parent = list_members(store, system)
    document, members = result.document(key=key, parent=parent)
    store.blobs.put(members, document.members.media_type)
    return document


def list_members(store: ResultStore, system: CampaignSystem) -> tuple[EnumerationResult, str]:
    """Return a system's orderings, or its decorations, and the key of what they derive from."""
    config = next(entry for entry in system.campaign.systems if entry.name == system.system)
    if system.x is None:
        crystal = load_crystal(store, config.parent)
        return enumerate_orderings(crystal, config.enumeration), config.parent
    found = find_ground_state(store, system.campaign, system.system)
    if found is None:
        raise StoreError("no ground state yet", fix="rank the system first", system=system.system)
    ground_state = store.load(Structure, found)
    decoration = next(entry for entry in config.decorations if entry.x == system.x)
    return enumerate_decorations(ground_state, decoration), ground_state.key


@dataclass(kw_only=True)
class RankMaker(LookupMaker):
    """Relax every candidate of a system by the two-stage funnel and rank them.

    Attributes
    ----------
    enumeration
        What the candidates are; a campaign has its own.
    ranking
        The funnel and its model; a campaign has its own.
    """

    kind = Ranking

    name: str = "rank"
    enumeration: EnumerationConfig = field(default_factory=EnumerationConfig)
    ranking: RankingConfig = field(default_factory=RankingConfig)

    def make(self, parent: GivenParent | CampaignSystem, after: object = None) -> Job:
        """Return the job that hands on the key of the Ranking.

        Parameters
        ----------
        parent
            The name of a built-in parent, the path of a CIF, or the key of a Parent; in a
            campaign one of its systems.
        after
            References to what comes before; only order.
        """
        if isinstance(parent, CampaignSystem):
            return self.look_up(parent=parent, after=after)
        maker = replace(self, ranking=_with_model(self.ranking, portable_model(self.ranking.model)))
        return maker.look_up(parent=portable_parent(parent), after=after)

    def prepared(
        self, store: ResultStore, parent: PortableParent | CampaignSystem
    ) -> dict[str, CampaignSystem]:
        """Return what is ranked; its list is in the store afterwards."""
        ranking = self.ranking
        if not isinstance(parent, CampaignSystem):
            ranking = _with_model(ranking, stored_model(store, ranking.model))
        system = _system_of(store, parent, self.enumeration, ranking)
        key = system.enumeration_key(store)
        store.once(Enumeration, key, lambda: _enumeration(store, key, system), self.name)
        return {"system": system}

    def key(self, store: ResultStore, system: CampaignSystem) -> str:
        """Return the key of the Ranking."""
        return system.ranking_key(store)

    def compute(self, store: ResultStore, key: str, system: CampaignSystem) -> Ranking:
        """Return the ranking of all candidates."""
        config = system.campaign.ranking
        orderings = _orderings(store, system, self.name)
        coarse, fine = _funnel(store, config, self.name, orderings)
        last = {candidate.ordering: candidate for candidate in (*coarse, *fine)}
        relaxations = {
            ordering: Relaxation.key_of(
                candidate.relaxed.start.key,
                ranking.stage_config(config, candidate.stage),
                model=config.model,
            )
            for ordering, candidate in last.items()
        }
        ranked = ranking.rank_candidates(coarse, fine, config, relaxations)
        n_chosen = len(ranking.candidates_for_fine(coarse, config))
        n_lost = len(orderings) - len(coarse) + n_chosen - len(fine)
        enumeration_ = system.enumeration_key(store)
        return Ranking(
            key=key,
            parents=(enumeration_, config.model, *(row.relaxation for row in ranked.best)),
            system=system.name,
            enumeration=enumeration_,
            model=config.model,
            n_candidates=len(orderings),
            n_not_converged=ranked.n_not_converged + n_lost,
            best=ranked.best,
            table=store.blobs.put_json([row.model_dump(mode="json") for row in ranked.table]),
            ground_state=ranked.ground_state,
            ground_state_note=ranked.note,
        )


def _with_model(config: RankingConfig, model: str) -> RankingConfig:
    return config.model_copy(update={"model": model})


def _funnel(
    store: ResultStore,
    config: RankingConfig,
    job_name: str,
    orderings: Sequence[Ordering],
) -> tuple[list[ranking.Candidate], list[ranking.Candidate]]:
    """Return all candidates relaxed coarsely, and the best of them relaxed finely."""
    work = functools.partial(_relax_batch, store.address, config, job_name)
    coarse = list(chain(*process_pool().map_ordered(work, _batches(orderings))))
    chosen = ranking.candidates_for_fine(coarse, config)
    work_fine = functools.partial(_refine_batch, store.address, config, job_name)
    return coarse, list(chain(*process_pool().map_ordered(work_fine, _batches(chosen))))


def _orderings(store: ResultStore, system: CampaignSystem, job_name: str) -> list[Ordering]:
    """Return what is ranked: all that is listed, or what a search chooses and relaxes."""
    result, parent = list_members(store, system)
    config = system.campaign.ranking
    candidates = Candidates(store, system.enumeration_key(store), parent, result)
    n_searched = config.n_searched_of(by_search=result.count is None)
    if n_searched is None:
        return candidates.documents()

    def coarse(orderings: Sequence[Ordering]) -> Iterator[ranking.Candidate]:
        work = functools.partial(_relax_batch, store.address, config, job_name)
        return chain(*process_pool().map_ordered(work, _batches(orderings)))

    potential = open_potential(store, config.model)
    return candidates.searched(n_searched, result.seed or 0, potential, coarse)


def _batches(candidates: Sequence[T]) -> list[Sequence[T]]:
    """What one process relaxes at a time.

    On a CPU one candidate: more would gain nothing, and what it becomes may not depend on its
    neighbours. A GPU takes all.
    """
    if load_settings().device == "cpu":
        return [[candidate] for candidate in candidates]
    return [candidates]


def _relax_batch(
    address: str, config: RankingConfig, job_name: str, orderings: Sequence[Ordering]
) -> list[ranking.Candidate]:
    """The coarse stage of some candidates, each relaxation looked up first.

    One that flies apart is missing: a failed attempt that says why, and no reason to stop
    the rest.
    """
    store = open_store_at(address)
    structures = {ordering.key: store.load(Structure, ordering.structure) for ordering in orderings}
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
    starts: Sequence[Structure],
) -> list[Relaxed | PhysicsError]:
    """Each relaxation looked up first; the missing ones move together.

    An attempt lasts from the previous result to its own, so that all of them together cost
    what the batch did.
    """
    stage_config = ranking.stage_config(config, stage)
    relaxing = _relax_missing(store, config.model, stage_config, starts)

    def relax(start: Structure) -> Relaxation:
        outcome = next(outcome for given, outcome in relaxing if given.key == start.key)
        if isinstance(outcome, PhysicsError):
            raise outcome
        store.insert(outcome.structure)
        return outcome.document(stage_config, model=config.model)

    def relax_once(start: Structure) -> Relaxed | PhysicsError:
        key = Relaxation.key_of(start.key, stage_config, model=config.model)
        try:
            # the ranking is claimed
            found = store.once(Relaxation, key, lambda: relax(start), job_name, claim=False)
        except PhysicsError as error:
            return error
        final = store.load(Structure, found.final_structure)
        return Relaxed.from_document(found, start, final)

    return [relax_once(start) for start in starts]


def _relax_missing(
    store: ResultStore,
    model: str,
    config: RelaxationConfig,
    starts: Sequence[Structure],
) -> Iterator[tuple[Structure, Relaxed | PhysicsError]]:
    """What the store lacks when the first is asked for, in the order of the starts."""
    keys = [Relaxation.key_of(start.key, config, model=model) for start in starts]
    missing = [
        start
        for start, key in zip(starts, keys, strict=True)
        if store.find(Relaxation, key) is None
    ]
    outcomes = by_model.relax_many(missing, open_potential(store, model), config)
    yield from zip(missing, outcomes, strict=True)

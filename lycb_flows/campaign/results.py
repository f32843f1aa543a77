"""How far a campaign has come: its documents, found by the keys that its plans promise.

The walk follows the same plans as the flows do, so it needs no record of what was run.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from lycb_flows.campaign.ground_states import GroundStatePlan
from lycb_flows.campaign.measurement import choose_model
from lycb_flows.campaign.stages import StagePlan
from lycb_flows.config import Campaign
from lycb_flows.crystals import DisorderedCrystal, parse_cif
from lycb_flows.errors import StoreError
from lycb_flows.labels.engine import engine_of
from lycb_flows.labels.theory import Theory
from lycb_flows.quantities.plan import MeasurementPlan
from lycb_flows.quantities.registry import readable_quantities
from lycb_flows.schemas import (
    Dataset,
    Document,
    Enumeration,
    Evaluation,
    GroundState,
    Model,
    Parent,
    Ranking,
    Round,
    Structure,
)
from lycb_flows.store import ResultStore

D = TypeVar("D", bound=Document)


@dataclass
class CampaignResults:
    """What is there, in the order of the campaign; empty where it has not come so far.

    Attributes
    ----------
    ground_states
        System, mixed halides among them -> key of the structure that the rest starts from:
        DFT's where it was asked, else the model's.
    measured
        Quantity -> its documents so far, in the order of the plan; only quantities that are
        installed here.
    """

    rankings: dict[str, Ranking] = field(default_factory=dict)
    by_dft: dict[str, list[GroundState]] = field(default_factory=dict)
    ground_states: dict[str, str] = field(default_factory=dict)
    stages: list[StagePlan] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    measured: dict[str, list[Document]] = field(default_factory=dict)

    def document_keys(self) -> list[str]:
        """Keys of the documents, for the report."""
        documents = [
            *self.rankings.values(),
            *itertools.chain.from_iterable(self.by_dft.values()),
            *self.rounds,
            *self.evaluations.values(),
            *itertools.chain.from_iterable(self.measured.values()),
        ]
        return [document.key for document in documents]

    def documents(self, kind: type[D]) -> list[D]:
        """Return the documents of a measured quantity."""
        found = itertools.chain.from_iterable(self.measured.values())
        return [document for document in found if isinstance(document, kind)]


def decorated_name(system: str, x: float) -> str:
    """The name of a mixed halide made from a system's ground state."""
    return f"{system}-x{x:g}"


def system_names(campaign: Campaign) -> Iterator[tuple[str, str, float | None]]:
    """(name, system, x or None) of everything that a campaign ranks."""
    for system in campaign.systems:
        yield system.name, system.name, None
        for decoration in system.decorations:
            yield decorated_name(system.name, decoration.x), system.name, decoration.x


def load_crystal(store: ResultStore, key: str) -> DisorderedCrystal:
    """The disordered crystal of a stored parent."""
    parent = store.load(Parent, key)
    cif = store.blobs.read(parent.cif)
    return parse_cif(parent.name, cif, parent.provenance, parent.min_occupancy)


def enumeration_key(store: ResultStore, campaign: Campaign, system: str, x: float | None) -> str:
    """The key of a system's orderings or, with x, of its ground state's decorations."""
    config = next(one for one in campaign.systems if one.name == system)
    if x is None:
        return Enumeration.key_of(load_crystal(store, config.parent).document(), config.enumeration)
    decoration = next(one for one in config.decorations if one.x == x)
    ground_state = find_ground_state(store, campaign, system)
    if ground_state is None:
        raise StoreError("no ground state yet", fix="rank the system first", system=system)
    return Enumeration.key_of(store.load(Structure, ground_state), decoration)


def ranking_key(store: ResultStore, campaign: Campaign, system: str, x: float | None = None) -> str:
    """The key of a system's ranking, whatever DFT says of it."""
    enumeration = enumeration_key(store, campaign, system, x)
    ranking = campaign.ranking.model_copy(update={"dft": None})
    return Ranking.key_of(enumeration, ranking)


def dft_theory(store: ResultStore, campaign: Campaign) -> Theory | None:
    """The level of theory that ground states are decided at, if by DFT."""
    if campaign.ranking.dft is None:
        return None
    labeler = campaign.ranking.dft.labeler
    return engine_of(labeler).theory(labeler, lambda key: store.load(Model, key))


def ground_state_plan(
    store: ResultStore, campaign: Campaign, system: str, x: float | None = None
) -> GroundStatePlan | None:
    """How DFT decides on a ranked system; None where the model's word stands."""
    dft, theory = campaign.ranking.dft, dft_theory(store, campaign)
    if dft is None or theory is None or (x is not None and not dft.n_decorations):
        return None
    return GroundStatePlan(
        dft=dft,
        theory=theory,
        system=system if x is None else decorated_name(system, x),
        ranking=ranking_key(store, campaign, system, x),
        mixed=x is not None,
    )


def find_ground_state(
    store: ResultStore, campaign: Campaign, system: str, x: float | None = None
) -> str | None:
    """The structure that a system goes on from, by key; None while it is undecided."""
    plan = ground_state_plan(store, campaign, system, x)
    if plan is None:
        ranking = store.find(Ranking, ranking_key(store, campaign, system, x))
        return None if ranking is None else ranking.ground_state
    decision = plan.decision(store)
    return None if decision is None else decision.ground_state


def find_results(store: ResultStore, campaign: Campaign, theory: Theory) -> CampaignResults:
    """Everything that a submitted campaign has produced so far."""
    found = CampaignResults()
    for name, system, x in system_names(campaign):
        if x is None or system in found.ground_states:
            _follow_ranking(store, campaign, found, (name, system, x))
    if all(system.name in found.ground_states for system in campaign.systems):
        found.stages.append(first_stage(campaign, theory, found.ground_states))
        _follow_rounds(store, found)
        _follow_measurement(store, campaign, found)
    return found


def _follow_ranking(
    store: ResultStore,
    campaign: Campaign,
    found: CampaignResults,
    which: tuple[str, str, float | None],
) -> None:
    name, system, x = which
    ranking = store.find(Ranking, ranking_key(store, campaign, system, x))
    if ranking is None:
        return
    found.rankings[name] = ranking
    plan = ground_state_plan(store, campaign, system, x)
    if plan is not None:
        found.by_dft[name] = list(plan.lists(store))
    ground_state = find_ground_state(store, campaign, system, x)
    if ground_state is not None:
        found.ground_states[name] = ground_state


def first_stage(campaign: Campaign, theory: Theory, ground_states: dict[str, str]) -> StagePlan:
    """The plan of the making of the test set, from the ground states."""
    starts = {system.name: ground_states[system.name] for system in campaign.systems}
    return StagePlan(campaign=campaign, theory=theory, starts=starts, model=campaign.learning.model)


def _follow_rounds(store: ResultStore, found: CampaignResults) -> None:
    plan = found.stages[0]
    closed = store.find(Dataset, plan.dataset_key)
    plan = plan.first_round(closed) if closed is not None else plan
    while closed is not None:
        found.stages.append(plan)
        document = store.find(Round, plan.round_key)
        if document is None:
            return
        found.rounds.append(document)
        for key in (document.evaluation_before, document.evaluation_after):
            found.evaluations[key] = store.load(Evaluation, key)
        if document.next_temperature_k is None:
            return
        closed = store.load(Dataset, document.dataset)
        plan = plan.next_round(closed)


def _follow_measurement(store: ResultStore, campaign: Campaign, found: CampaignResults) -> None:
    if not found.rounds or found.rounds[-1].next_temperature_k is not None:
        return
    test_sets = store.load(Dataset, found.rounds[-1].dataset).test_sets
    final = {
        one.model: store.find(Evaluation, Evaluation.key_of(one.model, test_sets))
        for one in found.rounds
    }
    done = {model: one for model, one in final.items() if one is not None}
    if len(done) < len(final):
        return
    found.evaluations |= {one.key: one for one in done.values()}
    model = choose_model(campaign, found.rounds, done)
    plan = measurement_plan(campaign, found.ground_states, model, found.rounds)
    for quantity in readable_quantities(campaign.measure):
        keys = [quantity.key(plan, condition) for condition in quantity.conditions(plan)]
        documents = (store.find(quantity.document, key) for key in keys)
        found.measured[quantity.name] = list(filter(None, documents))


def measurement_plan(
    campaign: Campaign, ground_states: dict[str, str], model: str, rounds: Sequence[Round]
) -> MeasurementPlan:
    """Return the plan of the ending: ground states, mixed halides among them if wished.

    Parameters
    ----------
    campaign
        With keys for its parents and models.
    ground_states
        Key of the structure of each system.
    model
        Key of the model that measures.
    rounds
        Every round.
    """
    names = [
        name for name, _, x in system_names(campaign) if x is None or campaign.measure.decorations
    ]
    return MeasurementPlan(
        campaign=campaign,
        starts={name: ground_states[name] for name in names},
        model=model,
        rounds=tuple(round_.key for round_ in rounds),
    )

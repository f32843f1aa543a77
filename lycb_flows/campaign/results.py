"""How far a campaign has come: its documents, found by the keys that its plans compute.

The walk follows the same plans as the flows do, so it needs no record of what was run.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TypeVar

from lycb_flows.campaign.foundations import find_first_round
from lycb_flows.campaign.ground_states import low_orderings
from lycb_flows.campaign.levers import find_round
from lycb_flows.campaign.measurement import (
    choose_model,
    measured_crystals,
    measured_starts,
    measurement_plan,
)
from lycb_flows.campaign.names import ordering_names, system_names, tested_crystals
from lycb_flows.campaign.rankings import find_ground_state, ground_state_plan, ranking_key
from lycb_flows.campaign.stages import StagePlan
from lycb_flows.campaign.students import student_plan
from lycb_flows.campaign.test_sets import tested_orderings
from lycb_flows.config import Campaign
from lycb_flows.errors import InputError
from lycb_flows.labels import Theory, code_of, is_dft
from lycb_flows.quantities import MeasurementPlan, readable_quantities
from lycb_flows.schemas import (
    Dataset,
    Document,
    Evaluation,
    Foundation,
    GroundState,
    Ranking,
    Round,
    Student,
    at_versions,
)
from lycb_flows.store import ResultStore

D = TypeVar("D", bound=Document)


@dataclass
class CampaignResults:
    """The results that exist, in the order of the campaign; empty for parts not reached yet.

    Attributes
    ----------
    rankings
        The ranking of each system, mixed halides among them, under the campaign's name for it: the
        stored document has that of the campaign which ranked the crystal first.
    by_dft
        The documents of DFT's decision on each ranking, likewise, one for each length of its list.
    ground_states
        Key of the structure that the rest starts from, by system: DFT's choice where DFT decides,
        else the model's.
    stages
        The making of the test set, and every round that was begun.
    foundation
        The choice of the model that the loop starts from, where there was one.
    rounds
        Every finished round.
    evaluations
        Evaluations by key.
    student
        The certificate of the student that measures, if one does and has it.
    measurement
        The plan of the measurement, once the loop has ended.
    measured
        The documents of each installed quantity so far, in the order of the plan.
    further
        What quantities have made beside their documents.
    earlier
        The same from an earlier method version, where a method has changed and nothing has been
        measured by today's: shown, but not what the campaign is to measure.
    """

    rankings: dict[str, Ranking] = field(default_factory=dict)
    by_dft: dict[str, list[GroundState]] = field(default_factory=dict)
    ground_states: dict[str, str] = field(default_factory=dict)
    stages: list[StagePlan] = field(default_factory=list)
    foundation: Foundation | None = None
    rounds: list[Round] = field(default_factory=list)
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    student: Student | None = None
    measurement: MeasurementPlan | None = None
    measured: dict[str, list[Document]] = field(default_factory=dict)
    further: list[Document] = field(default_factory=list)
    earlier: dict[str, list[Document]] = field(default_factory=dict)

    @property
    def decisions(self) -> dict[str, str]:
        """Key of the last decision on each ranking that DFT has made, and not a model for it."""
        last = {name: lists[-1] for name, lists in self.by_dft.items() if lists}
        return {name: each.key for name, each in last.items() if is_dft(code_of(each.theory_name))}

    def document_keys(self) -> dict[str, tuple[str, ...]]:
        """Return the keys of what a report starts from; it finds all else by references.

        With each stand the names that the campaign has for the crystal of a ranking or a decision.
        """
        documents = [
            *self.rankings.values(),
            *itertools.chain.from_iterable(self.by_dft.values()),
            *self.rounds,
            *self.evaluations.values(),
            *(each for each in (self.foundation, self.student) if each is not None),
            *itertools.chain.from_iterable(self.measured.values()),
            *self.further,
            *itertools.chain.from_iterable(self.earlier.values()),
        ]
        found: dict[str, tuple[str, ...]] = {}
        for document in documents:
            names = (document.system,) if isinstance(document, Ranking | GroundState) else ()
            found[document.key] = (*found.get(document.key, ()), *names)
        return found

    def documents(self, kind: type[D]) -> list[D]:
        """Return the documents of a measured quantity, given by the class of its documents."""
        found = itertools.chain.from_iterable(self.measured.values())
        return [document for document in found if isinstance(document, kind)]


def _low_orderings(found: CampaignResults, name: str, *, beyond_dft: bool = False) -> list[str]:
    by_dft = next(reversed(found.by_dft.get(name, [])), None)
    first, ranking = found.ground_states[name], found.rankings[name]
    return low_orderings(first, ranking, by_dft, beyond_dft=beyond_dft)


def find_results(store: ResultStore, campaign: Campaign, theory: Theory) -> CampaignResults:
    """Return everything that a submitted campaign has produced so far.

    Parameters
    ----------
    store
        Holds the results.
    campaign
        With keys for its parents and models.
    theory
        The campaign's level of theory.
    """
    found = CampaignResults()
    for name, system, x in system_names(campaign):
        if x is None or system in found.ground_states:
            _follow_ranking(store, campaign, found, (name, system, x))
    needed = {*(system.name for system in campaign.systems), *tested_crystals(campaign)}
    if needed <= found.ground_states.keys():
        if not campaign.learning.temperatures_k:
            _follow_measurement(store, campaign, found, {})
            return found
        names = tested_crystals(campaign)
        listed = {name: _low_orderings(found, name, beyond_dft=True) for name in needed}
        parents = {name: listed[campaign.system_of(name).name] for name in names}
        tested = {name: tested_orderings(store, listed[name], parents[name]) for name in names}
        plan = first_stage(campaign, theory, found.ground_states)
        found.stages.append(plan.model_copy(update={"tested": tested or None}))
        _follow_rounds(store, found)
        if (done := _final_evaluations(store, found)) is not None:
            _follow_measurement(store, campaign, found, done)
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
    found.rankings[name] = ranking.model_copy(update={"system": name})
    plan = ground_state_plan(store, campaign, system, x)
    if plan is not None:
        lists = plan.lists(store)
        found.by_dft[name] = [each.model_copy(update={"system": name}) for each in lists]
    ground_state = find_ground_state(store, campaign, system, x)
    if ground_state is not None:
        found.ground_states[name] = ground_state
        names = [each for _, each in ordering_names(campaign, name)]
        found.ground_states |= dict(zip(names, _low_orderings(found, name), strict=False))


def first_stage(campaign: Campaign, theory: Theory, ground_states: dict[str, str]) -> StagePlan:
    """Return the plan for the making of the test set.

    Parameters
    ----------
    campaign
        With keys for its parents and models.
    theory
        The campaign's level of theory.
    ground_states
        Key of the ground state's structure by system.
    """
    starts = {system.name: ground_states[system.name] for system in campaign.systems}
    return StagePlan(campaign=campaign, theory=theory, starts=starts, model=campaign.learning.model)


def _follow_rounds(store: ResultStore, found: CampaignResults) -> None:
    plan = find_first_round(store, found.stages[0])
    chosen_by = found.stages[0].foundation_key
    if chosen_by is not None:
        found.foundation = store.find(Foundation, chosen_by)
    while plan is not None:
        found.stages.append(plan)
        document = find_round(store, plan)
        if document is None:
            return
        found.rounds.append(document)
        for key in (document.evaluation_before, document.evaluation_after):
            found.evaluations[key] = store.load(Evaluation, key)
        if document.next_temperature_k is None:
            return
        plan = plan.next_round(store.load(Dataset, document.dataset), document.key)


def _final_evaluations(store: ResultStore, found: CampaignResults) -> dict[str, Evaluation] | None:
    """Return each round's evaluation on all test sets, by model; None while any is missing."""
    if not found.rounds or found.rounds[-1].next_temperature_k is not None:
        return None
    test_sets = store.load(Dataset, found.rounds[-1].dataset).test_sets
    final = {
        round_.model: store.find(Evaluation, Evaluation.key_of(round_.model, test_sets))
        for round_ in found.rounds
    }
    done = {model: evaluation for model, evaluation in final.items() if evaluation is not None}
    if len(done) < len(final):
        return None
    found.evaluations |= {evaluation.key: evaluation for evaluation in done.values()}
    return done


def _follow_measurement(
    store: ResultStore, campaign: Campaign, found: CampaignResults, done: dict[str, Evaluation]
) -> None:
    if not set(measured_crystals(campaign)) <= found.ground_states.keys():
        return  # they are being ranked
    try:
        model = choose_model(campaign, found.rounds, done)
    except InputError:  # the loop ended before the round of that model
        return
    starts = measured_starts(campaign, found.ground_states)
    student = student_plan(campaign, starts, model, found.rounds)
    if student is not None:
        found.student = store.find(Student, student.key)
        if found.student is None:
            return  # a student without a certificate measures nothing
        model = student.model_key
    plan = found.measurement = measurement_plan(
        campaign, found.ground_states, model, found.rounds, found.decisions
    )
    quantities = readable_quantities(campaign.measure)
    found.measured = {q.name: list(q.documents(store, plan)) for q in quantities}
    further = dict.fromkeys(key for quantity in quantities for key in quantity.further_keys(plan))
    found.further = list(store.find_documents(further))
    changed = [q for q in quantities if q.document.shown_version is not None]
    if not any(found.measured[quantity.name] for quantity in changed):
        with at_versions({q.document.kind: q.document.shown_version for q in changed}):
            found.earlier = {q.name: list(q.documents(store, plan)) for q in changed}

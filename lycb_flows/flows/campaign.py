"""The campaign as flows: enumerate and rank, then the loop, then the measurement.

The loop is rounds and decisions. What follows a decision is *added*
(`Response(addition=...)`, never `replace`), and what follows the labels is added by the
label job that closed the stage: training waits for no label job, so that a label that hangs
does not hold it up. Results never travel through references; references only order the jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jobflow import Flow, Job, Maker, Response

from lycb_flows.campaign import (
    TEST_STAGE,
    StagePlan,
    choose_job,
    close_stage,
    closed_by,
    failed_for_good,
    find_results,
)
from lycb_flows.config import Campaign
from lycb_flows.flows.makers import DEFAULT_MAKERS, CampaignMakers
from lycb_flows.flows.measurement import ChooseMaker
from lycb_flows.flows.routing import MEASUREMENT_LAST, ROUNDS_NEXT, make_job, md_jobs, route
from lycb_flows.flows.structures import ranking_flow
from lycb_flows.jobs import (
    TaskLabeler,
    deciding_job,
    foundation_of,
    open_store,
    round_of,
    try_label,
)
from lycb_flows.labels.theory import Labeler, Theory
from lycb_flows.quantities import check_quantities
from lycb_flows.schemas import Dataset, Foundation, Frames, Label, Produced, Ranking, Round
from lycb_flows.store import ResultStore


def _round_priority(plan: StagePlan) -> int:
    """Return the priority of a stage: of several campaigns the earlier round runs first."""
    return ROUNDS_NEXT - 10 * (plan.index + 1)


# -- in: structures ------------------------------------------------------------------------


def campaign_flow(campaign: Campaign, theory: Theory, makers: CampaignMakers | None = None) -> Flow:
    """Return the flow of a whole campaign.

    Enumeration and ranking of every system come first; `begin` adds the rest.

    Parameters
    ----------
    campaign
        With keys for its parents and models.
    theory
        The level of theory of its labels.
    makers
        Makers of the user's own in place of the defaults.

    Raises
    ------
    InputError
        When a quantity that is to be measured in the end is not installed.
    """
    check_quantities(campaign)
    begin = BeginMaker(campaign=campaign, theory=theory, makers=makers)
    return ranking_flow(campaign, begin, makers)


@dataclass(kw_only=True)
class BeginMaker(Maker):
    """Collect the ground states and add the making of the test set.

    Where nothing is learned the measurement follows at once.

    Attributes
    ----------
    campaign
        With keys for its parents and models.
    theory
        The level of theory of its labels.
    makers
        Makers of the user's own in place of the defaults.
    """

    name: str = "begin"
    campaign: Campaign
    theory: Theory
    makers: CampaignMakers | None = None

    @deciding_job
    def make(self, after: object) -> Response[Produced]:
        """Return the rankings' keys, and add the first stage; `after` only orders the jobs."""
        del after
        store = open_store()
        found = find_results(store, self.campaign, self.theory)
        keys = tuple(ranking.key for ranking in found.rankings.values())
        following = (
            stage_flow(found.stages[0], self.makers)
            if found.stages
            else _ending(self.campaign, self.theory, (), self.makers)
        )
        return Response(Produced(kind=Ranking.kind, keys=keys), addition=following)


# -- the loop ---------------------------------------------------------------------------------


def stage_flow(plan: StagePlan, makers: CampaignMakers | None = None) -> Flow:
    """Return MD, selection and labels of a stage; its last label adds what comes next.

    Parameters
    ----------
    plan
        The stage.
    makers
        Makers of the user's own in place of the defaults.
    """
    chosen = makers or DEFAULT_MAKERS
    _, flow_jobs = md_jobs(plan.run_batches(), chosen.md)
    everything = [job.output.keys for job in flow_jobs]
    selected = make_job(plan.select_job(), chosen.select, plan=plan, after=everything)
    labels = [
        make_job(
            label,
            LabelMaker(plan=plan, index=i, makers=makers),
            after=selected.output.keys,
        )
        for i, label in enumerate(plan.label_jobs())
    ]
    flow = Flow([*flow_jobs, selected, *labels], name=f"stage {plan.title}")
    route(flow, _round_priority(plan))
    return flow


@dataclass(kw_only=True)
class LabelMaker(Maker):
    """Label a single frame; the label that closes the stage adds what comes next.

    Attributes
    ----------
    plan
        The stage.
    index
        Which of its frames.
    again
        Whether to try once more a label that has failed for good (`lycb relabel`).
    stamp
        A text that distinguishes such a try from others.
    makers
        Makers of the user's own in place of the defaults.
    """

    name: str = "label"
    plan: StagePlan
    index: int
    again: bool = False
    stamp: str = ""
    makers: CampaignMakers | None = None

    @deciding_job
    def make(self, after: object) -> Response[Produced]:
        """Return the label's key, or the reason why there is none; `after` only orders the jobs.

        A label that failed is counted and never raises: the stage may close without it.
        """
        del after
        store = open_store()
        key, reason = self.label(store)
        part = self.plan.label_job(self.index, self.stamp).part
        dataset = close_stage(store, self.plan, self.name, part)
        keys = () if reason else (key,)
        response = Response(Produced(kind=Label.kind, keys=keys, reason=reason))
        if dataset is not None and self._goes_on(part, closed_by(self.plan, dataset)):
            response.addition = after_stage(self.plan, dataset, self.makers)
        return response

    def label(self, store: ResultStore) -> tuple[str, str]:
        """Return the label's key, and the reason why there is no label; empty when there is."""
        frames = store.load(Frames, self.plan.frames_key).frames
        if self.index >= len(frames):
            return "", "no such frame: the selection found fewer"
        structure = frames[self.index].structure
        key = Label.key_of(structure, self.plan.theory.fingerprint)
        return key, self._label(store, structure, key)

    def _goes_on(self, part: str, closer: str) -> bool:
        """Return whether this job adds what comes next, on a rerun too.

        The job that closed the stage does. If none of this flow did (the reaper, a repaired label,
        another campaign), the last job does.
        """
        parts = [label.part for label in self.plan.label_jobs()]
        return part == closer or (closer not in parts and part == parts[-1])

    def _labeler(self) -> Labeler | None:
        """Return what labels in place of the campaign's labeler, if anything does."""
        maker = self.makers.label if self.makers is not None else None
        return TaskLabeler(maker, self.plan.theory) if maker is not None else None

    def _label(self, store: ResultStore, structure: str, key: str) -> str:
        """Return the reason why there is no label; empty when there is."""
        reason, again = "", self.again
        while store.find(Label, key) is None and (
            again or not failed_for_good(store, self.plan, key)
        ):
            again = False
            reason = try_label(store, self.plan, structure, key, self._labeler())
        if store.find(Label, key) is not None:
            return ""
        return reason or store.attempts(key, "failed")[-1].reason


def relabel_flow(
    plan: StagePlan, indices: Sequence[int], stamp: str, makers: CampaignMakers | None = None
) -> Flow:
    """Return a flow that tries labels of a stage once more which have failed for good.

    It is a workflow of its own, as rerunning the old jobs would rerun all that came after them.
    If the stage is still open, the last label closes it and adds what comes next; if not, the
    labels join the next round's dataset.

    Parameters
    ----------
    plan
        The stage.
    indices
        Indices of the frames in the stage.
    stamp
        A text that distinguishes these tries from others.
    makers
        Makers of the user's own in place of the defaults.
    """
    labels: list[Flow | Job] = [
        make_job(
            plan.label_job(i, stamp),
            LabelMaker(plan=plan, index=i, again=True, stamp=stamp, makers=makers),
            after=None,
        )
        for i in indices
    ]
    flow = Flow(labels, name=f"relabel {plan.title}")
    route(flow, _round_priority(plan))
    return flow


def after_stage(plan: StagePlan, dataset: Dataset, makers: CampaignMakers | None = None) -> Flow:
    """Return what follows a closed stage: the first round, or training and a decision.

    Parameters
    ----------
    plan
        The stage.
    dataset
        The document that closed it.
    makers
        Makers of the user's own in place of the defaults.
    """
    if plan.index == TEST_STAGE:
        if plan.foundation_key is None:
            return stage_flow(plan.first_round(dataset), makers)
        begin = make_job(plan.foundation_job(), FoundationMaker(plan=plan, makers=makers))
        flow = Flow([begin], name=f"choose {plan.title}")
        route(flow, _round_priority(plan))
        return flow
    chosen = makers or DEFAULT_MAKERS
    trained = make_job(plan.train_job(), chosen.train, plan=plan)
    times: tuple[Literal["before", "after"], ...] = ("before", "after")
    judged = [
        make_job(
            plan.evaluate_job(when),
            chosen.evaluate,
            plan=plan,
            when=when,
            after=trained.output.keys,
        )
        for when in times
    ]
    decided = make_job(
        plan.decide_job(),
        DecideMaker(plan=plan, makers=makers),
        after=[job.output.keys for job in judged],
    )
    flow = Flow([trained, *judged, decided], name=f"learn {plan.title}")
    route(flow, _round_priority(plan))
    return flow


@dataclass(kw_only=True)
class FoundationMaker(Maker):
    """Choose, of several models, the one that the loop starts from, and add the first round.

    Attributes
    ----------
    plan
        The stage of the test set.
    makers
        Makers of the user's own in place of the defaults.
    """

    name: str = "choose"
    plan: StagePlan
    makers: CampaignMakers | None = None

    @deciding_job
    def make(self) -> Response[Produced]:
        """Return the key of the Foundation, and add the first round."""
        store = open_store()
        dataset = store.load(Dataset, self.plan.dataset_key)
        chosen = foundation_of(store, self.plan, dataset, self.name)
        following = stage_flow(self.plan.first_round(dataset, chosen), self.makers)
        return Response(Produced(kind=Foundation.kind, keys=(chosen.key,)), addition=following)


@dataclass(kw_only=True)
class DecideMaker(Maker):
    """Write the round and add the next round, or the measurement.

    Attributes
    ----------
    plan
        The round.
    makers
        Makers of the user's own in place of the defaults.
    """

    name: str = "decide"
    plan: StagePlan
    makers: CampaignMakers | None = None

    @deciding_job
    def make(self, after: object) -> Response[Produced]:
        """Return the Round's key, and add what follows it; `after` only orders the jobs."""
        del after
        store, plan = open_store(), self.plan
        document = round_of(store, plan, job_name=self.name)
        rounds = (*plan.earlier_rounds, document.key)
        if document.next_temperature_k is None:
            addition = _ending(plan.campaign, plan.theory, rounds, self.makers)
        else:
            following = plan.next_round(store.load(Dataset, document.dataset), document.key)
            addition = stage_flow(following, self.makers)
        return Response(Produced(kind=Round.kind, keys=(document.key,)), addition=addition)


def _ending(
    campaign: Campaign, theory: Theory, rounds: Sequence[str], makers: CampaignMakers | None
) -> Flow | Job:
    """Return the job that chooses the model and adds the measurement."""
    choosing = ChooseMaker(campaign=campaign, theory=theory, rounds=list(rounds), makers=makers)
    return route(make_job(choose_job(), choosing), MEASUREMENT_LAST)

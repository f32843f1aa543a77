"""The campaign as flows: enumerate and rank, then the loop, then the measurement.

The loop is a round, a decision, an ending. What follows a decision is *added*
(`Response(addition=...)`, never `replace`), and what follows the labels is added by the
label job that closed the stage: training is nobody's child, so a label that hangs holds
nothing. Results never travel through references; references only order the jobs.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobflow import Flow, Job, JobConfig, Maker, Response, job

from lycb_flows import jobs
from lycb_flows.config import Campaign
from lycb_flows.labels.theory import Theory, label_key
from lycb_flows.measurement import MeasurementPlan, choose_model
from lycb_flows.rounds import TEST_STAGE, StagePlan, close_stage, failed_for_good
from lycb_flows.schemas import Dataset, Frames, Label, Model, Produced, Ranking, Round
from lycb_flows.store import ResultStore

ROUTES: tuple[tuple[str, str], ...] = (
    ("", "light"),  # first: a worker with a category never takes a job that has none
    ("rank", "gpu"),
    ("md", "gpu"),
    ("train", "gpu"),
    ("evaluate", "gpu"),
    ("label", "dft"),
)
"""(part of a job's name, worker category); the last that fits wins."""

# What a deciding job adds is routed by name, not by the deciding job's own category.
_deciding_job = job(
    output_schema=Produced, config=JobConfig(pass_manager_config=False, resolve_references=True)
)


def route(flow: Flow | Job) -> Flow | Job:
    """The flow with a worker category on every job, by `ROUTES`."""
    for name, category in ROUTES:
        flow.update_config(
            {"manager_config": {"_category": category}},
            name_filter=name,
            attributes=["manager_config"],
        )
    return flow


# -- in: structures ------------------------------------------------------------------------


def campaign_flow(campaign: Campaign, theory: Theory) -> Flow:
    """The whole campaign; its parents and models are keys.

    Enumeration and ranking of every system come first; `begin` adds the rest.
    """
    flows: list[Flow | Job] = []
    last_keys = []
    for system in campaign.systems:
        listed = jobs.EnumerateMaker(f"enumerate {system.name}", campaign, system.name).make()
        ranked = jobs.RankMaker(f"rank {system.name}", campaign, system.name).make(
            after=listed.output.keys
        )
        flows += [listed, ranked]
        last_keys.append(ranked.output.keys)
        for decoration in system.decorations:
            name = jobs.decorated_name(system.name, decoration.x)
            decorated = jobs.RankMaker(
                f"rank {name}", campaign, system.name, x=decoration.x
            ).make(after=ranked.output.keys)
            flows.append(decorated)
            last_keys.append(decorated.output.keys)
    flows.append(BeginMaker("begin", campaign, theory).make(after=last_keys))
    flow = Flow(flows, name=campaign.name)
    route(flow)
    return flow


@dataclass
class BeginMaker(Maker):
    """Collect the ground states and add the making of the test set."""

    name: str
    campaign: Campaign
    theory: Theory

    @_deciding_job
    def make(self, after: object) -> Response:
        """The first stage, from the rankings."""
        del after  # order only
        store = jobs.open_store()
        rankings = {
            system.name: jobs.ranking_of(store, self.campaign, system.name)
            for system in self.campaign.systems
        }
        plan = StagePlan(
            campaign=self.campaign,
            theory=self.theory,
            starts={name: ranking.ground_state for name, ranking in rankings.items()},
            model=self.campaign.learning.model,
        )
        keys = tuple(ranking.key for ranking in rankings.values())
        return Response(Produced(kind=Ranking.kind, keys=keys), addition=stage_flow(plan))


# -- the loop ---------------------------------------------------------------------------------


def stage_flow(plan: StagePlan) -> Flow:
    """MD, selection and labels of one stage; its last label adds what comes next."""
    flow_jobs: list[Job] = []
    order: list[object] = []
    for name, runs in plan.run_batches():
        done = jobs.MDMaker(name, plan.campaign, runs).make(after=list(order))
        order.append(done.output.keys)
        flow_jobs.append(done)
    selected = jobs.SelectMaker(f"select {plan.title}", plan).make(after=order)
    labels = [
        LabelMaker(f"label {plan.title} {i:04d}", plan, i).make(after=selected.output.keys)
        for i in range(plan.n_labels)
    ]
    flow = Flow([*flow_jobs, selected, *labels], name=f"stage {plan.title}")
    route(flow)
    return flow


@dataclass
class LabelMaker(Maker):
    """Label one frame; the label that closes the stage adds what comes next."""

    name: str
    plan: StagePlan
    index: int

    @_deciding_job
    def make(self, after: object) -> Response:
        """A label, or a counted failure; never an exception for a label that failed."""
        del after  # order only
        store = jobs.open_store()
        frames = store.load(Frames, self.plan.frames_key).frames
        keys: tuple[str, ...] = ()
        reason = "no such frame: the selection found fewer"
        if self.index < len(frames):
            structure = frames[self.index].structure
            key = label_key(structure, self.plan.theory.fingerprint)
            reason = self._label(store, structure, key)
            keys = () if reason else (key,)
        dataset = close_stage(store, self.plan, self.name)
        goes_on = dataset is not None and dataset.made.job == self.name
        return Response(
            Produced(kind=Label.kind, keys=keys, reason=reason),
            addition=_after_stage(self.plan, dataset) if goes_on else None,
        )

    def _label(self, store: ResultStore, structure: str, key: str) -> str:
        """Empty when the label is there, else why it is not."""
        reason = ""
        while store.find(Label, key) is None and not failed_for_good(store, self.plan, key):
            reason = jobs.try_label(store, self.plan, structure, key)
        if store.find(Label, key) is not None:
            return ""
        return reason or store.attempts(key, "failed")[-1].reason


def _after_stage(plan: StagePlan, dataset: Dataset) -> Flow:
    if plan.index == TEST_STAGE:
        return stage_flow(
            with_fields(plan, index=0, dataset=dataset.key, test_sets=dataset.test_sets)
        )
    trained = jobs.TrainMaker(f"train {plan.title}", plan).make()
    before = jobs.EvaluateMaker(f"evaluate {plan.title} before", plan, "before").make(
        after=trained.output.keys
    )
    after = jobs.EvaluateMaker(f"evaluate {plan.title} after", plan, "after").make(
        after=trained.output.keys
    )
    decided = DecideMaker(f"decide {plan.title}", plan).make(
        after=[before.output.keys, after.output.keys]
    )
    flow = Flow([trained, before, after, decided], name=f"learn {plan.title}")
    route(flow)
    return flow


@dataclass
class DecideMaker(Maker):
    """Write the round down and add the next one, or the ending."""

    name: str
    plan: StagePlan

    @_deciding_job
    def make(self, after: object) -> Response:
        """The Round and what follows it."""
        del after  # order only
        store, plan = jobs.open_store(), self.plan
        document = jobs.round_of(store, plan, job_name=self.name)
        rounds = (*plan.earlier_rounds, document.key)
        if document.next_temperature_k is None:
            ending = ChooseMaker("evaluate final", plan.campaign, plan.starts, rounds).make()
            addition: Flow | Job = route(ending)
        else:
            dataset = store.load(Dataset, document.dataset)
            addition = stage_flow(
                with_fields(
                    plan,
                    index=plan.index + 1,
                    model=document.model,
                    earlier_frames=(*plan.earlier_frames, plan.frames_key),
                    earlier_rounds=rounds,
                    dataset=dataset.key,
                    test_sets=dataset.test_sets,
                )
            )
        return Response(Produced(kind=Round.kind, keys=(document.key,)), addition=addition)


def with_fields(plan: StagePlan, **fields: object) -> StagePlan:
    """The plan with some fields changed, checked again."""
    return StagePlan.model_validate({**dict(plan), **fields})


# -- out: measurement -----------------------------------------------------------------------


@dataclass
class ChooseMaker(Maker):
    """Evaluate every round's model on all test sets, choose one, add the measurement."""

    name: str
    campaign: Campaign
    starts: dict[str, str]
    rounds: tuple[str, ...]

    @_deciding_job
    def make(self) -> Response:
        """The chosen model and its measurement."""
        store = jobs.open_store()
        rounds = [store.load(Round, key) for key in self.rounds]
        evaluations = jobs.evaluate_all(store, rounds, self.name)
        chosen = choose_model(self.campaign, rounds, evaluations)
        starts = dict(self.starts)
        if self.campaign.measurement.decorations:
            starts |= jobs.decorated_ground_states(store, self.campaign)
        plan = MeasurementPlan(campaign=self.campaign, starts=starts, model=chosen)
        return Response(
            Produced(kind=Model.kind, keys=(chosen,)), addition=measurement_flow(plan)
        )


def measurement_flow(plan: MeasurementPlan) -> Flow:
    """Production MD, transport and Arrhenius for every system and pressure."""
    flow_jobs: list[Job] = []
    order: list[object] = []
    for name, runs in plan.run_batches():
        done = jobs.MDMaker(name, plan.campaign, runs).make(after=list(order))
        order.append(done.output.keys)
        flow_jobs.append(done)
    for system, pressure_bar in plan.conditions():
        title = f"{system} {pressure_bar:g} bar"
        transports = [
            jobs.TransportMaker(
                f"transport {title} {temperature_k:g} K", plan, system, pressure_bar, temperature_k
            ).make(after=order)
            for temperature_k in plan.temperatures_k
        ]
        fitted = jobs.ArrheniusMaker(f"arrhenius {title}", plan, system, pressure_bar).make(
            after=[transport.output.keys for transport in transports]
        )
        flow_jobs += [*transports, fitted]
    flow = Flow(flow_jobs, name="measurement")
    route(flow)
    return flow

"""The measurement as a flow: the choice of a model, its student, production MD, quantities."""

from __future__ import annotations

from dataclasses import dataclass

from jobflow import Flow, Job, Maker, Response

from lycb_flows.campaign import (
    StudentPlan,
    choose_model,
    distil_job,
    find_results,
    measured_starts,
    measurement_plan,
    measurements,
    run_batches,
    student_plan,
)
from lycb_flows.config import Campaign
from lycb_flows.flows.makers import DEFAULT_MAKERS, CampaignMakers
from lycb_flows.flows.routing import MEASUREMENT_LAST, make_job, md_jobs, route
from lycb_flows.jobs import QuantityMaker, deciding_job, evaluate_all, open_store
from lycb_flows.labels.theory import Theory
from lycb_flows.quantities import MeasurementPlan, chosen_quantities
from lycb_flows.schemas import Model, Produced, Round, Run


@dataclass(kw_only=True)
class ChooseMaker(Maker):
    """Evaluate every round's model on all test sets, choose a model, and add the measurement.

    Attributes
    ----------
    campaign
        With keys for its parents and models.
    theory
        The level of theory of its labels.
    rounds
        Keys of all rounds.
    makers
        Makers of the user's own in place of the defaults.
    """

    name: str = "choose"
    campaign: Campaign
    theory: Theory
    rounds: list[str]
    makers: CampaignMakers | None = None

    @deciding_job
    def make(self) -> Response[Produced]:
        """Return the chosen model's key, and add its measurement."""
        store = open_store()
        rounds = [store.load(Round, key) for key in self.rounds]
        evaluations = evaluate_all(store, rounds, self.campaign.crystals, self.name)
        chosen = choose_model(self.campaign, rounds, evaluations)
        found = find_results(store, self.campaign, self.theory)
        starts = found.ground_states
        student = student_plan(
            self.campaign, measured_starts(self.campaign, starts), chosen, rounds
        )
        model = chosen if student is None else student.model_key
        plan = measurement_plan(self.campaign, starts, model, rounds, found.decisions)
        return Response(
            Produced(kind=Model.kind, keys=(chosen,)),
            addition=measurement_flow(plan, self.makers, student),
        )


def measurement_flow(
    plan: MeasurementPlan,
    makers: CampaignMakers | None = None,
    student: StudentPlan | None = None,
) -> Flow:
    """Return production MD and every quantity of the campaign, each after what it reads.

    Parameters
    ----------
    plan
        The measurement.
    makers
        Makers of the user's own in place of the defaults.
    student
        The student that measures, made first.
    """
    quantities, chosen = chosen_quantities(plan.campaign.measure), makers or DEFAULT_MAKERS
    flow_jobs: list[Flow | Job] = []
    if student is not None:
        flow_jobs.append(make_job(distil_job(), chosen.distil, plan=student))
    first = [job.output.keys for job in flow_jobs]
    made, simulated = md_jobs(run_batches(plan, quantities), chosen.md, first)
    flow_jobs += simulated
    for measurement in measurements(plan, quantities):
        quantity, condition = measurement.quantity, measurement.condition
        runs = [Run.key_of(run) for run in quantity.runs(plan, condition)]
        after = {key: made[key] for key in (*runs, *quantity.needed_keys(plan, condition))}
        maker = QuantityMaker(quantity=quantity.name, plan=plan, condition=condition)
        done = make_job(measurement.job, maker, after=list(after.values()))
        made[quantity.key(plan, condition)] = done.output.keys
        flow_jobs.append(done)
    flow = Flow(flow_jobs, name="measurement")
    route(flow, MEASUREMENT_LAST)
    return flow

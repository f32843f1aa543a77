"""How far a campaign has come, as plain data: for `lycb status`, `lycb watch` and `lycb serve`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from lycb_flows.campaign import (
    MEASUREMENT,
    STRUCTURES,
    CampaignResults,
    JobDescription,
    PlannedStep,
    StagePlan,
    Submission,
    costs_of_jobs,
    enumerate_job,
    find_results,
    ground_state_plan,
    label_status,
    levers_of,
    measurements,
    rank_job,
    run_batches,
    system_names,
)
from lycb_flows.config import Campaign, RunConfig
from lycb_flows.machine import duration_text
from lycb_flows.quantities import MeasurementPlan, find_quantity, readable_quantities
from lycb_flows.schemas import (
    Dataset,
    Evaluation,
    Frames,
    Model,
    ModelErrors,
    Round,
    Run,
    StudentCondition,
)
from lycb_flows.store import ResultStore
from lycb_flows.units import EV_MEV, GPA_MPA

_N_FAILURES = 3


def errors_text(errors: ModelErrors) -> str:
    """Return the mean absolute errors of energy, force and stress on a line.

    Units are meV/atom, meV/Å and MPa.
    """
    return (
        f"{errors.energy_mae_ev_per_atom * EV_MEV:.2f} meV/atom, "
        f"{errors.force_mae_ev_per_ang * EV_MEV:.1f} meV/Å, "
        f"{errors.stress_mae_gpa * GPA_MPA:.0f} MPa"
    )


def campaign_status(
    store: ResultStore, submission: Submission, found: CampaignResults | None = None
) -> dict[str, Any]:
    """Return how far a campaign has come, as plain data.

    Parameters
    ----------
    store
        Holds the campaign's results.
    submission
        The campaign.
    found
        Its results so far, where the caller has them already.
    """
    found = found or find_results(store, submission.campaign, submission.theory)
    labels, failed = {}, {}
    for plan in found.stages:
        if store.find_present(Frames, [plan.frames_key]):
            where = label_status(store, plan)
            if where.failed:
                failed[plan.title] = _failures_text(store, plan)
            labels[plan.title] = {
                "done": len(where.done),
                "failed": len(where.failed),
                "pending": len(where.pending),
                "late": _count_late(store, plan, where.done),
            }
    totals = store.total_attempts()
    return {
        "campaign": submission.campaign.name,
        "owner": submission.record.made.owner,
        "store": store.label,
        **_asked_for(store, submission.campaign),
        "ranked": list(found.rankings),
        "relaxed by DFT": _dft_status(store, submission.campaign, found),
        "labels": labels,
        **({"failed labels": failed} if failed else {}),
        "rounds": [_round_status(store, round_) for round_ in found.rounds],
        **_student_status(store, submission.campaign, found),
        **_measured_status(found),
        "attempts": {outcome: total.n for outcome, total in totals.items()},
        "wall_s": round(sum(total.wall_s for total in totals.values()), 1),
    }


def _failures_text(store: ResultStore, plan: StagePlan) -> str:
    """Return why the first labels of a stage that failed for good did so."""
    reasons = failed_label_reasons(store, plan, _N_FAILURES)
    return "; ".join(f"{key[:12]}, {n} tries: {reason[:200]}" for key, n, reason in reasons)


def _asked_for(store: ResultStore, campaign: Campaign) -> dict[str, list[str]]:
    """Return what people have asked for of the loop, with who and when; nothing if nobody has."""
    levers = levers_of(store, campaign)
    lines = [f"one more round: {note}" for note in levers.more_rounds]
    if levers.stop_after is not None:
        lines.append(f"stop after round {levers.stop_after}: {levers.stop_note}")
    return {"asked for": lines} if lines else {}


def _student_status(
    store: ResultStore, campaign: Campaign, found: CampaignResults
) -> dict[str, list[str]]:
    """Return where the student that measures was looked at, if a student is to measure."""
    if campaign.measure.student is None:
        return {}
    if found.student is None:
        return {"student": []}
    teacher = store.load(Model, found.student.teacher).name
    return {
        "student": [f"of {teacher}, {found.student.n_frames} frames"]
        + [
            f"{condition.temperature_k:g} K {_ensemble_text(condition)}: "
            + ("no frames" if condition.errors is None else errors_text(condition.errors))
            for condition in found.student.conditions
        ]
    }


def _ensemble_text(condition: StudentCondition) -> str:
    pressure_bar = condition.pressure_bar
    at = "" if pressure_bar is None else f" {pressure_bar:g} bar"
    return condition.ensemble + at


def _measured_status(found: CampaignResults) -> dict[str, list[str]]:
    """Return what has been measured so far: a line for each quantity that is installed here."""
    return {
        quantity.status_name: [quantity.place(document) for document in documents]
        for quantity, documents in (
            (find_quantity(name), documents) for name, documents in found.measured.items()
        )
    }


def _dft_status(store: ResultStore, campaign: Campaign, found: CampaignResults) -> dict[str, str]:
    """Return how many candidates of each system are relaxed, and if its ground state is known."""
    states = {}
    for name, system, x in system_names(campaign):
        plan = ground_state_plan(store, campaign, system, x) if name in found.rankings else None
        if plan is not None:
            n_done, n = plan.count_relaxed(store)
            states[name] = f"{n_done} of {n}" + (", decided" if name in found.ground_states else "")
    return states


def _count_late(store: ResultStore, plan: StagePlan, done: Collection[str]) -> int:
    """Return how many labels came after their round's dataset was closed."""
    dataset = store.find(Dataset, plan.dataset_key)
    return 0 if dataset is None else sum(key in done for key in dataset.missing)


def _round_status(store: ResultStore, round_: Round) -> str:
    errors = errors_text(store.load(Evaluation, round_.evaluation_after).overall)
    return f"{round_.temperature_k:g} K: {errors}"


def documented_progress(
    store: ResultStore,
    submission: Submission,
    found: CampaignResults,
    steps: Sequence[PlannedStep],
) -> dict[str, str]:
    """Return how much of a campaign its documents show to be done, and the time for the rest.

    That is for a campaign which no LaunchPad counts the jobs of. The pace is that since its first
    submission, also where nothing ran for a while.

    Parameters
    ----------
    store
        Holds the campaign's results.
    submission
        The campaign.
    found
        Its results so far.
    steps
        Its plan.

    Returns
    -------
    dict[str, str]
        `done` and `rest`, in words, as `service_status` returns them.
    """
    costs = {job: max(cpu_s, 1e-3) for job, cpu_s in costs_of_jobs(steps).items()}
    done = set(_done_jobs(store, found, costs)) & set(costs)
    share = sum(costs[job] for job in done) / sum(costs.values())
    rest = "nothing" if len(done) == len(costs) else "unknown"
    if rest == "unknown" and share > 0 and submission.record.made.ended_at:
        began = datetime.fromisoformat(submission.record.made.ended_at)
        rest = rest_text(datetime.now(UTC) - began, share)
    return {"done": f"{len(done)} of {len(costs)} jobs, {share:.0%} of the cost", "rest": rest}


def rest_text(elapsed: timedelta, share: float) -> str:
    """Return how long the rest of some work takes.

    Parameters
    ----------
    elapsed
        Time since it began.
    share
        What is done of its cost, above 0.
    """
    rest_s = elapsed.total_seconds() * (1 / share - 1)
    return f"about {duration_text(rest_s)} at the pace so far"


def _done_jobs(
    store: ResultStore, found: CampaignResults, jobs: Collection[JobDescription]
) -> Iterator[JobDescription]:
    """Yield the planned jobs whose results are there."""
    over = {STRUCTURES} if found.stages or found.measurement else set()
    over |= {plan.title for plan in found.stages[: len(found.rounds) + 1]}
    if len(found.stages) == 1:
        over -= {found.stages[0].title}
    yield from (job for job in jobs if job.stage in over)
    for name in found.rankings:
        yield from (enumerate_job(name), rank_job(name))
    if found.stages and found.stages[-1].title not in over:
        yield from _done_of_stage(store, found.stages[-1])
    if found.measurement is not None:
        yield from _done_measurements(store, found, found.measurement, jobs)


def _done_of_stage(store: ResultStore, plan: StagePlan) -> Iterator[JobDescription]:
    """Yield the jobs of an open stage whose results are there."""
    yield from _done_runs(store, plan.run_batches())
    if store.find_present(Frames, [plan.frames_key]):
        yield plan.select_job()
        labels = label_status(store, plan)
        yield from plan.label_jobs()[: len(labels.done) + len(labels.failed)]
    if store.find_present(Model, [plan.model_key]):
        yield plan.train_job()


def _done_measurements(
    store: ResultStore,
    found: CampaignResults,
    plan: MeasurementPlan,
    jobs: Collection[JobDescription],
) -> Iterator[JobDescription]:
    """Yield the jobs of the measurement whose results are there, and the choice of its model."""
    quantities = readable_quantities(plan.campaign.measure)
    batches, planned = run_batches(plan, quantities), measurements(plan, quantities)
    yield from _done_runs(store, batches)
    done = {document.key for documents in found.measured.values() for document in documents}
    yield from (each.job for each in planned if each.quantity.key(plan, each.condition) in done)
    counted = {job for job, _ in batches} | {each.job for each in planned}
    yield from (job for job in jobs if job.stage == MEASUREMENT and job not in counted)


def _done_runs(
    store: ResultStore, batches: Sequence[tuple[JobDescription, tuple[RunConfig, ...]]]
) -> Iterator[JobDescription]:
    keys = {job: [Run.key_of(run) for run in runs] for job, runs in batches}
    present = store.find_present(Run, [key for each in keys.values() for key in each])
    yield from (job for job, each in keys.items() if present.issuperset(each))


def failed_label_reasons(
    store: ResultStore, plan: StagePlan, limit: int
) -> list[tuple[str, int, str]]:
    """Return the labels of a stage that have failed for good, and why.

    Parameters
    ----------
    store
        Holds the frames and attempts.
    plan
        The stage, whose frames are chosen.
    limit
        How many labels at most.

    Returns
    -------
    list of tuple
        Key of the label, number of its failures, reason of the last one.
    """
    failed = label_status(store, plan).failed[:limit]
    tries = {key: store.attempts(key, "failed") for key in failed}
    return [(key, len(each), each[-1].reason if each else "") for key, each in tries.items()]

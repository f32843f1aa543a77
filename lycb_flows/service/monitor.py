"""A campaign's state in the queue: jobs, interruptions, workers, and the remaining work.

Nothing here imports torch, as `lycb watch` calls it often and expects an answer at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo import ASCENDING

from lycb_flows.campaign import (
    PlannedStep,
    Submission,
    costs_of_jobs,
    plan_campaign,
    rest_text,
)
from lycb_flows.service.launchpad import (
    BROKEN,
    RECORD,
    ServiceLaunchPad,
    WorkerRecord,
    campaign_workflows,
    count_interruptions,
    count_states,
    failure_of,
    find_jobs,
    find_workers,
    methods_digest,
    other_methods,
)
from lycb_flows.store import ResultStore, method_versions

_N_FAILURES = 5


def service_status(
    launchpad: ServiceLaunchPad,
    store: ResultStore,
    submission: Submission,
    steps: Sequence[PlannedStep] | None = None,
) -> dict[str, Any]:
    """Return a campaign's state in the queue as plain data.

    Parameters
    ----------
    launchpad
        The LaunchPad that the campaign was submitted to.
    store
        The result store, which tells how much of the planned cost remains.
    submission
        The campaign.
    steps
        Its plan, where the caller has it already.

    Returns
    -------
    dict[str, Any]
        `jobs`: category -> state -> number; `interrupted`: reason -> number; `failed jobs`: the
        first few with their errors; `workers`: a line each, `other method versions`: kinds, where
        they differ from those here; `done` and `rest`: shares and times in words.
    """
    name = submission.campaign.name
    changed = other_methods(launchpad, name, submission.record.key)
    failures, workers = _failures(launchpad, name), find_workers(launchpad, everyone=True)
    here = methods_digest(method_versions())
    return {
        "jobs": count_states(launchpad, name),
        "interrupted": count_interruptions(launchpad, name),
        **({"failed jobs": failures} if failures else {}),
        "workers": [_worker_line(worker, here) for worker in workers if _is_shown(worker)],
        **({"other method versions": changed} if changed else {}),
        **_progress(
            launchpad,
            submission,
            steps or plan_campaign(store, submission.campaign, submission.theory),
        ),
    }


def _is_shown(worker: WorkerRecord) -> bool:
    return worker.alive or worker.state == BROKEN


def _worker_line(worker: WorkerRecord, here: str) -> str:
    """Return who a worker is, what it does and, where it takes no job, why."""
    doing = worker.trouble or worker.job or worker.state
    if worker.state == BROKEN:
        doing = f"broken, stopped: {worker.trouble}"
    versions = ", at other method versions than here" if worker.methods not in {"", here} else ""
    return (
        f"{worker.name} ({'/'.join(worker.categories) or 'all'}): {doing}, {worker.n_jobs} jobs, "
        f"seen {worker.seen_s:.0f} s ago{versions}"
    )


def _failures(launchpad: ServiceLaunchPad, name: str) -> dict[str, str]:
    """Return why the first FIZZLED jobs of a campaign failed, by name."""
    ids = [
        fw_id
        for workflow in campaign_workflows(launchpad, name)
        if workflow.state != "ARCHIVED"
        for fw_id in workflow.fw_ids
    ]
    jobs = launchpad.fireworks.find(
        {"fw_id": {"$in": ids}, "state": "FIZZLED"}, {"name": 1, "launches": 1}
    ).limit(_N_FAILURES)
    return {job["name"]: _why_failed(launchpad, job["launches"]) for job in jobs}


def _why_failed(launchpad: ServiceLaunchPad, launches: list[int]) -> str:
    if not launches:
        return "it could not be loaded"
    row = launchpad.launches.find_one({"launch_id": launches[-1]}, {"action": 1}) or {}
    return failure_of(row.get("action")) or "no reason was kept"


def _progress(
    launchpad: ServiceLaunchPad, submission: Submission, steps: Sequence[PlannedStep]
) -> dict[str, str]:
    """Return how much of the planned cost is done, and how long the rest takes at this pace."""
    costs = {job: max(cpu_s, 1e-3) for job, cpu_s in costs_of_jobs(steps).items()}
    workflows = [
        workflow
        for workflow in campaign_workflows(launchpad, submission.campaign.name)
        if workflow.metadata.get(RECORD) == submission.record.key
    ]
    ids = [fw_id for workflow in workflows for fw_id in workflow.fw_ids]
    completed = {"fw_id": {"$in": ids}, "state": "COMPLETED"}
    done = {job for job, _ in find_jobs(launchpad.fireworks, completed, costs)}
    share = sum(costs.get(job, 0.0) for job in done) / sum(costs.values())
    first = launchpad.launches.find_one({"fw_id": {"$in": ids}}, sort=[("launch_id", ASCENDING)])
    is_over = bool(workflows) and all(each.state == "COMPLETED" for each in workflows)
    rest = "nothing" if is_over or share >= 1 else "unknown"
    if rest == "unknown" and first is not None and share > 0:
        began = datetime.fromisoformat(first["state_history"][0]["created_on"])
        began = began if began.tzinfo else began.replace(tzinfo=UTC)
        rest = rest_text(launchpad.now() - began, share)
    return {"done": f"{len(done)} of {len(costs)} jobs, {share:.0%} of the cost", "rest": rest}

"""A campaign's state in the queue: jobs, interruptions, workers, and the remaining work.

Nothing here imports torch, as `lycb watch` calls it often and expects an answer at once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pymongo import ASCENDING

from lycb_flows.campaign import Submission, costs_of_jobs, duration_text, plan_campaign
from lycb_flows.service.launchpad import (
    ServiceLaunchPad,
    campaign_workflows,
    count_interruptions,
    count_states,
    find_jobs,
    find_workers,
)
from lycb_flows.store import ResultStore


def service_status(
    launchpad: ServiceLaunchPad, store: ResultStore, submission: Submission
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

    Returns
    -------
    dict[str, Any]
        `jobs`: category -> state -> number; `interrupted`: reason -> number; `workers`: a line
        each; `done` and `rest`: shares and times in words.
    """
    name = submission.campaign.name
    workers = find_workers(launchpad)
    return {
        "jobs": count_states(launchpad, name),
        "interrupted": count_interruptions(launchpad, name),
        "workers": [
            f"{worker.name} ({'/'.join(worker.categories)}): {worker.job or worker.state}, "
            f"seen {worker.seen_s:.0f} s ago"
            for worker in workers
        ],
        **_progress(launchpad, store, submission),
    }


def _progress(
    launchpad: ServiceLaunchPad, store: ResultStore, submission: Submission
) -> dict[str, str]:
    """Return how much of the planned cost is done, and how long the rest takes at this pace."""
    steps = plan_campaign(store, submission.campaign, submission.theory)
    costs = {job: max(cpu_s, 1e-3) for job, cpu_s in costs_of_jobs(steps).items()}
    ids = [
        fw_id
        for workflow in campaign_workflows(launchpad, submission.campaign.name)
        if workflow.metadata.get("record") == submission.record.key
        for fw_id in workflow.fw_ids
    ]
    completed = {"fw_id": {"$in": ids}, "state": "COMPLETED"}
    done = {job for job, _ in find_jobs(launchpad.fireworks, completed, costs)}
    share = sum(costs.get(job, 0.0) for job in done) / sum(costs.values())
    first = launchpad.launches.find_one({"fw_id": {"$in": ids}}, sort=[("launch_id", ASCENDING)])
    rest = "nothing" if share >= 1 else "unknown"
    if first is not None and 0 < share < 1:
        began = datetime.fromisoformat(first["state_history"][0]["created_on"])
        began = began if began.tzinfo else began.replace(tzinfo=UTC)
        rest_s = (launchpad.now() - began).total_seconds() * (1 / share - 1)
        rest = f"{duration_text(rest_s)} at the pace so far"
    return {"done": f"{len(done)} of {len(costs)} jobs, {share:.0%} of the cost", "rest": rest}

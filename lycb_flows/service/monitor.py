"""What the queue knows of a campaign: jobs, interruptions, workers, the rest of the work.

Without torch: it is asked often, and has to answer at once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pymongo import ASCENDING

from lycb_flows.campaign.cost import costs_of_jobs, plan_campaign
from lycb_flows.campaign.submission import Submission
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
    """What the queue knows of a campaign, as plain data."""
    name = submission.campaign.name
    workers = find_workers(launchpad)
    return {
        "jobs": count_states(launchpad, name),
        "interrupted": count_interruptions(launchpad, name),
        "workers": [
            f"{one.name} ({'/'.join(one.categories)}): {one.job or one.state}, "
            f"seen {one.seen_s:.0f} s ago"
            for one in workers
        ],
        **_progress(launchpad, store, submission),
    }


def _progress(
    launchpad: ServiceLaunchPad, store: ResultStore, submission: Submission
) -> dict[str, str]:
    """How much of the planned cost is done, and how long the rest takes at this pace."""
    steps = plan_campaign(store, submission.campaign, submission.theory)
    costs = {job: max(cpu_s, 1e-3) for job, cpu_s in costs_of_jobs(steps).items()}
    ids = [
        fw_id
        for one in campaign_workflows(launchpad, submission.campaign.name)
        if one.metadata.get("record") == submission.record.key
        for fw_id in one.fw_ids
    ]
    completed = {"fw_id": {"$in": ids}, "state": "COMPLETED"}
    done = {job for job, _ in find_jobs(launchpad.fireworks, completed, costs)}
    share = sum(costs.get(job, 0.0) for job in done) / sum(costs.values())
    first = launchpad.launches.find_one({"fw_id": {"$in": ids}}, sort=[("launch_id", ASCENDING)])
    rest = "nothing" if share >= 1 else "unknown"
    if first is not None and 0 < share < 1:
        began = datetime.fromisoformat(first["state_history"][0]["created_on"])
        began = began if began.tzinfo else began.replace(tzinfo=UTC)
        minutes = (launchpad.now() - began).total_seconds() / 60 * (1 / share - 1)
        rest = f"about {minutes:.0f} min at the pace so far"
    return {"done": f"{len(done)} of {len(costs)} jobs, {share:.0%} of the cost", "rest": rest}

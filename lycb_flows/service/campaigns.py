"""Campaigns on a LaunchPad: submitting them, closing their rounds, repairing their labels."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from lycb_flows.campaign.descriptions import LABEL
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.rounds import close_stage, failed_labels
from lycb_flows.campaign.stages import StagePlan
from lycb_flows.campaign.submission import Submission, reopen
from lycb_flows.errors import LycbError
from lycb_flows.flows.campaign import (
    after_stage,
    campaign_flow,
    relabel_flow,
)
from lycb_flows.schemas import CampaignRecord, Dataset, Frames
from lycb_flows.service.launchpad import (
    GIVEN_BACK,
    CampaignWorkflow,
    ServiceLaunchPad,
    campaign_workflows,
    find_job,
    find_jobs,
    submit_flow,
)
from lycb_flows.service.reaper.passes import Reaping
from lycb_flows.store import ResultStore

REAPER = "reaper"
_OVER = {"COMPLETED", "ARCHIVED", "DEFUSED"}


def submit_campaign(launchpad: ServiceLaunchPad, submission: Submission) -> list[int]:
    """Put a campaign on the LaunchPad; ids of its first jobs, empty when it was there.

    A changed campaign is another record and comes beside the old one: what both have in
    common is looked up, whoever computed it.
    """
    flow = campaign_flow(submission.campaign, submission.theory)
    metadata = {"campaign": submission.campaign.name, "record": submission.record.key}
    return submit_flow(launchpad, flow, name=submission.campaign.name, metadata=metadata)


def other_versions(launchpad: ServiceLaunchPad, submission: Submission) -> list[CampaignWorkflow]:
    """Unfinished workflows of the same name but another content."""
    return [
        one
        for one in campaign_workflows(launchpad, submission.campaign.name)
        if one.state not in _OVER
        and one.metadata.get("record") not in {None, submission.record.key}
    ]


# -- rounds and labels ---------------------------------------------------------------------


def close_open_stages(
    launchpad: ServiceLaunchPad, store: ResultStore, *, dry_run: bool = False
) -> list[Reaping]:
    """Close the stages whose last labels hang, and see to it that every closed stage goes on.

    Label jobs do both themselves; this is for those that never end, and for those that died
    between the two.
    """
    return [
        found
        for workflow, submission in _open_campaigns(launchpad, store)
        for found in _close(launchpad, store, workflow, submission, dry_run=dry_run)
    ]


def _open_campaigns(
    launchpad: ServiceLaunchPad, store: ResultStore
) -> Iterator[tuple[CampaignWorkflow, Submission]]:
    for workflow in campaign_workflows(launchpad, None):
        if workflow.state in _OVER:
            continue
        record = store.find(CampaignRecord, str(workflow.metadata.get("record")))
        if record is not None:
            yield workflow, reopen(store, record)


def _close(
    launchpad: ServiceLaunchPad,
    store: ResultStore,
    workflow: CampaignWorkflow,
    submission: Submission,
    *,
    dry_run: bool,
) -> Iterator[Reaping]:
    stages = find_results(store, submission.campaign, submission.theory).stages
    for plan in stages[-2:]:  # an earlier one has been gone on from
        if store.find(Frames, plan.frames_key) is None:
            break
        name = f"stage {plan.title} of {submission.campaign.name}"
        dataset = store.find(Dataset, plan.dataset_key)
        if dataset is None and not dry_run:
            try:
                dataset = close_stage(store, plan, REAPER)
            except LycbError as err:
                yield Reaping("open stage", None, name, str(err), "none: mend the labels")
        if dataset is not None:
            yield from _go_on(launchpad, workflow, plan, dataset, name, dry_run=dry_run)
    yield from _look_again(launchpad, store, workflow, stages, dry_run=dry_run)


def _go_on(
    launchpad: ServiceLaunchPad,
    workflow: CampaignWorkflow,
    plan: StagePlan,
    dataset: Dataset,
    name: str,
    *,
    dry_run: bool,
) -> Iterator[Reaping]:
    selection = find_job(launchpad.fireworks, workflow.fw_ids, plan.select_job())
    first = find_job(launchpad.fireworks, workflow.fw_ids, plan.first_job_after(dataset))
    if selection is not None and first is None:
        done = not dry_run and launchpad.append_flow(selection, after_stage(plan, dataset))
        why = f"closed by {dataset.made.job}, but nothing follows"
        yield Reaping("closed stage", selection, name, why, "go on", done=done)


def _look_again(
    launchpad: ServiceLaunchPad,
    store: ResultStore,
    workflow: CampaignWorkflow,
    stages: Sequence[StagePlan],
    *,
    dry_run: bool,
) -> Iterator[Reaping]:
    """Label jobs that had said "too many labels failed": now there is nothing to say."""
    query = {"fw_id": {"$in": list(workflow.fw_ids)}, "state": "FIZZLED"}
    plans = {plan.title: plan for plan in stages}
    labels = [label for plan in stages for label in plan.label_jobs()]
    for job, row in list(find_jobs(launchpad.fireworks, query, labels)):
        plan = plans.get(job.stage) if job.step == LABEL else None
        if plan is not None and store.find(Dataset, plan.dataset_key) is not None:
            why = {GIVEN_BACK: "its stage is closed"}
            done = not dry_run and launchpad.give_back(row["fw_id"], row["launches"][-1], **why)
            yield Reaping(
                "closed stage", row["fw_id"], row["name"], why[GIVEN_BACK], "look again", done
            )


def relabel(
    launchpad: ServiceLaunchPad, store: ResultStore, submission: Submission
) -> dict[str, int]:
    """One more try at every label that has failed for good; how many, by stage.

    The new jobs hang below their stage's selection and have no children: rerunning the old
    ones would rerun everything that came after them.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    tried: dict[str, int] = {}
    for workflow in campaign_workflows(launchpad, submission.campaign.name):
        if workflow.metadata.get("record") != submission.record.key:
            continue
        for plan in find_results(store, submission.campaign, submission.theory).stages:
            indices = failed_labels(store, plan)
            selection = find_job(launchpad.fireworks, workflow.fw_ids, plan.select_job())
            if indices and selection is not None:
                launchpad.append_flow(selection, relabel_flow(plan, indices, stamp))
                tried[plan.title] = len(indices)
    return tried

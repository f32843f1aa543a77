"""Campaigns on a LaunchPad: submit them, close their stages, try failed labels again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

from lycb_flows.campaign import (
    LABEL,
    JobDescription,
    StagePlan,
    Submission,
    close_stage,
    failed_labels,
    find_results,
    reopen,
)
from lycb_flows.errors import LycbError, MachineError
from lycb_flows.flows import CampaignMakers, after_stage, campaign_flow, relabel_flow
from lycb_flows.machine import load_settings
from lycb_flows.schemas import CampaignRecord, Dataset, Frames, Label
from lycb_flows.service.launchpad import (
    GIVEN_BACK,
    METHODS,
    RECORD,
    CampaignWorkflow,
    ServiceLaunchPad,
    archive,
    campaign_workflows,
    differing_methods,
    find_job,
    find_jobs,
    retry,
    submit_flow,
    why_given_up,
)
from lycb_flows.service.queued_settings import SETTINGS, settings_text, with_fewest_tries
from lycb_flows.service.reaper.evidence import Reaping, last_ping
from lycb_flows.store import (
    ResultStore,
    in_one_line,
    is_of_database,
    method_versions,
    user_name,
)

REAPER = "reaper"
_OVER = {"COMPLETED", "ARCHIVED", "DEFUSED"}


def submit_campaign(
    launchpad: ServiceLaunchPad, submission: Submission, makers: CampaignMakers | None = None
) -> list[int]:
    """Add a campaign to the LaunchPad, unless it is there already.

    A changed campaign has another record and is added beside the old one. Results that both have
    in common are looked up, whichever of them has computed them.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    submission
        The campaign, checked and with its inputs in the store.
    makers
        Makers of the user's own in place of the defaults; the jobs carry them.

    Returns
    -------
    list[int]
        Ids of its first jobs; empty when it was there.
    """
    flow = campaign_flow(submission.campaign, submission.theory, makers)
    metadata = {
        "campaign": submission.campaign.name,
        RECORD: submission.record.key,
        METHODS: method_versions(),
        SETTINGS: settings_text(submission.campaign),
        "owner": user_name(),
    }
    return submit_flow(launchpad, flow, name=submission.campaign.name, metadata=metadata)


def retry_jobs(launchpad: ServiceLaunchPad, name: str) -> list[str]:
    """Try the FIZZLED jobs of a campaign again; their faults and losses so far do not count.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    name
        The campaign's name.

    Returns
    -------
    list[str]
        Names of the jobs that went back to the queue.
    """
    ids = [
        fw_id
        for workflow in campaign_workflows(launchpad, name)
        if workflow.state not in _OVER
        for fw_id in workflow.fw_ids
    ]
    failed = launchpad.fireworks.find(
        {"fw_id": {"$in": ids}, "state": "FIZZLED"}, {"fw_id": 1, "name": 1}
    )
    return [row["name"] for row in list(failed) if retry(launchpad, row["fw_id"], user_name())]


def other_versions(launchpad: ServiceLaunchPad, submission: Submission) -> list[CampaignWorkflow]:
    """Return unfinished workflows of the same name but another content.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    submission
        The campaign to compare with.
    """
    return [
        workflow
        for workflow in campaign_workflows(launchpad, submission.campaign.name)
        if workflow.state not in _OVER
        and workflow.metadata.get(RECORD) not in {None, submission.record.key}
    ]


# -- rounds and labels ---------------------------------------------------------------------


def close_open_stages(
    launchpad: ServiceLaunchPad, store: ResultStore, *, dry_run: bool = False
) -> list[Reaping]:
    """Close the stages whose last labels hang, and continue every closed stage.

    Label jobs do both themselves, unless they never end or are killed between the two.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    store
        The result store of its campaigns.
    dry_run
        Only report what would be done.

    Returns
    -------
    list[Reaping]
        What was found and done, one entry per stage or job.
    """
    return [
        found
        for workflow in campaign_workflows(launchpad, None)
        if workflow.state not in _OVER
        and not differing_methods(workflow)  # our plans would have other keys than its jobs
        for found in _close_or_tell(launchpad, store, workflow, dry_run=dry_run)
    ]


def _close_or_tell(
    launchpad: ServiceLaunchPad, store: ResultStore, workflow: CampaignWorkflow, *, dry_run: bool
) -> Iterator[Reaping]:
    """Close the stages of a campaign; one that cannot be read is named, and others go on."""
    try:
        record = store.find(CampaignRecord, str(workflow.metadata.get(RECORD)))
        if record is not None:
            yield from _close(launchpad, store, workflow, reopen(store, record), dry_run=dry_run)
    except Exception as err:
        if is_of_database(err):
            raise
        yield Reaping("unreadable campaign", None, workflow.name, in_one_line(err), "none")


def _close(
    launchpad: ServiceLaunchPad,
    store: ResultStore,
    workflow: CampaignWorkflow,
    submission: Submission,
    *,
    dry_run: bool,
) -> Iterator[Reaping]:
    stages = find_results(store, submission.campaign, submission.theory).stages
    yield from _count_given_up(launchpad, store, workflow, stages, dry_run=dry_run)
    for plan in stages[-2:]:  # earlier stages have been continued
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
    yield from _give_back_labels(launchpad, store, workflow, stages, dry_run=dry_run)


def _count_given_up(
    launchpad: ServiceLaunchPad,
    store: ResultStore,
    workflow: CampaignWorkflow,
    stages: Sequence[StagePlan],
    *,
    dry_run: bool,
) -> Iterator[Reaping]:
    """Count labels whose jobs have killed too many workers as failed for good.

    Otherwise their stages would wait for them. The jobs go back, find that no try is left, and
    end as those of other failed labels do. First they wait for as long as a silent run does: the
    reaper gives those back that were lost in a general dying.
    """
    limit_s = load_settings().lost_after_s
    for plan, job, row in _failed_label_jobs(launchpad, workflow, stages):
        fields = {"action": 1, "state_history": 1}
        run = launchpad.launches.find_one({"launch_id": {"$in": row["launches"][-1:]}}, fields)
        why = why_given_up(run["action"]) if run else ""
        if run is None or not why:
            continue
        left_s = limit_s - (launchpad.now() - last_ping(run)).total_seconds()
        action, done = "counted as failed", False
        if left_s > 0:
            action = f"{action}, if it is so in {left_s:.0f} s"
        elif not dry_run:
            key = _label_key(store, plan, job)
            if key and store.find(Label, key) is None:
                store.count_as_failed(Label, key, plan.campaign.labels.max_attempts, why)
            over = {GIVEN_BACK: "its label is counted as failed"}
            done = launchpad.give_back(row["fw_id"], row["launches"][-1], **over)
        yield Reaping("given-up label", row["fw_id"], row["name"], why, action, done)


def _failed_label_jobs(
    launchpad: ServiceLaunchPad, workflow: CampaignWorkflow, stages: Sequence[StagePlan]
) -> Iterator[tuple[StagePlan, JobDescription, dict[str, Any]]]:
    """Yield stage, job and Firework of the label jobs of a campaign that are FIZZLED."""
    query = {"fw_id": {"$in": list(workflow.fw_ids)}, "state": "FIZZLED"}
    plans = {plan.title: plan for plan in stages}
    labels = [label for plan in stages for label in plan.label_jobs()]
    for job, row in list(find_jobs(launchpad.fireworks, query, labels)):
        if job.step == LABEL and job.stage in plans:
            yield plans[job.stage], job, row


def _label_key(store: ResultStore, plan: StagePlan, job: JobDescription) -> str:
    """Return the key of a job's label; empty where the selection found fewer frames."""
    structures = [frame.structure for frame in store.load(Frames, plan.frames_key).frames]
    index = plan.label_jobs().index(job)
    return plan.label_keys(structures[index : index + 1])[0] if index < len(structures) else ""


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
    if selection is None or first is not None:
        return
    why, done = f"closed by {dataset.made.job}, but nothing follows", False
    try:
        following = after_stage(plan, dataset, _makers_of(launchpad, workflow, plan))
    except MachineError as err:
        yield Reaping("closed stage", selection, name, f"{why}; {err}", "none yet")
        return
    if not dry_run:
        done = launchpad.append_flow(selection, following)
    yield Reaping("closed stage", selection, name, why, "go on", done=done)


def _makers_of(
    launchpad: ServiceLaunchPad, workflow: CampaignWorkflow, plan: StagePlan
) -> CampaignMakers | None:
    """Return the Makers of the user's own that a stage's jobs carry; None: the defaults.

    They alone are loaded: the rest of the job may have been queued by another version.

    Raises
    ------
    MachineError
        When a package that has one of them is not installed here.
    """
    fw_id = find_job(launchpad.fireworks, workflow.fw_ids, plan.label_jobs()[0])
    row = launchpad.fireworks.find_one({"fw_id": fw_id}, {"spec._tasks": 1})
    if row is None:
        return None
    (task,) = row["spec"]["_tasks"]
    content = task["job"]["function"]["@bound"].get("makers")
    return None if content is None else cast("CampaignMakers", CampaignMakers.from_dict(content))


def _give_back_labels(
    launchpad: ServiceLaunchPad,
    store: ResultStore,
    workflow: CampaignWorkflow,
    stages: Sequence[StagePlan],
    *,
    dry_run: bool,
) -> Iterator[Reaping]:
    """Give back label jobs that had failed because their stage could not be closed then."""
    for plan, _, row in _failed_label_jobs(launchpad, workflow, stages):
        if store.find(Dataset, plan.dataset_key) is not None:
            why = {GIVEN_BACK: "its stage is closed"}
            done = not dry_run and launchpad.give_back(row["fw_id"], row["launches"][-1], **why)
            yield Reaping(
                "closed stage", row["fw_id"], row["name"], why[GIVEN_BACK], "given back", done
            )


def relabel(
    launchpad: ServiceLaunchPad, store: ResultStore, submission: Submission
) -> dict[str, int]:
    """Add a job for every label that has failed for good.

    The new jobs are below their stage's selection and have no children: a rerun of the old jobs
    would rerun everything that came after them.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    store
        The result store, which has the labels' attempts.
    submission
        The campaign.

    Returns
    -------
    dict[str, int]
        Title of the stage -> number of labels that are tried again.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    tried: dict[str, int] = {}
    for workflow in campaign_workflows(launchpad, submission.campaign.name):
        if workflow.metadata.get(RECORD) != submission.record.key:
            continue
        for plan in find_results(store, submission.campaign, submission.theory).stages:
            indices = failed_labels(store, with_fewest_tries(workflow, plan))
            selection = find_job(launchpad.fireworks, workflow.fw_ids, plan.select_job())
            if indices and selection is not None:
                makers = _makers_of(launchpad, workflow, plan)
                launchpad.append_flow(selection, relabel_flow(plan, indices, stamp, makers))
                tried[plan.title] = len(indices)
    return tried


def begin_again(launchpad: ServiceLaunchPad, store: ResultStore, submission: Submission) -> bool:
    """Submit a campaign anew whose loop had come to its end, for one more round.

    A loop that goes on needs it not: its next decision sees what was asked for. All finished
    steps are looked up. Other versions under its name go on as they are.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    store
        The result store.
    submission
        The campaign, for which one more round was asked.

    Returns
    -------
    bool
        Whether it was submitted.
    """
    found = find_results(store, submission.campaign, submission.theory)
    workflows = [
        workflow
        for workflow in campaign_workflows(launchpad, submission.campaign.name)
        if workflow.metadata.get(RECORD) == submission.record.key
    ]
    if not workflows or not found.rounds or found.rounds[-1].next_temperature_k is not None:
        return False
    makers = _makers_of(launchpad, workflows[0], found.stages[0])
    for workflow in workflows:
        archive(launchpad, workflow)
    return bool(submit_campaign(launchpad, submission, makers))

"""Campaigns on a LaunchPad as workflows: submit, find, count, pause, resume, cancel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fireworks import Workflow
from pymongo import ASCENDING, DESCENDING
from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError

from lycb_flows.errors import InputError
from lycb_flows.service.launchpad.described import description_of, to_workflow
from lycb_flows.service.launchpad.faults import FAULT, GIVEN_BACK, LOST, UNLOADABLE
from lycb_flows.service.launchpad.locking import OwnedLock
from lycb_flows.service.launchpad.pad import ServiceLaunchPad
from lycb_flows.service.launchpad.writing import METHODS, PAUSED, RECORD, stamp

if TYPE_CHECKING:
    from jobflow import Flow, Job

_RECORD_INDEX = "lycb_record"
_ENDED = {"ARCHIVED", "DEFUSED", "COMPLETED"}
_CANCELLED = {"$rename": {"metadata.record": "metadata.cancelled_record"}}


@dataclass(frozen=True)
class CampaignWorkflow:
    """One workflow of a campaign, as read from the database."""

    name: str
    state: str
    metadata: Mapping[str, Any]
    fw_ids: tuple[int, ...]


def initialise(launchpad: ServiceLaunchPad) -> None:
    """Create missing counters and indexes, so that no `lpad reset` is needed.

    The index of records is unique: of two submissions at the same moment one fails.
    """
    if _RECORD_INDEX in launchpad.workflows.index_information():
        return
    counters = {"next_fw_id": 1, "next_launch_id": 1}
    launchpad.fw_id_assigner.update_one({"_id": -1}, {"$setOnInsert": counters}, upsert=True)
    launchpad.tuneup()
    runnable = [("state", ASCENDING), ("spec._category", ASCENDING), ("spec._priority", DESCENDING)]
    launchpad.fireworks.create_index(runnable)
    launchpad.workflows.create_index("metadata.campaign")
    launchpad.workflows.create_index(
        "metadata.record",
        name=_RECORD_INDEX,
        unique=True,
        partialFilterExpression={"metadata.record": {"$exists": True}},
    )


def submit_flow(
    launchpad: ServiceLaunchPad, flow: Flow | Job, *, name: str, metadata: Mapping[str, Any]
) -> list[int]:
    """Add a flow as one workflow, whole or not at all.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    flow
        The flow; its jobs need a category each, see `lycb_flows.flows.routing.route`.
    name
        Name of the workflow.
    metadata
        `campaign`: the name by which its workflows are found; `record`: a key that only one
        workflow may have.

    Returns
    -------
    list[int]
        The new jobs' ids, in the order of the flow; empty when a workflow has the record already
        and was not cancelled.

    Raises
    ------
    InputError
        When two jobs have the same description or, without any, the same name.
    """
    initialise(launchpad)
    workflow = to_workflow(flow, name=name, metadata=dict(metadata))
    repeated = [job for job, n in Counter(map(description_of, workflow)).items() if n > 1]
    if repeated:
        name = repeated[0].name
        raise InputError("two jobs of one name", fix="names are unique in a flow", name=name)
    record = metadata.get("record")
    if record is not None:
        _retire(launchpad, record)
        _replace_unloadable(launchpad, record)
        _replace_other_methods(launchpad, record, metadata)
        if launchpad.workflows.count_documents({"metadata.record": record}, limit=1):
            return []
    return _add(launchpad, workflow)


def _retire(launchpad: ServiceLaunchPad, record: str) -> None:
    """Cancel a workflow that FireWorks' own commands have archived or wholly defused."""
    found = launchpad.workflows.find_one(
        {"metadata.record": record, "state": {"$in": ["ARCHIVED", "DEFUSED"]}}, {"fw_states": 1}
    )
    if found and set(found["fw_states"].values()) <= _ENDED:
        launchpad.workflows.update_one({"_id": found["_id"]}, _CANCELLED)


def _replace_unloadable(launchpad: ServiceLaunchPad, record: str) -> None:
    """Archive a campaign's workflow whose open jobs were queued by code that is not here.

    One job of each module and Maker is loaded, as the same code wrote all of them.
    """
    found = launchpad.workflows.find_one({"metadata.record": record}, {"nodes": 1})
    if found is None:
        return
    still_open = {"fw_id": {"$in": found["nodes"]}, "state": {"$nin": sorted(_ENDED)}}
    function = "$spec._tasks.job.function"
    code = {"module": f"{function}.@module", "maker": f"{function}.@bound.@class"}
    group = {"_id": code, "fw_id": {"$first": "$fw_id"}}
    rows = launchpad.fireworks.aggregate([{"$match": still_open}, {"$group": group}])
    if all(_is_loadable(launchpad, row["fw_id"]) for row in rows):
        return
    for workflow in campaign_workflows(launchpad, None):
        if workflow.metadata.get("record") == record:
            archive(launchpad, workflow)


def _replace_other_methods(
    launchpad: ServiceLaunchPad, record: str, metadata: Mapping[str, Any]
) -> None:
    """Archive a campaign's workflow that was submitted at other method versions than these.

    The new one computes what has changed and looks up the rest.
    """
    for workflow in _live(launchpad, str(metadata.get("campaign"))):
        before = workflow.metadata.get(METHODS)
        differs = before is not None and before != metadata.get(METHODS)
        if differs and workflow.metadata.get(RECORD) == record:
            archive(launchpad, workflow)


def _is_loadable(launchpad: ServiceLaunchPad, fw_id: int) -> bool:
    try:
        launchpad.get_fw_by_id(fw_id)
    except UNLOADABLE:
        return False
    return True


def _add(launchpad: ServiceLaunchPad, workflow: Workflow) -> list[int]:
    """Add a workflow as FireWorks' `add_wf` does; an interrupted call leaves no job that runs."""
    for fw_id in workflow.root_fw_ids:
        workflow.id_fw[fw_id].state = workflow.fw_states[fw_id] = "READY"
    ids = launchpad.number(workflow, list(workflow))

    stamp(workflow, workflow)

    def write(session: ClientSession) -> None:
        launchpad.workflows.insert_one(workflow.to_db_dict(), session=session)

    try:
        launchpad.add_fireworks(list(workflow), write)
    except DuplicateKeyError:  # submitted at the same moment by somebody else
        return []
    return sorted(ids)


def campaign_workflows(launchpad: ServiceLaunchPad, name: str | None) -> list[CampaignWorkflow]:
    """Return the workflows of a campaign in the order of submission, also cancelled ones.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    name
        The campaign's name; None: all campaigns.
    """
    query = {"metadata.campaign": {"$exists": True} if name is None else name}
    fields = {"name": 1, "state": 1, "metadata": 1, "nodes": 1}
    return [
        CampaignWorkflow(row["name"], row["state"], row["metadata"], tuple(sorted(row["nodes"])))
        for row in launchpad.workflows.find(query, fields).sort("_id", ASCENDING)
    ]


def count_states(launchpad: ServiceLaunchPad, name: str) -> dict[str, dict[str, int]]:
    """Count the jobs of a campaign, without cancelled workflows.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    name
        The campaign's name.

    Returns
    -------
    dict[str, dict[str, int]]
        Category -> state -> number of jobs.
    """
    ids = [fw_id for workflow in _live(launchpad, name) for fw_id in workflow.fw_ids]
    group = {"_id": {"category": "$spec._category", "state": "$state"}, "n": {"$sum": 1}}
    counts: dict[str, dict[str, int]] = {}
    for row in launchpad.fireworks.aggregate(
        [{"$match": {"fw_id": {"$in": ids}}}, {"$group": group}]
    ):
        category = row["_id"].get("category") or ""
        counts.setdefault(category, {})[row["_id"]["state"]] = row["n"]
    return counts


def count_interruptions(launchpad: ServiceLaunchPad, name: str) -> dict[str, int]:
    """Count the runs of a campaign's jobs that did not finish.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    name
        The campaign's name.

    Returns
    -------
    dict[str, int]
        Number of runs given back, ended by a fault of their machine, and lost.
    """
    workflows = campaign_workflows(launchpad, name)
    ids = [fw_id for workflow in workflows for fw_id in workflow.fw_ids]
    return {
        why: launchpad.launches.count_documents(
            {"fw_id": {"$in": ids}, f"state_history.{why}": {"$exists": True}}
        )
        for why in (GIVEN_BACK, FAULT, LOST)
    }


# -- cancel, pause, resume ------------------------------------------------------------------


def cancel(launchpad: ServiceLaunchPad, name: str) -> int:
    """Archive all workflows of a campaign's name, so that none of their jobs runs again.

    They are archived, not defused: `submit_flow` adds the campaign anew and finds its results by
    key, and no part of the old workflow can be reignited beside the new one. A running job stops
    at its next restart point; what it has stored is kept.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    name
        The campaign's name.

    Returns
    -------
    int
        Number of jobs that will not run.
    """
    return sum(archive(launchpad, workflow) for workflow in _live(launchpad, name))


def archive(launchpad: ServiceLaunchPad, seen: CampaignWorkflow) -> int:
    """Archive a single workflow of a campaign, as `cancel` does with all of its name.

    The workflow itself is written last: when this is interrupted, cancelling again completes it.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    seen
        The workflow.

    Returns
    -------
    int
        Number of jobs that will not run.
    """
    node = seen.fw_ids[0]
    with OwnedLock(launchpad, node):
        content = launchpad.workflows.find_one({"nodes": node}, {"nodes": 1})
        jobs = {"fw_id": {"$in": content["nodes"]}}
        done = {"state": {"$nin": ["COMPLETED", "ARCHIVED"]}}
        n_open: int = launchpad.fireworks.count_documents(jobs | done)
        over = {"state": "ARCHIVED", "updated_on": launchpad.now().isoformat()}
        launches = {
            "archived_launches": {"$setUnion": ["$archived_launches", "$launches"]},
            "launches": [],
        }
        launchpad.fireworks.update_many(jobs, [{"$set": over | launches}])
        launchpad.launches.update_many(
            jobs | {"state": {"$in": ["RUNNING", "RESERVED"]}}, {"$set": {"state": "ARCHIVED"}}
        )
        states = {str(fw_id): "ARCHIVED" for fw_id in content["nodes"]}
        change = {"$set": over | {"fw_states": states}, **_CANCELLED}
        launchpad.change_workflow(node, change)
    return n_open


def pause(launchpad: ServiceLaunchPad, name: str) -> int:
    """Let the running jobs of a campaign end and start no other, not even jobs that they add.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    name
        The campaign's name.

    Returns
    -------
    int
        Number of jobs that wait now.
    """
    return sum(_switch(launchpad, workflow, paused=True) for workflow in _live(launchpad, name))


def resume(launchpad: ServiceLaunchPad, name: str) -> int:
    """Let the jobs of a paused campaign run again.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    name
        The campaign's name.

    Returns
    -------
    int
        Number of jobs that may run again.
    """
    return sum(_switch(launchpad, workflow, paused=False) for workflow in _live(launchpad, name))


def _switch(launchpad: ServiceLaunchPad, seen: CampaignWorkflow, *, paused: bool) -> int:
    """Set the state of all jobs that are neither running nor over; return how many.

    The workflow's metadata is written first, so that jobs that become runnable meanwhile obey it.
    """
    node = seen.fw_ids[0]
    with OwnedLock(launchpad, node):
        launchpad.change_workflow(node, {"$set": {f"metadata.{PAUSED}": paused}})
        content = launchpad.workflows.find_one({"nodes": node})
        was = ["WAITING", "READY", "RESERVED"] if paused else ["PAUSED"]
        jobs = {"fw_id": {"$in": content["nodes"]}, "state": {"$in": was}}
        becomes: dict[str, list[int]] = {}
        for row in launchpad.fireworks.find(jobs, {"fw_id": 1}):
            state = "PAUSED" if paused else _runnable(content, row["fw_id"])
            becomes.setdefault(state, []).append(row["fw_id"])
        for state, ids in becomes.items():
            launchpad.fireworks.update_many(
                {"fw_id": {"$in": ids}, "state": {"$in": was}},
                {"$set": {"state": state, "updated_on": launchpad.now().isoformat()}},
            )
        _settle(launchpad, node, [fw_id for ids in becomes.values() for fw_id in ids])
    return sum(map(len, becomes.values()))


def _runnable(content: Mapping[str, Any], fw_id: int) -> str:
    """Return READY when every parent is done, else WAITING."""
    parents = content["parent_links"].get(str(fw_id), [])
    done = all(content["fw_states"].get(str(parent)) == "COMPLETED" for parent in parents)
    return "READY" if done else "WAITING"


def _settle(launchpad: ServiceLaunchPad, node: int, switched: Sequence[int]) -> None:
    """Update the workflow's copy of the states; FireWorks decides on jobs with a reservation."""
    workflow = launchpad.get_wf_by_fw_id_lzyfw(node)
    states = launchpad.fireworks.find(
        {"fw_id": {"$in": list(workflow.id_fw)}}, {"fw_id": 1, "state": 1}
    )
    workflow.fw_states = {row["fw_id"]: row["state"] for row in states}
    special = [{"launches": {"$ne": []}}, {"spec._allow_fizzled_parents": True}]
    rows = launchpad.fireworks.find(
        {"fw_id": {"$in": list(switched)}, "$or": special}, {"fw_id": 1}
    )
    updated: set[int] = set()
    for row in rows:
        updated = workflow.refresh(row["fw_id"], updated)
    launchpad.write_workflow(workflow, list(updated))


def _live(launchpad: ServiceLaunchPad, name: str) -> list[CampaignWorkflow]:
    return [
        workflow
        for workflow in campaign_workflows(launchpad, name)
        if workflow.state != "ARCHIVED" and "cancelled_record" not in workflow.metadata
    ]

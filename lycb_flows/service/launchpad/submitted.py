"""What was submitted to a LaunchPad: campaigns as workflows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fireworks import Workflow
from jobflow import Flow, Job
from pymongo import ASCENDING, DESCENDING
from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError

from lycb_flows.errors import InputError
from lycb_flows.service.launchpad.described import description_of
from lycb_flows.service.launchpad.faults import FAULT, GIVEN_BACK, LOST
from lycb_flows.service.launchpad.locking import OwnedLock
from lycb_flows.service.launchpad.pad import UNLOADABLE, ServiceLaunchPad, to_workflow
from lycb_flows.service.launchpad.writing import PAUSED

_RECORD_INDEX = "lycb_record"
_ENDED = {"ARCHIVED", "DEFUSED", "COMPLETED"}
_CANCELLED = {"$rename": {"metadata.record": "metadata.cancelled_record"}}


@dataclass(frozen=True)
class CampaignWorkflow:
    """One workflow of a campaign, as the database has it."""

    name: str
    state: str
    metadata: Mapping[str, Any]
    fw_ids: tuple[int, ...]


def initialise(launchpad: ServiceLaunchPad) -> None:
    """Counters and indexes, where they are missing; FireWorks wants `lpad reset` for that."""
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
        Where to.
    flow
        Its jobs need a category each, see `lycb_flows.flows.routing.route`.
    name
        Of the workflow.
    metadata
        `campaign`: the name by which its workflows are found; `record`: what may be there once.

    Returns
    -------
    list[int]
        The new jobs' ids, in the order of the flow; empty when the record is there, and was not
        cancelled.

    Raises
    ------
    InputError
        When two jobs are the same: of one description or, without any, of one name.
    """
    initialise(launchpad)
    workflow = to_workflow(flow, name=name, metadata=dict(metadata))
    twice = [job for job, n in Counter(map(description_of, workflow)).items() if n > 1]
    if twice:
        name = twice[0].name
        raise InputError("two jobs of one name", fix="names are unique in a flow", name=name)
    record = metadata.get("record")
    if record is not None:
        _retire(launchpad, record)
        _replace_unloadable(launchpad, record)
        if launchpad.workflows.count_documents({"metadata.record": record}, limit=1):
            return []
    return _add(launchpad, workflow)


def _retire(launchpad: ServiceLaunchPad, record: str) -> None:
    """A workflow that was archived or wholly defused by FireWorks' own commands is cancelled."""
    found = launchpad.workflows.find_one(
        {"metadata.record": record, "state": {"$in": ["ARCHIVED", "DEFUSED"]}}, {"fw_states": 1}
    )
    if found and set(found["fw_states"].values()) <= _ENDED:
        launchpad.workflows.update_one({"_id": found["_id"]}, _CANCELLED)


def _replace_unloadable(launchpad: ServiceLaunchPad, record: str) -> None:
    """Archive a campaign's workflow whose open jobs were queued by code that is not here.

    One job of each module and Maker is tried: the same code wrote all of them.
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
            _archive(launchpad, workflow)


def _is_loadable(launchpad: ServiceLaunchPad, fw_id: int) -> bool:
    try:
        launchpad.get_fw_by_id(fw_id)
    except UNLOADABLE:
        return False
    return True


def _add(launchpad: ServiceLaunchPad, workflow: Workflow) -> list[int]:
    """FireWorks' `add_wf`, but killed half-way it leaves nothing that could run."""
    for fw_id in workflow.root_fw_ids:
        workflow.id_fw[fw_id].state = workflow.fw_states[fw_id] = "READY"
    ids = launchpad.number(workflow, list(workflow))

    def write(session: ClientSession) -> None:
        launchpad.workflows.insert_one(workflow.to_db_dict(), session=session)

    try:
        launchpad.add_fireworks(list(workflow), write)
    except DuplicateKeyError:  # submitted at the same moment by somebody else
        return []
    return sorted(ids)


def campaign_workflows(launchpad: ServiceLaunchPad, name: str | None) -> list[CampaignWorkflow]:
    """The workflows of a campaign, or of all, in the order of submission; cancelled ones too."""
    query = {"metadata.campaign": {"$exists": True} if name is None else name}
    fields = {"name": 1, "state": 1, "metadata": 1, "nodes": 1}
    return [
        CampaignWorkflow(row["name"], row["state"], row["metadata"], tuple(sorted(row["nodes"])))
        for row in launchpad.workflows.find(query, fields).sort("_id", ASCENDING)
    ]


def count_states(launchpad: ServiceLaunchPad, name: str) -> dict[str, dict[str, int]]:
    """Jobs of a campaign: category -> state -> how many; without cancelled workflows."""
    ids = [fw_id for one in _live(launchpad, name) for fw_id in one.fw_ids]
    group = {"_id": {"category": "$spec._category", "state": "$state"}, "n": {"$sum": 1}}
    counts: dict[str, dict[str, int]] = {}
    for row in launchpad.fireworks.aggregate(
        [{"$match": {"fw_id": {"$in": ids}}}, {"$group": group}]
    ):
        category = row["_id"].get("category") or ""
        counts.setdefault(category, {})[row["_id"]["state"]] = row["n"]
    return counts


def count_interruptions(launchpad: ServiceLaunchPad, name: str) -> dict[str, int]:
    """Runs of a campaign's jobs that did not finish: given back, by fault, or lost."""
    ids = [fw_id for one in campaign_workflows(launchpad, name) for fw_id in one.fw_ids]
    return {
        why: launchpad.launches.count_documents(
            {"fw_id": {"$in": ids}, f"state_history.{why}": {"$exists": True}}
        )
        for why in (GIVEN_BACK, FAULT, LOST)
    }


# -- levers ---------------------------------------------------------------------------------


def cancel(launchpad: ServiceLaunchPad, name: str) -> int:
    """Archive a campaign's workflows: nothing of them runs again, `submit_flow` starts anew.

    Archived, not defused: results are kept by key, so a new submission goes on where this one
    ended, and nobody reignites half of the old one beside it. A running job stops at its next
    restart point; what it has stored is kept.

    Returns
    -------
    int
        How many jobs will not run.
    """
    return sum(_archive(launchpad, one) for one in _live(launchpad, name))


def _archive(launchpad: ServiceLaunchPad, seen: CampaignWorkflow) -> int:
    """The workflow last: if this is interrupted, cancelling again does the rest."""
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
    """Let running jobs end and start no other, not even one that they add.

    Returns
    -------
    int
        How many jobs wait now.
    """
    return sum(_switch(launchpad, one, paused=True) for one in _live(launchpad, name))


def resume(launchpad: ServiceLaunchPad, name: str) -> int:
    """Undo `pause`.

    Returns
    -------
    int
        How many jobs may run again.
    """
    return sum(_switch(launchpad, one, paused=False) for one in _live(launchpad, name))


def _switch(launchpad: ServiceLaunchPad, seen: CampaignWorkflow, *, paused: bool) -> int:
    """Set the state of all jobs that are not at work or over.

    The wish is written first: what becomes runnable meanwhile follows it.
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
    """READY when every parent is done."""
    parents = content["parent_links"].get(str(fw_id), [])
    done = all(content["fw_states"].get(str(parent)) == "COMPLETED" for parent in parents)
    return "READY" if done else "WAITING"


def _settle(launchpad: ServiceLaunchPad, node: int, switched: Sequence[int]) -> None:
    """The workflow's copy of the states; FireWorks decides on jobs with a reservation."""
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
        one
        for one in campaign_workflows(launchpad, name)
        if one.state != "ARCHIVED" and "cancelled_record" not in one.metadata
    ]

"""Runs that died with their worker: when they count against their job, and trying again.

A job whose memory need kills its worker would kill one worker after another. A loss counts
against its job when the worker had completed other jobs before, or when runs of the job died on
two machines; after `MAX_LOSSES` of those the job is FIZZLED. A broken machine, on which every
job dies, cannot do that to a job alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fireworks import FWAction

from lycb_flows.service.launchpad.faults import CLEARED, FAULT, GIVEN_BACK, LOST, MAX_LOSSES
from lycb_flows.service.launchpad.pad import ServiceLaunchPad

_REQUEUED = "requeued"
_FIELDS = {"launch_id": 1, "fw_id": 1, "fworker.env": 1, "state_history": 1}


def is_last_loss(launchpad: ServiceLaunchPad, fw_id: int, launch_id: int) -> bool:
    """Return whether a run that was lost now is one too many for its job.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    fw_id
        The job.
    launch_id
        The run; it is not written down as lost yet.
    """
    lost = {f"state_history.{LOST}": {"$exists": True}}
    query = {"fw_id": fw_id, CLEARED: None, "$or": [{"launch_id": launch_id}, lost]}
    runs = [row for row in launchpad.launches.find(query, _FIELDS) if not _was_requeued(row)]
    if len(runs) < MAX_LOSSES:
        return False
    machines = {_owner(run).rpartition("/")[0].rpartition("/")[0] for run in runs}
    if len(machines - {""}) > 1:
        return True
    return sum(_others_lived(launchpad, run) for run in runs) >= MAX_LOSSES


def _was_requeued(run: Mapping[str, Any]) -> bool:
    """Return whether the queue took the worker away, which says nothing of the job."""
    return any(_REQUEUED in str(entry.get(LOST, "")) for entry in run["state_history"])


def _owner(run: Mapping[str, Any]) -> str:
    env = (run.get("fworker") or {}).get("env") or {}
    return str(env.get("lycb_owner", ""))


def _others_lived(launchpad: ServiceLaunchPad, run: Mapping[str, Any]) -> bool:
    """Return whether the worker of a run has completed another job."""
    owner = _owner(run)
    query = {"fworker.env.lycb_owner": owner, "state": "COMPLETED", "fw_id": {"$ne": run["fw_id"]}}
    return bool(owner) and launchpad.launches.find_one(query, {"_id": 1}) is not None


def give_up(launchpad: ServiceLaunchPad, launch_id: int, why: str) -> bool:
    """End a lost run as a failure of its job, which becomes FIZZLED.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    launch_id
        The run.
    why
        The evidence that it is lost.

    Returns
    -------
    bool
        True.
    """
    message = f"its worker died {MAX_LOSSES} times while it ran; the last time: {why}"
    launchpad.launches.update_one(
        {"launch_id": launch_id}, {"$set": {"state_history.$[run].lost": why}},
        array_filters=[{"run.state": "RUNNING"}],
    )  # fmt: skip
    error = {"_stacktrace": message, "_details": {LOST: why}}
    action = FWAction(stored_data={"_message": message, "_exception": error})
    launchpad.complete_launch(launch_id, action, "FIZZLED")
    return True


def retry(launchpad: ServiceLaunchPad, fw_id: int, user: str) -> bool:
    """Try a FIZZLED job again; its faults and losses so far no longer count.

    Unlike FireWorks' `rerun_fws` this does not touch the jobs that wait for it.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    fw_id
        The job.
    user
        Who says so, kept with its runs.

    Returns
    -------
    bool
        False when it is FIZZLED no more.
    """
    row = launchpad.fireworks.find_one({"fw_id": fw_id, "state": "FIZZLED"}, {"launches": 1})
    if row is None:
        return False
    ended = [{f"state_history.{why}": {"$exists": True}} for why in (LOST, FAULT)]
    launchpad.launches.update_many({"fw_id": fw_id, "$or": ended}, {"$set": {CLEARED: user}})
    last = row["launches"][-1] if row["launches"] else None
    return launchpad.give_back(fw_id, last, **{GIVEN_BACK: f"to be tried again, says {user}"})

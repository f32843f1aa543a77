"""Runs that died with their worker: when they count against their job, and trying again.

A job whose memory need kills its worker would kill one worker after another. A loss counts
against its job when its worker or, since the job was lost first, another worker of that machine
has completed another job, or when runs of the job died on two machines. When there are
`MAX_LOSSES` more of those than deaths that are not its own, of idle workers and of jobs that came
through later, the job is FIZZLED. A broken machine, on which every job dies, cannot do that to a
job alone, nor can somebody who kills whatever runs.
A lost job waits behind the others of its priority, so that workers complete some of these first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from fireworks import FWAction

from lycb_flows.service.launchpad.faults import CLEARED, FAULT, GIVEN_BACK, LOST, MAX_LOSSES
from lycb_flows.service.launchpad.identity import is_gone
from lycb_flows.service.launchpad.pad import ServiceLaunchPad
from lycb_flows.service.launchpad.workers import COLLECTION as WORKERS

_REQUEUED = "requeued"
_LOST_RUN = f"state_history.{LOST}"
_FIELDS = {"launch_id": 1, "fw_id": 1, "fworker.env": 1, "state_history": 1}


def is_last_loss(launchpad: ServiceLaunchPad, fw_id: int, launch_id: int) -> bool:
    """Return whether the runs of a job that were lost are too many for it.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    fw_id
        The job.
    launch_id
        Its last run, which counts as lost even where that is not written down yet.
    """
    lost = {_LOST_RUN: {"$exists": True}}
    query = {"fw_id": fw_id, CLEARED: None, "$or": [{"launch_id": launch_id}, lost]}
    runs = [row for row in launchpad.launches.find(query, _FIELDS) if not _was_requeued(row)]
    if len(runs) < MAX_LOSSES:
        return False
    first = min(run["launch_id"] for run in runs)
    machines = {_machine(run) for run in runs} - {""}
    n = sum(_others_lived(launchpad, run, first) for run in runs)
    n = len(runs) if len(machines) > 1 else n
    return n >= MAX_LOSSES and n - _n_innocent(launchpad, fw_id, first, machines) >= MAX_LOSSES


def _n_innocent(
    launchpad: ServiceLaunchPad, fw_id: int, first: int, machines: Collection[str]
) -> int:
    """Return how many workers of some machines died without being at a job that is in doubt.

    They were idle, or at another job that is done by now.
    """
    there = "|".join(map(re.escape, sorted(machines)))
    query = {
        "launch_id": {"$gt": first},
        "fw_id": {"$ne": fw_id},
        _LOST_RUN: {"$exists": True},
        "fworker.env.lycb_owner": {"$regex": f"^({there})/"},
    }
    owners = [row["fw_id"] for row in launchpad.launches.find(query, {"fw_id": 1})]
    done = {"fw_id": {"$in": owners}, "state": "COMPLETED"}
    completed = {row["fw_id"] for row in launchpad.fireworks.find(done, {"fw_id": 1})}
    n_idle = _n_idle_dead(launchpad, first, f"^({there})/")
    return n_idle + sum(owner in completed for owner in owners)


def _n_idle_dead(launchpad: ServiceLaunchPad, first: int, owners: str) -> int:
    """Return how many workers died idle since a run began, whose names match an expression."""
    run = launchpad.launches.find_one({"launch_id": first}, {"state_history": 1}) or {}
    history = run.get("state_history") or [{}]
    began = datetime.fromisoformat(str(history[0].get("created_on", launchpad.now().isoformat())))
    idle = {"_id": {"$regex": owners}, "fw_id": None, "state": {"$nin": ["left", "broken"]}}
    seen = {"seen_at": {"$gte": began if began.tzinfo else began.replace(tzinfo=UTC)}}
    rows = launchpad.db[WORKERS].find(idle | seen, {"_id": 1})
    return sum(is_gone(row["_id"]) for row in rows)


def _was_requeued(run: Mapping[str, Any]) -> bool:
    """Return whether the queue took the worker away, which says nothing of the job."""
    return any(_REQUEUED in str(entry.get(LOST, "")) for entry in run["state_history"])


def _owner(run: Mapping[str, Any]) -> str:
    env = (run.get("fworker") or {}).get("env") or {}
    return str(env.get("lycb_owner", ""))


def _machine(run: Mapping[str, Any]) -> str:
    """Return host and boot of a run's worker; empty for plain `rlaunch`."""
    return _owner(run).rpartition("/")[0].rpartition("/")[0]


def _others_lived(launchpad: ServiceLaunchPad, run: Mapping[str, Any], first: int) -> bool:
    """Return whether another job was completed by a run's worker, or on its machine since then.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    run
        A run that was lost.
    first
        The first run of the same job that was lost; later ones have higher numbers.
    """
    if not _owner(run):
        return False
    neighbours = {"$regex": f"^{re.escape(_machine(run))}/"}
    since = {"fworker.env.lycb_owner": neighbours, "launch_id": {"$gt": first}}
    own = {"fworker.env.lycb_owner": _owner(run)}
    query = {"$or": [own, since], "state": "COMPLETED", "fw_id": {"$ne": run["fw_id"]}}
    return launchpad.launches.find_one(query, {"_id": 1}) is not None


def give_back_lost(launchpad: ServiceLaunchPad, fw_id: int, launch_id: int, why: str) -> bool:
    """Give a lost run's job back, behind the others of its priority.

    Were it taken first again, it would kill each new worker before that has completed anything.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    fw_id, launch_id
        The job and its run.
    why
        The evidence that the run is lost.

    Returns
    -------
    bool
        False when the job has moved on meanwhile.
    """
    if not launchpad.give_back(fw_id, launch_id, **{LOST: why}):
        return False
    later = {"$inc": {"spec._priority": -1}}
    launchpad.fireworks.update_one({"fw_id": fw_id, "spec._priority": {"$exists": True}}, later)
    return True


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

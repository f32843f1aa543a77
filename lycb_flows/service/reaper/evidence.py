"""Evidence that a run is over, what is found by it, and what is done about it."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lycb_flows.service.launchpad import ServiceLaunchPad, host_and_pid, is_gone

SIGHTINGS = "lycb_sightings"
_SLURM_TIMEOUT_S = 30.0


class Sightings:
    """Times at which uncertain evidence was seen first, kept in the database between passes.

    Parameters
    ----------
    launchpad
        The LaunchPad whose database keeps them.
    now
        Time of this pass.
    """

    def __init__(self, launchpad: ServiceLaunchPad, now: datetime) -> None:
        self._sightings, self._now = launchpad.db[SIGHTINGS], now
        self._before = {
            row["_id"]: row["first"].replace(tzinfo=UTC) for row in self._sightings.find({})
        }
        self._seen: set[str] = set()

    def age_s(self, evidence: str) -> float:
        """Return the seconds since the same evidence was seen first; 0 when it is new."""
        self._seen.add(evidence)
        first: datetime = self._before.get(evidence, self._now)
        return (self._now - first).total_seconds()

    def keep(self) -> None:
        """Write the new sightings, and delete those whose evidence was not seen in this pass."""
        for evidence in self._seen - set(self._before):
            self._sightings.update_one(
                {"_id": evidence}, {"$setOnInsert": {"first": self._now}}, upsert=True
            )
        over = set(self._before) - self._seen
        if over:
            self._sightings.delete_many({"_id": {"$in": sorted(over)}})


@dataclass(frozen=True)
class Reaping:
    """One finding of the reaper.

    Attributes
    ----------
    what
        Kind of finding, see `passes.py`.
    fw_id, name
        The job, or a job of the workflow; the id is None when there is none.
    why
        The evidence.
    action
        What is done about it.
    done
        Whether it was done: not in a dry run, not before the second sighting, not when the job
        has moved on.
    """

    what: str
    fw_id: int | None
    name: str
    why: str
    action: str
    done: bool = False


@dataclass(frozen=True)
class PendingReaping:
    """A finding that is not acted upon yet.

    Attributes
    ----------
    reaping
        The finding.
    act
        Does what is to be done; returns whether it was.
    evidence
        Identity of evidence that must be seen twice; empty when it is certain.
    grace_s
        Seconds between its two sightings; None: those of the pass.
    """

    reaping: Reaping
    act: Callable[[], bool]
    evidence: str = ""
    grace_s: float | None = None


@dataclass(frozen=True)
class Slurm:
    """Answers of the Slurm of this machine.

    Attributes
    ----------
    states
        Pending and running jobs: number -> state.
    hosts
        Its nodes and this machine, whose job numbers are this Slurm's.
    """

    states: Mapping[str, str]
    hosts: frozenset[str]


def find_slurm() -> Slurm | None:
    """Return the answers of Slurm, or None where there is none or it does not answer.

    An answer that is missing must not count as "no such job".
    """
    if not shutil.which("squeue"):
        return None
    jobs = _lines("squeue", "--noheader", "--format=%A %T")
    nodes = _lines("sinfo", "--noheader", "--Node", "--format=%n")
    if jobs is None or nodes is None:
        return None
    states = dict(line.split(maxsplit=1) for line in jobs)
    return Slurm(
        states, frozenset({*(_short(node) for node in nodes), _short(socket.gethostname())})
    )


def _lines(*command: str) -> list[str] | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed words; PATH is the user's
            command, capture_output=True, text=True, timeout=_SLURM_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else None


def certain_end(run: Mapping[str, Any], slurm: Slurm | None, requeued: Mapping[str, int]) -> str:
    """Return why a run is certainly over; empty when it may still run.

    Parameters
    ----------
    run
        The launch, as read from the database.
    slurm
        The answers of Slurm, if there is one.
    requeued
        Slurm job -> how often it was requeued.
    """
    owner = env_of(run).get("lycb_owner", "")
    if run["state"] == "RUNNING" and worker_is_gone(run):
        return f"{host_and_pid(owner)} is gone"
    job, restarts = slurm_job(run)
    if not job or slurm is None or _short(run["host"]) not in slurm.hosts:
        return ""
    if job not in slurm.states:
        return f"Slurm job {job} is gone"
    if run["state"] == "RUNNING" and (
        slurm.states[job] == "PENDING" or requeued.get(job, 0) > restarts
    ):
        return f"Slurm job {job} was requeued"
    return ""


def worker_is_gone(run: Mapping[str, Any]) -> bool:
    """Return whether the process of a run is certainly dead.

    Of plain `rlaunch` and of other machines this is never certain.
    """
    return is_gone(env_of(run).get("lycb_owner", ""))


def slurm_job(run: Mapping[str, Any]) -> tuple[str, int]:
    """Return the Slurm job of a run, and how often the job had been requeued when it started.

    A reservation has no worker yet; its job is the one that `qlaunch` has submitted. Without
    Slurm the answer is ("", 0).
    """
    env = env_of(run)
    if env.get("slurm_job"):
        return env["slurm_job"], int(env["slurm_restarts"])
    reserved = [entry.get("reservation_id") for entry in run["state_history"]]
    return str(next((job for job in reserved if job), "")), 0


def env_of(run: Mapping[str, Any]) -> Mapping[str, str]:
    """Return what the run's worker wrote about itself; empty for plain `rlaunch`."""
    return (run.get("fworker") or {}).get("env") or {}


def last_ping(run: Mapping[str, Any]) -> datetime:
    """Return the time of a run's last heartbeat, or of its last change of state.

    A time without a time zone is UTC.
    """
    entry = run["state_history"][-1]
    time_ = entry.get("updated_on") or entry["created_on"]
    parsed = datetime.fromisoformat(time_) if isinstance(time_, str) else time_
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _short(host: str) -> str:
    return host.partition(".")[0]

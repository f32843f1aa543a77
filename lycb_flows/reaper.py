"""The reaper: finds what died in the queue and puts it back; does it again and again, or once.

    lost run             its process or Slurm job is gone, or it is silent       -> given back
    lost reservation     RESERVED without a run, or its Slurm job is gone        -> given back
    unfinished business  the run has ended, its job or its children do not know  -> refreshed
    stale lock           nobody holds it any more                                -> unlocked
    orphan               a job that no workflow lists: half of an addition       -> deleted
    fault                FIZZLED although only database, store or disk failed    -> given back

Certain evidence (a dead process on this machine, a job that Slurm does not know) counts at
once. Silence and halves may be somebody at work, so they must be seen twice, `grace_s` apart.
Every action asks again under the workflow's lock, and does nothing when the job has moved on.
"""

from __future__ import annotations

import logging
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import pymongo
from fireworks import fw_config
from fireworks.core.launchpad import LockedWorkflowError
from pymongo.client_session import ClientSession
from pymongo.errors import PyMongoError

from lycb_flows.errors import StoreError
from lycb_flows.launchpad import ServiceLaunchPad
from lycb_flows.launchpad.faults import FAULT, GIVEN_BACK, LOST, is_outage, why_unfinished
from lycb_flows.launchpad.identity import host_and_pid, is_gone
from lycb_flows.launchpad.locking import OwnedLock, stale_reason
from lycb_flows.launchpad.workers import COLLECTION as WORKERS
from lycb_flows.launchpad.workers import forget_workers
from lycb_flows.settings import load_settings

SIGHTINGS = "lycb_sightings"
_ENDED = {"COMPLETED", "FIZZLED"}
_FORGET_WORKERS_S = 86400.0
_SLURM_TIMEOUT_S = 30.0
_PASS_TIMEOUT_S = 300.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reaping:
    """One thing that was found.

    Attributes
    ----------
    what
        Kind of finding, see above.
    fw_id, name
        The job, or one of its workflow; None when there is none.
    why
        The evidence.
    action
        What is to be done.
    done
        Whether it was: not in a dry run, not before the second sighting, not when it was over.
    """

    what: str
    fw_id: int | None
    name: str
    why: str
    action: str
    done: bool = False


@dataclass(frozen=True)
class _Finding:
    """A reaping, with the evidence's identity and the act."""

    reaping: Reaping
    act: Callable[[], bool]
    evidence: str = ""
    """Of what must be seen twice; empty: certain."""


def reap(
    launchpad: ServiceLaunchPad,
    *,
    lost_after_s: float | None = None,
    grace_s: float | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
    extra: Callable[[], list[Reaping]] | None = None,
) -> list[Reaping]:
    """One pass.

    Parameters
    ----------
    launchpad
        Whose jobs.
    lost_after_s
        Silence after which a run is lost; by default the setting.
    grace_s
        Between two sightings of what may be somebody at work; by default two heartbeats.
    dry_run
        Only say what would be done.
    now
        The time, by default the database's.
    extra
        Called at the end; its findings are added.

    Returns
    -------
    list[Reaping]
        Everything found, also what has to be seen a second time.
    """
    settings = load_settings()
    reaper = _Reaper(
        launchpad,
        lost_after_s=settings.lost_after_s if lost_after_s is None else lost_after_s,
        grace_s=2 * settings.ping_s if grace_s is None else grace_s,
        dry_run=dry_run,
        now=now or launchpad.now(),
    )
    found = reaper.run()
    return found + (extra() if extra else [])


def serve(
    launchpad: ServiceLaunchPad,
    interval_s: float,
    *,
    say: Callable[[str], None],
    extra: Callable[[], list[Reaping]] | None = None,
) -> None:
    """Reap every `interval_s` until SIGTERM or Ctrl-C, through outages of the database."""
    asked: list[int] = []

    def hear(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        while not asked:
            _serve_once(launchpad, say, extra)
            until = time.monotonic() + interval_s
            while not asked and time.monotonic() < until:
                time.sleep(min(0.2, interval_s))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve_once(
    launchpad: ServiceLaunchPad,
    say: Callable[[str], None],
    extra: Callable[[], list[Reaping]] | None,
) -> None:
    try:
        with pymongo.timeout(min(_PASS_TIMEOUT_S, launchpad.outage_s)):
            found = reap(launchpad, extra=extra)
    except PyMongoError as err:
        if not is_outage(err):
            raise
        say(f"the database is away ({type(err).__name__}); trying again")
        return
    except StoreError as err:  # of `extra`: the result store is away, or locked
        say(str(err))
        return
    for one in found:
        if one.done:
            say(f"{one.what}: {one.name} ({one.fw_id}): {one.why}; {one.action}")


class _Reaper:
    """One pass over one LaunchPad."""

    def __init__(
        self,
        launchpad: ServiceLaunchPad,
        *,
        lost_after_s: float,
        grace_s: float,
        dry_run: bool,
        now: datetime,
    ) -> None:
        self.launchpad, self.lost_after_s, self.grace_s = launchpad, lost_after_s, grace_s
        self.dry_run, self.now = dry_run, now
        self.sightings = _Sightings(launchpad, now)

    def run(self) -> list[Reaping]:
        """Locks first: what they keep from being finished is found afterwards."""
        found: list[Reaping] = []
        for look in (self._locks, self._orphans, self._half_applied, self._active, self._faults):
            found += [self._decide(finding) for finding in look()]
        if not self.dry_run:
            self.sightings.keep()
            forget_workers(self.launchpad, older_s=_FORGET_WORKERS_S)
        return found

    def _decide(self, finding: _Finding) -> Reaping:
        """Act, unless it may be somebody at work."""
        reaping = finding.reaping
        if finding.evidence:
            left_s = self.grace_s - self.sightings.age_s(f"{reaping.what}: {finding.evidence}")
            if left_s > 0:
                again = f"{reaping.action}, if it is so in {left_s:.0f} s"
                return replace(reaping, action=again)
        if self.dry_run:
            return reaping
        try:
            return replace(reaping, done=finding.act())
        except (LockedWorkflowError, ValueError, RuntimeError) as err:
            logger.warning("%s of firework %s: %s", reaping.what, reaping.fw_id, err)
            return replace(reaping, why=f"{reaping.why}; not now: {err}")

    # -- locks ----------------------------------------------------------------------------

    def _locks(self) -> Iterator[_Finding]:
        fields = {"locked": 1, "updated_on": 1, "name": 1, "nodes": {"$slice": 1}}
        for row in self.launchpad.workflows.find({"locked": {"$exists": True}}, fields):
            why = stale_reason(row["locked"])
            reaping = Reaping(
                "stale lock",
                row["nodes"][0],
                row["name"],
                why or "locked and unchanged",
                "unlocked",
            )
            evidence = f"{row['_id']} {row['locked']} {row['updated_on']}"
            yield _Finding(reaping, _bind(self.launchpad.break_lock, row), "" if why else evidence)

    # -- halves ---------------------------------------------------------------------------

    def _orphans(self) -> Iterator[_Finding]:
        """Jobs first, then what workflows list: an addition in between is no orphan."""
        jobs = {
            row["fw_id"]: row for row in self.launchpad.fireworks.find({}, {"fw_id": 1, "name": 1})
        }
        listed: set[int] = set()
        for row in self.launchpad.workflows.find({}, {"nodes": 1}):
            listed.update(row["nodes"])
        for fw_id in sorted(set(jobs) - listed):
            reaping = Reaping(
                "orphan", fw_id, jobs[fw_id]["name"], "no workflow lists it", "deleted"
            )
            yield _Finding(reaping, _bind(self._delete_orphan, fw_id), str(fw_id))

    def _delete_orphan(self, fw_id: int) -> bool:
        pad = self.launchpad
        deleted: list[bool] = []

        def write(session: ClientSession) -> None:
            deleted.clear()
            if not pad.workflows.count_documents({"nodes": fw_id}, limit=1, session=session):
                pad.launches.update_many(
                    {"fw_id": fw_id}, {"$set": {"state": "ARCHIVED"}}, session=session
                )
                pad.fireworks.delete_one({"fw_id": fw_id}, session=session)
                deleted.append(True)

        with pad.connection.start_session() as session:
            session.with_transaction(write)
        return bool(deleted)

    def _half_applied(self) -> Iterator[_Finding]:
        """Plain FireWorks writes job by job, the workflow last: killed between, they disagree."""
        for row in self.launchpad.workflows.find(
            {"state": {"$nin": ["ARCHIVED", "COMPLETED"]}, "locked": {"$exists": False}}
        ):
            listed = {int(fw_id): state for fw_id, state in row["fw_states"].items()}
            jobs = self.launchpad.fireworks.find(
                {"fw_id": {"$in": row["nodes"]}, "state": {"$in": ["COMPLETED", "WAITING"]}},
                {"fw_id": 1, "name": 1, "state": 1},
            )
            for job in jobs:
                state, fw_id = job["state"], job["fw_id"]
                parents = row["parent_links"].get(str(fw_id), [])
                ready = all(listed.get(parent) == "COMPLETED" for parent in parents)
                unapplied = state == "COMPLETED" and listed.get(fw_id) != "COMPLETED"
                if unapplied or (state == "WAITING" and ready):
                    why = (
                        "done, but its workflow does not know"
                        if unapplied
                        else "nothing to wait for"
                    )
                    yield _Finding(
                        Reaping("unfinished business", fw_id, job["name"], why, "refreshed"),
                        _bind(self._apply_again, fw_id),
                        f"{fw_id} {state}",
                    )

    def _apply_again(self, fw_id: int) -> bool:
        """Let FireWorks see the change of state that makes it apply the action."""
        with OwnedLock(self.launchpad, fw_id):
            listed = self.launchpad.workflows.find_one({"nodes": fw_id}, {f"fw_states.{fw_id}": 1})[
                "fw_states"
            ]
            if listed.get(str(fw_id)) != "COMPLETED":
                self.launchpad.fireworks.update_one(
                    {"fw_id": fw_id, "state": "COMPLETED"}, {"$set": {"state": "RUNNING"}}
                )
        return self._refresh(fw_id)

    def _refresh(self, fw_id: int) -> bool:
        self.launchpad._refresh_wf(fw_id)  # noqa: SLF001 - FireWorks' own word for it
        return True

    # -- active jobs --------------------------------------------------------------------------

    def _active(self) -> Iterator[_Finding]:
        """RUNNING and RESERVED jobs, with their runs."""
        jobs = list(
            self.launchpad.fireworks.find(
                {"state": {"$in": ["RUNNING", "RESERVED"]}},
                {"fw_id": 1, "name": 1, "state": 1, "launches": 1, "updated_on": 1},
            )
        )
        launches = self._launches(launch for job in jobs for launch in job["launches"])
        slurm = find_slurm()  # after the launches: whatever they name was submitted before
        requeued = self._requeued()
        for job in jobs:
            runs = [launches[one] for one in job["launches"] if one in launches]
            yield from self._look_at(job, runs, slurm, requeued)

    def _look_at(
        self,
        job: Mapping[str, Any],
        runs: list[dict[str, Any]],
        slurm: Slurm | None,
        requeued: Mapping[str, int],
    ) -> Iterator[_Finding]:
        fw_id, reserved = job["fw_id"], job["state"] == "RESERVED"
        what = "lost reservation" if reserved else "lost run"
        ended = [run for run in runs if run["state"] in _ENDED]
        if not runs:
            why = f"{job['state']} without a run"
            yield _Finding(
                Reaping(what, fw_id, job["name"], why, "given back"),
                _bind(self._give_back, fw_id, None, {LOST: why}),
                f"{fw_id} {job['updated_on']}",
            )
        elif ended:
            yield self._ended(job, ended[-1])
        else:
            run = runs[-1]
            why = _certain(run, slurm, requeued)
            silent = "" if why or run["state"] == "RESERVED" else self._silence(run)
            if run["state"] == "RESERVED" and not _slurm_job(run)[0]:
                silent = "reserved, but never submitted"
            if why or silent:
                yield _Finding(
                    Reaping(what, fw_id, job["name"], why or silent, "given back"),
                    _bind(self._give_back, fw_id, run["launch_id"], {LOST: why or silent}),
                    "" if why else f"{run['launch_id']} {_last_ping(run)}",
                )

    def _ended(self, job: Mapping[str, Any], run: Mapping[str, Any]) -> _Finding:
        """Its worker wrote down the run's end, but not what follows from it."""
        why = why_unfinished(run["action"]) if run["state"] == "FIZZLED" else {}
        if why and self.launchpad.may_run_again(job["fw_id"], why):
            act = _bind(self._give_back, job["fw_id"], run["launch_id"], why)
            action = "given back"
        else:
            act, action = _bind(self._refresh, job["fw_id"]), "refreshed"
        ended = f"its run is {run['state']}"
        return _Finding(
            Reaping("unfinished business", job["fw_id"], job["name"], ended, action), act
        )

    def _give_back(self, fw_id: int, launch_id: int | None, why: dict[str, str]) -> bool:
        return self.launchpad.give_back(fw_id, launch_id, **why)

    def _silence(self, run: Mapping[str, Any]) -> str:
        """Plain `rlaunch` pings as FW_config.yaml says: by default once an hour."""
        ours = "lycb_owner" in _env(run)
        limit_s = self.lost_after_s if ours else float(fw_config.RUN_EXPIRATION_SECS)
        silent_s = (self.now - _last_ping(run)).total_seconds()
        return f"no heartbeat for {silent_s:.0f} s" if silent_s > limit_s else ""

    def _launches(self, launch_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        fields = {
            "launch_id": 1, "state": 1, "state_history": 1, "host": 1, "fworker": 1,
            "action.stored_data._exception": 1,
        }  # fmt: skip
        rows = self.launchpad.launches.find({"launch_id": {"$in": list(launch_ids)}}, fields)
        return {row["launch_id"]: row | {"action": row.get("action")} for row in rows}

    def _requeued(self) -> dict[str, int]:
        """Slurm job -> how often it was requeued, by the workers that it has started."""
        counts: dict[str, int] = {}
        for row in self.launchpad.db[WORKERS].find({"slurm_job": {"$ne": ""}}):
            before = counts.get(row["slurm_job"], 0)
            counts[row["slurm_job"]] = max(before, int(row["slurm_restarts"]))
        return counts

    # -- faults ---------------------------------------------------------------------------

    def _faults(self) -> Iterator[_Finding]:
        """Jobs that plain `rlaunch` fizzled, or a worker too often."""
        jobs = list(
            self.launchpad.fireworks.find(
                {"state": "FIZZLED", "launches": {"$ne": []}},
                {"fw_id": 1, "name": 1, "launches": 1},
            )
        )
        launches = self._launches(job["launches"][-1] for job in jobs)
        for job in jobs:
            run = launches.get(job["launches"][-1])
            why = why_unfinished(run["action"]) if run else {}
            if run and why and self.launchpad.may_run_again(job["fw_id"], why):
                told = why.get(FAULT) or why[GIVEN_BACK]
                yield _Finding(
                    Reaping("fault", job["fw_id"], job["name"], told, "given back"),
                    _bind(self._give_back, job["fw_id"], run["launch_id"], why),
                )


class _Sightings:
    """When something suspicious was seen first, kept in the database between passes."""

    def __init__(self, launchpad: ServiceLaunchPad, now: datetime) -> None:
        self._sightings, self._now = launchpad.db[SIGHTINGS], now
        self._before = {
            row["_id"]: row["first"].replace(tzinfo=UTC) for row in self._sightings.find({})
        }
        self._seen: set[str] = set()

    def age_s(self, evidence: str) -> float:
        """Seconds since this very evidence was seen first; 0 when it is new."""
        self._seen.add(evidence)
        first: datetime = self._before.get(evidence, self._now)
        return (self._now - first).total_seconds()

    def keep(self) -> None:
        """Write the new ones, forget those that are over."""
        for evidence in self._seen - set(self._before):
            self._sightings.update_one(
                {"_id": evidence}, {"$setOnInsert": {"first": self._now}}, upsert=True
            )
        over = set(self._before) - self._seen
        if over:
            self._sightings.delete_many({"_id": {"$in": sorted(over)}})


# -- evidence ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Slurm:
    """What the Slurm of this machine knows.

    Attributes
    ----------
    states
        Its pending and running jobs.
    hosts
        Its nodes and this machine: only their job numbers are this Slurm's.
    """

    states: Mapping[str, str]
    hosts: frozenset[str]


def find_slurm() -> Slurm | None:
    """None where there is no Slurm, or it does not answer."""
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
        done = subprocess.run(  # noqa: S603 - our own words, by PATH as users have it
            command, capture_output=True, text=True, timeout=_SLURM_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else None


def _certain(run: Mapping[str, Any], slurm: Slurm | None, requeued: Mapping[str, int]) -> str:
    """Why a run is certainly over; empty when it may go on."""
    owner = _env(run).get("lycb_owner", "")
    if run["state"] == "RUNNING" and owner and is_gone(owner):
        return f"{host_and_pid(owner)} is gone"
    job, restarts = _slurm_job(run)
    if not job or slurm is None or _short(run["host"]) not in slurm.hosts:
        return ""
    if job not in slurm.states:
        return f"Slurm job {job} is gone"
    if run["state"] == "RUNNING" and (
        slurm.states[job] == "PENDING" or requeued.get(job, 0) > restarts
    ):
        return f"Slurm job {job} was requeued"
    return ""


def _slurm_job(run: Mapping[str, Any]) -> tuple[str, int]:
    """The Slurm job of a run, and how often that was requeued before; ("", 0) without."""
    env = _env(run)
    if env.get("slurm_job"):
        return env["slurm_job"], int(env["slurm_restarts"])
    reserved = [entry.get("reservation_id") for entry in run["state_history"]]
    return str(next((one for one in reserved if one), "")), 0


def _env(run: Mapping[str, Any]) -> Mapping[str, str]:
    return (run.get("fworker") or {}).get("env") or {}


def _last_ping(run: Mapping[str, Any]) -> datetime:
    entry = run["state_history"][-1]
    time_ = entry.get("updated_on") or entry["created_on"]
    parsed = datetime.fromisoformat(time_) if isinstance(time_, str) else time_
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _short(host: str) -> str:
    return host.partition(".")[0]


def _bind(act: Callable[..., bool], *args: object) -> Callable[[], bool]:
    return lambda: act(*args)

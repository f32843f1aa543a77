"""One pass of the reaper: what it looks for in the queue, and what it does about it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from fireworks import fw_config
from fireworks.core.launchpad import LockedWorkflowError
from pymongo.client_session import ClientSession

from lycb_flows.service.launchpad import (
    CLAIM,
    FAULT,
    GIVEN_BACK,
    LOST,
    OwnedLock,
    ServiceLaunchPad,
    forget_workers,
    give_back_lost,
    give_up,
    is_gone,
    is_last_loss,
    patience_s,
    requeue_counts,
    stale_reason,
    why_given_up,
    why_unfinished,
)
from lycb_flows.service.reaper.evidence import (
    PendingReaping,
    Reaping,
    Sightings,
    Slurm,
    certain_end,
    env_of,
    find_slurm,
    last_ping,
    slurm_job,
    worker_is_gone,
)

_ENDED = {"COMPLETED", "FIZZLED"}
_FORGET_WORKERS_S = 86400.0

logger = logging.getLogger(__name__)


class Pass:
    """One pass over one LaunchPad.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    lost_after_s
        Seconds without a heartbeat after which a run of our workers is lost.
    grace_s
        Seconds between the two sightings of uncertain evidence.
    dry_run
        Whether to report only.
    now
        Time of the pass.
    """

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
        self.sightings = Sightings(launchpad, now)

    def run(self) -> list[Reaping]:
        """Look for every kind of finding and act; return all findings.

        Locks come first, as later looks find what a stale lock has kept unfinished.
        """
        found: list[Reaping] = []
        looks = (
            self._locks,
            self._orphans,
            self._half_applied,
            self._active,
            self._faults,
            self._forgotten,
        )
        for look in looks:
            found += [self._decide(finding) for finding in look()]
        if not self.dry_run:
            self.sightings.keep()
            forget_workers(self.launchpad, older_s=_FORGET_WORKERS_S)
        return found

    def _decide(self, finding: PendingReaping) -> Reaping:
        """Act on a finding, unless a live process may be the reason for it."""
        reaping = finding.reaping
        if finding.evidence:
            grace_s = self.grace_s if finding.grace_s is None else finding.grace_s
            left_s = grace_s - self.sightings.age_s(f"{reaping.what}: {finding.evidence}")
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

    def _locks(self) -> Iterator[PendingReaping]:
        fields = {"locked": 1, "updated_on": 1, "name": 1, "nodes": {"$slice": 1}}
        for row in self.launchpad.workflows.find({"locked": {"$exists": True}}, fields):
            why = stale_reason(row["locked"])
            reason = why or "locked and unchanged"
            reaping = Reaping("stale lock", row["nodes"][0], row["name"], reason, "unlocked")
            evidence = f"{row['_id']} {row['locked']} {row['updated_on']}"
            yield PendingReaping(
                reaping,
                _bind(self.launchpad.break_lock, row),
                "" if why else evidence,
                patience_s(row["locked"], self.grace_s),
            )

    # -- halves ---------------------------------------------------------------------------

    def _orphans(self) -> Iterator[PendingReaping]:
        """Find jobs that no workflow lists.

        The jobs are read before the workflows, so that a job added in between is no orphan.
        """
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
            yield PendingReaping(reaping, _bind(self._delete_orphan, fw_id), str(fw_id))

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

    def _half_applied(self) -> Iterator[PendingReaping]:
        """Find jobs that disagree with their workflow.

        Plain FireWorks writes job by job and the workflow last, and may be killed in between.
        """
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
                    yield PendingReaping(
                        Reaping("unfinished business", fw_id, job["name"], why, "refreshed"),
                        _bind(self._apply_again, fw_id),
                        f"{fw_id} {state}",
                    )

    def _apply_again(self, fw_id: int) -> bool:
        """Apply a job's action again: FireWorks does so only when the job's state changes."""
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
        self.launchpad.refresh_workflow(fw_id)
        return True

    # -- active jobs --------------------------------------------------------------------------

    def _active(self) -> Iterator[PendingReaping]:
        """Find RUNNING and RESERVED jobs whose run is over."""
        jobs = list(
            self.launchpad.fireworks.find(
                {"state": {"$in": ["RUNNING", "RESERVED"]}},
                {"fw_id": 1, "name": 1, "state": 1, "launches": 1, "updated_on": 1, CLAIM: 1},
            )
        )
        launches = self._launches(launch for job in jobs for launch in job["launches"])
        slurm = find_slurm()  # after the launches: the jobs that they name are known to it by now
        requeued = requeue_counts(self.launchpad)
        for job in jobs:
            runs = [launches[number] for number in job["launches"] if number in launches]
            yield from self._look_at(job, runs, slurm, requeued)

    def _look_at(
        self,
        job: Mapping[str, Any],
        runs: list[dict[str, Any]],
        slurm: Slurm | None,
        requeued: Mapping[str, int],
    ) -> Iterator[PendingReaping]:
        fw_id, reserved = job["fw_id"], job["state"] == "RESERVED"
        what = "lost reservation" if reserved else "lost run"
        ended = [run for run in runs if run["state"] in _ENDED]
        if not runs:
            dead = is_gone(job.get(CLAIM, "").partition(" ")[0])
            why = f"{job['state']} without a run{', and its worker is gone' * dead}"
            yield PendingReaping(
                Reaping(what, fw_id, job["name"], why, "given back"),
                _bind(self._give_back, fw_id, None, {LOST: why}),
                "" if dead else f"{fw_id} {job['updated_on']}",
            )
        elif ended:
            yield self._ended(job, ended[-1])
        else:
            run = runs[-1]
            why = certain_end(run, slurm, requeued)
            silent = "" if why or run["state"] == "RESERVED" else self._silence(run)
            if run["state"] == "RESERVED" and not slurm_job(run)[0]:
                silent = "reserved, but never submitted"
            if why or silent:
                yield self._lost(what, job, run, why, silent)

    def _lost(
        self, what: str, job: Mapping[str, Any], run: Mapping[str, Any], why: str, silent: str
    ) -> PendingReaping:
        """Give a lost run's job back, or up when it has killed its workers too often."""
        fw_id, launch_id, reason = job["fw_id"], run["launch_id"], why or silent
        if is_last_loss(self.launchpad, fw_id, launch_id):
            act, action = _bind(give_up, self.launchpad, launch_id, reason), "given up"
        else:
            act = _bind(give_back_lost, self.launchpad, fw_id, launch_id, reason)
            action = "given back"
        return PendingReaping(
            Reaping(what, fw_id, job["name"], reason, action),
            act,
            "" if why else f"{launch_id} {last_ping(run)}",
        )

    def _ended(self, job: Mapping[str, Any], run: Mapping[str, Any]) -> PendingReaping:
        """Complete a run whose worker wrote its end, but not what follows from it."""
        why = why_unfinished(run["action"]) if run["state"] == "FIZZLED" else {}
        if why and self.launchpad.may_run_again(job["fw_id"], why):
            act = _bind(self._give_back, job["fw_id"], run["launch_id"], why)
            action = "given back"
        else:
            act, action = _bind(self._refresh, job["fw_id"]), "refreshed"
        ended = f"its run is {run['state']}"
        reaping = Reaping("unfinished business", job["fw_id"], job["name"], ended, action)
        certain = worker_is_gone(run)  # a live worker may be about to do it
        return PendingReaping(reaping, act, "" if certain else f"{run['launch_id']} {run['state']}")

    def _give_back(self, fw_id: int, launch_id: int | None, why: dict[str, str]) -> bool:
        return self.launchpad.give_back(fw_id, launch_id, **why)

    def _silence(self, run: Mapping[str, Any]) -> str:
        """Return for how long a run was silent; empty when that is not too long.

        Plain `rlaunch` follows FW_config.yaml and may send a heartbeat only once an hour.
        """
        ours = "lycb_owner" in env_of(run)
        limit_s = self.lost_after_s if ours else float(fw_config.RUN_EXPIRATION_SECS)
        silent_s = (self.now - last_ping(run)).total_seconds()
        return f"no heartbeat for {silent_s:.0f} s" if silent_s > limit_s else ""

    def _launches(self, launch_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        fields = {
            "launch_id": 1, "state": 1, "state_history": 1, "host": 1, "fworker": 1,
            "action.stored_data._exception": 1,
        }  # fmt: skip
        rows = self.launchpad.launches.find({"launch_id": {"$in": list(launch_ids)}}, fields)
        return {row["launch_id"]: row | {"action": row.get("action")} for row in rows}

    # -- faults ---------------------------------------------------------------------------

    def _faults(self) -> Iterator[PendingReaping]:
        """Find jobs that are FIZZLED although only their machine failed.

        Plain `rlaunch` leaves such; and a job that was given up may turn out to be one, when
        others have come through that were lost there, too.
        """
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
            if run and why_given_up(run["action"]):
                yield from self._reconsider(job, run)
            elif run and why and self.launchpad.may_run_again(job["fw_id"], why):
                reason = why.get(FAULT) or why[GIVEN_BACK]
                yield PendingReaping(
                    Reaping("fault", job["fw_id"], job["name"], reason, "given back"),
                    _bind(self._give_back, job["fw_id"], run["launch_id"], why),
                )

    def _reconsider(
        self, job: Mapping[str, Any], run: Mapping[str, Any]
    ) -> Iterator[PendingReaping]:
        fw_id, launch_id = job["fw_id"], run["launch_id"]
        if not is_last_loss(self.launchpad, fw_id, launch_id):
            why = "other jobs were lost there as well, and have come through since"
            act = _bind(self._give_back, fw_id, launch_id, {GIVEN_BACK: why})
            yield PendingReaping(
                Reaping("given-up job", fw_id, job["name"], why, "given back"), act
            )

    # -- runs that no job counts ------------------------------------------------------------

    def _forgotten(self) -> Iterator[PendingReaping]:
        """Find active launches that no job counts; FireWorks' `rerun_fw` leaves such behind."""
        active = {"state": {"$in": ["RUNNING", "RESERVED"]}}
        for row in self.launchpad.launches.find(active, {"launch_id": 1, "fw_id": 1}):
            launch_id = row["launch_id"]
            if not self.launchpad.fireworks.count_documents({"launches": launch_id}, limit=1):
                reaping = Reaping(
                    "forgotten run",
                    row["fw_id"],
                    f"launch {launch_id}",
                    "its job was started anew",
                    "archived",
                )
                yield PendingReaping(reaping, _bind(self._archive, launch_id), str(launch_id))

    def _archive(self, launch_id: int) -> bool:
        self.launchpad.archive_launches([launch_id], {LOST: "its job was started anew"}, None)
        return True


def _bind(act: Callable[..., bool], *args: object) -> Callable[[], bool]:
    return lambda: act(*args)

"""Short jobs as a stream: a worker claims many at once, and writes their ends together.

A job of FireWorks costs some 30 commands of the database, most of them to write down that one job
was taken and that it ended. Where jobs of one kind are short, a worker claims as many as it runs
in about a second. Each still has a document of its own, a run of its own, which is written when it
starts and when it ends, and a result of its own. Only its workflow learns of its end a little
later, together with the others.

Nothing is lost when the worker dies: claimed jobs are RESERVED without a run, and the reaper gives
them back; jobs whose end the workflow does not know have a run that is COMPLETED, and the reaper
refreshes them. Where a job takes longer than the others did, the ends are written and the claims
given up while it runs.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fireworks import Firework, FWAction, FWorker
from fireworks.core.firework import Launch
from fireworks.core.launchpad import LockedWorkflowError
from pymongo import ASCENDING, DESCENDING, ReplaceOne
from pymongo.errors import PyMongoError

from lycb_flows.service.launchpad.described import load_claimed
from lycb_flows.service.launchpad.ends import complete_runs
from lycb_flows.service.launchpad.faults import (
    UNLOADABLE,
    DatabaseGoneError,
    RefusedJobError,
)
from lycb_flows.service.launchpad.near import is_plain
from lycb_flows.service.launchpad.pad import ServiceLaunchPad, may_pass
from lycb_flows.store.outages import is_outage, patiently

CLAIM = "lycb_claim"
"""Field of a RESERVED job without a run: the process that will run it soon, and a number."""
MOST_TOGETHER = 64
_TOGETHER_S, _LATE_S = 1.0, 2.0
_ORDER = [("spec._priority", DESCENDING), ("created_on", ASCENDING)]
_FUNCTION = "spec._tasks.job.function"
_KIND = {
    "fw_id": 1, "launches": 1, "spec._category": 1, "spec.step": 1, "spec._tasks._fw_name": 1,
    f"{_FUNCTION}.@module": 1,
    f"{_FUNCTION}.@callable": 1, f"{_FUNCTION}.@bound.@class": 1,
    **{f"spec.{name}": 1 for name in ("_dupefinder", "_trackers", "_launch_dir", "_recovery")},
}  # fmt: skip
_OF_ONE_KIND = {"_category", "step", "_tasks"}

logger = logging.getLogger(__name__)


@dataclass
class _Run:
    """A job of the stream that runs or has ended."""

    fw_id: int
    launch: Launch
    kind: str
    started: float = field(default_factory=time.monotonic)


class Stream:
    """Stands in for the LaunchPad of one worker's jobs; call `close` at the end.

    Parameters
    ----------
    launchpad
        The LaunchPad; jobs that are not short are taken and completed by its own methods.
    """

    def __init__(self, launchpad: ServiceLaunchPad) -> None:
        self._pad = launchpad
        self._guard = threading.RLock()
        self._numbers = itertools.count()
        self._in_doubt = ""
        self._claimed: deque[dict[str, Any]] = deque()
        self._launch_ids: deque[int] = deque()
        self._current: _Run | None = None
        self._launch_id: int | None = None
        self._unwritten: list[_Run] = []
        self._ended: list[_Run] = []
        self._usual_s: dict[str, float] = {}
        self._next: tuple[int, str] = (-1, "")
        self._alone: tuple[str, float] | None = None
        self._moved_at = time.monotonic()
        self._watcher: threading.Thread | None = None
        self._closing = threading.Event()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever FireWorks asks of a LaunchPad
        """Return what the LaunchPad has under a name."""
        return getattr(self._pad, name)

    @property
    def is_running(self) -> bool:
        """Whether the job that runs is one of a stream."""
        return self._current is not None

    # -- taking jobs --------------------------------------------------------------------------

    def look(self, fworker: FWorker, at_most: int | None) -> bool:
        """Return whether there is a job; where the next ones are short, claim them.

        Parameters
        ----------
        fworker
            The worker, with the categories and the query of its jobs.
        at_most
            Number of jobs that it may still run; None: no limit.
        """
        if self._claimed:
            return True
        if self._in_doubt:
            self._unclaim({CLAIM: self._in_doubt})
            self._in_doubt = ""
        query = {**fworker.query, "state": "READY"}
        row = self._pad.fireworks.find_one(query, _KIND, sort=_ORDER)
        if row is None:
            return False
        self._next = (row["fw_id"], _kind_of(row))
        n = MOST_TOGETHER if at_most is None else min(MOST_TOGETHER, at_most)
        usual_s = self._usual_s.get(self._next[1], _TOGETHER_S)  # of a job without kind, too
        n = min(n, int(_TOGETHER_S / max(usual_s, 1e-3)))
        if n > 1:
            self._claim(query, n)
        return True

    def _claim(self, query: Mapping[str, Any], n: int) -> None:
        """Claim the first jobs of a query as far as they are of one kind."""
        fireworks, token = self._pad.fireworks, f"{self._pad.owner} {next(self._numbers)}"
        rows = fireworks.find(query, _KIND, sort=_ORDER, limit=n)
        same = itertools.takewhile(lambda row: _kind_of(row) == self._next[1], rows)
        ids = [row["fw_id"] for row in same]
        mine = {"state": "RESERVED", "updated_on": datetime.now(UTC), CLAIM: token}
        with self._guard:
            self._in_doubt = token  # until the claims have been read
            fireworks.update_many({"fw_id": {"$in": ids}, "state": "READY"}, {"$set": mine})
            claimed = list(fireworks.find({"fw_id": {"$in": ids}, CLAIM: token}, sort=_ORDER))
            claimed = self._only_listed(claimed)
            missing = len(claimed) - len(self._launch_ids)
            if missing > 0:
                change = {"$inc": {"next_launch_id": missing}}
                first = self._pad.fw_id_assigner.find_one_and_update({}, change)["next_launch_id"]
                self._launch_ids.extend(range(first, first + missing))
            self._claimed.extend(claimed)
            self._in_doubt, self._moved_at = "", time.monotonic()
        self._watch()

    def _only_listed(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Give back jobs that no workflow lists, as plain FireWorks may still be adding them."""
        ids = [row["fw_id"] for row in rows]
        listed: set[int] = set()
        for workflow in self._pad.workflows.aggregate(
            [
                {"$match": {"nodes": {"$in": ids}}},
                {"$project": {"here": {"$setIntersection": ["$nodes", ids]}}},
            ]
        ):
            listed.update(workflow["here"])
        unlisted = [fw_id for fw_id in ids if fw_id not in listed]
        if unlisted:
            self._unclaim({"fw_id": {"$in": unlisted}})
        for fw_id in unlisted:
            self._pad.listener.avoid(fw_id)
        return [row for row in rows if row["fw_id"] in listed]

    def checkout_fw(
        self,
        fworker: FWorker,
        launch_dir: str,
        *args: Any,  # noqa: ANN401 - FireWorks' own
        **options: Any,  # noqa: ANN401 - likewise
    ) -> tuple[Firework, int] | tuple[None, None]:
        """Take the next claimed job or, without any, the next job of the LaunchPad.

        Parameters
        ----------
        fworker
            The worker, with the categories and the query of its jobs.
        launch_dir
            The folder that the job will run in.
        *args, **options
            What else FireWorks' method takes.

        Returns
        -------
        tuple
            The job and its launch's id; (None, None) when there is no job for this worker.
        """
        self._current = self._alone = self._launch_id = None
        with self._guard:
            was_claimed = bool(self._claimed)
            while self._claimed:
                firework = self._start(self._claimed.popleft(), fworker, launch_dir)
                if firework is not None and self._launch_id is not None:
                    self._pad.listener.started(firework, self._launch_id)
                    return firework, self._launch_id
        if was_claimed:  # they were paused or cancelled meanwhile
            self.flush()
            return None, None
        taken = self._pad.checkout_fw(fworker, launch_dir, *args, **options)
        self._launch_id, self._moved_at = taken[1], time.monotonic()
        if taken[0] is not None and taken[0].fw_id == self._next[0] and self._next[1]:
            self._alone = (self._next[1], time.monotonic())
        return taken

    def _start(self, row: dict[str, Any], fworker: FWorker, launch_dir: str) -> Firework | None:
        """Begin the run of a claimed job, and write the end of the one before."""
        try:
            firework = load_claimed(row)
        except UNLOADABLE as err:
            reason = f"{type(err).__name__}: {err}"
            self._pad.put_back(RefusedJobError(row["fw_id"], reason))
            return None
        launch_id, fw_id = self._launch_ids.popleft(), row["fw_id"]
        launch = Launch("RUNNING", launch_dir, fworker, launch_id=launch_id, fw_id=fw_id)
        started = self._pad.fireworks.update_one(
            {"fw_id": fw_id, "state": "RESERVED", CLAIM: row[CLAIM]},
            {
                "$set": {"state": "RUNNING", "updated_on": datetime.now(UTC)},
                "$push": {"launches": launch_id},
                "$unset": {CLAIM: ""},
            },
        )
        if not started.matched_count:
            return None
        self._write_launches(
            [ReplaceOne({"launch_id": launch_id}, launch.to_db_dict(), upsert=True)]
        )
        self._current, self._launch_id = _Run(fw_id, launch, self._next[1]), launch_id
        self._moved_at = self._current.started
        return firework

    # -- running and ending -------------------------------------------------------------------

    def ping_launch(
        self, launch_id: int, ptime: datetime | None = None, checkpoint: object = None
    ) -> None:
        """Write a heartbeat, unless the run's start has just been written or the run is over.

        FireWorks' thread sends a last one when the run has ended.

        Parameters
        ----------
        launch_id, ptime, checkpoint
            As of the LaunchPad's own method.
        """
        is_late = time.monotonic() - self._moved_at > _LATE_S
        has_news = isinstance(checkpoint, Mapping) and bool(checkpoint.get("_task_n"))
        if launch_id == self._launch_id and (is_late or has_news):
            self._pad.ping_launch(launch_id, ptime, checkpoint)

    def complete_launch(
        self, launch_id: int, action: FWAction | None = None, state: str = "COMPLETED"
    ) -> dict[str, Any]:
        """Write how a launch ended; of a stream's jobs from which nothing follows, together.

        Parameters
        ----------
        launch_id, action, state
            As of the LaunchPad's own method.
        """
        run, alone = self._current, self._alone
        self._current = self._alone = self._launch_id = None
        if run is not None and state == "COMPLETED" and is_plain(action):
            run.launch.state, run.launch.action = state, action
            now = time.monotonic()
            took_s = now - run.started
            self._usual_s[run.kind] = (self._usual_s.get(run.kind, took_s) + took_s) / 2
            with self._guard:
                self._unwritten.append(run)
                self._moved_at = now
            self._pad.listener.ended(launch_id, state, "")
            if not self._claimed:
                self.flush()
            return {}
        if run is not None:
            self.flush()
            self._usual_s.pop(run.kind, None)
        done = self._pad.complete_launch(launch_id, action, state)
        if alone is not None and done and state == "COMPLETED" and is_plain(action):
            self._usual_s[alone[0]] = time.monotonic() - alone[1]
        return done

    def flush(self) -> None:
        """Write the ends of the stream's jobs into their workflows; repeated through outages.

        Raises
        ------
        DatabaseGoneError
            When the database stays away for the LaunchPad's `outage_s`.
        LockedWorkflowError
            When others keep a workflow locked as long; the reaper then writes what is missing.
        """
        with self._guard:
            try:
                patiently(self._write_ends, self._pad.outage_s, may_pass)
            except PyMongoError as err:
                if is_outage(err):
                    raise DatabaseGoneError("the database stayed away when jobs ended") from err
                raise

    def _write_ends(self) -> None:
        if self._unwritten:
            self._write_launches([])
        while self._ended:
            done = complete_runs(
                self._pad, {run.fw_id: run.launch.launch_id for run in self._ended}
            )
            self._ended = [run for run in self._ended if run.fw_id not in done]

    def release(self) -> None:
        """Give up the claims of jobs that were not begun."""
        with self._guard:
            tokens = {row[CLAIM] for row in self._claimed} | {self._in_doubt} - {""}
            if tokens:
                self._unclaim({CLAIM: {"$in": sorted(tokens)}})
            self._claimed.clear()
            self._in_doubt = ""

    def _unclaim(self, claims: Mapping[str, Any]) -> None:
        self._pad.fireworks.update_many(
            {"state": "RESERVED", **claims}, {"$set": {"state": "READY"}, "$unset": {CLAIM: ""}}
        )

    def close(self) -> None:
        """Give up the claims and write the ends; what the database refuses the reaper does."""
        self._closing.set()
        if self._watcher is not None:
            self._watcher.join()
        self._settle()

    def _write_launches(self, more: list[ReplaceOne[dict[str, Any]]]) -> None:
        """Write the ends of runs, unless they were taken away meanwhile, and more."""
        ends = [
            ReplaceOne(
                {"launch_id": run.launch.launch_id, "state": "RUNNING"}, run.launch.to_db_dict()
            )
            for run in self._unwritten
        ]
        self._pad.launches.bulk_write([*ends, *more])
        self._ended += self._unwritten
        self._unwritten = []

    # -- jobs that take longer than the others ------------------------------------------------

    def _watch(self) -> None:
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._relieve, daemon=True, name="stream")
            self._watcher.start()

    def _relieve(self) -> None:
        """Give up claims and write ends while a job takes long, or the worker waits."""
        while not self._closing.wait(_LATE_S / 2):
            held = self._claimed or self._unwritten or self._ended
            if held and time.monotonic() - self._moved_at > _LATE_S:
                self._settle()

    def _settle(self) -> None:
        for act in (self.release, self.flush):
            try:
                act()
            except (PyMongoError, LockedWorkflowError, SystemExit) as err:
                logger.warning("a stream's jobs are left to the reaper: %s", type(err).__name__)


def _kind_of(row: Mapping[str, Any]) -> str:
    """Return what jobs of equal cost have in common; empty for a job that is taken alone."""
    spec = row["spec"]
    if row["launches"] or set(spec) - _OF_ONE_KIND:
        return ""
    return " ".join(str(spec.get(name)) for name in sorted(_OF_ONE_KIND))

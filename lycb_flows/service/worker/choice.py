"""Which jobs a worker takes: at its method versions, and none that it had to leave."""

from __future__ import annotations

import time
from typing import Any

import pymongo
from fireworks import FWorker
from pymongo.errors import PyMongoError

from lycb_flows.service.launchpad import (
    METHODS,
    RECORD,
    ServiceLaunchPad,
    find_workers,
    methods_digest,
    query_of,
    set_query,
)
from lycb_flows.store import method_versions

_AVOID_LONGEST_S = 600.0
_SETTLING_S = 10.0  # workers that start together are registered after this


class JobChoice:
    """The query of a worker's jobs.

    Parameters
    ----------
    fworker
        The worker, with categories and a query of its user's.
    avoid_s
        Seconds before a job that was given back is taken again; doubled every time.
    """

    def __init__(self, fworker: FWorker, avoid_s: float) -> None:
        self._fworker, self._avoid_s = fworker, avoid_s
        self._of_user = query_of(fworker)
        self._avoided: dict[int, tuple[float, float]] = {}
        self._refused: set[int] = set()
        self._refused_records: set[str] = set()
        self._methods = methods_digest(method_versions())

    def avoid(self, fw_id: int) -> None:
        """Leave a job that was given back alone for a while, which doubles every time."""
        _, waited_s = self._avoided.get(fw_id, (0.0, self._avoid_s / 2))
        wait_s = min(2 * waited_s, _AVOID_LONGEST_S)
        self._avoided[fw_id] = (time.monotonic() + wait_s, wait_s)

    def refuse(self, fw_id: int, record: str) -> None:
        """Leave a job that cannot be loaded here alone, with all jobs of its campaign."""
        if record:
            self._refused_records.add(record)
        else:
            self._refused.add(fw_id)

    def possible(self) -> dict[str, Any]:
        """Return the query of the jobs that this worker can do, whatever their category."""
        mine = {f"spec.{METHODS}": {"$in": [self._methods, None]}}
        tests = [mine, *([self._of_user] if self._of_user else [])]
        if self._refused_records:
            tests.append({f"spec.{RECORD}": {"$nin": sorted(self._refused_records)}})
        if self._refused:
            tests.append({"fw_id": {"$nin": sorted(self._refused)}})
        return {"$and": tests}

    def now(self) -> FWorker:
        """Return the worker with the query of the jobs that it takes at this moment."""
        at = time.monotonic()
        avoided = [fw_id for fw_id, (until, _) in self._avoided.items() if until > at]
        tests = [self.possible(), *([{"fw_id": {"$nin": avoided}}] if avoided else [])]
        set_query(self._fworker, {"$and": tests})
        return self._fworker

    def later(self) -> FWorker:
        """Return a worker with the query of all jobs that it may take, now or later."""
        return FWorker(self._fworker.name, self._fworker.category, self.possible())

    def none_left(self, launchpad: ServiceLaunchPad, timeout_s: float, idle_s: float) -> bool:
        """Return whether no job runs that could add others, and no job is ready for any worker.

        Parameters
        ----------
        launchpad
            The LaunchPad.
        timeout_s
            Seconds to wait for its database.
        idle_s
            Seconds since this worker has run a job.
        """
        fireworks = launchpad.fireworks
        try:
            with pymongo.timeout(timeout_s):
                if fireworks.find_one({"state": {"$in": ["RUNNING", "RESERVED"]}}, {"_id": 1}):
                    return False
                if launchpad.run_exists(self.later()):
                    return False
                possible = {"$and": [{"state": "READY"}, self.possible()]}
                ready = set(fireworks.distinct("spec._category", possible))
                workers = find_workers(launchpad)
        except PyMongoError:
            return False
        if not ready:
            return True
        taken = any(not ready.isdisjoint(worker.categories or ready) for worker in workers)
        return not taken and idle_s > _SETTLING_S

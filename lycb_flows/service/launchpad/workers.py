"""The register of workers in the LaunchPad's database: which are alive, and what they run."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
from pymongo import WriteConcern
from pymongo.errors import PyMongoError

from lycb_flows.machine.settings import load_settings
from lycb_flows.service.launchpad.identity import is_gone, this_process
from lycb_flows.service.launchpad.pad import ServiceLaunchPad
from lycb_flows.service.launchpad.writing import methods_digest
from lycb_flows.store import method_versions

COLLECTION = "lycb_workers"
LEFT, BROKEN = "left", "broken"
_TIMEOUT_S = 5.0
_ALIVE_PINGS = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerRecord:
    """One worker's entry in the register.

    Attributes
    ----------
    owner
        Its process, as its launches name it.
    categories
        Categories of the jobs that it takes; empty: all.
    state
        idle, running, full disk, no database, left, or broken: it has left after failures.
    alive
        Whether it has not left, was seen lately, and its process is not known to be dead.
    seen_s
        Seconds since it was last seen, by the database's clock.
    fw_id, job
        The job that it runs, if any.
    n_jobs
        How many jobs it has run.
    methods
        Digest of its method versions; empty for a worker of a version without.
    trouble
        Why it is broken.
    """

    owner: str
    name: str
    host: str
    pid: int
    categories: tuple[str, ...]
    device: str
    slurm_job: str
    state: str
    alive: bool
    started_at: datetime
    seen_at: datetime
    seen_s: float
    fw_id: int | None
    job: str
    n_jobs: int
    methods: str
    trouble: str


def slurm_place() -> dict[str, str]:
    """Return the Slurm job of this process and how often it was requeued; empty without Slurm."""
    job = os.environ.get("SLURM_JOB_ID", "")
    restarts = os.environ.get("SLURM_RESTART_COUNT", "0")
    return {"slurm_job": job, "slurm_restarts": restarts} if job else {}


class Registration:
    """The entry of this process in the register; while the database is away it is not updated.

    Parameters
    ----------
    launchpad
        The LaunchPad whose database has the register.
    name, categories, device
        The worker's name, the categories of jobs that it takes, and its torch device.
    """

    def __init__(
        self, launchpad: ServiceLaunchPad, *, name: str, categories: tuple[str, ...], device: str
    ) -> None:
        # a lost entry is written again at the next heartbeat: no need to wait for the disk
        self._workers = launchpad.db.get_collection(
            COLLECTION, write_concern=WriteConcern(w=1, j=False)
        )
        self._owner = launchpad.owner
        self._entry: dict[str, Any] = {
            "name": name,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "categories": list(categories),
            "device": device,
            "slurm_job": "",
            "slurm_restarts": "0",
            **slurm_place(),
            "started_at": launchpad.now(),
            "state": "idle",
            "fw_id": None,
            "job": "",
            "n_jobs": 0,
            "methods": methods_digest(method_versions()),
            "trouble": "",
        }

    def note(self, **changes: object) -> None:
        """Change fields of the entry; they are written with the next update."""
        self._entry |= changes

    def update(self, **changes: object) -> None:
        """Change fields of the entry, and write it; an absent database is only logged."""
        self._entry |= changes
        try:
            with pymongo.timeout(_TIMEOUT_S):
                self._workers.update_one(
                    {"_id": self._owner},
                    {"$set": self._entry, "$currentDate": {"seen_at": True}},
                    upsert=True,
                )
        except PyMongoError as err:
            logger.warning("not registered: %s", type(err).__name__)


def find_workers(
    launchpad: ServiceLaunchPad, *, silent_s: float | None = None, everyone: bool = False
) -> list[WorkerRecord]:
    """Return the registered workers, sorted by name.

    Parameters
    ----------
    launchpad
        The LaunchPad whose database has the register.
    silent_s
        Seconds without a heartbeat after which a worker does not count as alive; by default
        three intervals.
    everyone
        Whether to include those that left or died lately.
    """
    now = launchpad.now()
    silent_s = _ALIVE_PINGS * load_settings().ping_s if silent_s is None else silent_s
    records = [_record(row, now, silent_s) for row in launchpad.db[COLLECTION].find({})]
    wanted = [record for record in records if everyone or record.alive]
    return sorted(wanted, key=lambda record: record.name)


def forget_workers(launchpad: ServiceLaunchPad, *, older_s: float) -> int:
    """Delete old entries of the register.

    Parameters
    ----------
    launchpad
        The LaunchPad whose database has the register.
    older_s
        Seconds since a worker was seen last, above which its entry is deleted.

    Returns
    -------
    int
        Number of entries deleted.
    """
    before = launchpad.now() - timedelta(seconds=older_s)
    gone = launchpad.db[COLLECTION].delete_many({"seen_at": {"$lt": before}})
    return int(gone.deleted_count)


def _record(row: Mapping[str, Any], now: datetime, silent_s: float) -> WorkerRecord:
    seen_at = row["seen_at"].replace(tzinfo=UTC)
    seen_s = (now - seen_at).total_seconds()
    left = row["state"] in {LEFT, BROKEN} or is_gone(row["_id"])
    return WorkerRecord(
        owner=row["_id"],
        **{field: row[field] for field in ("name", "host", "pid", "device", "slurm_job", "state")},
        categories=tuple(row["categories"]),
        alive=not left and seen_s < silent_s,
        started_at=row["started_at"].replace(tzinfo=UTC),
        seen_at=seen_at,
        seen_s=seen_s,
        **{field: row[field] for field in ("fw_id", "job", "n_jobs")},
        **{field: row.get(field, "") for field in ("methods", "trouble")},
    )


def placed_here() -> dict[str, str]:
    """Return the process and the Slurm job that a launch keeps in its worker's `env`."""
    return {"lycb_owner": this_process(), **slurm_place()}


def requeue_counts(launchpad: ServiceLaunchPad) -> dict[str, int]:
    """Return how often each Slurm job was requeued, as the workers that it has started wrote."""
    counts: dict[str, int] = {}
    for row in launchpad.db[COLLECTION].find({"slurm_job": {"$ne": ""}}):
        before = counts.get(row["slurm_job"], 0)
        counts[row["slurm_job"]] = max(before, int(row["slurm_restarts"]))
    return counts

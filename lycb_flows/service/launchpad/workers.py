"""The register of workers in the LaunchPad's database: who is there, and at what."""

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

COLLECTION = "lycb_workers"
LEFT = "left"
_TIMEOUT_S = 5.0
_ALIVE_PINGS = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerRecord:
    """What is known of one worker.

    Attributes
    ----------
    owner
        Its process, as its launches name it.
    categories
        What it takes; empty: everything.
    state
        idle, running, full disk, no database, or left.
    alive
        It has not left, was seen lately, and its process is not known to be dead.
    seen_s
        Seconds since it was last seen, by the database's clock.
    fw_id, job
        What it runs, if anything.
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


def slurm_place() -> dict[str, str]:
    """The Slurm job that this process runs in, and how often it was requeued; or empty."""
    job = os.environ.get("SLURM_JOB_ID", "")
    restarts = os.environ.get("SLURM_RESTART_COUNT", "0")
    return {"slurm_job": job, "slurm_restarts": restarts} if job else {}


class Registration:
    """The entry of this process; an absent database only makes it old.

    Parameters
    ----------
    launchpad
        Where the register is.
    name, categories, device
        Of the worker.
    """

    def __init__(
        self, launchpad: ServiceLaunchPad, *, name: str, categories: tuple[str, ...], device: str
    ) -> None:
        # a lost entry is written again at the next beat: no waiting for the disk
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
        }

    def tell(self, **news: object) -> None:
        """Write the entry, with changes."""
        self._entry |= news
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
    """The workers that are alive, or also those that were, by name.

    Parameters
    ----------
    launchpad
        Where they are registered.
    silent_s
        Silence after which one is not called alive; by default three heartbeats.
    everyone
        Whether also those that left or died lately.
    """
    now = launchpad.now()
    silent_s = _ALIVE_PINGS * load_settings().ping_s if silent_s is None else silent_s
    found = [_record(row, now, silent_s) for row in launchpad.db[COLLECTION].find({})]
    return sorted((one for one in found if everyone or one.alive), key=lambda one: one.name)


def forget_workers(launchpad: ServiceLaunchPad, *, older_s: float) -> int:
    """Delete entries that were not seen for so long; returns how many."""
    before = launchpad.now() - timedelta(seconds=older_s)
    gone = launchpad.db[COLLECTION].delete_many({"seen_at": {"$lt": before}})
    return int(gone.deleted_count)


def _record(row: Mapping[str, Any], now: datetime, silent_s: float) -> WorkerRecord:
    seen_at = row["seen_at"].replace(tzinfo=UTC)
    seen_s = (now - seen_at).total_seconds()
    left = row["state"] == LEFT or is_gone(row["_id"])
    return WorkerRecord(
        owner=row["_id"],
        **{field: row[field] for field in ("name", "host", "pid", "device", "slurm_job", "state")},
        categories=tuple(row["categories"]),
        alive=not left and seen_s < silent_s,
        started_at=row["started_at"].replace(tzinfo=UTC),
        seen_at=seen_at,
        seen_s=seen_s,
        **{field: row[field] for field in ("fw_id", "job", "n_jobs")},
    )


def placed_here() -> dict[str, str]:
    """What a launch says of who runs it, in its worker's `env`."""
    return {"lycb_owner": this_process(), **slurm_place()}

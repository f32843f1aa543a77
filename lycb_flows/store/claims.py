"""Claims: which worker computes which key now, so that no result is paid for twice."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, PyMongoError

from lycb_flows.errors import GivenBackError, StoreError
from lycb_flows.machine import WALLTIME, Settings
from lycb_flows.store.outages import survives_outages

_BEATS_PER_CLAIM = 4


class Claims:
    """The claims of a database: one document per key, kept alive by a heartbeat.

    Parameters
    ----------
    database
        Where the claims are.
    settings
        Heartbeat, and patience with outages.
    """

    def __init__(self, database: Database[dict[str, Any]], settings: Settings) -> None:
        self.outage_s, self._beat_s = settings.outage_s, settings.ping_s
        self._claims = database["claims"]
        self._owner = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
        self._held: set[str] = set()
        self._beating: threading.Thread | None = None

    @contextlib.contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Claim a key; a process that cannot give its job back computes it all the same.

        Raises
        ------
        GivenBackError
            When another worker holds the key.
        """
        if key in self._held:
            yield
            return
        if not self._take(key):
            if WALLTIME.gives_back:
                raise GivenBackError("another worker computes this now", key=key)
            yield
            return
        self._held.add(key)
        self._start_beating()
        try:
            yield
        finally:
            self._held.discard(key)
            with contextlib.suppress(PyMongoError, StoreError):  # it goes stale by itself
                self._claims.delete_one({"_id": key, "owner": self._owner})

    @survives_outages
    def _take(self, key: str) -> bool:
        mine = {"owner": self._owner, "beat_at": datetime.now(UTC)}
        try:
            self._claims.insert_one({"_id": key, **mine})
        except DuplicateKeyError:
            free = {"$or": [{"owner": self._owner}, {"beat_at": {"$lt": self._stale_before()}}]}
            taken = self._claims.find_one_and_update({"_id": key, **free}, {"$set": mine})
            return taken is not None
        return True

    @survives_outages
    def forget_stale(self) -> int:
        """Delete claims whose owners are silent; return how many."""
        return int(
            self._claims.delete_many({"beat_at": {"$lt": self._stale_before()}}).deleted_count
        )

    def _stale_before(self) -> datetime:
        return datetime.now(UTC) - timedelta(seconds=_BEATS_PER_CLAIM * self._beat_s)

    def _start_beating(self) -> None:
        if self._beating is None or not self._beating.is_alive():
            self._beating = threading.Thread(target=self._beat, daemon=True, name="claims")
            self._beating.start()

    def _beat(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._beat_s):
            with contextlib.suppress(PyMongoError):
                self._claims.update_many(
                    {"owner": self._owner, "_id": {"$in": [*self._held]}},
                    {"$set": {"beat_at": datetime.now(UTC)}},
                )

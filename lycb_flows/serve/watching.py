"""The one poller of the store: all pages show what it saw last, however many are open."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from lycb_flows.schemas import CampaignRecord
from lycb_flows.serve import QUERIES, CampaignLook, Connection, Desk, Looker
from lycb_flows.service.launchpad import WorkerRecord, count_states, find_workers
from lycb_flows.store import Attempt, in_one_line

QUERIES_PER_S = 10.0
"""What the poller asks of a database at most, on average."""
_SHARE_OF_TIME = 0.25
_LOOK_ANYWAY_S = 60.0
_INTEREST_S = 120.0
_FIRST_LOOK_S, _AGAIN_S = 30.0, 2.0
_CONTENT = ("campaigns", "workers", "at_work", "attempts", "store")


@dataclass(frozen=True)
class Sight:
    """What the poller saw.

    Attributes
    ----------
    version
        Rises whenever something has changed.
    at
        When, in seconds since the epoch; 0 before the first look.
    campaigns
        By the time of their submission, the newest first.
    workers
        Those that are alive or left lately; none for a folder.
    at_work
        Tries that go on now, of the whole store.
    attempts
        Number of tries by outcome, of the whole store.
    store
        The store's address, without its password.
    trouble
        Why the last look failed; what is shown is older then.
    n_queries, took_s
        Commands that the last look sent to MongoDB, and its duration.
    """

    version: int = 0
    at: float = 0.0
    campaigns: tuple[CampaignLook, ...] = ()
    workers: tuple[WorkerRecord, ...] = ()
    at_work: tuple[Attempt, ...] = ()
    attempts: dict[str, int] = field(default_factory=dict)
    store: str = ""
    trouble: str = ""
    n_queries: int = 0
    took_s: float = 0.0

    def campaign(self, key: str) -> CampaignLook | None:
        """Return the campaign whose key starts so; None where there is none."""
        return next((each for each in self.campaigns if each.key.startswith(key)), None)


class Watch:
    """Looks at the store as long as somebody looks at a page, and tells when something changed.

    Parameters
    ----------
    desk
        Where the questions are asked.
    interval_s
        Time between two looks; longer where a look costs much.
    """

    def __init__(self, desk: Desk, interval_s: float = 5.0) -> None:
        self.desk, self.interval_s = desk, interval_s
        self.sight = Sight()
        self.n_streams = 0
        self._looker = Looker()
        self._seen: dict[str, tuple[object, float, CampaignLook]] = {}
        self._asked_at = 0.0
        self._wanted = asyncio.Event()
        self._n_looks = self._n_changes = 0
        self._looked = asyncio.Condition()

    async def now(self) -> Sight:
        """Return what was seen last; the first time, or after a pause, look first."""
        pause_s = max(2 * self.interval_s, 2 * self._rest_s())
        is_old = time.time() - self.sight.at > pause_s
        n_looks, self._asked_at = self._n_looks, time.monotonic()
        if is_old:
            self._wanted.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_S if self.sight.at else _FIRST_LOOK_S):
                    async with self._looked:
                        await self._looked.wait_for(lambda: self._n_looks > n_looks)
        return self.sight

    async def after(self, version: int) -> Sight:
        """Wait until something has changed since a version, and return what was seen."""
        async with self._looked:
            await self._looked.wait_for(lambda: self.sight.version > version)
        return self.sight

    def look_again(self) -> None:
        """Look at once, and at everything: somebody has changed something."""
        self._n_changes += 1
        self._wanted.set()

    async def keep_looking(self) -> None:
        """Look again and again, until it is cancelled."""
        while True:
            if not self.n_streams and time.monotonic() - self._asked_at > _INTEREST_S:
                await self._wanted.wait()
            self._wanted.clear()
            await self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rest_s()):
                    await self._wanted.wait()

    def _rest_s(self) -> float:
        """Return how long to wait so that neither database nor processor is kept busy."""
        sight = self.sight
        return max(self.interval_s, sight.n_queries / QUERIES_PER_S, sight.took_s / _SHARE_OF_TIME)

    async def _look(self) -> None:
        begin, n_before, before = time.monotonic(), QUERIES.n_commands, self.sight
        try:
            seen = await self.desk.ask(self._see)
        except Exception as err:  # noqa: BLE001 - nobody else looks
            seen = {"trouble": in_one_line(err)}
        content = {name: getattr(before, name) for name in _CONTENT} | {"trouble": ""} | seen
        differs = not before.at or any(getattr(before, k) != v for k, v in content.items())
        async with self._looked:
            self._n_looks += 1
            self.sight = Sight(
                version=before.version + differs,
                at=time.time(),
                n_queries=QUERIES.n_commands - n_before,
                took_s=time.monotonic() - begin,
                **content,
            )
            self._looked.notify_all()

    def _see(self, connection: Connection) -> dict[str, Any]:
        store, launchpad = connection.store, connection.launchpad
        n_changes = self._n_changes  # one made from here on is for the next look to see
        totals = {outcome: total.n for outcome, total in store.total_attempts().items()}
        records = _latest(list(store.find_all(CampaignRecord)))
        at_work = tuple(filter(is_at_work, store.attempts(outcome="running")))
        whole = ((n_changes, store.sizes(), tuple(sorted(totals.items()))), bool(at_work))
        return {
            "campaigns": tuple(self._look_at(connection, each, whole) for each in records),
            "workers": () if launchpad is None else tuple(find_workers(launchpad, everyone=True)),
            "at_work": at_work,
            "attempts": totals,
            "store": store.label,
        }

    def _look_at(
        self, connection: Connection, record: CampaignRecord, whole: tuple[object, bool]
    ) -> CampaignLook:
        """Return a campaign as it is now; as before where nothing can have changed."""
        launchpad = connection.launchpad
        states = None if launchpad is None else count_states(launchpad, record.name)
        fingerprint = (whole, str(states))
        before, at_s, look = self._seen.get(record.key, (None, 0.0, None))
        if look is None or before != fingerprint or time.monotonic() - at_s > _LOOK_ANYWAY_S:
            look = self._looker.look(connection, record, is_busy=whole[1])
            self._seen[record.key] = fingerprint, time.monotonic(), look
        return look


def is_at_work(attempt: Attempt) -> bool:
    """Return whether a try that has not ended goes on: its process, if it was one of here, lives.

    That is shown, and decides nothing.
    """
    if attempt.host != socket.gethostname():
        return True
    try:
        os.kill(attempt.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _latest(records: Sequence[CampaignRecord]) -> list[CampaignRecord]:
    """Return the records by the time of their submission, the newest first."""
    return sorted(records, key=lambda record: (record.made.ended_at, record.key), reverse=True)

"""The reaper: finds what died in the queue and puts it back; does it again and again, or once.

    lost run             its process or Slurm job is gone, or it is silent       -> given back
    lost reservation     RESERVED without a run, or its Slurm job is gone        -> given back
    unfinished business  the run has ended, its job or its children do not know  -> refreshed
    stale lock           nobody holds it any more                                -> unlocked
    orphan               a job that no workflow lists: half of an addition       -> deleted
    fault                FIZZLED although only database, store or disk failed    -> given back
    forgotten run        RUNNING, but its job was started anew                   -> archived

Certain evidence (a dead process on this machine, a job that Slurm does not know) counts at
once. Silence and halves may be somebody at work, so they must be seen twice, `grace_s` apart.
Every action asks again under the workflow's lock, and does nothing when the job has moved on.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from datetime import datetime
from types import FrameType

import pymongo
from pymongo.errors import PyMongoError

from lycb_flows.errors import StoreError
from lycb_flows.machine.settings import load_settings
from lycb_flows.service.launchpad import ServiceLaunchPad
from lycb_flows.service.reaper.findings import Pass, Reaping
from lycb_flows.store.outages import is_outage

__all__ = ["Reaping", "reap", "serve"]

_PASS_TIMEOUT_S = 300.0


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
    reaper = Pass(
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

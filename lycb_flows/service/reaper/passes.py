"""The reaper: finds runs that have died and gives their jobs back, once or repeatedly.

    lost run             its process or Slurm job is gone, or it is silent       -> given back
    lost reservation     RESERVED without a run, or its Slurm job is gone        -> given back
    unfinished business  the run has ended, its job or children are not updated  -> refreshed
    stale lock           its owner is dead                                       -> unlocked
    orphan               a job that no workflow lists: half of an addition       -> deleted
    fault                FIZZLED although only database, store or disk failed    -> given back
    forgotten run        RUNNING, but its job was started anew                   -> archived

Certain evidence (a dead process on this machine, a job that Slurm does not know) counts at
once. Silence and incomplete changes may come from a live process, so they must be seen twice,
`grace_s` apart. Every action looks again under the workflow's lock, and does nothing when the job
has moved on.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from datetime import datetime
from types import FrameType

import pymongo

from lycb_flows.machine.settings import load_settings
from lycb_flows.service.launchpad import ServiceLaunchPad
from lycb_flows.service.reaper.evidence import Reaping
from lycb_flows.service.reaper.findings import Pass
from lycb_flows.store import in_one_line

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
    """Look through the queue once, and give back the jobs whose runs have died.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    lost_after_s
        Seconds without a heartbeat after which a run is lost; by default the setting.
    grace_s
        Seconds between the two sightings of uncertain evidence; by default two heartbeats.
    dry_run
        Only report what would be done.
    now
        The time, by default the database's.
    extra
        Called at the end; its findings are added.

    Returns
    -------
    list[Reaping]
        All findings, also those that have to be seen a second time.
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
    """Reap again and again until SIGTERM or Ctrl-C, whatever a pass fails with.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    interval_s
        Seconds between two passes.
    say
        Receives a line for each action and each pass that failed.
    extra
        Called at the end of each pass; its findings are added.
    """
    signals: list[int] = []

    def hear(number: int, _frame: FrameType | None) -> None:
        signals.append(number)

    before = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        while not signals:
            _serve_once(launchpad, say, extra)
            until = time.monotonic() + interval_s
            while not signals and time.monotonic() < until:
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
    except Exception as err:  # noqa: BLE001 - no other process gives lost jobs back
        say(f"{in_one_line(err)}; the reaper goes on")
        return
    for reaping in found:
        if reaping.done:
            say(
                f"{reaping.what}: {reaping.name} ({reaping.fw_id}): {reaping.why}; {reaping.action}"
            )

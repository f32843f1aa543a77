"""A command of the user's, such as `mail`, when a campaign ends, a job fails or a worker stops."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pymongo.errors import DuplicateKeyError

from lycb_flows.machine.settings import load_settings
from lycb_flows.service.launchpad import (
    BROKEN,
    RECORD,
    ServiceLaunchPad,
    failure_of,
    find_workers,
)

COLLECTION = "lycb_notices"
_RECENT = timedelta(days=1)
_COMMAND_S = 60.0
_N_SHOWN = 5


@dataclass(frozen=True)
class Notice:
    """Something that somebody should know.

    Attributes
    ----------
    identity
        What is told once only.
    event
        ended, failed or broken.
    campaign, owner
        The campaign and who submitted it; empty for a worker.
    text
        In some lines.
    """

    identity: str
    event: str
    campaign: str
    owner: str
    text: str


def find_notices(launchpad: ServiceLaunchPad) -> Iterator[Notice]:
    """Yield what has happened in the last day, told or not.

    Parameters
    ----------
    launchpad
        The LaunchPad. A job that failed counts after two heartbeats, as another worker may try it.
    """
    named = {"metadata.campaign": {"$exists": True}}
    recent = named | _changed("$gt", launchpad.now() - _RECENT)
    fields = {"metadata": 1, "state": 1}
    for row in launchpad.workflows.find(
        recent | {"state": {"$in": ["COMPLETED", "FIZZLED"]}}, fields
    ):
        metadata = row["metadata"]
        name, owner = str(metadata["campaign"]), str(metadata.get("owner", ""))
        if row["state"] == "COMPLETED":
            text = f"The campaign {name} has ended. See `lycb report {name}` and `lycb results`."
            yield Notice(f"ended {metadata.get(RECORD)}", "ended", name, owner, text)
        elif RECORD in metadata:
            yield from _failures(launchpad, metadata[RECORD], name, owner)
    for worker in find_workers(launchpad, everyone=True):
        if worker.state == BROKEN:
            text = f"The worker {worker.name} on {worker.host} has stopped: {worker.trouble}"
            yield Notice(f"broken {worker.owner}", "broken", "", "", text)


def _failures(launchpad: ServiceLaunchPad, record: str, name: str, owner: str) -> Iterator[Notice]:
    """Yield a notice for the jobs of a campaign that are FIZZLED, anew when there is another."""
    before = launchpad.now() - timedelta(seconds=2 * load_settings().ping_s)
    query = {f"spec.{RECORD}": record, "state": "FIZZLED"} | _changed("$lt", before)
    rows = list(launchpad.fireworks.find(query, {"fw_id": 1, "name": 1, "launches": 1}))
    if not rows:
        return
    lines = [f"{row['name']}: {_why(launchpad, row)}" for row in rows[:_N_SHOWN]]
    lines += [f"and {len(rows) - _N_SHOWN} more"] if len(rows) > _N_SHOWN else []
    advice = f"See `lycb status {name}`; `lycb retry {name}` after mending."
    newest = max((run for row in rows for run in row["launches"]), default=0)
    text = "\n".join([f"{len(rows)} jobs of the campaign {name} failed.", *lines, advice])
    yield Notice(f"failed {record} {newest}", "failed", name, owner, text)


def _changed(operator: str, at: datetime) -> dict[str, Any]:
    """Return the query of what was changed after or before a time, in both forms of FireWorks."""
    return {"$or": [{"updated_on": {operator: form}} for form in (at, at.isoformat())]}


def _why(launchpad: ServiceLaunchPad, row: Mapping[str, Any]) -> str:
    last = {"launch_id": {"$in": row["launches"][-1:]}}
    run = launchpad.launches.find_one(last, {"action": 1}) or {}
    return failure_of(run.get("action")) or "no reason was kept"


def tell(launchpad: ServiceLaunchPad, command: str, say: Callable[[str], None]) -> int:
    """Run the user's command for everything that was not told yet.

    Parameters
    ----------
    launchpad
        The LaunchPad, whose database remembers what was told.
    command
        A line for the shell. It gets the text as its input, and LYCB_EVENT (ended, failed, broken),
        LYCB_CAMPAIGN and LYCB_OWNER as variables.
    say
        Receives a line for each command that failed; it is run again next time.

    Returns
    -------
    int
        How many were told.
    """
    register, n_told = launchpad.db[COLLECTION], 0
    for notice in list(find_notices(launchpad)):
        try:
            register.insert_one({"_id": notice.identity, "at": launchpad.now()})
        except DuplicateKeyError:
            continue
        failure = _run(command, notice)
        if failure:
            register.delete_one({"_id": notice.identity})
            say(f"the command of --notify failed: {failure}")
        n_told += not failure
    return n_told


def _run(command: str, notice: Notice) -> str:
    """Return why the command failed; empty when it did not."""
    variables = {"EVENT": notice.event, "CAMPAIGN": notice.campaign, "OWNER": notice.owner}
    environment = {**os.environ, **{f"LYCB_{name}": value for name, value in variables.items()}}
    try:
        done = subprocess.run(  # noqa: S602 - the user's own line
            command,
            shell=True,
            input=notice.text + "\n",
            env=environment,
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {_COMMAND_S:.0f} s"
    output = " ".join((done.stderr or done.stdout).split())[:200]
    return f"exit code {done.returncode}, {output}" if done.returncode else ""

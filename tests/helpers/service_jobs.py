"""Jobs without science, for tests of the service; workers import them by this name."""

import errno
import os
import time
from pathlib import Path

from jobflow import Flow, JobConfig, Response, job

_quiet = JobConfig(resolve_references=False, pass_manager_config=False)


def _note(folder, word):
    with (Path(folder) / "log").open("a") as log:
        log.write(f"{word}\n")


def notes(folder):
    """What jobs wrote, in order."""
    log = Path(folder) / "log"
    return log.read_text().split() if log.exists() else []


@job(config=_quiet)
def nothing(after=None):
    del after


@job(config=_quiet)
def note(folder, word, after=None):
    del after
    _note(folder, word)


@job(config=_quiet)
def wait(folder, word, seconds, after=None):
    """Note, then sleep until the file `go` is there or the time is over; note the end."""
    del after
    _note(folder, f"{word}:start")
    until = time.monotonic() + seconds
    while time.monotonic() < until and not (Path(folder) / "go").exists():
        time.sleep(0.02)
    _note(folder, f"{word}:end")


@job(config=_quiet)
def march(folder, n_steps, step_s):
    """Restart points, as segments are: goes on where it was left."""
    from lycb_flows.machine.walltime import WALLTIME  # noqa: PLC0415 - as a job that never ran under a worker

    done = sum(one == "step" for one in notes(folder))
    _note(folder, f"from:{done}")
    for _ in range(done, n_steps):
        WALLTIME.leave_if_over(step_s)
        time.sleep(step_s)
        _note(folder, "step")


@job(config=_quiet)
def needs(folder, word, variable):
    """Fails on a worker whose environment is broken, as where a package cannot be imported."""
    if os.environ.get(variable) == "broken":
        raise TypeError("'dict' object is not callable")
    _note(folder, word)


@job(config=_quiet)
def decide(folder, names, after=None):
    """Adds jobs, as a deciding job does: with new uuids every time."""
    del after
    _note(folder, "decide")
    jobs = []
    for name in names:
        one = named(note(folder, name), name)
        jobs.append(one)
    return Response(addition=Flow(jobs))


@job(config=_quiet)
def stumble(folder, kind, n_times):
    """Fails so often by its machine, then works."""
    from pymongo.errors import AutoReconnect  # noqa: PLC0415 - of the failure only

    from lycb_flows.errors import StoreError  # noqa: PLC0415 - likewise

    _note(folder, kind)
    failures = {
        "disk": OSError(errno.ENOSPC, "No space left on device"),
        "database": AutoReconnect("connection closed"),
        "store": StoreError("the database is away"),
        "own": ValueError("no such thing"),
    }
    if notes(folder).count(kind) <= n_times:
        raise failures[kind]


@job(config=_quiet)
def crawl(folder):
    """Claimed by somebody else until the file `go` is there."""
    from lycb_flows.errors import GivenBackError  # noqa: PLC0415 - as the store does

    _note(folder, "claimed")
    if not (Path(folder) / "go").exists():
        raise GivenBackError("busy")


@job(config=_quiet)
def shy(folder):
    """Sleeps, and tidies up slowly when it is stopped."""
    _note(folder, "shy")
    try:
        time.sleep(60)
    finally:
        _note(folder, "tidying")
        time.sleep(0.5)
        _note(folder, "tidied")


def named(one, name, category="light"):
    one.name = name
    one.update_config({"manager_config": {"_category": category}}, attributes=["manager_config"])
    return one

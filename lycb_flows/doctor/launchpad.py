"""Checks of the LaunchPad, its workers, and jobflow's store of outputs.

A check imports what it looks at, so that a broken part is one line and not the end.
"""
# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lycb_flows.config import parse_yaml
from lycb_flows.doctor.context import Context, compare_clocks, say_hello
from lycb_flows.errors import InputError, first_line
from lycb_flows.machine import Finding, NotApplicableError, counted

if TYPE_CHECKING:
    from lycb_flows.service.launchpad import ServiceLaunchPad


def look_at_launchpad(context: Context) -> Finding:
    """Check that the LaunchPad answers and lets us in.

    It is opened here for the checks that follow.
    """
    if not context.has_queue:
        raise NotApplicableError("embedded: no queue")
    from lycb_flows.machine import load_settings
    from lycb_flows.service.launchpad import load_launchpad

    secret = load_settings().launchpad_password
    context.hide(secret.get_secret_value() if secret else None)
    context.launchpad = load_launchpad(context.launchpad_path)
    context.hide(context.launchpad.password)
    hello = say_hello(context.launchpad.connection)
    where = f"{context.launchpad.name} on {hello.get('me', 'a sharded cluster')}"
    n_workflows = context.launchpad.workflows.estimated_document_count()
    return Finding(ok=True, found=f"{where}: {counted(n_workflows, 'workflow')}")


def look_at_launchpad_writes(context: Context) -> Finding:
    """Check that a document written to the LaunchPad comes back.

    It goes into a collection of its own, which is dropped again.
    """
    own = context.queue().db[f"lycb_doctor_{uuid.uuid4().hex}"]
    try:
        own.insert_one({"_id": 1})
        back = own.find_one({"_id": 1})
    finally:
        own.drop()
    if back is None:
        return Finding(ok=False, found="a document does not come back", fix="see mongod's log")
    return Finding(ok=True, found="a document, written and read back")


def look_at_launchpad_clock(context: Context) -> Finding:
    """Check that the LaunchPad's clock is ours.

    Where the clocks differ, a living worker's heartbeat looks old to a reaper.
    """
    return compare_clocks(context.queue().connection)


def look_at_categories(context: Context) -> Finding:
    """Check that jobs have the categories in my_fworker.yaml.

    A worker with a category that no job has would never find one.
    """
    from fireworks import fw_config

    from lycb_flows.campaign import CATEGORIES

    if not context.has_queue:
        raise NotApplicableError("embedded: no worker")
    path = Path(fw_config.FWORKER_LOC or "my_fworker.yaml")
    if not path.is_file():
        return Finding(None, f"no {path}: a worker without --category takes every job")
    try:
        category = parse_yaml(path.read_text(encoding="utf-8")).get("category") or ()
    except (yaml.YAMLError, AttributeError) as err:
        raise InputError(
            "not a worker's file", fix=f"correct {path}", path=path, reason=first_line(err)
        ) from err
    named = (category,) if isinstance(category, str) else tuple(map(str, category))
    unknown = [name for name in named if name not in CATEGORIES]
    if unknown:
        fix = f"name some of {', '.join(CATEGORIES)} in {path}"
        return Finding(ok=False, found=f"no job has the category {', '.join(unknown)}", fix=fix)
    return Finding(ok=True, found=f"{path}: {', '.join(named) or 'every job'}")


def look_at_workers(context: Context) -> Finding:
    """Check that every open job has a worker that takes it.

    Workers of plain `rlaunch` are in no register; they are known by their running jobs.
    """
    from lycb_flows.service.launchpad import find_workers

    launchpad = context.queue()
    alive = find_workers(launchpad)
    taken = {category for worker in alive for category in worker.categories}
    # plain rlaunch is in no register
    taken |= set(launchpad.launches.distinct("fworker.category", {"state": "RUNNING"}))
    n_jobs = _open_jobs(launchpad)
    found = f"{counted(len(alive), 'worker')} alive, {counted(sum(n_jobs.values()), 'job')} open"
    everything = any(not worker.categories for worker in alive) or "" in taken
    left = {} if everything else {name: n for name, n in n_jobs.items() if name not in taken}
    if not left:
        return Finding(ok=True, found=found)
    named = ", ".join(f"{n} {category or 'without category'}" for category, n in left.items())
    options = " ".join(f"--category {category}" for category in left if category)
    fix = f"start `lycb worker {options}`" if options else "start `rlaunch` for those"
    return Finding(ok=False, found=f"{found}; nobody takes {named}", fix=fix)


def _open_jobs(launchpad: ServiceLaunchPad) -> dict[str, int]:
    """Return category -> jobs that wait or are ready; the empty string for no category."""
    rows = launchpad.fireworks.aggregate(
        [
            {"$match": {"state": {"$in": ["READY", "WAITING"]}}},
            {"$group": {"_id": "$spec._category", "n": {"$sum": 1}}},
            {"$sort": {"_id": 1}},
        ]
    )
    return {row["_id"] or "": row["n"] for row in rows}


def look_at_job_store(context: Context) -> Finding:
    """Check that the outputs of plain rlaunch are kept.

    `lycb worker` brings its own store; plain `rlaunch` uses jobflow's, which is in memory unless
    configured.
    """
    if not context.has_queue:
        raise NotApplicableError("embedded: nothing reads it")
    import jobflow
    from maggma.stores import MemoryStore

    configured: Any = jobflow.SETTINGS.JOB_STORE
    stores = [configured.docs_store, *configured.additional_stores.values()]
    kinds = ", ".join(type(store).__name__ for store in stores)
    if any(isinstance(store, MemoryStore) for store in stores):
        found = f"{kinds}: what plain rlaunch makes would be nowhere"
        fix = "use `lycb worker`, or configure MongoStores in jobflow.yaml"
        return Finding(None, found, fix)
    return Finding(ok=True, found=kinds)

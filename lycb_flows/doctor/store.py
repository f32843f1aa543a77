"""Checks of the settings and the result store.

A check imports what it looks at, so that a broken part is one line and not the end.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from lycb_flows.doctor.context import (
    Context,
    compare_clocks,
    find_room,
    nearest_folder,
    say_hello,
    write_file,
)
from lycb_flows.errors import InputError
from lycb_flows.machine import Finding, NotApplicableError, in_full
from lycb_flows.store import now, open_store

_OUTAGE_S = 5.0


def look_at_settings(context: Context) -> Finding:
    """Report where the settings come from."""
    path = context.settings.settings_file
    return Finding(ok=True, found=f"{path}" if path.is_file() else f"defaults; no {path}")


def look_at_store(context: Context) -> Finding:
    """Check that the result store opens.

    It stays open for the checks that follow. A folder without a store is no fault.
    """
    if context.in_mongodb:
        from lycb_flows.store import connect  # noqa: PLC0415 - see above

        context.store = connect(
            context.address, context.settings.model_copy(update={"outage_s": _OUTAGE_S})
        )
        return Finding(ok=True, found=context.store.label)
    if "://" in context.address:
        raise InputError("neither a folder nor mongodb://", fix="correct `store` in the settings")
    folder = in_full(Path(context.address))
    if not (folder / "results.sqlite").is_file():
        write_file(nearest_folder(folder))
        return Finding(None, f"none in {folder} yet; the first campaign makes it")
    context.store = open_store(folder, create=False)
    return Finding(ok=True, found=context.store.label)


def look_at_replica_set(context: Context) -> Finding:
    """Check that the database is a replica set.

    A standalone mongod loses acknowledged writes when it is killed.
    """
    hello = say_hello(context.database().client)
    if hello.get("msg") == "isdbgrid":
        return Finding(ok=True, found="a sharded cluster")
    if not hello.get("setName"):
        return Finding(
            ok=False,
            found="a standalone mongod: it loses acknowledged writes when killed",
            fix="start it with --replSet rs0 and run rs.initiate() once",
        )
    return Finding(ok=True, found=f"{hello['setName']} of {len(hello['hosts'])}")


def look_at_writes(context: Context) -> Finding:
    """Check that what is written comes back.

    The note that it writes is the only trace of an examination.
    """
    store, value = context.opened(), {"examined_at": now()}
    store.set_note("doctor", value)
    if store.note("doctor") != value:
        return Finding(
            ok=False, found="a note comes back changed", fix="check the database's log and disk"
        )
    return Finding(ok=True, found="a note, written and read back")


def look_at_blobs(context: Context) -> Finding:
    """Check that a blob can be written, read and deleted again."""
    blobs, content = context.opened().blobs, f"lycb doctor {uuid.uuid4().hex}".encode()
    blob = blobs.put(content, "text/plain")
    try:
        blobs.read(blob)
    finally:
        blobs.delete(blob.sha256)
    if blobs.has(blob.sha256):
        return Finding(ok=False, found="a blob cannot be deleted", fix="check the blobs' rights")
    return Finding(ok=True, found=f"{_blob_place(context)}: written, read, deleted")


def _blob_place(context: Context) -> str:
    return str(getattr(context.opened().blobs, "folder", "GridFS"))


def look_at_space(context: Context) -> Finding:
    """Check that there is room where results and blobs go.

    Hosted databases do not say how full their disk is.
    """
    blobs, free_bytes = _blob_place(context), {}
    if blobs != "GridFS":
        free_bytes[blobs] = shutil.disk_usage(nearest_folder(Path(blobs))).free
    if context.in_mongodb:
        sizes = context.database().command("dbStats")
        if "fsTotalSize" in sizes:  # hosted databases do not say it
            free_bytes["the database"] = sizes["fsTotalSize"] - sizes["fsUsedSize"]
    if not free_bytes:
        raise NotApplicableError("the database does not say it")
    return find_room(free_bytes, context, "free disk space, e.g. with `lycb gc`")


def look_at_clock(context: Context) -> Finding:
    """Check that the result store's clock is ours.

    Where the clocks differ, a living worker's claim looks old to another worker.
    """
    return compare_clocks(context.database().client)

"""Blobs that nothing names any more, removed in two phases: listed, then swept a day later.

    list   blobs and leftovers of killed writers, older than 7 days, that are named by no
           document, live or withdrawn, no attempt and no claim; the list is kept in the store
    sweep  those of a list at least a day old that nobody has written since, and that still
           nothing names

A blob is written before the document that names it, hence the ages. A folder of blobs
belongs to one store: those of another store would be garbage in it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lycb_flows.errors import InputError
from lycb_flows.store.blobs import StoredBlob
from lycb_flows.store.results import ResultStore

MIN_AGE = timedelta(days=7)
"""Younger blobs may belong to a document that is still to come."""
SHOWN_FOR = timedelta(days=1)
"""So long a list is there to be read before its blobs go."""
MAX_LISTED = 20_000
"""A list is one small note of 2 MB; what does not fit, the oldest first, comes after a sweep."""
_NOTE = "garbage"
# what blob stores call their own: blobs, then leftovers of a folder and of GridFS; files that
# somebody else has put into the folder stay
_OWN_NAME = re.compile(r"[0-9a-f]{64}|\.writing-\w+|uploading [0-9a-f]{24}|[0-9a-f]{24}")


@dataclass(frozen=True)
class ListedBlob:
    """A line of a list; `listed_at` is when it came onto the lists, without a gap since."""

    name: str
    size: int
    listed_at: datetime


@dataclass(frozen=True)
class Garbage:
    """Blobs that nothing names, the oldest first.

    Attributes
    ----------
    blobs
        The list.
    n_left_out
        Blobs beyond MAX_LISTED: on the list after the next sweep.
    """

    blobs: tuple[ListedBlob, ...]
    n_left_out: int

    @property
    def n_bytes(self) -> int:
        """The size of the listed blobs."""
        return _bytes(self.blobs)


@dataclass(frozen=True)
class Swept:
    """Blobs that a sweep has removed or, dry, would remove.

    Attributes
    ----------
    removed
        The blobs.
    n_spared
        Listed long enough, but named, written again, or gone meanwhile.
    n_waiting
        Not yet listed for a day.
    dry
        Whether nothing was removed.
    """

    removed: tuple[ListedBlob, ...]
    n_spared: int
    n_waiting: int
    dry: bool

    @property
    def n_bytes(self) -> int:
        """The size of the removed blobs."""
        return _bytes(self.removed)


def list_garbage(store: ResultStore, *, now: datetime, min_age: timedelta = MIN_AGE) -> Garbage:
    """List the blobs that nothing names and keep the list in the store; nothing is removed.

    Parameters
    ----------
    store
        Where documents and blobs are.
    now
        The time, with a time zone.
    min_age
        Age of blobs to list. Less than a job may take from writing a blob to naming it is unsafe.
    """
    old = {
        blob.name: blob
        for blob in store.blobs.stored()
        if _OWN_NAME.fullmatch(blob.name) and now - blob.written_at >= min_age
    }
    unnamed = _unnamed(store, old)
    before = {blob.name: blob.listed_at for blob in _read_list(store) or ()}
    found = sorted((old[name] for name in unnamed), key=lambda blob: (blob.written_at, blob.name))
    blobs = tuple(
        ListedBlob(blob.name, blob.size, _listed_since(blob, before, now))
        for blob in found[:MAX_LISTED]
    )
    _keep_list(store, blobs)
    return Garbage(blobs, len(found) - len(blobs))


def sweep(store: ResultStore, *, now: datetime, dry: bool = True) -> Swept:
    """Remove the blobs that were listed at least a day ago and are garbage still.

    Parameters
    ----------
    store
        Where documents and blobs are.
    now
        The time, with a time zone.
    dry
        Only return what would be removed.

    Raises
    ------
    InputError
        When no list was ever shown.
    """
    listed = _read_list(store)
    if listed is None:
        raise InputError(
            "no list of garbage was ever shown", fix="run `lycb gc`, read it, sweep a day later"
        )
    due = {blob.name: blob for blob in listed if now - blob.listed_at >= SHOWN_FOR}
    unnamed = _unnamed(store, due)
    removed = {}
    for found in store.blobs.stored():
        if found.name in unnamed and found.written_at <= due[found.name].listed_at:
            if not dry:
                store.blobs.delete(found.name)
            removed[found.name] = due[found.name]
    waiting = [blob for blob in listed if blob.name not in due]
    if not dry:
        _keep_list(store, waiting)
    return Swept(tuple(removed.values()), len(due) - len(removed), len(waiting), dry)


def _unnamed(store: ResultStore, names: Collection[str]) -> set[str]:
    """Return the names that occur nowhere in the store's rows; no rows are kept in memory."""
    left = set(names)
    if left:
        for row in store.rows():
            _forget_named(row, left)
    return left


def _forget_named(row: dict[str, Any], names: set[str]) -> None:
    """Drop every name that is a value somewhere in the row, in a Blob or alone."""
    unread: list[Any] = [row]
    while unread:
        value = unread.pop()
        if isinstance(value, str):
            names.discard(value)
        elif isinstance(value, dict):
            unread.extend(value.values())
        elif isinstance(value, list):
            unread.extend(value)


def _listed_since(blob: StoredBlob, before: dict[str, datetime], now: datetime) -> datetime:
    """Return when a blob came onto the lists; written again since, it begins anew."""
    since = before.get(blob.name, now)
    return since if blob.written_at <= since else now


def _read_list(store: ResultStore) -> list[ListedBlob] | None:
    note = store.note(_NOTE)
    if note is None:
        return None
    return [
        ListedBlob(name, size, datetime.fromisoformat(listed_at))
        for name, size, listed_at in note["blobs"]
    ]


def _keep_list(store: ResultStore, blobs: Collection[ListedBlob]) -> None:
    rows = [[blob.name, blob.size, blob.listed_at.isoformat()] for blob in blobs]
    store.set_note(_NOTE, {"blobs": rows})


def _bytes(blobs: Collection[ListedBlob]) -> int:
    return sum(blob.size for blob in blobs)

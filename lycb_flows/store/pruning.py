"""Trajectories that were dropped to save space, remembered so that nobody takes them for lost.

What was measured from them stays; a new analysis of them is no longer possible.
"""

from __future__ import annotations

from collections.abc import Iterable

from lycb_flows.schemas import Blob
from lycb_flows.store.key_notes import KeyNotes
from lycb_flows.store.results import ResultStore


def pruned_blobs(store: ResultStore) -> set[str]:
    """Return the SHA-256 of every blob that was pruned and is not there again."""
    return {sha256 for sha256 in _notes(store).noted() if not store.blobs.has(sha256)}


def prune(store: ResultStore, blobs: Iterable[Blob]) -> int:
    """Remove blobs and remember that they were removed on purpose, first of all.

    Parameters
    ----------
    store
        Where they are.
    blobs
        Blobs that are still named by documents.

    Returns
    -------
    int
        Bytes that were freed.
    """
    freed = 0
    for blob in blobs:
        if store.blobs.has(blob.sha256):
            _notes(store).change(add=[blob.sha256])
            store.blobs.delete(blob.sha256)
            freed += blob.size
    return freed


def _notes(store: ResultStore) -> KeyNotes:
    return KeyNotes(store, "pruned")

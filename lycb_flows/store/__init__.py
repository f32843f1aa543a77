"""The result store: documents by key, attempts, blobs, in a folder or in MongoDB."""

from __future__ import annotations

from lycb_flows.store.results import (
    MONGODB_SCHEMES,
    Attempt,
    AttemptId,
    Edges,
    MadeNow,
    Outcome,
    Record,
    ResultStore,
    Totals,
    differences,
    now,
    open_store,
)

__all__ = [
    "MONGODB_SCHEMES",
    "Attempt",
    "AttemptId",
    "Edges",
    "MadeNow",
    "Outcome",
    "Record",
    "ResultStore",
    "Totals",
    "differences",
    "now",
    "open_store",
]

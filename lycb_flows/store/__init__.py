"""The result store: documents by key, attempts, blobs, in a folder or in MongoDB."""

from __future__ import annotations

from lycb_flows.store.opening import MONGODB_SCHEMES, open_store
from lycb_flows.store.provenance import MadeNow, now
from lycb_flows.store.records import Attempt, AttemptId, Edges, Outcome, Record, Totals
from lycb_flows.store.results import ResultStore, differences

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

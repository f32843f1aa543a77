"""The result store: documents by key, attempts, blobs, in a folder or in MongoDB."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lycb_flows.store.catalogue import Row, catalogue_columns, is_behind, mark_current
from lycb_flows.store.copies import differences
from lycb_flows.store.kinds import QUANTITIES, all_kinds, document_class, method_versions
from lycb_flows.store.opening import MONGODB_SCHEMES, open_store
from lycb_flows.store.provenance import MadeNow, now, user_name
from lycb_flows.store.records import Attempt, AttemptId, Edges, Outcome, Record, Totals, pages
from lycb_flows.store.results import ResultStore

if TYPE_CHECKING:
    from lycb_flows.store.mongodb import MongoStore
    from lycb_flows.store.parents import load_crystal
    from lycb_flows.store.trajectories import trajectory_of

__all__ = [
    "MONGODB_SCHEMES",
    "QUANTITIES",
    "Attempt",
    "AttemptId",
    "Edges",
    "MadeNow",
    "MongoStore",
    "Outcome",
    "Record",
    "ResultStore",
    "Row",
    "Totals",
    "all_kinds",
    "catalogue_columns",
    "differences",
    "document_class",
    "is_behind",
    "load_crystal",
    "mark_current",
    "method_versions",
    "now",
    "open_store",
    "pages",
    "trajectory_of",
    "user_name",
]
_IMPORTED_LATER = {
    "MongoStore": "mongodb",
    "load_crystal": "parents",
    "trajectory_of": "trajectories",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Return what a name stands for, imported now: pymongo, pymatgen and h5py take a while."""
    if name in _IMPORTED_LATER:
        return getattr(import_module(f"{__name__}.{_IMPORTED_LATER[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)

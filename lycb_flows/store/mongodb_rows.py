"""Documents as rows of MongoDB's collections."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from lycb_flows.store.records import AttemptId, Record, damaged, seal_of

_TYPES: dict[str, tuple[type, ...]] = dict.fromkeys(Record.__dataclass_fields__, (str,)) | {
    **dict.fromkeys(("facts", "made"), (dict,)),
    **dict.fromkeys(("parents", "products"), (list, dict)),
    **dict.fromkeys(("method_version", "schema_version"), (int,)),
}
_DUPLICATE_KEY = 11000


def insert_new(collection: Collection[dict[str, Any]], rows: list[dict[str, Any]]) -> int:
    """Insert the rows that are not there yet; return how many those were.

    Raises
    ------
    BulkWriteError
        When a row was refused, or the majority did not confirm them; all may be inserted again.
    """
    try:
        collection.insert_many(rows, ordered=False)
    except BulkWriteError as err:
        refused = {each["code"] for each in err.details["writeErrors"]} - {_DUPLICATE_KEY}
        if refused or err.details.get("writeConcernErrors"):
            raise
        return int(err.details["nInserted"])
    return len(rows)


def row_of(record: Record, n_withdrawn: int, attempt: AttemptId | None = None) -> dict[str, Any]:
    """Return a document as a row; `_id` is the key, or key.1, key.2, ... after withdrawals."""
    _id = f"{record.key}.{n_withdrawn}" if n_withdrawn else record.key
    beside = {"attempt": attempt, "withdrawn": None, "seal": seal_of(record)}
    return {"_id": _id, **asdict(record), **beside}


def record_in(row: dict[str, Any]) -> Record:
    """Return the record that a row keeps.

    Raises
    ------
    StoreError
        When a field of it is gone, or of another type.
    """
    for name, kinds in _TYPES.items():
        if not isinstance(row.get(name), kinds):
            reason = f"its field {name} is {type(row.get(name)).__name__}"
            raise damaged(str(row.get("key", row["_id"])), reason)
    return Record(**{name: row[name] for name in _TYPES})

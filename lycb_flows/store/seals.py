"""Seals of documents: the SHA-256 of what was stored, kept beside it, and what else a check reads.

Documents of before seals have none, until `lycb verify --seal` vouches for them as they are now.
"""

from __future__ import annotations

import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lycb_flows.errors import StoreError
from lycb_flows.store.records import Record

if TYPE_CHECKING:  # pymongo takes a while
    from pymongo.database import Database

TABLE = """
CREATE TABLE IF NOT EXISTS seals (
    key TEXT NOT NULL, generation INTEGER NOT NULL, seal TEXT NOT NULL,
    PRIMARY KEY (key, generation)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class StoredRecord:
    """A record as `lycb verify` finds it, live or withdrawn.

    Attributes
    ----------
    key
        Its key.
    record
        None where it cannot be read, or is gone.
    seal
        What `seal_of` was when it came; None for a document of before seals.
    live
        Whether it is not withdrawn.
    """

    key: str
    record: Record | None
    seal: str | None
    live: bool = True


class Seals(ABC):
    """What a check of a store reads, past all that repairs or hides."""

    @abstractmethod
    def records(self) -> Iterator[StoredRecord]:
        """Yield every record with its seal, live or withdrawn, in no order."""

    @abstractmethod
    def find(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the seals of live documents by key, where they have one."""

    @abstractmethod
    def add(self, seals: Mapping[str, str]) -> None:
        """Keep the seals of live documents that have none, by key."""

    @abstractmethod
    def edges(self) -> Iterator[tuple[str, str]]:
        """Yield the edges (ancestor, descendant) that are kept beside the documents."""

    @abstractmethod
    def keeps_edges_of(self, record: Record) -> bool:
        """Return whether the edges of a record are kept beside it."""

    @abstractmethod
    def withdrawn_keys(self) -> set[str]:
        """Return the keys that were ever withdrawn."""

    def faults(self) -> list[str]:
        """Return what the database itself finds wrong with its file."""
        return []


class SqliteSeals(Seals):
    """The seals of an embedded store, a table of their own.

    Parameters
    ----------
    db
        Connection to the store's file.
    read
        Makes a record of a row of documents; raises StoreError.
    """

    def __init__(self, db: sqlite3.Connection, read: Callable[[sqlite3.Row], Record]) -> None:
        self._db, self._read = db, read

    def records(self) -> Iterator[StoredRecord]:
        """Yield every record with its seal, then the seals whose documents are gone."""
        for row in self._db.execute(
            "SELECT d.*, seal, generation = (SELECT count(*) FROM tombstones t WHERE t.key = d.key)"
            " AS live FROM documents d LEFT JOIN seals USING (key, generation)"
        ):
            try:
                record = self._read(row)
            except StoreError:
                record = None
            yield StoredRecord(row["key"], record, row["seal"], bool(row["live"]))
        for key, seal in self._db.execute(
            "SELECT key, seal FROM seals WHERE NOT EXISTS (SELECT 1 FROM documents d "
            "WHERE d.key = seals.key AND d.generation = seals.generation)"
        ):
            yield StoredRecord(key, None, seal)

    def find(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the seals of live documents by key, where they have one."""
        rows = self._db.execute(
            "SELECT key, seal FROM seals WHERE key IN (SELECT value FROM json_each(?)) AND "
            "generation = (SELECT count(*) FROM tombstones t WHERE t.key = seals.key)",
            (json.dumps(list(keys)),),
        )
        return {row["key"]: row["seal"] for row in rows}

    def add(self, seals: Mapping[str, str]) -> None:
        """Keep the seals of live documents that have none, by key."""
        self.put(seals.items())

    def put(self, seals: Iterable[tuple[str, str]]) -> None:
        """Keep (key, seal) of documents that are live now; earlier seals stay."""
        self._db.executemany(
            "INSERT INTO seals VALUES (?1, (SELECT count(*) FROM tombstones WHERE key = ?1), ?2) "
            "ON CONFLICT DO NOTHING",
            seals,
        )

    def edges(self) -> Iterator[tuple[str, str]]:
        """Yield the edges (ancestor, descendant)."""
        rows = self._db.execute("SELECT ancestor, descendant FROM edges")
        return ((ancestor, descendant) for ancestor, descendant in rows)

    def keeps_edges_of(self, record: Record) -> bool:
        """Return True: all edges are kept."""
        del record
        return True

    def withdrawn_keys(self) -> set[str]:
        """Return the keys that were ever withdrawn."""
        return {key for (key,) in self._db.execute("SELECT DISTINCT key FROM tombstones")}

    def faults(self) -> list[str]:
        """Return what SQLite finds wrong with its file."""
        found = [text for (text,) in self._db.execute("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found


class MongoSeals(Seals):
    """The seals of a MongoDB store, a field of each document.

    Parameters
    ----------
    database
        Database of the store.
    read
        Makes a record of a row of documents.
    """

    def __init__(
        self, database: Database[dict[str, Any]], read: Callable[[dict[str, Any]], Record]
    ) -> None:
        self._documents, self._edges = database["documents"], database["edges"]
        self._read = read

    def records(self) -> Iterator[StoredRecord]:
        """Yield every record with its seal, live or withdrawn."""
        for row in self._documents.find({}):
            try:
                record = self._read(row)
            except StoreError:
                record = None
            key, live = str(row.get("key", row["_id"])), row.get("withdrawn") is None
            yield StoredRecord(key, record, row.get("seal"), live)

    def find(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the seals of live documents by key, where they have one."""
        query = {"key": {"$in": list(keys)}, "withdrawn": None, "seal": {"$type": "string"}}
        rows = self._documents.find(query, {"key": 1, "seal": 1})
        return {row["key"]: row["seal"] for row in rows}

    def add(self, seals: Mapping[str, str]) -> None:
        """Keep the seals of live documents that have none, by key."""
        for key, seal in seals.items():
            unsealed = {"key": key, "seal": None, "withdrawn": None}
            self._documents.update_one(unsealed, {"$set": {"seal": seal}})

    def edges(self) -> Iterator[tuple[str, str]]:
        """Yield the edges of records whose lists of keys are blobs."""
        for row in self._edges.find({}):
            yield str(row.get("ancestor")), str(row.get("descendant"))

    def keeps_edges_of(self, record: Record) -> bool:
        """Return whether one of its lists of keys is a blob; other lists are indexed."""
        return isinstance(record.parents, dict) or isinstance(record.products, dict)

    def withdrawn_keys(self) -> set[str]:
        """Return the keys that were ever withdrawn."""
        found = self._documents.find({"withdrawn.at": {"$exists": True}}, {"key": 1})
        return {row["key"] for row in found}

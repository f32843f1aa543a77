"""The store of a service: a MongoDB database, a replica set (a standalone loses writes).

Documents have `_id` = key, written once by `insert_one`: DuplicateKeyError means that another
writer was first. A tombstone is the document's own field `withdrawn`. Facts are plain fields
that anything which speaks MongoDB can query. Every operation waits for an absent database and
may be repeated.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from pymongo import ASCENDING
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from lycb_flows.machine.settings import Settings
from lycb_flows.schemas import Document, Made
from lycb_flows.store.blobs import Blobs
from lycb_flows.store.claims import Claims
from lycb_flows.store.gridfs import GridFSBlobs
from lycb_flows.store.mongodb_catalogue import MongoCatalogue
from lycb_flows.store.mongodb_rows import insert_new, record_in, row_of
from lycb_flows.store.outages import survives_outages
from lycb_flows.store.provenance import now
from lycb_flows.store.records import (
    Attempt,
    AttemptId,
    Edges,
    Outcome,
    Record,
    Spilled,
    Totals,
    pages,
)
from lycb_flows.store.results import ResultStore
from lycb_flows.store.seals import MongoSeals

_PAGE, _KEYS_PER_QUESTION = 200, 20_000
_BY_KIND = [("kind", ASCENDING), ("key", ASCENDING)]
_LIVE: dict[str, Any] = {"withdrawn": None}
_WITHDRAWN: dict[str, Any] = {"withdrawn.at": {"$exists": True}}


class MongoStore(ResultStore):
    """A ResultStore in MongoDB.

    Parameters
    ----------
    database
        Where the collections are.
    blobs
        Where the bytes are.
    address, label
        See `ResultStore`.
    settings
        Settings of this process: patience with outages, heartbeat of claims.
    """

    is_shared = True

    def __init__(
        self,
        database: Database[dict[str, Any]],
        blobs: Blobs,
        *,
        address: str,
        label: str,
        settings: Settings,
    ) -> None:
        self.database, self.blobs, self.address, self.label = database, blobs, address, label
        self.outage_s = settings.outage_s
        self._documents, self._attempts = database["documents"], database["attempts"]
        self._notes, self._edges = database["notes"], database["edges"]
        self._claims = Claims(database, settings)
        self.catalogue: MongoCatalogue = MongoCatalogue(database, settings.outage_s)
        self.seals = MongoSeals(database, record_in)

    def create_indexes(self) -> None:
        """Create the indexes, once per database; later calls find them there."""
        self._documents.create_index(_BY_KIND)
        for field in ("key", "parents", "products"):
            self._documents.create_index(field)
        self._documents.create_index("withdrawn.at", sparse=True)
        for field in ("ancestor", "descendant"):
            self._edges.create_index(field)
        self._attempts.create_index("key")
        self._attempts.create_index("outcome")
        self.catalogue.create_indexes()
        if isinstance(self.blobs, GridFSBlobs):
            self.blobs.create_indexes()

    def close(self) -> None:
        """Close the connection."""
        self.database.client.close()

    # -- documents ------------------------------------------------------------------

    @survives_outages
    def _find_record(self, key: str) -> Record | None:
        row = self._documents.find_one({"key": key, **_LIVE})
        return None if row is None else record_in(row)

    @survives_outages
    def _find_records(self, keys: Sequence[str]) -> list[Record]:
        return [
            record_in(row) for row in self._documents.find({"key": {"$in": list(keys)}, **_LIVE})
        ]

    @survives_outages
    def _find_by_prefix(self, prefix: str) -> list[Record]:
        rows = self._documents.find({"key": {"$regex": f"^{prefix}"}, **_LIVE}).limit(2)
        return [record_in(row) for row in rows]

    def _find_by_kind(self, kind: str, where: dict[str, object]) -> Iterator[Record]:
        query = {"kind": kind, **_LIVE} | {f"facts.{name}": value for name, value in where.items()}
        page = self._list_page(query)
        while page:
            yield from page
            page = self._list_page(query | {"key": {"$gt": page[-1].key}})

    @survives_outages
    def _list_page(self, query: dict[str, Any]) -> list[Record]:
        """Return the first records of a query by increasing key; unlike a cursor it survives."""
        rows = self._documents.find(query).sort("key", ASCENDING).limit(_PAGE)
        return [record_in(row) for row in rows]

    def keys(self) -> Iterator[str]:
        """Yield the keys of all live documents, in no order."""
        return (row["key"] for row in self._documents.find(_LIVE, {"key": 1}))

    @survives_outages
    def sizes(self) -> tuple[int, int]:
        """Return how many documents were ever stored, and how many of them were withdrawn."""
        n_withdrawn = self._documents.count_documents(_WITHDRAWN)
        return self._documents.estimated_document_count(), n_withdrawn

    @survives_outages
    def _products(self, keys: Sequence[str]) -> dict[str, list[str] | Spilled]:
        query = {"key": {"$in": list(keys)}, **_LIVE}
        rows = self._documents.find(query, {"key": 1, "products": 1})
        return {row["key"]: row.get("products", []) for row in rows}

    @survives_outages
    def kinds(self) -> list[str]:
        """Return the kinds of the documents that were ever stored here."""
        return list(self._documents.distinct("kind"))

    @survives_outages
    def _add(self, record: Record, edges: Edges, attempt: AttemptId | None) -> bool:
        self._add_edges([(record, edges)])
        n_withdrawn = self._documents.count_documents({"key": record.key, **_WITHDRAWN})
        row = row_of(record, n_withdrawn, attempt)
        try:
            self._documents.insert_one(row)
        except DuplicateKeyError:  # maybe by us, just before an outage
            if attempt is None:
                return False
            first = self._documents.find_one({"_id": row["_id"]}, {"attempt": 1})
            return first is not None and first["attempt"] == attempt
        return True

    @survives_outages
    def _add_all(self, records: Sequence[tuple[Record, Edges]]) -> int:
        if not records:
            return 0
        self._add_edges(records)
        withdrawn = Counter(row["key"] for row in self._documents.find(_WITHDRAWN, {"key": 1}))
        rows = [row_of(record, withdrawn[record.key]) for record, _ in records]
        return insert_new(self._documents, rows)

    def _add_edges(self, records: Sequence[tuple[Record, Edges]]) -> None:
        """Keep the edges of records whose lists of keys are blobs; other lists are indexed."""
        rows = [
            {"_id": f"{ancestor} {descendant}", "ancestor": ancestor, "descendant": descendant}
            for record, edges in records
            if self.seals.keeps_edges_of(record)
            for ancestor, descendant in edges
        ]
        if rows:
            insert_new(self._edges, rows)

    # -- attempts --------------------------------------------------------------------

    def _begin(self, kind: str, key: str, made: Made) -> AttemptId:
        attempt = uuid.uuid4().hex
        self._write_begin(attempt, kind, key, made)
        return attempt

    @survives_outages
    def _write_begin(self, attempt: str, kind: str, key: str, made: Made) -> None:
        row = {
            "_id": attempt,
            "key": key,
            "kind": kind,
            "number": self._attempts.count_documents({"key": key}) + 1,
            **made.model_dump(include={"job", "worker", "host", "pid", "started_at"}),
            "ended_at": None,
            "outcome": "running",
            "reason": "",
            "wall_s": 0.0,
            "cpu_s": 0.0,
        }
        with contextlib.suppress(DuplicateKeyError):
            self._attempts.insert_one(row)

    @survives_outages
    def _end(self, attempt: AttemptId, outcome: Outcome, reason: str, made: Made) -> None:
        ending = made.model_dump(include={"ended_at", "wall_s", "cpu_s", "logs"})
        self._attempts.update_one(
            {"_id": attempt}, {"$set": {"outcome": outcome, "reason": reason, **ending}}
        )

    @survives_outages
    def attempts(self, key: str | None = None, outcome: Outcome | None = None) -> list[Attempt]:
        """Return every try, in order.

        Parameters
        ----------
        key
            Only the tries at this key.
        outcome
            Only the tries that ended so.
        """
        query = {"key": key, "outcome": outcome}
        rows = self._attempts.find({name: value for name, value in query.items() if value})
        rows = rows.sort([("started_at", ASCENDING), ("number", ASCENDING)])
        return [Attempt.model_validate({"id": row.pop("_id"), **row}) for row in rows]

    @survives_outages
    def tried_keys(self, prefix: str) -> list[str]:
        """Return at most two keys that start with `prefix` and were ever tried."""
        query = {"key": {"$regex": f"^{re.escape(prefix)}"}}
        rows = self._attempts.aggregate(
            [{"$match": query}, {"$group": {"_id": "$key"}}, {"$limit": 2}]
        )
        return [row["_id"] for row in rows]

    @survives_outages
    def find_present(self, kind: type[Document], keys: Sequence[str]) -> set[str]:
        """Return which of these keys have a live document; the documents are not read.

        A key that was withdrawn once is looked up by itself, the others in an index alone.
        """
        once_withdrawn = {row["key"] for row in self._documents.find(_WITHDRAWN, {"key": 1})}
        found: set[str] = set()
        for page in pages(list(keys), _KEYS_PER_QUESTION):
            wanted = {"kind": kind.kind, "key": {"$in": list(page)}}
            page_keys = set(page)
            if page_keys.isdisjoint(once_withdrawn):  # mostly all are there: no key is sent back
                n_found = self._documents.count_documents(wanted, hint=_BY_KIND)
                if n_found == len(page_keys):
                    found |= page_keys
                    continue
            rows = self._documents.find(wanted, {"_id": 0, "key": 1}, hint=_BY_KIND)
            found.update(row["key"] for row in rows)
        unsure = found & once_withdrawn
        return found - unsure | {record.key for record in self._find_records(list(unsure))}

    @survives_outages
    def find_ends(self, keys: Sequence[str]) -> dict[str, str]:
        """Return when each of these live documents was made; the others are missing."""
        rows = self._documents.find(
            {"key": {"$in": list(keys)}, **_LIVE}, {"key": 1, "made.ended_at": 1}
        )
        return {row["key"]: row["made"]["ended_at"] for row in rows}

    @survives_outages
    def count_failures(self, keys: Sequence[str]) -> Counter[str]:
        """Return how many tries at each of these keys have failed."""
        failed = {"key": {"$in": list(keys)}, "outcome": "failed"}
        return Counter(row["key"] for row in self._attempts.find(failed, {"key": 1}))

    @survives_outages
    def total_attempts(self) -> dict[str, Totals]:
        """Return number and cost of all tries, by outcome."""
        sums = {"n": {"$sum": 1}, "wall_s": {"$sum": "$wall_s"}, "cpu_s": {"$sum": "$cpu_s"}}
        rows = self._attempts.aggregate(
            [{"$group": {"_id": "$outcome", **sums}}, {"$sort": {"_id": 1}}]
        )
        return {row.pop("_id"): Totals(**row) for row in rows}

    @survives_outages
    def settle_attempts(self) -> int:
        """End the tries whose document is there but whose worker died before it could end them.

        Returns
        -------
        int
            How many; the reaper calls this.
        """
        settled = 0
        for row in self._attempts.find({"outcome": "running"}):
            document = self._documents.find_one({"key": row["key"], "attempt": row["_id"]})
            if document is not None:
                self._end(row["_id"], "done", "", Made.model_validate(document["made"]))
                settled += 1
        return settled

    def forget_stale_claims(self) -> int:
        """Delete the claims of dead workers; return how many."""
        return self._claims.forget_stale()

    # -- ancestry, retraction ----------------------------------------------------------

    def makers(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Return the documents that each of these came from or was born in, directly.

        Parameters
        ----------
        keys
            Keys of the documents.
        """
        return self._neighbours(keys, "parents", "products", "descendant", "ancestor")

    def made_from(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Return, for each of these documents, those whose `makers` include it."""
        return self._neighbours(keys, "products", "parents", "ancestor", "descendant")

    @survives_outages
    def _neighbours(
        self, keys: Sequence[str], own: str, theirs: str, end: str, other_end: str
    ) -> dict[str, list[str]]:
        """Return the keys in the `own` lists of documents, and the documents that list them.

        A list that is a blob has its keys among the edges instead.
        """
        wanted = {"$in": list(keys)}
        pairs = {(row[end], row[other_end]) for row in self._edges.find({end: wanted})}
        for row in self._documents.find({"key": wanted}, {"key": 1, own: 1}):
            if isinstance(row.get(own), list):
                pairs.update((row["key"], key) for key in row[own])
        listed = set(keys)
        for row in self._documents.find({theirs: wanted}, {"key": 1, theirs: 1}):
            pairs.update((key, row["key"]) for key in row[theirs] if key in listed)
        neighbours: dict[str, list[str]] = {}
        for key, neighbour in sorted(pairs):
            neighbours.setdefault(key, []).append(neighbour)
        return neighbours

    @survives_outages
    def _bury(self, key: str, reason: str) -> None:
        withdrawn = {"reason": reason, "at": now()}
        self._documents.update_one({"key": key, **_LIVE}, {"$set": {"withdrawn": withdrawn}})

    # -- no results --------------------------------------------------------------------

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield everything that may name a blob, as plain data in constant memory."""
        for collection in (self._documents, self._attempts, self.database["claims"]):
            page = self._read_page(collection, {})
            while page:
                yield from page
                page = self._read_page(collection, {"_id": {"$gt": page[-1]["_id"]}})

    @survives_outages
    def _read_page(
        self, collection: Collection[dict[str, Any]], query: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Return a page of a collection; unlike a cursor it survives an outage."""
        return list(collection.find(query).sort("_id", ASCENDING).limit(_PAGE))

    @survives_outages
    def note(self, name: str) -> dict[str, Any] | None:
        """Return a small thing that is no result and may change; None when there is none."""
        row = self._notes.find_one({"_id": name})
        return None if row is None else dict(row["value"])

    @survives_outages
    def set_note(self, name: str, value: dict[str, Any]) -> None:
        """Write a note over an older note of its name.

        Parameters
        ----------
        name
            Which note.
        value
            Plain data, far below 16 MB.
        """
        self._notes.replace_one({"_id": name}, {"value": value}, upsert=True)

    # -- many workers ------------------------------------------------------------------

    def _transaction(self) -> contextlib.AbstractContextManager[None]:
        """Return an empty context: `settle_attempts` can end a document's attempt later."""
        return contextlib.nullcontext()

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Return an empty context: results are written once, whoever computes them."""
        return contextlib.nullcontext()

    def claim(self, key: str) -> contextlib.AbstractContextManager[None]:
        """Keep other workers from computing this key while the context is open."""
        return self._claims.hold(key)

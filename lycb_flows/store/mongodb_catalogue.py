"""The catalogue of a database: the collection `catalogue`, a flat document per row.

database.catalogue.find({"kind": "label", "temperature_k": {"$gte": 400}})
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pymongo import ASCENDING, DESCENDING, DeleteMany, DeleteOne, ReplaceOne
from pymongo.collection import Collection
from pymongo.database import Database

from lycb_flows.store.catalogue import Catalogue, Condition, Order, Row, RowId, id_of
from lycb_flows.store.outages import survives_outages
from lycb_flows.store.records import pages

_BY_KEY = [("kind", ASCENDING), ("key", ASCENDING), ("campaign", ASCENDING)]
_OPERATORS = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
_ABSENT = "_absent"


class MongoCatalogue(Catalogue):
    """The catalogue of a MongoDB store.

    Parameters
    ----------
    database
        Database of the store.
    outage_s
        How long to wait for an absent database, in s.
    """

    def __init__(self, database: Database[dict[str, Any]], outage_s: float) -> None:
        self.outage_s = outage_s
        self._rows, self._documents = database["catalogue"], database["documents"]

    def create_indexes(self) -> None:
        """Create the indexes: by kind and key, and by what people ask for first."""
        self._rows.create_index(_BY_KEY)
        self._rows.create_index("key")
        self._rows.create_index([("kind", ASCENDING), ("campaign", ASCENDING)])

    @survives_outages
    def find(
        self,
        kind: str,
        conditions: Sequence[Condition] = (),
        *,
        order: Order | None = None,
        limit: int | None = None,
    ) -> Iterator[Row]:
        """Yield the rows of a kind that meet all conditions, a few at a time.

        Parameters
        ----------
        kind
            Kind of the documents.
        conditions
            On columns.
        order
            What to sort by; None: by key.
        limit
            How many rows at most.
        """
        tests = [{condition.name: _as_query(condition)} for condition in conditions]
        stages: list[dict[str, Any]] = [{"$match": {"$and": [{"kind": kind}, *tests]}}]
        if order is None:
            stages.append({"$sort": dict(_BY_KEY)})
        else:
            direction = DESCENDING if order.descending else ASCENDING
            is_absent = {"$eq": [{"$type": f"${order.name}"}, "missing"]}
            stages.append({"$addFields": {_ABSENT: is_absent}})
            by = {_ABSENT: ASCENDING, order.name: direction}
            stages.append({"$sort": by | dict(_BY_KEY[1:])})
        if limit is not None:
            stages.append({"$limit": max(limit, 1)})
        rows = self._rows.aggregate(
            [*stages, {"$project": {"_id": 0, _ABSENT: 0}}], allowDiskUse=True
        )
        return iter(rows) if limit != 0 else iter(())

    def ids(self) -> Iterator[RowId]:
        """Yield key and campaign of every row."""
        for row in self._rows.find({}, {"key": 1, "campaign": 1}):
            yield id_of(row)

    @survives_outages
    def find_rows(self, keys: Sequence[str]) -> list[Row]:
        """Return all rows of these documents, at most a few thousand, in no order."""
        return list(self._rows.find({"key": {"$in": list(keys)}}, {"_id": 0}))

    @survives_outages
    def find_missing(self) -> list[str]:
        """Return the keys of the live documents that have no row."""
        with ThreadPoolExecutor(2) as threads:
            stored, listed = threads.map(_all_keys, (self._documents, self._rows))
        missing: list[str] = []
        for page in pages(list(stored - listed)):
            query = {"key": {"$in": page}, "withdrawn": None}
            missing += [row["key"] for row in self._documents.find(query, {"key": 1})]
        return missing

    @survives_outages
    def put(self, rows: Sequence[Row]) -> None:
        """Write rows over those of the same key and campaign."""
        writes = [ReplaceOne({"_id": _id(id_of(row))}, row, upsert=True) for row in rows]
        if writes:
            self._rows.bulk_write(writes, ordered=False)

    @survives_outages
    def drop(self, ids: Sequence[RowId]) -> None:
        """Remove rows."""
        if ids:
            self._rows.bulk_write([DeleteOne({"_id": _id(each)}) for each in ids], ordered=False)

    @survives_outages
    def drop_documents(self, keys: Sequence[str]) -> None:
        """Remove all rows of these documents."""
        if keys:
            self._rows.bulk_write([DeleteMany({"key": {"$in": list(keys)}})])


def _all_keys(collection: Collection[dict[str, Any]]) -> set[str]:
    """Return the keys of all documents from the index alone, in a few hundred lists."""
    group = {"_id": {"$substrBytes": ["$key", 0, 2]}, "keys": {"$push": "$key"}}
    stages: list[dict[str, Any]] = [{"$project": {"_id": 0, "key": 1}}, {"$group": group}]
    lists = collection.aggregate(stages, hint="key_1", allowDiskUse=True)
    return {key for row in lists for key in row["keys"]}


def _id(row: RowId) -> str:
    key, campaign = row
    return f"{key} {campaign}".rstrip()


def _as_query(condition: Condition) -> dict[str, Any]:
    operator, value = condition.operator, condition.value
    if value is None:
        return {"$exists": operator == "!="}
    if operator == "~":
        return {"$regex": re.escape(str(value)), "$options": "i"}
    if operator == "!=":
        return {"$ne": value, "$exists": True}
    return {_OPERATORS[operator]: value} if operator in _OPERATORS else {"$eq": value}

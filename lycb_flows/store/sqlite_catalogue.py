"""The catalogue of a folder: a table beside the documents, a row's columns as JSON."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from lycb_flows.schemas import Scalar
from lycb_flows.store.catalogue import Catalogue, Condition, Order, Row, RowId, id_of

TABLE = """
CREATE TABLE IF NOT EXISTS catalogue (
    kind TEXT NOT NULL, key TEXT NOT NULL, campaign TEXT NOT NULL, columns TEXT NOT NULL,
    PRIMARY KEY (kind, key, campaign)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS catalogue_by_key ON catalogue (key, campaign);
"""
_TYPES = {bool: ("true", "false"), int: ("integer", "real"), float: ("integer", "real")}


class _Database(Protocol):
    def _transaction(self) -> AbstractContextManager[None]: ...


class SqliteCatalogue(Catalogue):
    """The catalogue of an embedded store.

    Parameters
    ----------
    db
        Connection to the store's file.
    store
        The store, whose transactions writing needs.
    """

    def __init__(self, db: sqlite3.Connection, store: _Database) -> None:
        self._db, self._store = db, store

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
            On columns that are known: their names become part of the question to the database.
        order
            What to sort by; None: by key.
        limit
            How many rows at most.
        """
        query, values = "SELECT columns FROM catalogue WHERE kind = ?", [kind]
        for condition in conditions:
            query += f" AND ({_as_sql(condition)})"
            values += [] if condition.value is None else [condition.value]  # type: ignore[list-item]
        if order is not None:
            column = _column(order.name)
            query += f" ORDER BY {column} IS NULL, {column} {'DESC' if order.descending else ''}, "
        query += "key, campaign" if order is not None else " ORDER BY key, campaign"
        cursor = self._db.execute(f"{query} LIMIT ?", (*values, -1 if limit is None else limit))
        return (json.loads(columns) for (columns,) in cursor)

    def ids(self) -> Iterator[RowId]:
        """Yield key and campaign of every row."""
        rows = self._db.execute("SELECT key, campaign FROM catalogue ORDER BY key")
        return ((key, campaign) for key, campaign in rows)

    def find_rows(self, keys: Sequence[str]) -> list[Row]:
        """Return all rows of these documents, at most a few thousand, in no order."""
        query = "SELECT columns FROM catalogue WHERE key IN (SELECT value FROM json_each(?))"
        rows = self._db.execute(query, (json.dumps(list(keys)),))
        return [json.loads(columns) for (columns,) in rows]

    def find_missing(self) -> list[str]:
        """Return the keys of the live documents that have no row."""
        n_withdrawn = "SELECT count(*) FROM tombstones t WHERE t.key = documents.key"
        query = (
            "SELECT key FROM documents WHERE key NOT IN (SELECT key FROM catalogue) "  # noqa: S608 - constants
            f"AND generation = ({n_withdrawn})"
        )
        return [key for (key,) in self._db.execute(query)]

    def put(self, rows: Sequence[Row]) -> None:
        """Write rows over those of the same key and campaign."""
        values = [(row["kind"], *id_of(row), json.dumps(row, sort_keys=True)) for row in rows]
        with self._store._transaction():  # noqa: SLF001 - its own catalogue
            self._db.executemany("INSERT OR REPLACE INTO catalogue VALUES (?, ?, ?, ?)", values)

    def drop(self, ids: Sequence[RowId]) -> None:
        """Remove rows."""
        with self._store._transaction():  # noqa: SLF001 - its own catalogue
            self._db.executemany("DELETE FROM catalogue WHERE key = ? AND campaign = ?", ids)

    def drop_documents(self, keys: Sequence[str]) -> None:
        """Remove all rows of these documents."""
        with self._store._transaction():  # noqa: SLF001 - its own catalogue
            rows = [(key,) for key in keys]
            self._db.executemany("DELETE FROM catalogue WHERE key = ?", rows)


def _column(name: str) -> str:
    return f"json_extract(columns, '$.{name}')"


def _as_sql(condition: Condition) -> str:
    """Return a condition with one place for its value, if it has any.

    Values of other types are never equal, smaller or larger, as in MongoDB.
    """
    column, operator, value = _column(condition.name), condition.operator, condition.value
    if value is None:
        return f"{column} IS {'NOT ' if operator == '!=' else ''}NULL"
    if operator == "~":
        return f"instr(lower({column}), lower(?)) > 0"
    types = ", ".join(f"'{name}'" for name in _json_types(value))
    is_of_type = f"json_type(columns, '$.{condition.name}') IN ({types})"
    if operator == "!=":
        return f"{column} IS NOT NULL AND NOT ({is_of_type} AND {column} = ?)"
    return f"{is_of_type} AND {column} {operator} ?"


def _json_types(value: Scalar) -> tuple[str, ...]:
    return _TYPES.get(type(value), ("text",))

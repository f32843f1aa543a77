"""The embedded store of one folder: one sqlite file (WAL, primary key) and a folder of blobs.

Any number of processes may write. WAL needs a local disk, not a network file system.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lycb_flows.errors import StoreError
from lycb_flows.machine.files import holding
from lycb_flows.schemas import Document, Made
from lycb_flows.store.blobs import BlobFolder
from lycb_flows.store.provenance import now
from lycb_flows.store.records import (
    Attempt,
    AttemptId,
    Edges,
    Outcome,
    Record,
    Spilled,
    Totals,
    damaged,
    seal_of,
)
from lycb_flows.store.results import ResultStore
from lycb_flows.store.seals import SqliteSeals
from lycb_flows.store.sqlite_catalogue import SqliteCatalogue
from lycb_flows.store.sqlite_file import open_database, read_database

_LIVE = (
    "SELECT * FROM documents "
    "WHERE generation = (SELECT count(*) FROM tombstones t WHERE t.key = documents.key) AND "
)


class SqliteStore(ResultStore):
    """A ResultStore in a folder.

    Parameters
    ----------
    folder
        Made when absent. One that this user may only read is read as it is.

    Raises
    ------
    StoreError
        When the folder or its database cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = self.label = str(folder)
        self.blobs = BlobFolder(folder / "blobs")
        path = folder / "results.sqlite"
        self.read_only = path.exists() and not all(os.access(p, os.W_OK) for p in (folder, path))
        try:
            self._db = read_database(path) if self.read_only else open_database(path)
            self._db.row_factory = sqlite3.Row
        except (OSError, sqlite3.Error) as err:
            raise StoreError(
                "cannot open the result store", fix="check path, rights and disk", found=err
            ) from err

        self.catalogue = SqliteCatalogue(self._db, self)
        self.seals: SqliteSeals = SqliteSeals(self._db, _record)

    @property
    def folder(self) -> Path:
        """The folder of the store."""
        return self._folder

    def close(self) -> None:
        """Close the database connection."""
        self._db.close()

    def refuse_writes(self) -> None:
        """Change nothing through this connection from now on; sqlite refuses it."""
        self._db.execute("PRAGMA query_only = ON")

    def _find_record(self, key: str) -> Record | None:
        row = self._db.execute(f"{_LIVE} key = ?", (key,)).fetchone()
        return None if row is None else _record(row)

    def _find_records(self, keys: Sequence[str]) -> list[Record]:
        query = f"{_LIVE} key IN (SELECT value FROM json_each(?))"  # noqa: S608 - a constant
        return [*map(_record, self._db.execute(query, (json.dumps(list(keys)),)))]

    def _find_by_prefix(self, prefix: str) -> list[Record]:
        return [*map(_record, self._db.execute(f"{_LIVE} key GLOB ? LIMIT 2", (prefix + "*",)))]

    def _find_by_kind(self, kind: str, where: dict[str, object]) -> Iterator[Record]:
        query = f"{_LIVE} kind = ?"
        for name in where:  # checked against the kind's fields
            query += f" AND json_extract(facts, '$.{name}') = ?"
        return map(_record, self._db.execute(f"{query} ORDER BY key", (kind, *where.values())))

    def kinds(self) -> list[str]:
        """Return the kinds of the documents that were ever stored here."""
        return [kind for (kind,) in self._db.execute("SELECT DISTINCT kind FROM documents")]

    def keys(self) -> Iterator[str]:
        """Yield the keys of all live documents, in no order."""
        return (row["key"] for row in self._db.execute(_LIVE.replace("*", "key") + "TRUE"))

    def sizes(self) -> tuple[int, int]:
        """Return how many documents were ever stored, and how many of them were withdrawn."""
        (n_documents,) = self._db.execute("SELECT count(*) FROM documents").fetchone()
        (n_withdrawn,) = self._db.execute("SELECT count(*) FROM tombstones").fetchone()
        return n_documents, n_withdrawn

    def _products(self, keys: Sequence[str]) -> dict[str, list[str] | Spilled]:
        query = f"{_LIVE} key IN (SELECT value FROM json_each(?))"  # noqa: S608 - a constant
        rows = self._db.execute(query, (json.dumps(list(keys)),))
        return {row["key"]: _parts(row, "products")[0] for row in rows}

    def _add(self, record: Record, edges: Edges, attempt: AttemptId | None) -> bool:
        del attempt  # it ends in the same transaction
        query = (
            "INSERT INTO documents VALUES (?, (SELECT count(*) FROM tombstones WHERE key = ?), "
            "?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        )
        row = (
            record.key, record.key, record.kind, record.method_version, record.schema_version,
            *(json.dumps(part, sort_keys=True)
              for part in (record.facts, record.parents, record.products, record.made)),
        )  # fmt: skip
        if self._db.execute(query, row).rowcount == 0:
            return False
        self._db.executemany("INSERT INTO edges VALUES (?, ?) ON CONFLICT DO NOTHING", edges)
        self.seals.put([(record.key, seal_of(record))])
        return True

    def _add_all(self, records: Sequence[tuple[Record, Edges]]) -> int:
        with self._transaction():
            return sum(self._add(record, edges, None) for record, edges in records)

    def _begin(self, kind: str, key: str, made: Made) -> AttemptId:
        with self._transaction():
            cursor = self._db.execute(
                "INSERT INTO attempts (key, kind, number, job, worker, host, pid, started_at, "
                "outcome, reason, wall_s, cpu_s) VALUES (?, ?, (SELECT count(*) + 1 FROM attempts "
                "WHERE key = ?), ?, ?, ?, ?, ?, 'running', '', 0, 0)",
                (key, kind, key, made.job, made.worker, made.host, made.pid, made.started_at),
            )
        return cursor.lastrowid or 0

    def _end(self, attempt: AttemptId, outcome: Outcome, reason: str, made: Made) -> None:
        self._db.execute(
            "UPDATE attempts SET outcome = ?, reason = ?, ended_at = ?, wall_s = ?, cpu_s = ?, "
            "logs = ? WHERE id = ?",
            (outcome, reason, made.ended_at, made.wall_s, made.cpu_s, _logs(made), attempt),
        )

    def attempts(self, key: str | None = None, outcome: Outcome | None = None) -> list[Attempt]:
        """Return every try, in order.

        Parameters
        ----------
        key
            Only the tries at this key.
        outcome
            Only the tries that ended so.
        """
        rows = self._db.execute(
            "SELECT * FROM attempts WHERE (?1 IS NULL OR key = ?1) "
            "AND (?2 IS NULL OR outcome = ?2) ORDER BY id",
            (key, outcome),
        )
        return [Attempt.model_validate(_attempt(row)) for row in rows]

    def tried_keys(self, prefix: str) -> list[str]:
        """Return at most two keys that start with `prefix` and were ever tried."""
        rows = self._db.execute(
            "SELECT DISTINCT key FROM attempts WHERE substr(key, 1, ?) = ? LIMIT 2",
            (len(prefix), prefix),
        )
        return [key for (key,) in rows]

    def find_present(self, kind: type[Document], keys: Sequence[str]) -> set[str]:
        """Return which of these keys have a live document; the documents are not read.

        Parameters
        ----------
        kind
            The class of the documents.
        keys
            Any number of keys.
        """
        live_keys = _LIVE.replace("*", "key", 1)
        query = f"{live_keys} kind = ? AND key IN (SELECT value FROM json_each(?))"  # noqa: S608 - a constant
        return {key for (key,) in self._db.execute(query, (kind.kind, json.dumps(list(keys))))}

    def find_ends(self, keys: Sequence[str]) -> dict[str, str]:
        """Return when each of these live documents was made; the others are missing."""
        query = f"{_LIVE} key IN (SELECT value FROM json_each(?))"  # noqa: S608 - a constant
        rows = self._db.execute(query, (json.dumps(list(keys)),))
        return {row["key"]: json.loads(row["made"])["ended_at"] for row in rows}

    def count_failures(self, keys: Sequence[str]) -> Counter[str]:
        """Return how many tries at each of these keys have failed."""
        rows = self._db.execute(
            "SELECT key, count(*) AS n FROM attempts WHERE outcome = 'failed' "
            "AND key IN (SELECT value FROM json_each(?)) GROUP BY key",
            (json.dumps(list(keys)),),
        )
        return Counter({row["key"]: row["n"] for row in rows})

    def total_attempts(self) -> dict[str, Totals]:
        """Return number and cost of all tries, by outcome."""
        rows = self._db.execute(
            "SELECT outcome, count(*), sum(wall_s), sum(cpu_s) FROM attempts "
            "GROUP BY outcome ORDER BY outcome"
        )
        return {outcome: Totals(*sums) for outcome, *sums in rows}

    def makers(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Return the documents that each of these came from or was born in, directly.

        Parameters
        ----------
        keys
            Keys of the documents.
        """
        rows = self._db.execute(
            "SELECT descendant, ancestor FROM edges "
            "WHERE descendant IN (SELECT value FROM json_each(?)) ORDER BY ancestor",
            (json.dumps(list(keys)),),
        )
        return _grouped(rows)

    def made_from(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Return, for each of these documents, those whose `makers` include it."""
        rows = self._db.execute(
            "SELECT ancestor, descendant FROM edges "
            "WHERE ancestor IN (SELECT value FROM json_each(?)) ORDER BY descendant",
            (json.dumps(list(keys)),),
        )
        return _grouped(rows)

    def _bury(self, key: str, reason: str) -> None:
        with self._transaction():
            self._db.execute(
                "INSERT INTO tombstones (key, reason, at) VALUES (?, ?, ?)", (key, reason, now())
            )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield everything that may name a blob, as plain data in constant memory."""
        parts = ("facts", "parents", "products", "made")
        for row in self._db.execute("SELECT * FROM documents"):
            yield {part: json.loads(row[part]) for part in parts}
        yield from map(_attempt, self._db.execute("SELECT * FROM attempts"))

    def note(self, name: str) -> dict[str, Any] | None:
        """Return a small thing that is no result and may change; None when there is none."""
        row = self._db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row["value"])

    def set_note(self, name: str, value: dict[str, Any]) -> None:
        """Write a note over an older note of its name.

        Parameters
        ----------
        name
            Which note.
        value
            Plain data.
        """
        with self._transaction():
            self._db.execute(
                "INSERT INTO notes VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, json.dumps(value)),
            )

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Return the right to run a campaign in this folder; it ends with the process.

        Raises
        ------
        StoreError
            When another process has it.
        """
        return holding(
            self.folder / "lock",
            lambda pid: StoreError(
                "this store is in use by another run",
                fix="wait for it, or give another folder with --store",
                folder=self.folder,
                pid=pid,
            ),
        )

    def claim(self, key: str) -> contextlib.AbstractContextManager[None]:
        """Return an empty context: `lock` keeps a second campaign out."""
        del key
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as err:
            raise StoreError(
                "the result store refused a write", fix="check disk space and rights", found=err
            ) from err


def _grouped(pairs: Iterable[sqlite3.Row]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, other in pairs:
        groups.setdefault(key, []).append(other)
    return groups


def _attempt(row: sqlite3.Row) -> dict[str, Any]:
    return {**dict(row), "logs": json.loads(dict(row).get("logs", "{}"))}


def _logs(made: Made) -> str:
    return json.dumps({name: blob.model_dump() for name, blob in made.logs.items()})


def _record(row: sqlite3.Row) -> Record:
    facts, parents, products, made = _parts(row, "facts", "parents", "products", "made")
    return Record(
        key=row["key"],
        kind=row["kind"],
        method_version=row["method_version"],
        schema_version=row["schema_version"],
        facts=facts,
        parents=parents,
        products=products,
        made=made,
    )


def _parts(row: sqlite3.Row, *names: str) -> list[Any]:
    """Return columns of a row of documents, which are JSON."""
    try:
        return [json.loads(row[name]) for name in names]
    except (TypeError, ValueError) as err:
        raise damaged(row["key"], str(err)) from err

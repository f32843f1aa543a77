"""ResultStore: documents by key, attempts, tombstones, and the blobs they name.

One sqlite file (WAL, primary key, `ON CONFLICT DO NOTHING`) and a folder of blobs:

    documents   key, generation -> kind, facts, header; written once, never changed
    edges       ancestor -> descendant, from parents and products
    attempts    every try at a key: worker, start, end, outcome, reason, cost
    tombstones  withdrawn results; a look-up sees the generation after the last one

Any number of processes may write. WAL needs a local disk, not a network file system.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from lycb_flows.blobs import BlobFolder
from lycb_flows.errors import InputError, StoreError
from lycb_flows.schemas import KINDS, Document, Made
from lycb_flows.settings import load_settings

D = TypeVar("D", bound=Document)
Outcome = Literal["running", "done", "failed", "interrupted", "superseded"]
_RECORDED_PACKAGES = ("lycb-flows", "chgnet", "torch", "ase", "pymatgen", "numpy")
_MIN_PREFIX = 6

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    key TEXT NOT NULL, generation INTEGER NOT NULL, kind TEXT NOT NULL,
    method_version INTEGER NOT NULL, schema_version INTEGER NOT NULL,
    facts TEXT NOT NULL, parents TEXT NOT NULL, products TEXT NOT NULL, made TEXT NOT NULL,
    PRIMARY KEY (key, generation)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS documents_by_kind ON documents (kind);
CREATE TABLE IF NOT EXISTS edges (
    ancestor TEXT NOT NULL, descendant TEXT NOT NULL, PRIMARY KEY (ancestor, descendant)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS edges_by_descendant ON edges (descendant);
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL,
    job TEXT NOT NULL, worker TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
    started_at TEXT NOT NULL, ended_at TEXT, outcome TEXT NOT NULL, reason TEXT NOT NULL,
    wall_s REAL NOT NULL, cpu_s REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS attempts_by_key ON attempts (key);
CREATE TABLE IF NOT EXISTS tombstones (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS tombstones_by_key ON tombstones (key);
"""
_LIVE = "generation = (SELECT count(*) FROM tombstones t WHERE t.key = documents.key)"


class Attempt(BaseModel):
    """One try at a key; `running` with a dead process means: lost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int
    key: str
    kind: str
    number: int
    job: str
    worker: str
    host: str
    pid: int
    started_at: str
    ended_at: str | None
    outcome: Outcome
    reason: str
    wall_s: float
    cpu_s: float


class ResultStore:
    """The embedded store of one folder.

    Parameters
    ----------
    folder
        Made when absent.

    Raises
    ------
    StoreError
        When the folder or its database cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = BlobFolder(folder / "blobs")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "results.sqlite"
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as err:
            raise StoreError(
                "cannot open the result store", fix="check path, rights and disk", found=err
            ) from err

    def close(self) -> None:
        """Close the database connection."""
        self._db.close()

    # -- documents ------------------------------------------------------------------

    def find(self, kind: type[D], key: str) -> D | None:
        """The live document of this kind and key, or None."""
        document = self.find_document(key)
        if document is not None and not isinstance(document, kind):
            raise StoreError("key of another kind", key=key, found=document.kind, wanted=kind.kind)
        return document

    def load(self, kind: type[D], key: str) -> D:
        """The live document of this kind and key.

        Raises
        ------
        StoreError
            When there is none.
        """
        document = self.find(kind, key)
        if document is None:
            raise StoreError(
                "no such result", fix="it was retracted or never made", kind=kind.kind, key=key
            )
        return document

    def load_any(self, prefix: str) -> Document:
        """The live document whose key starts with `prefix` (6 digits or more).

        Raises
        ------
        InputError
            When none or several match.
        """
        if len(prefix) < _MIN_PREFIX or not set(prefix) <= set("0123456789abcdef"):
            raise InputError(
                "not a key", fix="give at least 6 hexadecimal digits of it", found=prefix
            )
        query = f"SELECT * FROM documents WHERE key GLOB ? AND {_LIVE}"  # noqa: S608 - a constant
        rows = self._db.execute(query, (prefix + "*",)).fetchall()
        if len(rows) != 1:
            raise InputError(
                "the key must match one document", fix="see `lycb query`", key=prefix,
                matches=len(rows),
            )  # fmt: skip
        return _document(KINDS[rows[0]["kind"]], rows[0])

    def find_document(self, key: str) -> Document | None:
        """The live document of this key, whatever its kind, or None."""
        query = f"SELECT * FROM documents WHERE key = ? AND {_LIVE}"  # noqa: S608 - a constant
        row = self._db.execute(query, (key,)).fetchone()
        return None if row is None else _document(KINDS[row["kind"]], row)

    def find_all(self, kind: type[D], **where: object) -> Iterator[D]:
        """The live documents of a kind whose facts equal `where`, in the order of their keys.

        Raises
        ------
        InputError
            When a name in `where` is no field of this kind.
        """
        names = _fact_names(kind)
        query = f"SELECT * FROM documents WHERE kind = ? AND {_LIVE}"  # noqa: S608 - constants and checked names
        for name in where:
            if name not in names:
                raise InputError(
                    "no such field", fix=f"one of {', '.join(names)}", kind=kind.kind, found=name
                )
            query += f" AND json_extract(facts, '$.{name}') = ?"
        rows = self._db.execute(f"{query} ORDER BY key", (kind.kind, *where.values()))
        return (_document(kind, row) for row in rows)

    def insert(self, document: Document, attempt: int | None = None) -> bool:
        """Store a document once; the first wins.

        Parameters
        ----------
        document
            The result.
        attempt
            The try that made it; it ends in the same transaction, as `done` or `superseded`.

        Returns
        -------
        bool
            Whether this was the first.
        """
        with self._transaction():
            first = self._insert_document(document)
            if attempt is not None:
                self._end(
                    attempt, "done" if first else "superseded", self._compare(document, first)
                )
        return first

    def insert_all(self, documents: Sequence[Document]) -> int:
        """Store many documents in one transaction; returns how many were new."""
        with self._transaction():
            return sum(self._insert_document(document) for document in documents)

    def _insert_document(self, document: Document) -> bool:
        query = (
            "INSERT INTO documents VALUES (?, (SELECT count(*) FROM tombstones WHERE key = ?), "
            "?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        )
        row = (
            document.key, document.key, document.kind, document.method_version,
            document.schema_version, json.dumps(document.facts(), sort_keys=True),
            json.dumps(document.parents), json.dumps(document.products),
            document.made.model_dump_json(),
        )  # fmt: skip
        if self._db.execute(query, row).rowcount == 0:
            return False
        edges = [(parent, document.key) for parent in document.parents]
        edges += [(document.key, product) for product in document.products]
        self._db.executemany("INSERT INTO edges VALUES (?, ?) ON CONFLICT DO NOTHING", edges)
        return True

    def _compare(self, document: Document, first: bool) -> str:  # noqa: FBT001 - internal
        if first:
            return ""
        stored = self.load(type(document), document.key).facts()
        differing = [name for name, value in document.facts().items() if stored[name] != value]
        return f"differs in {', '.join(differing)}" if differing else "equal"

    def all_facts(self) -> dict[str, tuple[str, str]]:
        """(kind, facts as JSON) of every live document, by key."""
        query = f"SELECT key, kind, facts FROM documents WHERE {_LIVE}"  # noqa: S608 - a constant
        return {row["key"]: (row["kind"], row["facts"]) for row in self._db.execute(query)}

    # -- look-up first -------------------------------------------------------------

    def once(self, kind: type[D], key: str, compute: Callable[[], D], job: str = "") -> D:
        """The result under `key`: found, or computed now as a counted attempt.

        Every expensive step goes through here: resume, cache, late labels and protection
        against duplicates are this look-up.
        """
        found = self.find(kind, key)
        if found is not None:
            return found
        with self.attempt(kind, key, job) as made:
            document = compute()
            self.insert(document.model_copy(update={"made": made()}), made.attempt)
        return self.load(kind, key)

    @contextlib.contextmanager
    def attempt(self, kind: type[Document], key: str, job: str = "") -> Iterator[MadeNow]:
        """A try at `key`, counted from now.

        An exception ends it as `failed`; Ctrl-C or a full disk, which say nothing about
        the step itself, as `interrupted`.

        Yields
        ------
        MadeNow
            Call it for the `made` of the document to insert with its `attempt`.
        """
        made = MadeNow(job)
        made.attempt = self._begin(kind, key, made())
        try:
            yield made
        except BaseException as err:
            ours = isinstance(err, Exception) and not isinstance(err, StoreError)
            outcome: Outcome = "failed" if ours else "interrupted"
            reason = str(err) or type(err).__name__
            with contextlib.suppress(StoreError), self._transaction():
                self._end(made.attempt, outcome, reason, made())
            raise

    def _begin(self, kind: type[Document], key: str, made: Made) -> int:
        with self._transaction():
            cursor = self._db.execute(
                "INSERT INTO attempts (key, kind, number, job, worker, host, pid, started_at, "
                "outcome, reason, wall_s, cpu_s) VALUES (?, ?, (SELECT count(*) + 1 FROM attempts "
                "WHERE key = ?), ?, ?, ?, ?, ?, 'running', '', 0, 0)",
                (key, kind.kind, key, made.job, made.worker, made.host, made.pid, made.started_at),
            )
        return int(cursor.lastrowid or 0)

    def _end(self, attempt: int, outcome: Outcome, reason: str, made: Made | None = None) -> None:
        if made is None:  # the document just inserted carries the cost
            query = (
                "SELECT made FROM documents, attempts "
                "WHERE documents.key = attempts.key AND attempts.id = ? "
                "ORDER BY generation DESC LIMIT 1"
            )
            made = Made.model_validate_json(self._db.execute(query, (attempt,)).fetchone()[0])
        self._db.execute(
            "UPDATE attempts SET outcome = ?, reason = ?, ended_at = ?, wall_s = ?, cpu_s = ? "
            "WHERE id = ?",
            (outcome, reason, made.ended_at, made.wall_s, made.cpu_s, attempt),
        )

    def attempts(self, key: str | None = None, outcome: Outcome | None = None) -> list[Attempt]:
        """Every try, in order; of one key or with one outcome only, if given."""
        rows = self._db.execute(
            "SELECT * FROM attempts WHERE (?1 IS NULL OR key = ?1) "
            "AND (?2 IS NULL OR outcome = ?2) ORDER BY id",
            (key, outcome),
        )
        return [Attempt.model_validate(dict(row)) for row in rows]

    # -- ancestry and retraction -----------------------------------------------------

    def makers(self, key: str) -> list[str]:
        """Keys of the documents that this one came from or was born in, directly."""
        rows = self._db.execute("SELECT ancestor FROM edges WHERE descendant = ?", (key,))
        return sorted(row["ancestor"] for row in rows)

    def ancestors(self, key: str) -> list[str]:
        """Keys that this result rests on, nearest first."""
        return self._walk(key, "descendant", "ancestor")

    def descendants(self, key: str) -> list[str]:
        """Keys that rest on this result, nearest first."""
        return self._walk(key, "ancestor", "descendant")

    def _walk(self, key: str, this: str, other: str) -> list[str]:
        query = f"SELECT {other} FROM edges WHERE {this} = ? ORDER BY {other}"  # noqa: S608 - constants
        seen, queue = {key: None}, [key]
        while queue:
            for (found,) in self._db.execute(query, (queue.pop(0),)).fetchall():
                if found not in seen:
                    seen[found] = None
                    queue.append(found)
        return list(seen)[1:]

    def retract(self, key: str, reason: str) -> list[str]:
        """Withdraw a result: look-ups treat it as absent; nothing is overwritten.

        Returns
        -------
        list of str
            Every descendant, still live: the caller decides about those.
        """
        document = self.load_any(key)
        with self._transaction():
            self._db.execute(
                "INSERT INTO tombstones (key, reason, at) VALUES (?, ?, ?)",
                (document.key, reason, _now()),
            )
        return self.descendants(document.key)

    # -- locks --------------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """The right to run a campaign in this folder; it ends with the process.

        Raises
        ------
        StoreError
            When another process has it.
        """
        with (self.folder / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as err:
                file.seek(0)
                raise StoreError(
                    "this store is in use by another run",
                    fix="wait for it, or give another folder with --store",
                    folder=self.folder,
                    pid=file.read().strip(),
                ) from err
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

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


class MadeNow:
    """Clock of one attempt: called, it says who works here and what was spent so far."""

    def __init__(self, job: str) -> None:
        self.attempt: int | None = None
        self._job = job
        self._started_at, self._wall, self._cpu = _now(), time.monotonic(), time.process_time()

    def __call__(self) -> Made:
        """`made` as of now."""
        settings = load_settings()
        return Made(
            worker=settings.worker_name,
            host=socket.gethostname(),
            pid=os.getpid(),
            job=self._job,
            threads=settings.threads,
            device=settings.device,
            versions=_versions(),
            started_at=self._started_at,
            ended_at=_now(),
            wall_s=time.monotonic() - self._wall,
            cpu_s=time.process_time() - self._cpu,
        )


def differences(one: ResultStore, other: ResultStore) -> dict[str, list[str]]:
    """How two stores differ: keys only in one, only in the other, and of differing facts.

    Only facts are compared; who made them, where and when, is not.
    """
    facts, other_facts = one.all_facts(), other.all_facts()
    shared = facts.keys() & other_facts.keys()
    return {
        "only in the first": sorted(facts.keys() - other_facts.keys()),
        "only in the second": sorted(other_facts.keys() - facts.keys()),
        "different facts": sorted(key for key in shared if facts[key] != other_facts[key]),
    }


def _document(kind: type[D], row: sqlite3.Row) -> D:
    return kind.from_facts(
        json.loads(row["facts"]),
        key=row["key"],
        parents=json.loads(row["parents"]),
        products=json.loads(row["products"]),
        made=json.loads(row["made"]),
    )


def _fact_names(kind: type[Document]) -> list[str]:
    return [name for name in kind.model_fields if name not in Document.model_fields]


@functools.cache
def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in _RECORDED_PACKAGES}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

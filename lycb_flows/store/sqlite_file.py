"""The sqlite file of an embedded store: its tables, opened to be written or only to be read."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import quote

from lycb_flows.store.seals import TABLE as SEALS
from lycb_flows.store.sqlite_catalogue import TABLE

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
    wall_s REAL NOT NULL, cpu_s REAL NOT NULL, logs TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS attempts_by_key ON attempts (key);
CREATE TABLE IF NOT EXISTS tombstones (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS tombstones_by_key ON tombstones (key);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


def open_database(path: Path) -> sqlite3.Connection:
    """Return a connection to a file, made with its folder where it is absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.executescript(_SCHEMA + TABLE + SEALS)
    _add_column_of_logs(db)
    return db


def read_database(path: Path) -> sqlite3.Connection:
    """Return a connection to a file that this user may only read.

    SQLite then needs the files of an open store (-wal, -shm); without them nobody is writing, and
    the file is read as one that does not change.
    """
    wal = path.with_name(f"{path.name}-wal")
    unchanging = "" if wal.exists() and wal.stat().st_size else "&immutable=1"
    address = f"file:{quote(str(path))}?mode=ro{unchanging}"
    db = sqlite3.connect(address, uri=True, timeout=60, isolation_level=None)
    db.execute("PRAGMA temp_store=MEMORY")
    for name, script in (("catalogue", TABLE), ("seals", SEALS)):  # absent from older stores
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone():
            db.executescript(script.replace(f"EXISTS {name}", f"EXISTS temp.{name}"))
    return db


def _add_column_of_logs(db: sqlite3.Connection) -> None:
    """Add the column of logs to the attempts of a store that is older than it."""
    names = {name for _, name, *_ in db.execute("PRAGMA table_info(attempts)")}
    if "logs" not in names:
        with contextlib.suppress(sqlite3.OperationalError):  # another process was quicker
            db.execute("ALTER TABLE attempts ADD COLUMN logs TEXT NOT NULL DEFAULT '{}'")

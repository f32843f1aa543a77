"""Remove the coverage data of processes that were killed while they wrote it.

    scripts/drop_torn_coverage.py FOLDER

Tests kill processes; one that dies within the write of its FOLDER/.coverage.* leaves a file that is
no database, and `coverage combine` then stops at it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from pathlib import Path


def is_whole(path: Path) -> bool:
    """Return whether SQLite can read every page of a file."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
            paths = connection.execute("SELECT path FROM file").fetchall()
    except sqlite3.DatabaseError:
        return False
    return answer == "ok" and all(path is not None for (path,) in paths)


if __name__ == "__main__":
    for file in sorted(Path(sys.argv[1]).glob(".coverage.*")):
        if not is_whole(file):
            print(f"{file.name}: not whole, left out", file=sys.stderr)
            file.unlink()

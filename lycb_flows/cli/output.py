"""What commands print."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from lycb_flows.store import Attempt, ResultStore


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    sys.stdout.write(json.dumps(value) + "\n")


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table.

    Parameters
    ----------
    title
        Line above the table.
    columns
        Names of the columns; all empty for a table without a head.
    rows
        Cells of each row.
    """
    from rich.console import Console

    Console().print(as_table(title, columns, rows))


def as_table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """Return what `print_table` prints.

    Parameters
    ----------
    title
        Line above the table.
    columns
        Names of the columns; all empty for a table without a head.
    rows
        Cells of each row.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def print_attempts(results: ResultStore, attempts: Sequence[Attempt], logs: Path | None) -> None:
    """Print the tries at a key, with names and sizes of what an engine wrote in them.

    Parameters
    ----------
    results
        Where the tries are.
    attempts
        The tries.
    logs
        Folder to write the logs to; None: they are not written.
    """
    rows = []
    for attempt in attempts:
        sizes = (f"{name} {blob.size / 1000:.0f} kB" for name, blob in attempt.logs.items())
        cost = f"{attempt.wall_s:.1f}"
        rows.append(
            [
                str(attempt.number),
                attempt.outcome,
                attempt.worker,
                cost,
                ", ".join(sizes),
                attempt.reason,
            ]
        )
    print_table("Attempts", ["number", "outcome", "worker", "wall s", "logs", "reason"], rows)
    if logs is not None:
        for attempt in attempts:
            _write_logs(results, attempt, logs)


def _write_logs(results: ResultStore, attempt: Attempt, folder: Path) -> None:
    from lycb_flows.labels.logs import ENDINGS

    folder.mkdir(parents=True, exist_ok=True)
    for name, blob in attempt.logs.items():
        ending = ENDINGS.get(blob.media_type, "")
        path = folder / f"{attempt.key[:12]}_{attempt.number}_{name}{ending}"
        path.write_bytes(results.blobs.read(blob))
        typer.echo(f"wrote {path}")

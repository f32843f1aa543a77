"""The tries at a document and their logs, as `lycb show` shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lycb_flows.cli.terminal import print_table

if TYPE_CHECKING:
    from lycb_flows.store import Attempt, ResultStore


def print_attempts(attempts: Sequence[Attempt]) -> None:
    """Print a table of attempts, with the names and sizes of their logs."""
    rows = []
    for attempt in attempts:
        sizes = (f"{name} {blob.size / 1000:.0f} kB" for name, blob in attempt.logs.items())
        rows.append(
            [
                str(attempt.number),
                attempt.outcome,
                attempt.worker,
                f"{attempt.wall_s:.1f}",
                ", ".join(sizes),
                attempt.reason,
            ]
        )
    print_table("Attempts", ["number", "outcome", "worker", "wall s", "logs", "reason"], rows)


def write_logs(results: ResultStore, attempts: Sequence[Attempt], folder: Path | None) -> None:
    """Write the logs of attempts to a folder.

    Parameters
    ----------
    results
        Holds the logs.
    attempts
        The attempts.
    folder
        None to write none.
    """
    if folder is not None:
        for attempt in attempts:
            _write_logs(results, attempt, folder)
        if not any(attempt.logs for attempt in attempts):
            typer.echo(f"no logs are kept of it: nothing to write into {folder}", err=True)


def _write_logs(results: ResultStore, attempt: Attempt, folder: Path) -> None:
    from lycb_flows.labels.logs import ENDINGS

    for name, blob in attempt.logs.items():
        folder.mkdir(parents=True, exist_ok=True)
        suffix = ENDINGS.get(blob.media_type, "")
        path = folder / f"{attempt.key[:12]}_{attempt.number}_{name}{suffix}"
        path.write_bytes(results.blobs.read(blob))
        typer.echo(f"wrote {path}")

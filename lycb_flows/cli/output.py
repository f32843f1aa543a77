"""What commands print, and options made into configs."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lycb_flows.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from lycb_flows.campaign.submission import Submission
    from lycb_flows.config import Config
    from lycb_flows.store import Attempt, ResultStore

C = TypeVar("C", bound="Config")

StoreOption = Annotated[
    str | None,
    typer.Option("--store", help="Result store: a folder or mongodb:// [default: LYCB_STORE]."),
]
CampaignFile = Annotated[str, typer.Argument(help="Campaign file (YAML), or a submitted name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on one line instead of a table.")]


AT_THE_END = contextlib.ExitStack()
"""Connections to close when the command is over."""


def print_json(value: object) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(value) + "\n")


def open_results(address: str | None, *, create: bool = False) -> ResultStore:
    """The store of an option or of the settings, closed when the command ends."""
    from lycb_flows.machine.settings import load_settings
    from lycb_flows.store import open_store

    settings = load_settings()
    store = open_store(address or settings.store, create=create)
    AT_THE_END.callback(store.close)
    return store


def open_submission(campaign: str, store: ResultStore) -> Submission:
    """A campaign by file or name, its parents and models in the store."""
    from lycb_flows.campaign.submission import find_submission

    return find_submission(store, campaign)


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A table with a title."""
    from rich.console import Console

    Console().print(as_table(title, columns, rows))


def as_table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """The same, to be printed later."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def checked(config: type[C], options: dict[str, Any], *, prefix: str = "--") -> C:
    """The config of command-line options, or one line about the first that is wrong."""
    from pydantic import ValidationError

    try:
        return config.model_validate(options)
    except ValidationError as err:
        first = err.errors()[0]
        name = str(first["loc"][0])
        option = prefix + (name.replace("_", "-") if prefix == "--" else name)
        raise InputError(
            first["msg"], fix="see --help", option=option, found=first["input"]
        ) from err


def print_attempts(results: ResultStore, attempts: Sequence[Attempt], logs: Path | None) -> None:
    """Tries at a key, with names and sizes of what an engine wrote in them."""
    rows = []
    for one in attempts:
        sizes = (f"{name} {blob.size / 1000:.0f} kB" for name, blob in one.logs.items())
        cost = f"{one.wall_s:.1f}"
        rows.append([str(one.number), one.outcome, one.worker, cost, ", ".join(sizes), one.reason])
    print_table("Attempts", ["number", "outcome", "worker", "wall s", "logs", "reason"], rows)
    if logs is not None:
        for one in attempts:
            _write_logs(results, one, logs)


def _write_logs(results: ResultStore, attempt: Attempt, folder: Path) -> None:
    from lycb_flows.labels.logs import ENDINGS

    folder.mkdir(parents=True, exist_ok=True)
    for name, blob in attempt.logs.items():
        ending = ENDINGS.get(blob.media_type, "")
        path = folder / f"{attempt.key[:12]}_{attempt.number}_{name}{ending}"
        path.write_bytes(results.blobs.read(blob))
        typer.echo(f"wrote {path}")

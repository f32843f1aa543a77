"""What commands share: options, the stores and LaunchPads that they open, and tables."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lycb_flows.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from lycb_flows.campaign import Submission
    from lycb_flows.config import Config
    from lycb_flows.service.launchpad import ServiceLaunchPad
    from lycb_flows.store import Attempt, ResultStore

C = TypeVar("C", bound="Config")
StoreOption = Annotated[
    str | None,
    typer.Option("--store", help="Result store: a folder or mongodb:// [default: LYCB_STORE]."),
]
CampaignFile = Annotated[str, typer.Argument(help="Campaign file (YAML), or a submitted name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on one line instead of a table.")]
_TOLD_EVERY_S = 5.0
AT_THE_END = contextlib.ExitStack()
"""Connections to close when the command is over."""


def open_results(address: str | None, *, create: bool = False) -> ResultStore:
    """Return the store of an option or of the settings, closed when the command ends.

    Parameters
    ----------
    address
        Value of --store; None: the settings'.
    create
        Whether a folder may be made.
    """
    from lycb_flows.machine.settings import load_settings
    from lycb_flows.store import open_store

    settings = load_settings()
    store = open_store(address or settings.store, create=create)
    AT_THE_END.callback(store.close)
    return store


def open_submission(campaign: str, store: ResultStore) -> Submission:
    """Return a campaign, its parents and models in the store.

    Parameters
    ----------
    campaign
        File, or name of a submitted campaign.
    store
        Where it is, or will be.
    """
    from lycb_flows.campaign import find_submission

    return find_submission(store, campaign)


def checked(config: type[C], options: dict[str, Any], *, prefix: str = "--") -> C:
    """Return the config of command-line options.

    Parameters
    ----------
    config
        Class of the config.
    options
        Values by field.
    prefix
        Put before a field's name to name the option.

    Raises
    ------
    InputError
        When an option is wrong; it names the first.
    """
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


LaunchPadOption = Annotated[
    Path | None,
    typer.Option("--launchpad", help="launchpad.yaml [default: FW_CONFIG_FILE, then here]."),
]
CampaignName = Annotated[str, typer.Argument(help="Name of a submitted campaign.")]


def open_launchpad(path: Path | None) -> ServiceLaunchPad:
    """Return the LaunchPad of a file or of the settings, closed when the command ends."""
    from lycb_flows.service.launchpad import load_launchpad

    launchpad = load_launchpad(path)
    AT_THE_END.callback(launchpad.connection.close)
    return launchpad


def open_service_store(address: str | None) -> ResultStore:
    """Return the store of an option or of the settings, which all workers must reach.

    Raises
    ------
    InputError
        When it is a folder.
    """
    from lycb_flows.machine.settings import load_settings
    from lycb_flows.store import MONGODB_SCHEMES

    settings = load_settings()
    if not (address or settings.store).startswith(MONGODB_SCHEMES):
        raise InputError(
            "workers need a result store that they all reach",
            fix="set LYCB_STORE to mongodb://host/database; `lycb run` needs none",
            found=address or settings.store,
        )
    return open_results(address)


ReportOption = Annotated[
    Path | None, typer.Option("--report", help="Report folder [default: in the store].")
]
Key = Annotated[str, typer.Argument(help="Key, or its first digits (6 or more).")]


# -- output ----------------------------------------------------------------------------------

PLAIN_EVERY_S = 5.0


class PlainProgress:
    """Progress where the output is no terminal: lines on stderr, five seconds apart or more."""

    def __init__(self) -> None:
        self._shown_at = time.monotonic()

    def show(self, text: str) -> None:
        """Print how far something is, unless that was told a moment ago."""
        if time.monotonic() - self._shown_at >= PLAIN_EVERY_S:
            self._shown_at = time.monotonic()
            typer.echo(text, err=True)


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


@contextlib.contextmanager
def told_progress(doing: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what is called with the number of steps done and of all; prints them with an ETA.

    Nothing is printed in the first five seconds, then a line on stderr every five.

    Parameters
    ----------
    doing
        What the line begins with.
    """
    began = last = time.monotonic()

    def report(n_done: int, n_all: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _TOLD_EVERY_S:
            return
        last = now
        left_s = (now - began) / n_done * (n_all - n_done)
        typer.echo(f"{doing}: {n_done} of {n_all}, about {left_s:.0f} s left", err=True)

    yield report

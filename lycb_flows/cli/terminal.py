"""What commands share: options, the stores and LaunchPads that they open, and tables."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lycb_flows.errors import InputError
from lycb_flows.machine import duration_text, pause_s

if TYPE_CHECKING:
    from rich.table import Table

    from lycb_flows.campaign import Submission
    from lycb_flows.config import Config
    from lycb_flows.potentials import ModelSource, Potential
    from lycb_flows.service.launchpad import ServiceLaunchPad
    from lycb_flows.store import ResultStore

C = TypeVar("C", bound="Config")
StoreOption = Annotated[
    str | None,
    typer.Option("--store", help="Result store: a folder or mongodb:// (default: LYCB_STORE)."),
]
CampaignFile = Annotated[str, typer.Argument(help="Campaign file (YAML), or a submitted name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on one line instead of a table.")]
_SHOWN_AFTER_S = 2.0
AT_THE_END = contextlib.ExitStack()
"""Connections to close when the command is over."""


def open_results(address: str | None, *, create: bool = False) -> ResultStore:
    """Return the store that --store or the settings name; it is closed when the command ends.

    Parameters
    ----------
    address
        Value of --store; None for the store of the settings.
    create
        Whether to make the folder when it does not exist.
    """
    from lycb_flows.machine import load_settings
    from lycb_flows.store import open_store

    settings = load_settings()
    store = open_store(address or settings.store, create=create)
    AT_THE_END.callback(store.close)
    return store


def open_results_to_plan(address: str | None) -> ResultStore:
    """Return the store that --store or the settings name, or an empty one where there is none.

    The empty one lies in a temporary folder, which is removed when the command ends: a plan makes
    no store.

    Parameters
    ----------
    address
        Value of --store; None for the store of the settings.
    """
    from lycb_flows.machine import load_settings
    from lycb_flows.store import MONGODB_SCHEMES

    chosen = address or load_settings().store
    if chosen.startswith(MONGODB_SCHEMES) or (Path(chosen) / "results.sqlite").exists():
        return open_results(address)
    folder = AT_THE_END.enter_context(tempfile.TemporaryDirectory(prefix="lycb-plan-"))
    return open_results(folder, create=True)


def open_potential(source: ModelSource) -> Potential:
    """Return the potential of a model, with the device and the threads of the settings.

    Where neither a variable nor the settings' file states threads, those of OMP_NUM_THREADS stay.

    Parameters
    ----------
    source
        The model.
    """
    import torch

    from lycb_flows.machine import load_settings
    from lycb_flows.potentials import load_potential

    settings = load_settings()
    if "threads" in settings.model_fields_set:
        torch.set_num_threads(settings.threads)
    return load_potential(source.model, source.weights, settings.device)


def check_folder_of(path: Path) -> None:
    """Check, before any other work, that the folder of an output file exists.

    Parameters
    ----------
    path
        The output file.

    Raises
    ------
    InputError
        When the folder does not exist.
    """
    if not path.parent.is_dir():
        raise InputError(
            "no such folder to write into", fix="make it, or give another path", folder=path.parent
        )


def open_submission(campaign: str, store: ResultStore, *, to_run: bool = True) -> Submission:
    """Return a submitted campaign, with the keys of its parents and models.

    Parameters
    ----------
    campaign
        Path of a campaign file, which is submitted to the store, or name of a submitted campaign.
    store
        Store of the submitted campaigns.
    to_run
        Whether what labels must be installed here, as it need not be to plan.
    """
    from lycb_flows.campaign import find_submission

    return find_submission(store, campaign, to_run=to_run)


def tell_of_no_campaign(whose: str = "") -> None:
    """Say on stderr that a store has no campaign, and what puts one there.

    Parameters
    ----------
    whose
        Words for those that were looked for, where it is not all.
    """
    fix = "`lycb report FILE` or `lycb run FILE` reads a campaign's file"
    typer.echo(f"no campaign{whose} is in this store: {fix}", err=True)


def checked(
    config: type[C],
    options: dict[str, Any],
    *,
    named: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> C:
    """Return the config that command-line options or a file state.

    Parameters
    ----------
    config
        Class of the config.
    options
        Values by field.
    named
        Field -> its option's name, where that is another.
    file
        Where the values stand; None: in options.

    Raises
    ------
    InputError
        When a value is not valid; the message names the first one.
    """
    from pydantic import ValidationError

    from lycb_flows.config import first_fault

    try:
        return config.model_validate(options)
    except ValidationError as err:
        fault = first_fault(err)
        facts: dict[str, str] = fault.found
        if file is not None:
            facts = {"file": file.name, "at": ".".join(fault.place)} | facts
        elif fault.place:
            name = (named or {}).get(fault.place[0], fault.place[0])
            facts = {"option": f"--{name.replace('_', '-')}"} | facts
        fix = "see --help" if file is None else "mend it there"
        raise InputError(fault.message, fix=fix, **facts) from err


def read_fields(path: Path | None) -> dict[str, Any]:
    """Return the fields of a YAML file of settings; none without a file.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        When it cannot be read or has no fields.
    """
    import yaml

    from lycb_flows.config import parse_yaml

    if path is None:
        return {}
    try:
        fields = parse_yaml(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
        raise InputError(
            "unreadable file of fields", fix="give YAML", file=path, reason=str(err)
        ) from err
    if not isinstance(fields, dict):
        raise InputError("a file of settings is a list of fields", fix="e.g. seed: 1", file=path)
    return fields


LaunchPadOption = Annotated[
    Path | None,
    typer.Option(
        "--launchpad",
        help="launchpad.yaml (default: FireWorks' LAUNCHPAD_LOC, then ./launchpad.yaml).",
    ),
]
CampaignName = Annotated[str, typer.Argument(help="Name of a submitted campaign.")]


def open_launchpad(path: Path | None) -> ServiceLaunchPad:
    """Return the LaunchPad of a file or of the settings; it is closed when the command ends."""
    from lycb_flows.service.launchpad import load_launchpad

    launchpad = load_launchpad(path)
    AT_THE_END.callback(launchpad.connection.close)
    return launchpad


def open_service_store(address: str | None) -> ResultStore:
    """Return the MongoDB store that --store or the settings name; all workers share it.

    Parameters
    ----------
    address
        Value of --store; None for the store of the settings.

    Raises
    ------
    InputError
        When the store is a folder.
    """
    from lycb_flows.machine import load_settings
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
    Path | None, typer.Option("--report", help="Report folder (default: in the store).")
]
Key = Annotated[str, typer.Argument(help="Key, or its first digits (6 or more).")]


# -- output ----------------------------------------------------------------------------------


class PlainProgress:
    """Progress for an output that is no terminal: lines on stderr, at least five seconds apart."""

    def __init__(self) -> None:
        self._began_at = self._shown_at = time.monotonic()

    def show(self, text: str) -> None:
        """Print a line of progress, unless the last one was a moment ago (`pause_s`)."""
        now = time.monotonic()
        if now - self._shown_at >= pause_s(now - self._began_at):
            self._shown_at = now
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
        Names of the columns; when all are empty, the table has no header.
    rows
        Cells of each row.
    """
    from rich.console import Console

    Console().print(as_table(title, columns, rows))


_LONGEST_WHOLE = 11  # letters of a word that a narrow column may not break; keys are longer


def as_table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """Return a table as `print_table` prints it.

    Parameters
    ----------
    title
        Line above the table.
    columns
        Names of the columns; when all are empty, the table has no header.
    rows
        Cells of each row.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=any(columns))
    for index, column in enumerate(columns):
        cells = (column, *(row[index] for row in rows))
        longest = max((len(word) for cell in cells for word in cell.split()), default=0)
        table.add_column(column, overflow="fold", min_width=min(longest, _LONGEST_WHOLE))
    for row in rows:
        table.add_row(*map(escape, row))
    return table


@contextlib.contextmanager
def share_progress(task: str) -> Iterator[Callable[[float], None]]:
    """Yield a function that shows on stderr which share of a task is done and the time left.

    A terminal shows a bar; other outputs get lines of text.

    Parameters
    ----------
    task
        Name of the task, printed before its progress.

    Yields
    ------
    callable
        To be called with the share, from 0 to 1.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console, start_s = Console(stderr=True), time.monotonic()
    if not console.is_terminal:
        plain = PlainProgress()

        def tell_plainly(share: float) -> None:
            left_s = (time.monotonic() - start_s) * (1 / max(share, 1e-9) - 1)
            plain.show(f"{task}: {share:.0%}, about {duration_text(left_s)} left")

        yield tell_plainly
        return
    columns = TextColumn(task), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task_id = bar.add_task("", total=1.0, visible=False)

        def tell(share: float) -> None:
            visible = time.monotonic() - start_s > _SHOWN_AFTER_S
            bar.update(task_id, completed=share, visible=visible)

        yield tell

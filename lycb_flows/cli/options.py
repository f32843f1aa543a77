"""Options that several commands share, and the stores and LaunchPads that they open."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lycb_flows.errors import InputError

if TYPE_CHECKING:
    from lycb_flows.campaign.submission import Submission
    from lycb_flows.config import Config
    from lycb_flows.service.launchpad import ServiceLaunchPad
    from lycb_flows.store import ResultStore


C = TypeVar("C", bound="Config")
StoreOption = Annotated[
    str | None,
    typer.Option("--store", help="Result store: a folder or mongodb:// [default: LYCB_STORE]."),
]
CampaignFile = Annotated[str, typer.Argument(help="Campaign file (YAML), or a submitted name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on one line instead of a table.")]
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
    from lycb_flows.campaign.submission import find_submission

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

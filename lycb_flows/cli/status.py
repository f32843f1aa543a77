"""`lycb status`, `lycb watch` and `lycb serve`."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lycb_flows.cli.numbers import above_zero
from lycb_flows.cli.terminal import (
    JsonOption,
    LaunchPadOption,
    StoreOption,
    open_launchpad,
    open_results,
    open_submission,
    print_json,
    print_table,
    tell_of_no_campaign,
)
from lycb_flows.machine import duration_text

if TYPE_CHECKING:
    from lycb_flows.campaign import Submission

_OF_THE_STORE = {"attempts": "attempts in store", "wall_s": "computing in store"}
"""Names of what is counted for all campaigns of a store together."""
_SERVED_OUTAGE_S = 20
"""A page says that the database is away, instead of waiting for it as a worker does."""
MineOption = Annotated[bool, typer.Option("--mine", help="Only campaigns that you submitted.")]


def status(
    campaign: Annotated[
        str | None, typer.Argument(help="File or submitted name (default: every campaign).")
    ] = None,
    mine: MineOption = False,
    store: StoreOption = None,
    launchpad: LaunchPadOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how far campaigns have come: jobs, workers, labels, errors, attempts, cost, rest.

    Jobs and workers are shown for campaigns on a LaunchPad.
    """
    looked_at = _Watched(campaign, store, launchpad, mine=mine).look()
    if not looked_at:
        tell_of_no_campaign(" of yours" if mine else "")
    for found in looked_at:
        if as_json:
            print_json(found)
        else:
            print_table(f"Status of {found['campaign']}", ["", ""], _status_rows(found))


def watch(
    campaign: Annotated[
        str | None, typer.Argument(help="File or submitted name (default: every campaign).")
    ] = None,
    mine: MineOption = False,
    store: StoreOption = None,
    launchpad: LaunchPadOption = None,
    interval_s: Annotated[
        float, typer.Option(help="Time between two looks.", callback=above_zero)
    ] = 5.0,
) -> None:
    """Show the status live, until Ctrl-C.

    The campaigns are looked at anew every few seconds; nothing is changed.
    """
    from rich.console import Group
    from rich.live import Live

    from lycb_flows.cli.terminal import as_table

    watched = _Watched(campaign, store, launchpad, mine=mine)
    with suppress(KeyboardInterrupt), Live(auto_refresh=False) as live:
        while True:
            at = time.strftime("%H:%M:%S")
            tables = [
                as_table(f"{found['campaign']}, {at}", ["", ""], _status_rows(found))
                for found in watched.look()
            ]
            live.update(Group(*tables), refresh=True)
            time.sleep(interval_s)


def serve(
    levers: Annotated[bool, typer.Option("--levers", help="Pages may change campaigns.")] = False,
    port: Annotated[int, typer.Option(help="Where it listens.")] = 8137,
    host: Annotated[
        str, typer.Option(help="Another address than the loopback's; there is no TLS.")
    ] = "127.0.0.1",
    token_file: Annotated[
        Path | None, typer.Option(help="File of the token (default: ~/.lycb_serve_PORT.token).")
    ] = None,
    interval_s: Annotated[float, typer.Option(min=1, help="Time between two looks.")] = 5.0,
    store: StoreOption = None,
    launchpad: LaunchPadOption = None,
) -> None:
    """Serve a page of the campaigns, for browsers of this machine or through `ssh -L`.

    It prints a link that works once; without --levers nothing can be changed.
    """
    from lycb_flows.serve import ServerOptions, serve as serve_pages

    os.environ.setdefault("LYCB_OUTAGE_S", str(_SERVED_OUTAGE_S))
    options = ServerOptions(
        host=host,
        port=port,
        with_levers=levers,
        token_file=token_file,
        store=store,
        launchpad=launchpad,
        interval_s=interval_s,
    )
    serve_pages(options, typer.echo)


class _Watched:
    """A campaign, or all that there are; connections are opened once.

    Parameters
    ----------
    campaign
        File or name; None: every campaign.
    store, launchpad
        Values of the options.
    mine
        Only campaigns that this user of the system has submitted first.
    """

    def __init__(
        self, campaign: str | None, store: str | None, launchpad: Path | None, *, mine: bool
    ) -> None:
        self.mine = mine
        self.results = open_results(store)
        self.pad = open_launchpad(launchpad) if self.results.is_shared else None
        self.submission = open_submission(campaign, self.results) if campaign else None

    def look(self) -> list[dict[str, Any]]:
        """Return how far each campaign has come."""
        return [self._status(submission) for submission in self._submissions()]

    def _submissions(self) -> list[Submission]:
        from lycb_flows.schemas import CampaignRecord
        from lycb_flows.store import user_name

        me = user_name()
        if self.submission is not None:
            return [self.submission]
        records = self.results.find_all(CampaignRecord)
        names = sorted(
            {record.name for record in records if not self.mine or record.made.owner == me}
        )
        return [open_submission(name, self.results) for name in names]

    def _status(self, submission: Submission) -> dict[str, Any]:
        from lycb_flows.campaign import campaign_status

        found = campaign_status(self.results, submission)
        if self.pad is not None:
            from lycb_flows.service.monitor import service_status

            found |= service_status(self.pad, self.results, submission)
        return found


def _status_rows(found: dict[str, Any]) -> list[list[str]]:
    rows: list[list[str]] = []
    for name, value in found.items():
        field = _OF_THE_STORE.get(name, name)
        if name == "wall_s":
            rows.append([field, duration_text(value)])
        elif isinstance(value, dict):
            rows += [[f"{field} {part}", _as_text(entry)] for part, entry in value.items()]
        elif isinstance(value, list):
            rows.append([field, "\n".join(map(str, value))])
        else:
            rows.append([field, str(value)])
    return rows


def _as_text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{n} {name}" for name, n in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

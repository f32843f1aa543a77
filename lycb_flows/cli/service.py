"""Commands of the service: the LaunchPad, workers, the reaper, their health."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lycb_flows.cli.output import (
    AT_THE_END,
    CampaignFile,
    JsonOption,
    StoreOption,
    open_results,
    open_submission,
    print_json,
    print_table,
)
from lycb_flows.errors import InputError

if TYPE_CHECKING:
    from lycb_flows.campaign.submission import Submission
    from lycb_flows.service.launchpad import ServiceLaunchPad
    from lycb_flows.service.reaper.passes import Reaping
    from lycb_flows.store import ResultStore

LaunchPadOption = Annotated[
    Path | None,
    typer.Option("--launchpad", help="launchpad.yaml [default: FW_CONFIG_FILE, then here]."),
]
CampaignName = Annotated[str, typer.Argument(help="Name of a submitted campaign.")]
_MINUTE_S = 60


def _launchpad(path: Path | None) -> ServiceLaunchPad:
    from lycb_flows.service.launchpad import load_launchpad

    launchpad = load_launchpad(path)
    AT_THE_END.callback(launchpad.connection.close)
    return launchpad


def _service_store(address: str | None) -> ResultStore:
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


# -- campaigns ------------------------------------------------------------------------------


def submit(
    campaign: CampaignFile, store: StoreOption = None, launchpad: LaunchPadOption = None
) -> None:
    """Put a campaign on the LaunchPad for workers to run; twice adds nothing."""
    from lycb_flows.service.campaigns import other_versions, submit_campaign

    results, pad = _service_store(store), _launchpad(launchpad)
    submission = open_submission(campaign, results)
    added = submit_campaign(pad, submission)
    name = submission.campaign.name
    if added:
        typer.echo(f"{name}: submitted; start workers with `lycb worker`, look with `lycb watch`")
    else:
        typer.echo(f"{name}: already there, nothing added")
    for other in other_versions(pad, submission):
        typer.echo(
            f"another version of {name} is {other.state.lower()} with {len(other.fw_ids)} jobs: "
            f"`lycb cancel {name}` and submit again to have only this one"
        )


def cancel(name: CampaignName, launchpad: LaunchPadOption = None) -> None:
    """Take a campaign off the LaunchPad; its results stay, submitting again goes on from them."""
    from lycb_flows.service.launchpad import cancel as cancel_workflows

    _pull(cancel_workflows, name, launchpad, "will not run")


def pause(name: CampaignName, launchpad: LaunchPadOption = None) -> None:
    """Let running jobs of a campaign end and start no other."""
    from lycb_flows.service.launchpad import pause as pause_workflows

    _pull(pause_workflows, name, launchpad, "wait")


def resume(name: CampaignName, launchpad: LaunchPadOption = None) -> None:
    """Undo `lycb pause`."""
    from lycb_flows.service.launchpad import resume as resume_workflows

    _pull(resume_workflows, name, launchpad, "may run again")


def _pull(
    lever: Callable[[ServiceLaunchPad, str], int], name: str, path: Path | None, outcome: str
) -> None:
    from lycb_flows.service.launchpad import campaign_workflows

    pad = _launchpad(path)
    if not campaign_workflows(pad, name):
        known = sorted({one.metadata["campaign"] for one in campaign_workflows(pad, None)})
        raise InputError(
            "no such campaign on this LaunchPad",
            fix=f"one of {', '.join(known)}" if known else "see `lycb submit`",
            found=name,
        )
    typer.echo(f"{name}: {lever(pad, name)} jobs {outcome}")


def relabel(
    campaign: CampaignFile, store: StoreOption = None, launchpad: LaunchPadOption = None
) -> None:
    """Try once more the labels that have failed for good; late ones join the next round."""
    from lycb_flows.flows.embedded import relabel_embedded
    from lycb_flows.service.campaigns import relabel as relabel_on
    from lycb_flows.store.mongodb import MongoStore

    results = open_results(store)
    submission = open_submission(campaign, results)
    if isinstance(results, MongoStore):
        tried = relabel_on(_launchpad(launchpad), results, submission)
        verb = "submitted again"
    else:
        tried = relabel_embedded(results, submission)
        verb = "tried again; `lycb run` goes on"
    if not tried:
        typer.echo(f"{submission.campaign.name}: no label has failed for good")
    for stage, n_labels in tried.items():
        typer.echo(f"{stage}: {n_labels} labels {verb}")


# -- workers and the reaper ------------------------------------------------------------------


def worker(
    category: Annotated[
        list[str] | None,
        typer.Option(help="Jobs to take; may be given several times [default: my_fworker.yaml]."),
    ] = None,
    launchpad: LaunchPadOption = None,
    nlaunches: Annotated[
        int | None, typer.Option(help="Jobs to run; 0: until none is left [default: for ever].")
    ] = None,
    max_idle_s: Annotated[
        float | None, typer.Option(help="Leave after so long without a job [default: never].")
    ] = None,
    walltime_minutes: Annotated[
        float | None, typer.Option(help="When the queue ends it [default: what Slurm says].")
    ] = None,
    name: Annotated[str, typer.Option(help="Written into results [default: host and pid].")] = "",
    device: Annotated[str, typer.Option(help="Torch device [default: LYCB_DEVICE].")] = "",
    store: StoreOption = None,
) -> None:
    """Run jobs of the LaunchPad, one after the other; SIGTERM and walltime lose nothing."""
    from lycb_flows.service.worker import WorkerOptions, run_worker

    _check_categories(category or ())
    _choose_store(store)
    options = WorkerOptions(
        categories=tuple(category or ()),
        n_launches=nlaunches,
        max_idle_s=max_idle_s,
        walltime_s=None if walltime_minutes is None else _MINUTE_S * walltime_minutes,
        name=name,
        device=device,
    )
    run_worker(_launchpad(launchpad), options, typer.echo)


def _check_categories(categories: Iterable[str]) -> None:
    from lycb_flows.campaign.descriptions import CATEGORIES

    unknown = set(categories) - set(CATEGORIES)
    if unknown:
        raise InputError(
            "no job has this category", fix=f"one of {', '.join(CATEGORIES)}", found=min(unknown)
        )


def _choose_store(address: str | None) -> None:
    """Jobs read their settings from the environment."""
    if address is not None:
        os.environ["LYCB_STORE"] = address


def reap(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    lost_after_s: Annotated[
        float | None, typer.Option(help="Silence that means lost [default: LYCB_LOST_AFTER_S].")
    ] = None,
    launchpad: LaunchPadOption = None,
    store: StoreOption = None,
) -> None:
    """Put lost jobs back, break stale locks, close rounds whose last labels hang; once."""
    from lycb_flows.service.reaper.passes import reap as reap_once

    pad, results = _launchpad(launchpad), _service_store(store)
    found = reap_once(
        pad,
        lost_after_s=lost_after_s,
        dry_run=dry_run,
        extra=_closing(pad, results, dry_run=dry_run),
    )
    rows = [
        [one.what, one.name, one.why, one.action, "done" if one.done else "not yet"]
        for one in found
    ]
    print_table(f"{len(found)} findings", ["what", "job", "evidence", "action", ""], rows)


def serve_reaper(
    interval_s: Annotated[float, typer.Option(help="Between two looks.")] = 60.0,
    launchpad: LaunchPadOption = None,
    store: StoreOption = None,
) -> None:
    """Reap again and again, until SIGTERM."""
    from lycb_flows.service.reaper.passes import serve

    pad, results = _launchpad(launchpad), _service_store(store)
    serve(pad, interval_s, say=typer.echo, extra=_closing(pad, results, dry_run=False))


def _closing(
    pad: ServiceLaunchPad, results: ResultStore, *, dry_run: bool
) -> Callable[[], list[Reaping]]:
    """What the reaper does beside FireWorks' own matters."""
    from lycb_flows.service.campaigns import close_open_stages
    from lycb_flows.store.mongodb import MongoStore

    def close() -> list[Reaping]:
        if isinstance(results, MongoStore) and not dry_run:
            results.settle_attempts()
            results.forget_stale_claims()
        return close_open_stages(pad, results, dry_run=dry_run)

    return close


def qadapter(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("my_qadapter.yaml"),
    queue_type: Annotated[str, typer.Option(help="SLURM or PBS.")] = "SLURM",
    queue: Annotated[str | None, typer.Option(help="Slurm's partition, PBS' queue.")] = None,
    account: Annotated[str | None, typer.Option(help="Who pays.")] = None,
    walltime_minutes: Annotated[int, typer.Option(help="What the queue grants.")] = 1440,
    signal_before_s: Annotated[int, typer.Option(help="Warning before the walltime.")] = 120,
    nodes: Annotated[int, typer.Option(help="More than one: for MPI in labels.")] = 1,
    tasks_per_node: Annotated[int, typer.Option(help="MPI ranks of a label.")] = 1,
    cpus_per_task: Annotated[int, typer.Option(help="Cores per task.")] = 1,
    gpus: Annotated[int, typer.Option(help="Per node.")] = 0,
    memory_gb: Annotated[int | None, typer.Option(help="Per node [default: the queue's].")] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="Jobs to take; several times [default: gpu].")
    ] = None,
    n_launches: Annotated[int | None, typer.Option(help="Most jobs per worker.")] = None,
    max_idle_s: Annotated[int, typer.Option(help="A worker leaves after so long idle.")] = 300,
    launchpad: Annotated[
        Path | None, typer.Option(help="launchpad.yaml, where the nodes see it.")
    ] = None,
    pre_rocket: Annotated[
        list[str] | None, typer.Option(help="Shell line before the worker; several times.")
    ] = None,
    command: Annotated[
        str | None, typer.Option(help="Instead of our worker, e.g. 'rlaunch rapidfire'.")
    ] = None,
) -> None:
    """Write the queue adapter with which FireWorks' `qlaunch` starts workers."""
    fields = dict(locals())  # the options, whose names are the config's
    from lycb_flows.service.qadapter import check_queue_config, write_qadapter

    del fields["path"]
    categories = tuple(category or ("gpu",))
    _check_categories(categories)
    fields |= {"category": categories, "pre_rocket": tuple(pre_rocket or ())}
    write_qadapter(check_queue_config(fields), path)
    typer.echo(f"{path}; next: qlaunch -q {path} rapidfire -m 2")


def doctor(
    store: StoreOption = None, launchpad: LaunchPadOption = None, as_json: JsonOption = False
) -> None:
    """Check this machine and its service: database, blobs, workers, models, Slurm, space."""
    from dataclasses import asdict

    from lycb_flows.doctor.examination import examine
    from lycb_flows.machine.settings import load_settings

    checks = examine(store or load_settings().store, launchpad)
    if as_json:
        print_json([asdict(one) for one in checks])
    else:
        words = {True: "ok", False: "FAILS", None: "-"}
        rows = [[words[one.ok], one.name, one.found, one.fix] for one in checks]
        print_table("This machine", ["", "what", "found", "what to do"], rows)
    if any(one.ok is False for one in checks):
        raise typer.Exit(1)


def gc(
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Remove what was listed a day ago or earlier.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --sweep: really.")] = False,
    store: StoreOption = None,
) -> None:
    """List blobs that nothing names; a day later --sweep --yes removes them."""
    from datetime import UTC, datetime

    from lycb_flows.store import garbage

    results, now = open_results(store), datetime.now(UTC)
    if not sweep:
        listed = garbage.list_garbage(results, now=now)
        rows = [[one.name, f"{one.size:,}", f"{one.listed_at:%F %R}"] for one in listed.blobs]
        print_table(
            f"{len(rows)} blobs that nothing names, {listed.n_bytes:,} bytes",
            ["name", "bytes", "on the list since"],
            rows,
        )
        return
    swept = garbage.sweep(results, now=now, dry=not yes)
    rows = [[one.name, f"{one.size:,}"] for one in swept.removed]
    verb = "to be removed with --yes" if swept.dry else "removed"
    print_table(f"{len(rows)} blobs {verb}, {swept.n_bytes:,} bytes", ["name", "bytes"], rows)
    typer.echo(f"{swept.n_waiting} not yet listed for a day, {swept.n_spared} named meanwhile")


# -- looking ----------------------------------------------------------------------------------


def status(
    campaign: Annotated[
        str | None, typer.Argument(help="File or submitted name [default: every campaign].")
    ] = None,
    store: StoreOption = None,
    launchpad: LaunchPadOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how far campaigns have come: jobs, workers, labels, errors, attempts, cost, rest."""
    for found in _Watched(campaign, store, launchpad).look():
        if as_json:
            print_json(found)
        else:
            print_table(f"Status of {found['campaign']}", ["", ""], _status_rows(found))


def watch(
    campaign: Annotated[
        str | None, typer.Argument(help="File or submitted name [default: every campaign].")
    ] = None,
    store: StoreOption = None,
    launchpad: LaunchPadOption = None,
    interval_s: Annotated[float, typer.Option(help="Between two looks.")] = 5.0,
) -> None:
    """Show the status live, until Ctrl-C."""
    from rich.console import Group
    from rich.live import Live

    from lycb_flows.cli.output import as_table

    watched = _Watched(campaign, store, launchpad)
    with suppress(KeyboardInterrupt), Live(auto_refresh=False) as live:
        while True:
            at = time.strftime("%H:%M:%S")
            tables = [
                as_table(f"{found['campaign']}, {at}", ["", ""], _status_rows(found))
                for found in watched.look()
            ]
            live.update(Group(*tables), refresh=True)
            time.sleep(interval_s)


class _Watched:
    """One campaign, or all that there are; connections are opened once."""

    def __init__(self, campaign: str | None, store: str | None, launchpad: Path | None) -> None:
        from lycb_flows.store.mongodb import MongoStore

        self.results = open_results(store)
        self.pad = _launchpad(launchpad) if isinstance(self.results, MongoStore) else None
        self.one = open_submission(campaign, self.results) if campaign else None

    def look(self) -> list[dict[str, Any]]:
        """How far each has come."""
        return [self._status(one) for one in self._submissions()]

    def _submissions(self) -> list[Submission]:
        from lycb_flows.schemas import CampaignRecord

        if self.one is not None:
            return [self.one]
        names = sorted({record.name for record in self.results.find_all(CampaignRecord)})
        return [open_submission(name, self.results) for name in names]

    def _status(self, submission: Submission) -> dict[str, Any]:
        from lycb_flows.cli.progress import campaign_status
        from lycb_flows.service.monitor import service_status

        found = campaign_status(self.results, submission)
        if self.pad is not None:
            found |= service_status(self.pad, self.results, submission)
        return found


def _status_rows(found: dict[str, Any]) -> list[list[str]]:
    rows: list[list[str]] = []
    for field, value in found.items():
        if isinstance(value, dict):
            rows += [[f"{field} {name}", _said(one)] for name, one in value.items()]
        elif isinstance(value, list):
            rows.append([field, "\n".join(map(str, value))])
        else:
            rows.append([field, str(value)])
    return rows


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{n} {name}" for name, n in value.items())
    return json.dumps(value, ensure_ascii=False)

"""Commands of workers, of the reaper, and of the queue that starts workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lycb_flows.cli.numbers import above_zero, not_negative
from lycb_flows.cli.terminal import (
    LaunchPadOption,
    StoreOption,
    open_launchpad,
    open_service_store,
    print_table,
)
from lycb_flows.errors import InputError
from lycb_flows.machine import counted

if TYPE_CHECKING:
    from lycb_flows.service import Reaping, ServiceLaunchPad
    from lycb_flows.store import ResultStore

_MINUTE_S = 60


def worker(
    category: Annotated[
        list[str] | None,
        typer.Option(help="Jobs to take; may be given several times (default: my_fworker.yaml)."),
    ] = None,
    launchpad: LaunchPadOption = None,
    nlaunches: Annotated[
        int | None,
        typer.Option(
            help="Jobs to run; 0: until none is left (default: no limit).", callback=not_negative
        ),
    ] = None,
    max_idle_s: Annotated[
        float | None,
        typer.Option(
            help="Leave after so long without a job (default: never).", callback=not_negative
        ),
    ] = None,
    walltime_minutes: Annotated[
        float | None,
        typer.Option(
            help="Time until the queue ends it (default: what Slurm says).", callback=above_zero
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(help="Name written into results (default: host and pid).")
    ] = "",
    device: Annotated[str, typer.Option(help="Torch device (default: LYCB_DEVICE).")] = "",
    workers: Annotated[
        int, typer.Option(min=1, help="So many side by side, each with a GPU of its own.")
    ] = 1,
    store: StoreOption = None,
) -> None:
    """Run jobs of the LaunchPad, one after the other; SIGTERM and walltime lose nothing.

    Near the end of its walltime a worker takes no other job, and a long job
    goes back to the queue at its next restart point. With --workers a batch
    job fills its node; those that are killed are started again.
    """
    fields = dict(locals())  # the options, by name
    from lycb_flows.service import WorkerOptions, run_worker

    _check_categories(category or ())
    if workers > 1:
        _run_side_by_side(fields)
        return
    _choose_store(store)
    options = WorkerOptions(
        categories=tuple(category or ()),
        n_launches=nlaunches,
        max_idle_s=max_idle_s,
        walltime_s=None if walltime_minutes is None else _MINUTE_S * walltime_minutes,
        name=name,
        device=device,
    )
    run_worker(open_launchpad(launchpad), options, typer.echo)


def _run_side_by_side(fields: dict[str, Any]) -> None:
    """Run several workers, each a process that gets the same options but for its name."""
    from lycb_flows.machine import load_settings, run_side_by_side

    n_workers, first = fields.pop("workers"), fields.pop("name") or f"{gethostname()}-{os.getpid()}"
    words = [str(Path(sys.executable).with_name("lycb")), "worker"]
    for name, value in fields.items():
        for word in value if isinstance(value, list) else [value]:
            if word not in {None, ""}:
                words += [f"--{name.replace('_', '-')}", str(word)]
    names = [f"{first}-{number}" for number in range(n_workers)]
    run_side_by_side(words, names, fields["device"] or load_settings().device, typer.echo)


def _check_categories(categories: Iterable[str]) -> None:
    from lycb_flows.campaign import CATEGORIES

    unknown = set(categories) - set(CATEGORIES)
    if unknown:
        raise InputError(
            "no job has this category", fix=f"one of {', '.join(CATEGORIES)}", found=min(unknown)
        )


def _choose_store(address: str | None) -> None:
    """Set the store for the jobs, which read their settings from the environment."""
    if address is not None:
        os.environ["LYCB_STORE"] = address


def reap(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")
    ] = False,
    lost_after_s: Annotated[
        float | None,
        typer.Option(
            help="Silence that means lost (default: LYCB_LOST_AFTER_S).", callback=above_zero
        ),
    ] = None,
    launchpad: LaunchPadOption = None,
    store: StoreOption = None,
) -> None:
    """Put lost jobs back, break stale locks, close rounds whose last labels hang; once.

    A job is lost when its worker has been silent for too long. With --dry-run
    nothing is changed.
    """
    from lycb_flows.service import reap as reap_once

    pad, results = open_launchpad(launchpad), open_service_store(store)
    found = reap_once(
        pad,
        lost_after_s=lost_after_s,
        dry_run=dry_run,
        extra=_closing(pad, results, dry_run=dry_run),
    )
    rows = [
        [
            reaping.what,
            reaping.name,
            reaping.why,
            reaping.action,
            "done" if reaping.done else "not yet",
        ]
        for reaping in found
    ]
    print_table(counted(len(found), "finding"), ["what", "job", "evidence", "action", ""], rows)


def serve_reaper(
    interval_s: Annotated[
        float, typer.Option(help="Time between two passes.", callback=above_zero)
    ] = 60.0,
    notify: Annotated[
        str | None, typer.Option(help="Shell command at an end or a failure; gets the text.")
    ] = None,
    launchpad: LaunchPadOption = None,
    store: StoreOption = None,
) -> None:
    """Reap again and again, until SIGTERM.

    What must be seen twice before it counts as lost is seen twice here; `lycb
    reap` says "not yet" for it. With --notify somebody hears of it when a
    campaign ends, a job fails or a worker stops, e.g. by `mail -s lycb me`.
    """
    from lycb_flows.service import serve, tell

    pad, results = open_launchpad(launchpad), open_service_store(store)
    close = _closing(pad, results, dry_run=False)

    def also() -> list[Reaping]:
        found = close()
        if notify:
            tell(pad, notify, typer.echo)
        return found

    serve(pad, interval_s, say=typer.echo, extra=also)


def _closing(
    pad: ServiceLaunchPad, results: ResultStore, *, dry_run: bool
) -> Callable[[], list[Reaping]]:
    """Return what the reaper does beside FireWorks' own matters."""
    from lycb_flows.service import close_open_stages

    def close() -> list[Reaping]:
        if not dry_run:
            results.settle_attempts()
            results.forget_stale_claims()
        return close_open_stages(pad, results, dry_run=dry_run)

    return close


def launchpad(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("my_launchpad.yaml"),
    launchpad: LaunchPadOption = None,
) -> None:
    """Write a launchpad.yaml with its password, for `lpad`, `qlaunch` and `rlaunch`.

    FireWorks' own commands know neither LYCB_LAUNCHPAD_PASSWORD nor ~/.lycb.yaml.
    They find the file under its default name in the folder where they run.
    """
    from lycb_flows.service import write_with_password

    write_with_password(launchpad, path)
    typer.echo(f"{path}; it holds the password: keep it out of shared folders and of git")


def qadapter(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("my_qadapter.yaml"),
    queue_type: Annotated[str, typer.Option(help="SLURM or PBS.")] = "SLURM",
    queue: Annotated[str | None, typer.Option(help="Slurm's partition, PBS' queue.")] = None,
    account: Annotated[str | None, typer.Option(help="Account that is charged.")] = None,
    walltime_minutes: Annotated[
        int, typer.Option(help="Longest time that the queue grants.")
    ] = 1440,
    signal_before_s: Annotated[int, typer.Option(help="Warning before the walltime.")] = 120,
    nodes: Annotated[int, typer.Option(help="More than one: for MPI in labels.")] = 1,
    tasks_per_node: Annotated[int, typer.Option(help="MPI ranks of a label.")] = 1,
    cpus_per_task: Annotated[int, typer.Option(help="Cores per task, or per worker.")] = 1,
    gpus: Annotated[int, typer.Option(help="GPUs per node.")] = 0,
    workers: Annotated[
        int | None, typer.Option(help="Workers side by side on a node (default: one per GPU).")
    ] = None,
    memory_gb: Annotated[
        int | None, typer.Option(help="Memory per node (default: the queue's).")
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="Jobs to take; several times (default: gpu).")
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
    """Write the queue adapter with which FireWorks' `qlaunch` starts workers.

    The queue warns a worker before the walltime ends; a worker leaves when it
    has been idle for a while.
    """
    fields = dict(locals())  # the options, whose names are the config's
    from lycb_flows.service import check_queue_config, write_qadapter

    del fields["path"]
    categories = tuple(category or ("gpu",))
    _check_categories(categories)
    fields |= {"category": categories, "pre_rocket": tuple(pre_rocket or ())}
    write_qadapter(check_queue_config(fields), path)
    typer.echo(f"{path}; next: qlaunch -q {path} rapidfire -m 2")

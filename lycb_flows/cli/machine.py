"""Commands about this machine: `lycb bench` and `lycb doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from lycb_flows.cli.terminal import (
    JsonOption,
    LaunchPadOption,
    StoreOption,
    print_json,
    print_table,
)


def doctor(
    store: StoreOption = None, launchpad: LaunchPadOption = None, as_json: JsonOption = False
) -> None:
    """Check this machine and its service: database, blobs, workers, models, Slurm, space.

    Every line says what was found and, where something is wrong, what to do.
    The exit code is 1 when a check fails.
    """
    from dataclasses import asdict

    from lycb_flows.doctor.examination import examine
    from lycb_flows.machine.settings import load_settings

    checks = examine(store or load_settings().store, launchpad)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        words = {True: "ok", False: "FAILS", None: "-"}
        rows = [[words[check.ok], check.name, check.found, check.fix] for check in checks]
        print_table("This machine", ["", "what", "found", "what to do"], rows)
    if any(check.ok is False for check in checks):
        raise typer.Exit(1)


def bench(
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            help="md, lammps, relaxation, training, memory, sevennet, student (all possible)."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure this machine against the models' own tools; ratios above 1 are in our favour.

    Both sides take turns in one process; figures are medians. Beside other work
    the figures mean nothing.
    """
    from lycb_flows.bench.speed import available_parts, run_bench

    report = run_bench(parts or available_parts(), lambda _: None)
    if as_json:
        print_json(report.as_dict())
        return
    lines = [
        [
            comparison.name,
            comparison.reference,
            f"{comparison.ours_s:.4g}",
            f"{comparison.ratio:.2f}",
            comparison.note,
        ]
        for comparison in report.comparisons
    ]
    title = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    print_table(title, ["", "against", "ours, s", "times faster", ""], lines)

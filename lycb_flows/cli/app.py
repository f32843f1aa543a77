"""The `lycb` command. A failure that the user can mend is one line: what, found, do.

Imports that cost time stand inside the commands, so that `lycb --help` is quick.
"""

from __future__ import annotations

import os
import sys

import typer

from lycb_flows.cli import (
    analyse,
    bakeoff,
    beginning,
    campaigns,
    dynamics,
    export,
    importing,
    machine,
    query,
    status,
    store,
    structures,
    students,
    workers,
)
from lycb_flows.cli.terminal import AT_THE_END
from lycb_flows.errors import LycbError

app = typer.Typer(
    help="Disordered crystal in, ionic conductivity with an error bar out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(beginning.init)
app.command("enumerate")(structures.enumerate_)
app.command()(dynamics.md)
app.command()(students.distil)
app.command()(analyse.analyse)
app.command()(machine.bench)
app.command()(bakeoff.bakeoff)
app.command()(structures.rank)
app.command()(campaigns.run)
app.command()(campaigns.report)
app.command()(campaigns.plan)
app.command()(campaigns.submit)
app.command()(status.status)
app.command()(status.watch)
app.command()(campaigns.cancel)
app.command()(campaigns.pause)
app.command()(campaigns.resume)
app.command()(campaigns.relabel)
app.command()(workers.worker)
app.command()(workers.reap)
app.command("serve-reaper")(workers.serve_reaper)
app.command()(workers.qadapter)
app.command()(machine.doctor)
app.command()(store.gc)
app.command()(query.query)
app.command()(query.results)
app.command()(query.show)
app.command()(query.index)
app.command()(store.retract)
app.command()(store.diff)

export_app = typer.Typer(
    help="Write labels, a model, structures or a trajectory to files.", no_args_is_help=True
)
export_app.command("labels")(export.export_labels)
export_app.command("model")(export.export_model)
export_app.command("trajectory")(export.export_trajectory)
export_app.command("structures")(export.export_structures)
export_app.command("sites")(export.export_sites)
app.add_typer(export_app, name="export")

import_app = typer.Typer(
    help="Read labels of other programs and projects into the store.", no_args_is_help=True
)
import_app.command("labels")(importing.import_labels)
app.add_typer(import_app, name="import")


def main() -> None:
    """Run the command line; a known failure is one line on stderr and exit code 1."""
    os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("LYCB_THREADS", "1"))
    try:
        with AT_THE_END:
            app()
    except LycbError as err:
        sys.exit(f"lycb: {err}")
    except KeyboardInterrupt:
        sys.exit("lycb: interrupted; finished steps are kept, run the same command to go on")
    except BrokenPipeError:  # e.g. `lycb query label | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()

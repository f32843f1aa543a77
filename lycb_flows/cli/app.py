"""The `lycb` command. A failure that the user can mend is one line: what, found, do.

Imports that cost time stand inside the commands, so that `lycb --help` is quick.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from typing import Annotated

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
    training,
    workers,
)
from lycb_flows.cli.numbers import FiniteCommand
from lycb_flows.cli.terminal import AT_THE_END
from lycb_flows.errors import LycbError

_INTERRUPTED = 130
_GROUPS: dict[str, dict[str, Callable[..., None]]] = {
    "Campaigns": {
        "init": beginning.init,
        "plan": campaigns.plan,
        "run": campaigns.run,
        "extend": campaigns.extend,
        "stop-after": campaigns.stop_after,
        "report": campaigns.report,
    },
    "Answers": {
        "status": status.status,
        "watch": status.watch,
        "serve": status.serve,
        "results": query.results,
        "query": query.query,
        "show": query.show,
    },
    "Steps by themselves": {
        "enumerate": structures.enumerate_,
        "rank": structures.rank,
        "md": dynamics.md,
        "analyse": analyse.analyse,
        "distil": students.distil,
        "certify": students.certify,
        "bakeoff": bakeoff.bakeoff,
        "train": training.train,
        "tune": training.tune,
    },
    "Many workers": {
        "submit": campaigns.submit,
        "cancel": campaigns.cancel,
        "pause": campaigns.pause,
        "resume": campaigns.resume,
        "relabel": campaigns.relabel,
        "retry": campaigns.retry,
        "worker": workers.worker,
        "launchpad": workers.launchpad,
        "qadapter": workers.qadapter,
        "reap": workers.reap,
        "serve-reaper": workers.serve_reaper,
    },
    "The store": {
        "index": query.index,
        "retract": store.retract,
        "diff": store.diff,
        "verify": store.verify,
        "push": store.push,
        "pull": store.pull,
        "prune": store.prune,
        "gc": store.gc,
    },
    "This machine": {
        "doctor": machine.doctor,
        "bench": machine.bench,
    },
}
app = typer.Typer(
    help="Disordered crystal in, ionic conductivity with an error bar out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _add(
    group: typer.Typer, name: str, command: Callable[..., None], panel: str | None = None
) -> None:
    """Add a command whose paragraphs are single lines: Rich keeps line breaks and adds its own."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    group.command(name, help=text, rich_help_panel=panel, cls=FiniteCommand)(command)


for _title, _commands in _GROUPS.items():
    for _name, _command in _commands.items():
        _add(app, _name, _command, _title)

export_app = typer.Typer(
    help="Write labels, a model, structures, runs or a trajectory to files.", no_args_is_help=True
)
_add(export_app, "labels", export.export_labels)
_add(export_app, "model", export.export_model)
_add(export_app, "trajectory", export.export_trajectory)
_add(export_app, "structures", export.export_structures)
_add(export_app, "sites", export.export_sites)
_add(export_app, "runs", export.export_runs)
app.add_typer(export_app, name="export", rich_help_panel="Answers")

import_app = typer.Typer(
    help="Read labels of others, or finished runs, into the store.", no_args_is_help=True
)
_add(import_app, "labels", importing.import_labels)
_add(import_app, "runs", importing.import_runs)
app.add_typer(import_app, name="import", rich_help_panel="The store")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it
    if wanted:
        from importlib.metadata import version

        typer.echo(f"lycb_flows {version('lycb-flows')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line; a known failure is one line on stderr and exit code 1."""
    os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("LYCB_THREADS", "1"))
    try:
        with AT_THE_END:
            app()
    except LycbError as err:
        sys.exit(f"lycb: {err}")
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:  # what Typer makes of Ctrl-C
            typer.echo(_HOW_TO_GO_ON, err=True)
        raise
    except KeyboardInterrupt:
        typer.echo(_HOW_TO_GO_ON, err=True)
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:  # e.g. `lycb query label | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as err:
        if not type(err).__module__.startswith("pymongo."):  # its import takes a while
            raise
        from lycb_flows.store.outages import explained

        sys.exit(f"lycb: {explained(err)}")  # type: ignore[arg-type]  # by its module


_HOW_TO_GO_ON = "lycb: interrupted; finished steps are kept, run the same command to go on"


if __name__ == "__main__":
    main()

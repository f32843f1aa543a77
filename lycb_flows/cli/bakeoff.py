"""`lycb bakeoff`: compare models on labels, to choose the one that a campaign starts from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lycb_flows.cli.terminal import JsonOption, print_json, print_table

if TYPE_CHECKING:
    from lycb_flows.learning.bakeoff import Bakeoff, BakeoffEntry


def bakeoff(
    labels: Annotated[
        list[Path], typer.Argument(help="Extended XYZ files of labels, or a folder of them.")
    ],
    model: Annotated[
        list[str],
        typer.Option(help="Name, file or calculator of a model; give the option for each model."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Compare the errors and the speed of models, and say which to start from.

    Give labels on which no model was trained. Each model gets a reference shift,
    fitted to the frames with split=train (every third frame where no frame has a
    split). The errors are those on the frames with split=test (the others). They
    are means of absolute values, with their standard errors over frames.
    """
    from functools import partial

    from pydantic import TypeAdapter

    from lycb_flows.campaign.labelled_files import read_split_labels
    from lycb_flows.learning.bakeoff import Bakeoff, bake_off
    from lycb_flows.machine.settings import load_settings
    from lycb_flows.potentials import find_model, load_potential

    fitting, testing = read_split_labels(labels)
    sources = {name: find_model(name) for name in model}
    makers = {
        name: partial(load_potential, source.model, source.weights, load_settings().device)
        for name, source in sources.items()
    }
    result = bake_off(makers, fitting, testing, lambda name: typer.echo(f"{name} ...", err=True))
    if as_json:
        print_json(TypeAdapter(Bakeoff).dump_python(result, mode="json"))
        return
    _tell(result)


def _tell(result: Bakeoff) -> None:
    columns = [
        "model", "on", "energy, meV/atom", "forces, meV/Å", "slope", "stress, GPa", "s/atom/ps",
    ]  # fmt: skip
    rows = [row for entry in result.entries for row in _rows(entry)]
    title = (
        f"{result.n_testing} labels; shifts fitted on {result.n_fitting} others; "
        f"steps of 1 fs, threads {result.threads}"
    )
    print_table(title, columns, rows)
    typer.echo(f"start from {result.best}: {result.reason}")


def _rows(entry: BakeoffEntry) -> list[list[str]]:
    """Return the row of a model over all labels, with standard errors, and a row per system."""
    errors, standard_errors = entry.errors, entry.spread

    def with_error(name: str, factor: float, digits: int) -> str:
        value, error = factor * getattr(errors, name), factor * standard_errors[name]
        return f"{value:.{digits}f} ± {error:.{digits}f}"

    cells = [
        with_error("energy_mae_ev_per_atom", 1e3, 1),
        with_error("force_mae_ev_per_ang", 1e3, 0),
        with_error("force_slope", 1, 2),
        with_error("stress_mae_gpa", 1, 3),
    ]
    rows = [[entry.name, "all", *cells, f"{1e3 * entry.step_s_per_atom:.2g}"]]
    for system, part in entry.by_system.items():
        cells = [
            f"{1e3 * part.energy_mae_ev_per_atom:.1f}",
            f"{1e3 * part.force_mae_ev_per_ang:.0f}",
            f"{part.force_slope:.2f}",
            f"{part.stress_mae_gpa:.3f}",
        ]
        rows.append(["", f"{system} ({part.n_labels})", *cells, ""])
    return rows

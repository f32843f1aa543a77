"""`lycb bakeoff`: which model to start from, by labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lycb_flows.cli.terminal import JsonOption, open_potential, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lycb_flows.learning import Bakeoff, BakeoffEntry, LabelledStructure
    from lycb_flows.potentials import Potential

LabelFiles = Annotated[
    list[Path], typer.Argument(help="Extended XYZ files of labels, or a folder of them.")
]


def bakeoff(
    labels: LabelFiles,
    model: Annotated[
        list[str],
        typer.Option(help="Name, file or calculator of a model; give the option for each model."),
    ],
    by: Annotated[
        str | None,
        typer.Option(help="Key of the frames by which errors are grouped; default: the formula."),
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option("--robustness", help="Also a card of short pairs, strained cells and others."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the errors and the speed of models, and say which to start from.

    Give labels on which no model was trained. Each model gets a reference shift,
    fitted to the frames with split=train (every third frame where no frame has a
    split). The errors are those on the frames with split=test (the others). They
    are means of absolute values, with their standard errors over frames.

    --robustness: down to which distance the energy of each pair of elements rises,
    which lengths of the cell hold, and how far forces on crystals of other elements
    are from those of the first model, which is the one before a training.
    """
    from functools import partial

    from pydantic import TypeAdapter

    from lycb_flows.campaign.labelled_files import read_split_labels
    from lycb_flows.learning import Bakeoff, bake_off
    from lycb_flows.potentials import find_model

    fitting, testing = read_split_labels(labels, by, lambda line: typer.echo(line, err=True))
    makers = {name: partial(open_potential, find_model(name)) for name in model}
    result = bake_off(makers, fitting, testing, lambda name: typer.echo(f"{name} ...", err=True))
    cards = _cards(makers, testing) if robustness else {}
    if as_json:
        found = TypeAdapter(Bakeoff).dump_python(result, mode="json")
        print_json(found | ({"robustness": cards} if robustness else {}))
        return
    _tell(result)
    if robustness:
        _tell_cards(cards)


def _cards(
    makers: Mapping[str, Callable[[], Potential]], testing: Sequence[LabelledStructure]
) -> dict[str, dict[str, Any]]:
    """Return the card of each model, from the first test frame of each system."""
    from dataclasses import asdict

    from lycb_flows.learning import robustness_card

    crystals = {label.system: label.structure for label in reversed(testing)}
    cards, reference = dict[str, dict[str, Any]](), None
    for name, make in makers.items():
        typer.echo(f"{name}: robustness ...", err=True)
        potential = make()
        reference = reference or potential
        cards[name] = asdict(robustness_card(potential, list(crystals.values()), reference))
    return cards


def _tell_cards(cards: dict[str, dict[str, Any]]) -> None:
    pairs = list(next(iter(cards.values()))["wall_ang"])
    rows = []
    for name, card in cards.items():
        lowest, highest = card["lengths_that_hold"]
        change, size = card["force_change_ev_per_ang"], card["other_forces_ev_per_ang"]
        change_text = "-" if change is None else f"{1e3 * change:.0f} of {1e3 * size:.0f}"
        walls = (f"{card['wall_ang'][pair]:.1f}" for pair in pairs)
        rows.append([name, *walls, f"{lowest:g} to {highest:g}", change_text])
    title = (
        "robustness: energies rise down to these distances, Å, and between these lengths of the "
        "cell; forces on crystals of other elements against the first model's, meV/Å"
    )
    print_table(title, ["model", *pairs, "lengths", "others"], rows)


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
        text = f"{factor * getattr(errors, name):.{digits}f}"
        if not standard_errors:
            return text
        return f"{text} ± {factor * standard_errors[name]:.{digits}f}"

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

"""What is known of a model that this package ships, printed: labels, errors, robustness."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from lycb_flows.cli.rows import print_aligned
from lycb_flows.cli.terminal import print_json

if TYPE_CHECKING:
    from lycb_flows.potentials import ShippedTraining


def show_card(name: str, *, as_json: bool = False) -> bool:
    """Show the card of a model of this package.

    Parameters
    ----------
    name
        Name of the model.
    as_json
        Whether to print JSON.

    Returns
    -------
    bool
        False for a model that this package does not ship.
    """
    from lycb_flows.potentials import shipped_training

    card = shipped_training(name)
    if card is None:
        return False
    if as_json:
        errors = {each: found.model_dump(mode="json") for each, found in card.errors.items()}
        print_json({"name": name, **asdict(card), "errors": errors})
        return True
    typer.echo(
        f"{name}: {card.parent}, fine-tuned on {card.n_training} labels by "
        f"{' and '.join(card.theories)}; {card.n_validation} more validated"
    )
    _tell_errors(card)
    _tell_robustness(card)
    return True


def _tell_errors(card: ShippedTraining) -> None:
    typer.echo("errors on labels of runs that trained nothing:")
    rows = [["  test set", "labels", "meV/atom", "meV/Å", "MPa", "slope of forces"]]
    rows += [
        [
            f"  {test_set}",
            str(errors.n_labels),
            f"{1e3 * errors.energy_mae_ev_per_atom:.1f}",
            f"{1e3 * errors.force_mae_ev_per_ang:.0f}",
            f"{1e3 * errors.stress_mae_gpa:.0f}",
            f"{errors.force_slope:.2f}",
        ]
        for test_set, errors in sorted(card.errors.items(), key=lambda item: item[1].n_labels)
    ]
    print_aligned(rows)


def _tell_robustness(card: ShippedTraining) -> None:
    found = card.robustness
    walls = ", ".join(f"{pair} {wall:.1f}" for pair, wall in sorted(found["wall_ang"].items()))
    lowest, highest = found["lengths_that_hold"]
    change, forces = found["force_change_ev_per_ang"], found["other_forces_ev_per_ang"]
    typer.echo("robustness, without DFT:")
    typer.echo(f"  the energy of two neighbours rises down to, Å: {walls}")
    typer.echo(
        f"  it rises away from its minimum from {lowest:g} to {highest:g} of the cell's edges"
    )
    typer.echo(
        f"  on crystals of other elements its forces are {1e3 * change:.0f} meV/Å from "
        f"{card.parent}'s, which are {1e3 * forces:.0f}"
    )

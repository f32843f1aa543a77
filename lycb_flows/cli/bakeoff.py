"""`lycb bakeoff` and `lycb tune`: which model to start from, and how to train it, by labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lycb_flows.cli.terminal import JsonOption, checked, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lycb_flows.learning import LabelledStructure, Trial
    from lycb_flows.learning.bakeoff import Bakeoff, BakeoffEntry
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


def tune(
    labels: LabelFiles,
    model: Annotated[str, typer.Option(help="Name or file of the model to train.")],
    trials: Annotated[int, typer.Option(help="Trainings; the first has the first values.")] = 8,
    batch_size: Annotated[list[int] | None, typer.Option(help="A value to try; repeat it.")] = None,
    epochs: Annotated[list[int] | None, typer.Option(help="A value to try.")] = None,
    learning_rate: Annotated[list[float] | None, typer.Option(help="A value to try.")] = None,
    freeze_level: Annotated[
        list[int] | None, typer.Option(help="A value to try; 0: all weights train, 4: fewest.")
    ] = None,
    raw_pbe: Annotated[
        bool, typer.Option("--raw-pbe", help="The labels are uncorrected PBE energies.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the drawing of trials, and of batches.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Search batch size, epochs, learning rate and frozen layers of a fine-tuning.

    Frames with split=train train, those with split=validation choose (every third
    frame where no frame has a split), and test frames are left alone. Combinations
    are drawn at random, trained in full with the recipe whole-schedule, and sorted
    by their errors on the frames that choose. The errors of the best are too small
    by the choice; judge it by test frames.
    """
    from lycb_flows.campaign.labelled_files import read_training_labels
    from lycb_flows.config import TrainingConfig, TuningConfig
    from lycb_flows.learning import trial_configs, tune
    from lycb_flows.machine.settings import load_settings
    from lycb_flows.potentials import find_model, load_potential

    given = {
        "trials": trials,
        "batch_size": batch_size,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "freeze_level": freeze_level,
    }
    search = checked(TuningConfig, {name: each for name, each in given.items() if each is not None})
    first = TrainingConfig(
        recipe="whole-schedule",
        seed=seed,
        batch_size=search.batch_size[0],
        epochs=search.epochs[0],
        learning_rate=search.learning_rate[0],
        freeze_level=search.freeze_level[0],
    )
    training, validation = read_training_labels(labels)
    source = find_model(model)
    potential = load_potential(source.model, source.weights, load_settings().device)
    configs, n_combinations = trial_configs(first, search)
    result = tune(
        potential, training, validation, configs, raw_pbe=raw_pbe,
        tell=lambda line: typer.echo(line, err=True),
    )  # fmt: skip
    numbers = {
        "n_training": len(training),
        "n_validation": len(validation),
        "n_combinations": n_combinations,
    }
    if as_json:
        print_json({**numbers, "trials": [_trial_facts(trial, result[0]) for trial in result]})
        return
    _tell_trials(result, **numbers)


def _trial_facts(trial: Trial, best: Trial) -> dict[str, object]:
    return {
        **trial.settings,
        "errors": trial.errors.model_dump(mode="json"),
        "score": trial.errors.score,
        "score_error": trial.score_error,
        "is_as_good": trial.is_as_good_as(best),
        "cpu_s": trial.cpu_s,
    }


def _tell_trials(
    trials: list[Trial], n_training: int, n_validation: int, n_combinations: int
) -> None:
    best = trials[0]
    names = list(best.settings)
    columns = [name.replace("_", " ") for name in names]
    columns += ["energy, meV/atom", "forces, meV/Å", "stress, GPa", "score", "CPU s", ""]
    rows = [
        [
            *(f"{trial.settings[name]:g}" for name in names),
            f"{1e3 * trial.errors.energy_mae_ev_per_atom:.1f}",
            f"{1e3 * trial.errors.force_mae_ev_per_ang:.0f}",
            f"{trial.errors.stress_mae_gpa:.3f}",
            f"{trial.errors.score:.2f} ± {trial.score_error:.2f}",
            f"{trial.cpu_s:.0f}",
            "best" if trial is best else "as good" if trial.is_as_good_as(best) else "",
        ]
        for trial in trials
    ]
    title = (
        f"{len(rows)} of {n_combinations} combinations, trained on {n_training} labels; "
        f"errors on the {n_validation} that choose, the best's too small by the choice"
    )
    print_table(title, columns, rows)
    chosen = ", ".join(f"{name}: {value:g}" for name, value in best.settings.items())
    typer.echo(f"learning:\n  training: {{recipe: whole-schedule, {chosen}}}")


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

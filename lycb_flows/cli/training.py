"""`lycb train` and `lycb tune`: fine-tuning on files of labels, and the search for its settings."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lycb_flows.cli.bakeoff import LabelFiles
from lycb_flows.cli.terminal import (
    JsonOption,
    check_folder_of,
    checked,
    open_potential,
    print_json,
    print_table,
    read_fields,
)
from lycb_flows.errors import InputError
from lycb_flows.machine import duration_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from lycb_flows.campaign.labelled_files import LabelSets
    from lycb_flows.config import TrainingConfig
    from lycb_flows.learning import EvaluationResult, TrainedModel, Trial
    from lycb_flows.potentials import ModelSource, Trainable
    from lycb_flows.schemas import EpochRecord, ModelErrors

RawPbe = Annotated[
    bool | None,
    typer.Option(
        "--raw-pbe/--not-raw-pbe",
        help="Whether the labels are uncorrected PBE energies; default: as their level says.",
    ),
]
_CARD_SUFFIX = ".training.json"


def train(
    labels: LabelFiles,
    model: Annotated[str, typer.Option(help="Name or file of the model to train.")],
    out: Annotated[
        Path, typer.Option(help="File of the new weights, *.safetensors; cards go beside it.")
    ],
    where: Annotated[
        list[str] | None,
        typer.Option(help="FIELD=VALUE, or with != < <= > >= ~, on the frames that train."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Key of the frames by which errors are grouped; default: the formula."),
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="YAML with fields of a campaign's `learning.training`.")
    ] = None,
    from_scratch: Annotated[
        bool,
        typer.Option("--from-scratch", help="Draw new weights; keep layers, reference energies."),
    ] = False,
    epochs: Annotated[int | None, typer.Option(help="Default: that of the settings.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Of the order of labels, and of new weights; default: the settings'."),
    ] = None,
    raw_pbe: RawPbe = None,
    as_json: JsonOption = False,
) -> None:
    """Train a copy of a model on labels, and judge it by test labels.

    Frames with split=train train, those with split=validation validate (every
    third frame where no frame has a split), and those with split=test judge. The
    weights are those after the whole schedule, unless the settings say otherwise.
    --from-scratch trains all layers from random weights.
    Beside the weights stand the model's card (.json), the settings, labels and
    errors of its training (.training.json), and the licences of its parents.
    """
    from lycb_flows.campaign.labelled_files import read_training_labels
    from lycb_flows.learning import fine_tune
    from lycb_flows.potentials import find_model
    from lycb_flows.store import read_condition

    if out.suffix != ".safetensors":
        raise InputError("weights are safetensors", fix="end it in .safetensors", found=out.name)
    check_folder_of(out)
    config = _config_of(settings, epochs, seed, from_scratch=from_scratch)
    sets = read_training_labels(labels, [read_condition(text) for text in where or ()], by, _say)
    source = find_model(model)
    parent = _parent_of(source, config.seed, from_scratch=from_scratch)
    counts = f"{len(sets.training)} labels train, {len(sets.validation)} validate"
    _say(f"{counts}, {len(sets.test)} judge; {config.epochs} epochs")
    trained = fine_tune(
        parent, sets.training, sets.validation, config,
        raw_pbe=sets.raw_pbe if raw_pbe is None else raw_pbe,
        tell=_epoch_teller(config.epochs),
    )  # fmt: skip
    judged = _judge(parent, trained, sets)
    facts = {"where": where or [], "from_scratch": from_scratch}
    facts |= _facts(source, sets, config, trained, judged)
    _write(source, trained, out, facts)
    if as_json:
        print_json(facts)
    else:
        _tell_errors(judged, out)


def _config_of(
    settings: Path | None, epochs: int | None, seed: int | None, *, from_scratch: bool
) -> TrainingConfig:
    """Return the settings: those of the command line, then of the file, then the defaults."""
    from lycb_flows.config import TrainingConfig

    fields = read_fields(settings)
    checked(TrainingConfig, fields, file=settings)
    options = {"epochs": epochs, "seed": seed, "freeze_level": 0 if from_scratch else None}
    given = {name: value for name, value in options.items() if value is not None}
    return checked(TrainingConfig, {"recipe": "scaled-schedule"} | fields | given)


def _parent_of(source: ModelSource, seed: int, *, from_scratch: bool) -> Trainable:
    """Return the potential that the training starts from."""
    from lycb_flows.potentials import require_trainable

    parent = require_trainable(open_potential(source), source.model.name)
    return parent.untrained(seed) if from_scratch else parent


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _epoch_teller(n_epochs: int) -> Callable[[EpochRecord], None]:
    """Return what prints an epoch, at most every ten seconds, with the time that is left."""
    began = last = time.monotonic()

    def tell(record: EpochRecord) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < 10 and record.epoch < n_epochs:  # noqa: PLR2004 - seconds
            return
        last = now
        rest = duration_text((now - began) * (n_epochs - record.epoch) / record.epoch)
        _say(
            f"epoch {record.epoch} of {n_epochs}: {1e3 * record.energy_mae_ev_per_atom:.1f} "
            f"meV/atom, {1e3 * record.force_mae_ev_per_ang:.0f} meV/Å, "
            f"{record.stress_mae_gpa:.3f} GPa on the labels that validate; "
            f"about {rest} left"
        )

    return tell


def _judge(
    parent: Trainable, trained: TrainedModel, sets: LabelSets
) -> dict[str, EvaluationResult]:
    """Return the errors on the test labels before the training, with shifted energies, and after.

    Empty without test labels.
    """
    from lycb_flows.learning import evaluate

    if not sets.test:
        return {}
    return {
        "before, shifted": evaluate(parent.shifted(trained.reference_shift_ev), sets.test),
        "after": evaluate(parent.with_weights(trained.weights), sets.test),
    }


def _facts(
    source: ModelSource,
    sets: LabelSets,
    config: TrainingConfig,
    trained: TrainedModel,
    judged: dict[str, EvaluationResult],
) -> dict[str, Any]:
    """Return what a training rests on and what it reached, as plain data."""
    return {
        "parent": {"name": source.model.name, "key": source.model.key},
        "settings": config.model_dump(mode="json"),
        "reference_shift_ev": trained.reference_shift_ev,
        "epoch": trained.best_epoch,
        "labels": {
            name: sorted(label.key for label in getattr(sets, name))
            for name in ("training", "validation", "test")
        },
        "errors": {
            when: {name: errors.model_dump(mode="json") for name, errors in _parts(result).items()}
            for when, result in judged.items()
        },
    }


def _parts(result: EvaluationResult) -> dict[str, ModelErrors]:
    return {"all": result.overall, **result.by_system}


def _write(source: ModelSource, trained: TrainedModel, out: Path, facts: dict[str, Any]) -> None:
    from lycb_flows.machine import write_durably
    from lycb_flows.potentials import ModelSource, write_licences, write_model

    child = ModelSource.of_weights(
        trained.weights,
        name=out.stem,
        architecture=source.model.architecture,
        architecture_args=source.model.architecture_args,
        source="file",
    )
    write_model(child.model, child.weights, out)
    card = json.dumps(facts, indent=2, sort_keys=True) + "\n"
    write_durably(out.with_suffix(_CARD_SUFFIX), card.encode())
    write_licences([source.model], out)


def _tell_errors(judged: dict[str, EvaluationResult], out: Path) -> None:
    rows = [
        [
            when if place == 0 else "",
            f"{name} ({errors.n_labels})",
            f"{1e3 * errors.energy_mae_ev_per_atom:.1f}",
            f"{1e3 * errors.force_mae_ev_per_ang:.0f}",
            f"{errors.stress_mae_gpa:.3f}",
            f"{errors.force_slope:.2f}",
        ]
        for when, result in judged.items()
        for place, (name, errors) in enumerate(_parts(result).items())
    ]
    if rows:
        columns = ["training", "on", "energy, meV/atom", "forces, meV/Å", "stress, GPa", "slope"]
        print_table("Errors on the test labels", columns, rows)
    typer.echo(out)


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
    raw_pbe: RawPbe = None,
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
    from lycb_flows.potentials import find_model

    given = {
        "trials": trials,
        "batch_size": batch_size,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "freeze_level": freeze_level,
    }
    search = checked(TuningConfig, {name: each for name, each in given.items() if each is not None})
    options = {
        "recipe": "whole-schedule",
        "seed": seed,
        "batch_size": search.batch_size[0],
        "epochs": search.epochs[0],
        "learning_rate": search.learning_rate[0],
        "freeze_level": search.freeze_level[0],
    }
    first = checked(TrainingConfig, options)
    sets = read_training_labels(labels, tell=_say)
    source = find_model(model)
    potential = open_potential(source)
    configs, n_combinations = trial_configs(first, search)
    result = tune(
        potential, sets.training, sets.validation, configs,
        raw_pbe=sets.raw_pbe if raw_pbe is None else raw_pbe, tell=_say,
    )  # fmt: skip
    numbers = {
        "n_training": len(sets.training),
        "n_validation": len(sets.validation),
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


def _score_text(trial: Trial) -> str:
    text, error = f"{trial.errors.score:.2f}", trial.score_error
    return text if error is None else f"{text} ± {error:.2f}"


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
            _score_text(trial),
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

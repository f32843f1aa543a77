"""A search over settings: what is tried, what is chosen, and by which labels alone."""

import json
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from messages import assert_one_line
from places import ROOT

from lycb_flows.campaign.labelled_files import read_training_labels
from lycb_flows.config import TrainingConfig, TuningConfig
from lycb_flows.errors import InputError
from lycb_flows.learning.labelled import LabelledStructure, model_errors
from lycb_flows.learning.training import fine_tune
from lycb_flows.learning.tuning import trial_configs, tune
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.potentials.potential import Potential

FILE = ROOT / "docs" / "dft_labels" / "li3ycl6_pbe.extxyz"
FIRST = TrainingConfig(epochs=2, learning_rate=2e-3, recipe="whole-schedule")
SEARCH = TuningConfig(
    trials=4,
    batch_size=(4,),
    epochs=(2, 12),
    learning_rate=(2e-3, 1e-6, 1e-2),
    freeze_level=(1,),
)


def toy(name: str) -> Potential:
    source = find_model(name)
    return load_potential(source.model, source.weights)


@pytest.fixture(scope="module")
def known() -> list[list[LabelledStructure]]:
    """Labels of the toy teacher that train and that validate."""
    sets = read_training_labels([FILE])
    parts = [sets.training[:6], sets.validation[:6]]
    points = [toy("toy-teacher").predict([label.structure for label in part]) for part in parts]
    return [
        [replace(label, **vars(point)) for label, point in zip(*pair, strict=True)]
        for pair in zip(parts, points, strict=True)
    ]


def test_the_first_trial_is_the_users_and_the_others_are_other_combinations():
    configs, n_combinations = trial_configs(FIRST, SEARCH)
    tried = {(one.epochs, one.learning_rate) for one in configs}
    assert configs[0] == FIRST
    assert len(configs) == len(tried) == 4
    assert n_combinations == 6
    assert all(one.model_copy(update=_searched(FIRST)) == FIRST for one in configs)
    again, _ = trial_configs(FIRST, SEARCH)
    assert again == configs
    others = [trial_configs(FIRST.model_copy(update={"seed": i}), SEARCH)[0] for i in range(5)]
    assert len({tuple((c.epochs, c.learning_rate) for c in each) for each in others}) > 1
    everything, n_all = trial_configs(
        FIRST.model_copy(update={"epochs": 3}), SEARCH.model_copy(update={"trials": 99})
    )
    assert len(everything) == n_all == 7  # the user's own values need not be among the others


def _searched(config: TrainingConfig) -> dict[str, float]:
    names = ("batch_size", "epochs", "learning_rate", "freeze_level")
    return {name: getattr(config, name) for name in names}


def test_the_lowest_score_on_the_validation_labels_is_chosen(known):
    told = []
    configs, _ = trial_configs(FIRST, SEARCH.model_copy(update={"trials": 6}))
    found = tune(toy("toy-soft"), *known, configs, raw_pbe=False, tell=told.append)
    scores = [trial.errors.score for trial in found]
    assert scores == sorted(scores)
    assert len(scores) == len(told) == 6
    assert told[0].startswith("trial 1 of 6: batch_size 4, epochs 2")
    assert "s left" in told[1]
    rates = [trial.config.learning_rate for trial in found]
    assert set(rates[-2:]) == {1e-6}  # learns nothing
    assert found[0].is_as_good_as(found[0])
    assert not found[-1].is_as_good_as(found[0])
    assert found[0].score_error > 0


def test_on_a_few_validation_labels_no_trial_is_clearly_worse(known):
    training, validation = known
    configs = [FIRST, FIRST.model_copy(update={"learning_rate": 1e-6})]
    for n_labels in (1, 2, 3):
        found = tune(toy("toy-soft"), training, validation[:n_labels], configs, raw_pbe=False)
        assert found[-1].errors.score > found[0].errors.score
        assert found[-1].is_as_good_as(found[0])
        assert [trial.score_error for trial in found] == [None, None]


def test_the_model_of_a_trial_is_that_of_its_settings_and_its_errors_are_the_validations(known):
    training, validation = known
    configs, _ = trial_configs(FIRST, SEARCH)
    best, *_ = tune(toy("toy-soft"), training, validation, configs, raw_pbe=False)
    alone = fine_tune(toy("toy-soft"), training, validation, best.config, raw_pbe=False)
    assert alone == best.trained
    child = load_potential(find_model("toy-soft").model, best.trained.weights)
    points = child.predict([label.structure for label in validation])
    assert model_errors(validation, points) == best.errors


def test_values_that_cannot_be_are_refused():
    for wrong in ({"epochs": ()}, {"batch_size": (0,)}, {"freeze_level": (5,)}, {"trials": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TuningConfig(**wrong)


OPTIONS = ("--trials", 3, "--epochs", 1, "--epochs", 3, "--learning-rate", 0.002)


def test_the_command_prints_the_settings_and_reads_no_test_label(lycb, tmp_path):
    frames = ase.io.read(FILE, ":")
    kept = [atoms for atoms in frames if atoms.info["split"] != "test"]
    outputs = []
    for name, atoms in (("all", frames), ("without_tests", kept)):
        path = tmp_path / f"{name}.extxyz"
        ase.io.write(path, atoms)
        code, out, err = lycb("tune", path, "--model", "toy-soft", *OPTIONS, "--json")
        assert code == 0
        found = json.loads(out)
        for trial in found["trials"]:
            del trial["cpu_s"]
        outputs.append(found)
    assert outputs[0] == outputs[1]
    assert "trial 3 of 3" in err
    assert (found["n_training"], found["n_validation"]) == (18, 4)
    best = found["trials"][0]
    assert best["score"] == min(trial["score"] for trial in found["trials"])
    code, out, _ = lycb("tune", path, "--model", "toy-soft", *OPTIONS)
    assert code == 0
    assert f"epochs: {best['epochs']}, learning_rate: {best['learning_rate']:g}" in out


def test_without_splits_every_third_frame_validates(tmp_path: Path):
    frames = ase.io.read(FILE, ":9")
    for atoms in frames:
        del atoms.info["split"]
    ase.io.write(tmp_path / "plain.extxyz", frames)
    sets = read_training_labels([tmp_path])
    assert (len(sets.training), len(sets.validation), len(sets.test)) == (6, 3, 0)
    np.testing.assert_allclose(sets.validation[1].energy_ev, frames[3].get_potential_energy())
    for atoms in frames:
        atoms.info["split"] = "train"
    ase.io.write(tmp_path / "plain.extxyz", frames)
    with pytest.raises(InputError, match="split=validation"):
        read_training_labels([tmp_path])


def test_what_cannot_be_tuned_is_one_line(lycb):
    assert_one_line(lycb("tune", FILE, "--model", "toy-soft", "--epochs", 0), "--epochs", "1")
    assert_one_line(lycb("tune", FILE, "--model", "none-such"), "none-such")

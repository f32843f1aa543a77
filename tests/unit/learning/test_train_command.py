"""`lycb train`: which labels train, what is written, and what it says of the errors."""

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from messages import assert_one_line
from places import ROOT

from lycb_flows.campaign.labelled_files import read_training_labels
from lycb_flows.cli import training
from lycb_flows.config import TrainingConfig
from lycb_flows.errors import InputError
from lycb_flows.labels import our_levels
from lycb_flows.learning import evaluate, fine_tune
from lycb_flows.potentials import CHGNetPotential, find_model, load_potential
from lycb_flows.store import read_condition

FOLDER = ROOT / "docs" / "dft_labels"
FILE = FOLDER / "li3ycl6_pbe.extxyz"
TEN_ATOMS = 10
LIMIT_K = 400


def toy():
    source = find_model("toy-soft")
    return load_potential(source.model, source.weights)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a file with six frames of ten atoms of every split."""
    frames = [atoms for atoms in ase.io.read(FILE, ":") if len(atoms) == TEN_ATOMS]
    splits = ("train", "validation", "test")
    kept = [a for name in splits for a in [a for a in frames if a.info["split"] == name][:6]]
    path = tmp_path / "labels.extxyz"
    ase.io.write(path, kept)
    return path


def test_the_weights_are_those_of_the_training_and_load_again(lycb, small, tmp_path):
    out = tmp_path / "child.safetensors"
    code, printed, err = lycb(
        "train", small, "--model", "toy-soft", "--out", out, "--epochs", 2, "--json"
    )
    assert code == 0, err
    facts = json.loads(printed)
    sets = read_training_labels([small])
    config = TrainingConfig(epochs=2, recipe="scaled-schedule")
    trained = fine_tune(toy(), sets.training, sets.validation, config, raw_pbe=True)
    assert out.read_bytes() == trained.weights
    child = find_model(str(out))
    assert (child.weights, child.model.name) == (trained.weights, "child")
    errors = evaluate(load_potential(child.model, child.weights), sets.test).overall
    assert facts["errors"]["after"]["all"] == errors.model_dump(mode="json")
    assert facts["errors"]["before, shifted"]["all"] != facts["errors"]["after"]["all"]
    assert facts["labels"]["test"] == sorted(label.key for label in sets.test)
    assert json.loads(out.with_suffix(".training.json").read_text()) == facts
    assert "epoch 2 of 2" in err


def test_conditions_choose_what_trains_and_leave_the_test_labels_alone(small):
    sets = read_training_labels([small])
    cold = read_training_labels([small], [read_condition(f"temperature_k<={LIMIT_K}")])
    temperatures_k = {
        atoms.info["label"]: atoms.info["temperature_k"] for atoms in ase.io.read(small, ":")
    }
    assert 0 < len(cold.training) < len(sets.training)
    assert all(temperatures_k[label.key] <= LIMIT_K for label in cold.training)
    assert [label.key for label in cold.test] == [label.key for label in sets.test]
    with pytest.raises(InputError, match="cannot be compared"):
        read_training_labels([small], [read_condition("split<3")])
    with pytest.raises(InputError, match="two kinds"):
        read_training_labels([small], [read_condition("no_such_field=1")])


def test_errors_are_grouped_by_a_key_of_the_frames(lycb, tmp_path, small):
    frames = ase.io.read(small, ":")
    for place, atoms in enumerate(frames):
        atoms.info["test_set"] = "even" if place % 2 else "odd"
    ase.io.write(small, frames)
    out = tmp_path / "child.safetensors"
    code, printed, _ = lycb(
        "train", small, "--model", "toy-soft", "--out", out, "--epochs", 1, "--by", "test_set"
    )
    assert code == 0
    assert "even (3)" in printed
    assert "odd (3)" in printed


def doubled(atoms: Atoms) -> Atoms:
    """Return two copies of a labelled crystal as one, with the mesh that its level gives it."""
    level = our_levels()["gpaw/paper-pool"]
    twice = atoms.repeat((1, 1, 2))
    twice.info = atoms.info | {"kpoint_mesh": level.kpoints.mesh_for(twice.cell.tolist())}
    del twice.info["label"], twice.info["frac_coords"]
    twice.calc = SinglePointCalculator(
        twice,
        energy=2 * atoms.get_potential_energy(),
        forces=np.tile(atoms.get_forces(), (2, 1)),
        stress=atoms.get_stress(),
    )
    return twice


def test_labels_whose_mesh_is_another_are_left_out_and_counted(tmp_path):
    pool = ase.io.read(FOLDER / "pool.extxyz", ":8")
    static = [atoms for atoms in ase.io.read(FILE, ":") if len(atoms) > TEN_ATOMS]  # 3x3x3 in 30
    ten = [atoms for atoms in ase.io.read(FILE, ":") if len(atoms) == TEN_ATOMS]
    ase.io.write(tmp_path / "labels.extxyz", [*pool, *static, *ten, *map(doubled, pool)])
    told = []
    sets = read_training_labels([tmp_path], tell=told.append)
    kept = [*sets.training, *sets.validation, *sets.test]
    assert len(kept) == 2 * len(pool) + len(ten)
    assert told == [f"{len(static)} labels left out: they have another mesh of k-points"]
    assert sets.raw_pbe
    other = ten[0].copy()
    other.calc, other.info = ten[0].calc, ten[0].info | {"theory": 32 * "ab"}
    ase.io.write(tmp_path / "others.extxyz", [other])
    with pytest.raises(InputError, match="several levels of theory"):
        read_training_labels([tmp_path])


def test_what_cannot_be_trained_is_one_line(lycb, small, tmp_path):
    out = tmp_path / "child.safetensors"
    options = ("--model", "toy-soft", "--out", out)
    assert_one_line(lycb("train", small, "--model", "toy-soft", "--out", "x.pt"), "safetensors")
    assert_one_line(lycb("train", small, *options, "--epochs", 0), "--epochs")
    assert_one_line(lycb("train", small, *options, "--where", "hot"), "condition")
    assert_one_line(lycb("train", tmp_path / "none.extxyz", *options), "none.extxyz")
    (tmp_path / "wrong.yaml").write_text("epoch: 3\n")
    settings = ("--settings", tmp_path / "wrong.yaml")
    assert_one_line(lycb("train", small, *options, *settings), "epoch")
    assert not out.exists()


def test_from_scratch_draws_weights_by_the_seed_and_keeps_the_reference_energies():
    source = find_model("chgnet-0.3.0")
    parent = load_potential(source.model, source.weights)
    first, same, other = (parent.untrained(seed) for seed in (0, 0, 1))
    assert first.weights_bytes() == same.weights_bytes() != other.weights_bytes()
    assert first.reference_energies_ev.equal(parent.reference_energies_ev)
    before, after = (
        model.predict([read_training_labels([FILE]).test[0].structure])[0].forces_ev_per_ang
        for model in (parent, first)
    )
    assert np.abs(before - after).max() > 0.1
    with pytest.raises(InputError, match="from scratch"):
        toy().untrained(0)


def test_a_training_from_scratch_says_so_and_trains_every_layer(lycb, small, tmp_path, monkeypatch):
    seeds, untrained = [], CHGNetPotential.untrained
    monkeypatch.setattr(
        CHGNetPotential, "untrained", lambda self, seed: seeds.append(seed) or untrained(self, seed)
    )
    out, settings = tmp_path / "scratch.safetensors", tmp_path / "settings.yaml"
    settings.write_text("{freeze_level: 2, seed: 7, epochs: 1}")
    options = ("--model", "chgnet-0.3.0", "--out", out, "--from-scratch", "--json")
    code, printed, err = lycb("train", small, *options, "--settings", settings)
    assert code == 0, err
    assert seeds == [7]
    facts = json.loads(printed)
    assert facts["from_scratch"]
    assert facts["settings"]["freeze_level"] == 0
    assert out.with_suffix(".licences.txt").exists()


@pytest.mark.parametrize("field", ["seed", "epochs", "freeze_level"])
def test_the_command_line_comes_before_the_file_and_the_file_before_the_defaults(field, tmp_path):
    file, default = tmp_path / "settings.yaml", getattr(TrainingConfig(), field)
    file.write_text(f"{field}: 3")
    given = {"epochs": None, "seed": None, "from_scratch": False}
    assert getattr(training._config_of(None, **given), field) == default
    assert getattr(training._config_of(file, **given), field) == 3
    stated = {"epochs": 2, "seed": 0, "freeze_level": 0}[field]
    given |= {"from_scratch": True} if field == "freeze_level" else {field: stated}
    assert getattr(training._config_of(file, **given), field) == stated

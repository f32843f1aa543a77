"""The models that this package ships: what trained them, their errors, their licences."""

import json
import re
from dataclasses import fields

import pytest
from helpers.places import ROOT

from lycb_flows.campaign.labelled_files import read_training_labels
from lycb_flows.learning import evaluate
from lycb_flows.learning.robustness import Robustness
from lycb_flows.potentials import find_model, load_potential, shipped_training
from lycb_flows.potentials.shipped import FOLDER

LABELS = ROOT / "docs" / "dft_labels"
PARENTS = {"lycb-pbe-1": "chgnet-0.3.0", "lycb-pbe-1-sevennet": "sevennet-0"}
TEST_SETS = ("near-ground-state", "parents", "mixed")


def training_of(name):
    return json.loads((FOLDER / f"{name}.training.json").read_text())


@pytest.fixture(scope="module")
def sets():
    return read_training_labels([LABELS], by="test_set")


@pytest.mark.parametrize("name", PARENTS)
def test_a_model_is_small_and_known_by_name(name):
    source = find_model(name)
    assert source.model.name == name
    assert source.model.source == "pretrained"
    assert len(source.weights) < 10_000_000


@pytest.mark.parametrize("name", PARENTS)
def test_its_labels_are_in_the_repository_and_none_of_them_tests(sets, name):
    used = {split: set(keys) for split, keys in training_of(name)["labels"].items()}
    known = {label.key for label in (*sets.training, *sets.validation, *sets.test)}
    assert len(used["training"]) > 100
    assert set.union(*used.values()) <= known
    assert not (used["training"] | used["validation"]) & {label.key for label in sets.test}


@pytest.mark.parametrize("name", PARENTS)
@pytest.mark.parametrize("test_set", TEST_SETS)
def test_its_errors_are_those_of_its_training(sets, name, test_set):
    source, training = find_model(name), training_of(name)
    judged = set(training["labels"]["test"])
    tested = [label for label in sets.test if label.system == test_set and label.key in judged]
    found = evaluate(load_potential(source.model, source.weights), tested).overall
    stated = training["errors"]["after"][test_set]
    assert found.n_labels == stated["n_labels"]
    for field in ("energy_mae_ev_per_atom", "force_mae_ev_per_ang", "stress_mae_gpa"):
        assert getattr(found, field) == pytest.approx(stated[field], rel=1e-3)


@pytest.mark.parametrize(("name", "parent"), PARENTS.items())
def test_its_card_has_labels_errors_and_robustness_and_is_shown(lycb, name, parent):
    card, keys = shipped_training(name), training_of(name)["labels"]
    assert (card.parent, card.n_training) == (parent, len(keys["training"]))
    assert set(card.errors) == {"all", *TEST_SETS}
    assert set(card.robustness) == {field.name for field in fields(Robustness)}
    assert shipped_training(parent) is None
    code, out, _ = lycb("show", name)
    assert code == 0
    assert f"{name}: {parent}, fine-tuned on {card.n_training} labels by gpaw: PBE" in out
    for test_set, errors in card.errors.items():
        (row,) = [line for line in out.splitlines() if re.match(rf"  {test_set} ", line)]
        assert f" {1e3 * errors.force_mae_ev_per_ang:.0f} " in row
    change = 1e3 * card.robustness["force_change_ev_per_ang"]
    assert f"{change:.0f} meV/Å from {parent}" in out
    shown = json.loads(lycb("show", name, "--json")[1])
    assert shown["robustness"] == card.robustness


@pytest.mark.parametrize(("name", "parent"), PARENTS.items())
def test_its_parents_licence_is_beside_it(name, parent):
    text = (FOLDER / f"{name}.licences.txt").read_text()
    assert text.startswith(f"{parent}: from the package ")
    assert "Copyright (c) 202" in text

"""The model that this package ships: what trained it, its errors, its licence."""

import json

import pytest
from helpers.places import ROOT

from lycb_flows.campaign.labelled_files import read_training_labels
from lycb_flows.learning import evaluate
from lycb_flows.potentials import find_model, load_potential
from lycb_flows.potentials.members import _OWN

NAME = "lycb-pbe-1"
LABELS = ROOT / "docs" / "dft_labels"
TRAINING = json.loads((_OWN / f"{NAME}.training.json").read_text())


@pytest.fixture(scope="module")
def sets():
    return read_training_labels([LABELS], by="test_set")


def test_it_is_small_and_known_by_name():
    source = find_model(NAME)
    assert source.model.name == NAME
    assert source.model.source == "pretrained"
    assert len(source.weights) < 10_000_000


def test_its_labels_are_in_the_repository(sets):
    known = {
        label.key for labels in (sets.training, sets.validation, sets.test) for label in labels
    }
    used = {key for keys in TRAINING["labels"].values() for key in keys}
    assert len(TRAINING["labels"]["training"]) > 100
    assert used <= known


def test_no_label_that_trained_it_tests(sets):
    trained = {*TRAINING["labels"]["training"], *TRAINING["labels"]["validation"]}
    assert not trained & {label.key for label in sets.test}


@pytest.mark.parametrize("test_set", ["near-ground-state", "parents", "mixed"])
def test_its_errors_are_those_of_its_training(sets, test_set):
    source = find_model(NAME)
    tested = [
        label
        for label in sets.test
        if label.system == test_set and label.key in TRAINING["labels"]["test"]
    ]
    found = evaluate(load_potential(source.model, source.weights), tested).overall
    stated = TRAINING["errors"]["after"][test_set]
    assert found.n_labels == stated["n_labels"]
    for name in ("energy_mae_ev_per_atom", "force_mae_ev_per_ang", "stress_mae_gpa"):
        assert getattr(found, name) == pytest.approx(stated[name], rel=1e-3)


def test_its_parents_licence_is_beside_it():
    text = (_OWN / f"{NAME}.licences.txt").read_text()
    assert text.startswith("chgnet-0.3.0: from the package chgnet")
    assert "Copyright (c) 2023" in text

"""The licences of parents travel with a model."""

import pytest

from lycb_flows.campaign.export import write_stored_model
from lycb_flows.potentials import find_model, licence_texts
from lycb_flows.schemas import Model
from lycb_flows.store import open_store


@pytest.fixture
def store(tmp_path):
    found = open_store(tmp_path / "store")
    yield found
    found.close()


def stored(store, name):
    source = find_model(name)
    store.blobs.put(source.weights, source.model.weights.media_type)
    store.insert_all([source.model])
    return source.model


def child_of(store, parent):
    child = parent.model_copy(
        update={
            "key": Model.key_from(child_of=parent.key),
            "parents": (parent.key,),
            "name": "fine-tuned",
            "source": "fine-tuned",
        }
    )
    store.insert(child)
    return child


def test_a_package_is_named_once_with_its_text():
    text = licence_texts(
        find_model(name).model for name in ("chgnet-0.3.0", "chgnet-r2scan", "sevennet-0")
    )
    assert "chgnet-0.3.0, chgnet-r2scan: from the package chgnet" in text
    assert "Crystal Hamiltonian Graph neural Network (CHGNet) Copyright (c) 2023" in text
    assert "sevennet-0: from the package sevenn" in text
    assert "Permission is hereby granted" in text
    assert text.count("from the package") == 2


def test_a_trained_model_is_exported_with_its_parents_licence(store, tmp_path):
    child = child_of(store, stored(store, "sevennet-0"))
    path = tmp_path / "mine.safetensors"
    write_stored_model(store, child.key, path)
    assert path.with_suffix(".licences.txt").read_text().startswith("sevennet-0: from the package")


def test_a_model_that_we_trained_is_told_from_those_of_the_package():
    text = licence_texts([find_model("lycb-pbe-1").model])
    assert text.startswith("lycb-pbe-1 (trained by lycb_flows from weights): from the package ")


def test_a_model_of_ours_has_none(store, tmp_path):
    path = tmp_path / "toy.safetensors"
    write_stored_model(store, stored(store, "toy-soft").key, path)
    assert path.with_suffix(".json").exists()
    assert not path.with_suffix(".licences.txt").exists()

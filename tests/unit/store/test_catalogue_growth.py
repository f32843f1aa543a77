"""A catalogue that is updated after every few documents has the rows that a rebuilt one has."""

import json
import random

import pytest
from frozen import unpack_store

from lycb_flows.campaign import catalogue
from lycb_flows.campaign.catalogue import update_catalogue
from lycb_flows.schemas import Label
from lycb_flows.store import is_behind, open_store


def rows_of(store):
    return {
        (row["key"], row.get("campaign", "")): json.dumps(row, sort_keys=True)
        for kind in store.kinds()
        for row in store.query(kind)
    }


def documents_of(store):
    """Every document, by when it was made."""
    documents = store.find_documents(list(store.keys()))
    return sorted(documents, key=lambda document: (document.made.ended_at, document.key))


def grow(store, documents, n_at_once):
    for start in range(0, len(documents), n_at_once):
        store.insert_all(documents[start : start + n_at_once])
        assert is_behind(store)
        update_catalogue(store)
        assert not is_behind(store)


@pytest.mark.parametrize(("name", "n_at_once"), [("quickstart", 7), ("tiny", 1)])
def test_in_the_order_of_a_campaign(tmp_path, store, name, n_at_once, monkeypatch):
    whole = open_store(unpack_store(name, tmp_path / "whole"))
    store.blobs = whole.blobs
    first, *documents = documents_of(whole)
    grow(store, [first], 1)
    with monkeypatch.context() as patch:
        patch.setattr(store.catalogue, "ids", lambda: pytest.fail("it lists all rows"))
        grow(store, documents, n_at_once)
    grown = rows_of(store)
    assert {campaign for _, campaign in grown} == {name}
    update_catalogue(store, rebuild=True)
    assert grown == rows_of(store)
    assert update_catalogue(store).n_written == 0


@pytest.mark.parametrize("seed", range(3))
def test_in_any_order_every_document_gets_into_its_campaign(tmp_path, seed):
    """As where stores are copied into each other while people ask."""
    store = open_store(tmp_path / "store")
    whole = open_store(unpack_store("tiny", tmp_path / "whole"))
    store.blobs = whole.blobs
    documents = documents_of(whole)
    random.Random(seed).shuffle(documents)
    grow(store, documents, 5)
    grown = rows_of(store)
    update_catalogue(store, rebuild=True)
    rebuilt = rows_of(store)
    assert grown.keys() == rebuilt.keys()
    kinds = {document.key: document.kind for document in documents}
    differing = {
        kinds[key] for key, campaign in rebuilt if grown[key, campaign] != rebuilt[key, campaign]
    }
    assert differing <= {"structure", "test_set"}, "no plan names them all"


def test_what_has_a_row_is_not_looked_at_again(tmp_path, store, monkeypatch):
    whole = open_store(unpack_store("quickstart", tmp_path / "whole"))
    store.blobs = whole.blobs
    *documents, last = (each for each in documents_of(whole) if not isinstance(each, Label))
    store.insert_all(documents)
    update_catalogue(store)
    store.insert(last)
    written = []
    put = store.catalogue.put
    monkeypatch.setattr(store.catalogue, "put", lambda rows: put(written.extend(rows) or rows))
    monkeypatch.setattr(store.catalogue, "ids", lambda: pytest.fail("it lists all rows"))
    monkeypatch.setattr(store, "keys", lambda: pytest.fail("it lists all documents"))
    assert update_catalogue(store).n_written == 1
    assert [row["key"] for row in written] == [last.key]


def test_after_a_stop_and_after_a_withdrawal_everything_is_looked_at(tmp_path, store, monkeypatch):
    whole = open_store(unpack_store("tiny", tmp_path / "whole"))
    store.blobs = whole.blobs
    documents = documents_of(whole)
    store.insert_all(documents[:-20])
    update_catalogue(store)
    store.insert_all(documents[-20:])
    monkeypatch.setattr(catalogue, "_PAGE", 3)
    with pytest.raises(KeyboardInterrupt):
        update_catalogue(store, tell=stop_at_half)
    assert is_behind(store)
    update_catalogue(store)
    grown = rows_of(store)
    update_catalogue(store, rebuild=True)
    assert grown == rows_of(store)
    store.catalogue.put([{"kind": "label", "key": "e" * 64, "campaign": "gone"}])
    store.retract(documents[-1].key, "wrong")
    assert update_catalogue(store).n_removed == 1
    assert rows_of(store).keys() == grown.keys() - {(documents[-1].key, "tiny")}


def stop_at_half(share):
    if share >= 0.5:
        raise KeyboardInterrupt

"""What an import did not bring is known, and is not taken for lost; what is lost is found."""

import pytest
from frozen import unpack_store

from lycb_flows.campaign.finished import export_runs, import_runs
from lycb_flows.schemas import Run
from lycb_flows.store import Counts, copy_documents, open_store, verify


@pytest.fixture
def whole(tmp_path):
    """A store from which finished runs were exported, beside it in `runs`."""
    with open_store(unpack_store("tiny", tmp_path / "whole")) as opened:
        export_runs(opened, tmp_path / "runs")
        yield opened


def found_in(store):
    counts = Counts()
    return [finding.what for finding in verify(store, counts)], counts.n_not_imported


def lose(store, key):
    """Take a document with its seal out of a store, as nothing of ours does."""
    if store.is_shared:
        store._documents.delete_one({"key": key})
        return
    store._db.execute("DELETE FROM documents WHERE key = ?", (key,))
    store._db.execute("DELETE FROM seals WHERE key = ?", (key,))


def test_a_fresh_import_is_not_damaged(store, whole, tmp_path):
    import_runs(store, tmp_path / "runs")
    findings, n_left_behind = found_in(store)
    assert not findings
    assert n_left_behind > 50
    import_runs(store, tmp_path / "runs")
    assert found_in(store) == ([], n_left_behind)
    copy = open_store(tmp_path / "copy")
    copy_documents(store, copy)
    assert found_in(copy) == ([], n_left_behind)
    copy_documents(whole, store)
    assert found_in(store) == ([], 0)


def test_a_document_that_was_imported_and_is_gone_is_a_finding(store, whole, tmp_path):
    del whole
    import_runs(store, tmp_path / "runs")
    started = next(run for run in store.find_all(Run) if store.find_document(run.start))
    lose(store, started.start)
    assert any(f"parent or product {started.start}" in what for what in found_in(store)[0])


def test_what_came_after_an_import_and_is_gone_is_a_finding(store, whole, tmp_path):
    import_runs(store, tmp_path / "runs")
    run = next(store.find_all(Run))
    assert store.find_document(run.model) is None
    copy_documents(whole, store)
    lose(store, run.model)
    assert f"parent or product {run.model} is not here" in found_in(store)[0]


def test_verify_counts_it_on_one_line(lycb, whole, tmp_path):
    del whole
    address = tmp_path / "second"
    assert lycb("import", "runs", tmp_path / "runs", "--store", address)[0] == 0
    code, out, _ = lycb("verify", "--store", address)
    assert (code, len(out.splitlines())) == (0, 2)
    assert "not imported, which is no finding" in out

"""The result store: first wins, nothing is lost, damage is seen."""

import contextlib
import errno
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lycb_flows.errors import InputError, LycbError, StoreError
from lycb_flows.schemas import Blob, CampaignRecord, Structure
from lycb_flows.store import blobs, differences, open_store


@pytest.fixture(params=["folder", "mongodb"])
def store(request, tmp_path):
    """A store that other processes may open by its address, too."""
    if request.param == "folder":
        address = tmp_path / "store"
    else:
        address = request.getfixturevalue("mongo_uri")
    store = open_store(address)
    yield store
    store.close()


@pytest.fixture
def folder_store(tmp_path):
    store = open_store(tmp_path / "store")
    yield store
    store.close()


def record(number, text="text", **header):
    return CampaignRecord(key=f"{number:064x}", name="name", text=text, **header)


def test_the_first_result_wins_and_a_second_is_superseded(store):
    with store.attempt(CampaignRecord, record(1).key) as made:
        assert store.insert(record(1, "first", made=made()), made.attempt)
    with store.attempt(CampaignRecord, record(1).key) as made:
        assert not store.insert(record(1, "second", made=made()), made.attempt)
    assert store.load(CampaignRecord, record(1).key).text == "first"
    outcomes = [(one.number, one.outcome, one.reason) for one in store.attempts()]
    assert outcomes == [(1, "done", ""), (2, "superseded", "differs in text")]


def test_what_is_present_is_live_and_of_the_kind(store):
    keys = [record(number).key for number in range(4)]
    store.insert_all([record(number) for number in range(3)])
    store.retract(keys[0], "wrong")
    store.retract(keys[1], "wrong")
    store.insert(record(1, "again"))
    assert store.find_present(CampaignRecord, keys) == {keys[1], keys[2]}
    assert store.find_present(Structure, keys) == set()


def test_once_computes_once(store):
    calls = []

    def compute():
        calls.append(1)
        return record(1)

    first = store.once(CampaignRecord, record(1).key, compute)
    again = store.once(CampaignRecord, record(1).key, compute)
    assert first == again
    assert len(calls) == 1
    assert first.made.pid == os.getpid()
    assert first.made.wall_s >= 0


def test_a_step_costs_what_its_subprocesses_cost(store):
    def compute():
        program = "import time\nwhile time.process_time() < 0.5: pass"
        subprocess.run([sys.executable, "-c", program], check=True)
        return record(1)

    made = store.once(CampaignRecord, record(1).key, compute).made
    assert 0.4 < made.cpu_s < made.wall_s + 0.5


def test_what_went_wrong_is_an_attempt_and_never_in_the_way(store):
    def fail():
        raise LycbError("no luck", fix="try again")

    with pytest.raises(LycbError):
        store.once(CampaignRecord, record(1).key, fail)
    store.once(CampaignRecord, record(1).key, lambda: record(1))
    outcomes = [(one.number, one.outcome, one.reason) for one in store.attempts(record(1).key)]
    assert outcomes == [(1, "failed", "no luck: try again"), (2, "done", "")]


@pytest.mark.parametrize("outside", [KeyboardInterrupt(), StoreError("full disk", fix="free it")])
def test_what_comes_from_outside_is_no_failure_of_the_step(store, outside):
    def stop():
        raise outside

    with pytest.raises(type(outside)):
        store.once(CampaignRecord, record(1).key, stop)
    assert [one.outcome for one in store.attempts()] == ["interrupted"]
    assert store.attempts(record(1).key, "failed") == []


def test_a_retracted_result_is_absent_and_may_come_again(store):
    store.insert(record(1, "wrong"))
    store.insert(record(2, parents=(record(1).key,)))
    store.insert(record(3, parents=(record(2).key,)))
    assert store.retract(record(1).key, "was wrong") == [record(2).key, record(3).key]
    assert store.find(CampaignRecord, record(1).key) is None
    assert [one.key for one in store.find_all(CampaignRecord)] == [record(2).key, record(3).key]
    assert store.insert(record(1, "right"))
    assert store.load(CampaignRecord, record(1).key).text == "right"


def test_a_structure_leads_back_to_what_made_it(store):
    store.insert(record(1))
    store.insert(record(2, parents=(record(1).key,), products=(record(3).key,)))
    store.insert(record(3))
    assert store.ancestors(record(3).key) == [record(2).key, record(1).key]
    assert store.descendants(record(1).key) == [record(2).key, record(3).key]


def test_query_checks_its_field_names(store):
    store.insert_all([record(1), record(2, "other")])
    assert [one.key for one in store.find_all(CampaignRecord, text="other")] == [record(2).key]
    with pytest.raises(InputError, match="no such field"):
        store.find_all(CampaignRecord, txt="other")


def test_keys_may_be_shortened_but_not_ambiguous(store):
    store.insert_all([record(1 << 240), record(2 << 240)])
    assert store.load_any(record(1 << 240).key[:8]).key == record(1 << 240).key
    with pytest.raises(InputError, match="must match one"):
        store.load_any("000000")
    with pytest.raises(InputError, match="not a key"):
        store.load_any("%")


def test_a_key_of_another_kind_is_not_taken_for_this_one(store):
    store.insert(record(1))
    with pytest.raises(StoreError, match="another kind"):
        store.find(Structure, record(1).key)
    with pytest.raises(StoreError, match="no such result"):
        store.load(Structure, record(9).key)


def test_twenty_thousand_documents_are_found_in_under_a_millisecond(folder_store):
    folder_store.insert_all([record(i, "x" * 500) for i in range(20_000)])
    wanted = [record(i * 19).key for i in range(1000)]
    start = time.perf_counter()
    found = [folder_store.find(CampaignRecord, key) for key in wanted]
    per_look_up_s = (time.perf_counter() - start) / len(wanted)
    assert all(one is not None for one in found)
    assert per_look_up_s < 1e-3


def insert_a_thousand(folder):
    store = open_store(folder)
    return sum(store.insert(record(i, text=str(os.getpid()))) for i in range(1000))


@pytest.fixture(scope="module")
def three_processes():
    """Started once for both kinds of store: they import for seconds."""
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        yield pool


def test_three_processes_inserting_the_same_keys_leave_each_once(store, three_processes):
    firsts = three_processes.map(insert_a_thousand, [store.address] * 3, chunksize=1)
    assert sum(firsts) == 1000
    assert len(list(store.find_all(CampaignRecord))) == 1000


def test_a_second_run_in_the_same_folder_is_refused_in_one_line(folder_store):
    other = open_store(folder_store.folder)
    with folder_store.lock():
        with pytest.raises(StoreError, match="in use by another run") as caught, other.lock():
            pass
        assert "\n" not in str(caught.value)
        assert str(os.getpid()) in str(caught.value)
    with other.lock():
        pass


def test_blobs_are_kept_once_and_missing_ones_are_one_line(store):
    blob = store.blobs.put(b"trajectory", "application/octet-stream")
    assert store.blobs.put(b"trajectory", "application/octet-stream") == blob
    assert store.blobs.read(blob) == b"trajectory"
    assert [(one.name, one.size) for one in store.blobs.stored()] == [(blob.sha256, 10)]
    store.blobs.delete(blob.sha256)
    assert list(store.blobs.stored()) == []
    with pytest.raises(StoreError, match="missing"):
        store.blobs.read(blob)


def test_a_damaged_blob_is_not_given_out(folder_store, mongo_uri):
    blob = folder_store.blobs.put(b"trajectory", "application/octet-stream")
    folder_store.blobs.path(blob).write_bytes(b"trajectorx")
    with pytest.raises(StoreError, match="damaged"):
        folder_store.blobs.read(blob)
    with contextlib.closing(open_store(mongo_uri)) as store:
        store.blobs.put(b"trajectory", "application/octet-stream")
        store.database["blobs.chunks"].update_one({}, {"$set": {"data": b"trajectorx"}})
        with pytest.raises(StoreError, match="damaged"):
            store.blobs.read(blob)


def test_a_full_disk_while_a_blob_is_written_leaves_nothing_half_done(folder_store, monkeypatch):
    def no_space(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(blobs.os, "fsync", no_space)
    with pytest.raises(StoreError, match="No space left") as caught:
        folder_store.blobs.put(b"x" * 1000, "application/octet-stream")
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert [path for path in folder_store.blobs.folder.rglob("*") if path.is_file()] == []
    assert folder_store.blobs.read(folder_store.blobs.put(b"x" * 1000, "text/plain")) == b"x" * 1000


def test_the_kernel_refusing_to_write_is_one_line_and_leaves_the_store_unharmed(tmp_path):
    code = f"""
import resource, signal
from pathlib import Path
from lycb_flows.errors import StoreError
from lycb_flows.store import open_store
store = open_store(Path({str(tmp_path)!r}))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    store.blobs.put(b"x" * 1_000_000, "text/plain")
except StoreError as err:
    print(err)
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot write a blob" in done.stdout
    assert done.stdout.count("\n") == 1
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []
    assert list(open_store(tmp_path).find_all(CampaignRecord)) == []


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot open"):
        open_store(tmp_path / "file" / "store")
    (tmp_path / "results.sqlite").write_text("this is no database" * 100)
    with pytest.raises(StoreError, match="cannot open"):
        open_store(tmp_path)


def test_diff_compares_facts_and_not_who_made_them(store, tmp_path):
    other = open_store(tmp_path / "other")
    store.insert_all([record(1), record(2), record(3, "one")])
    other.insert_all([record(1), record(3, "two"), record(4)])
    assert differences(store, other) == {
        "only in the first": [record(2).key],
        "only in the second": [record(4).key],
        "different facts": [record(3).key],
    }


def test_blob_paths_are_spread_over_folders():
    blob = Blob(sha256="ab" * 32, size=1, media_type="text/plain")
    assert blobs.BlobFolder(Path("b")).path(blob) == Path("b/ab") / ("ab" * 32)


def test_a_large_document_is_kept_small_and_read_whole(store):
    big = record(1, "x" * 200_000, parents=tuple(record(i).key for i in range(2, 600)))
    assert store.insert(big)
    assert store.load(CampaignRecord, big.key) == big
    assert [one.text for one in store.find_all(CampaignRecord, name="name")] == [big.text]
    assert store.makers([big.key]) == {big.key: sorted(big.parents)}
    assert store.descendants(record(3).key) == [big.key]
    assert max(len(json.dumps(row, default=str)) for row in store.rows()) < 100_000
    assert store.all_facts()[big.key][1] == json.dumps(big.facts(), sort_keys=True)

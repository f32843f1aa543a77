"""The service's store on a real MongoDB, where it differs from a folder; some on mongomock."""

import contextlib
import filecmp
import io
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import mongomock
import pytest
from bson import ObjectId
from messages import assert_one_line
from pymongo.errors import BulkWriteError
from servers import MongoServer, QuotaServer
from waiting import wait_until

from lycb_flows.errors import GivenBackError, InputError, StoreError
from lycb_flows.machine.settings import load_settings
from lycb_flows.machine.walltime import WALLTIME
from lycb_flows.schemas import CampaignRecord
from lycb_flows.store import open_store
from lycb_flows.store.blobs import CHUNK_BYTES, BlobFolder
from lycb_flows.store.mongodb import MongoStore
from lycb_flows.store.records import edges_of, record_of


def record(number, text="text", **header):
    return CampaignRecord(key=f"{number:064x}", name="name", text=text, **header)


@pytest.fixture
def store(mongo_uri):
    with contextlib.closing(open_store(mongo_uri)) as store:
        yield store


@pytest.fixture
def worker(monkeypatch):
    """As if a worker of ours ran this process."""
    monkeypatch.setattr(WALLTIME, "gives_back", True)


def test_the_same_logic_runs_on_mongomock_without_a_server(tmp_path):
    store = MongoStore(
        mongomock.MongoClient()["lycb"],
        BlobFolder(tmp_path),
        address="mongodb://mock/lycb",
        label="mock",
        settings=load_settings(),
    )
    store.create_indexes()
    store.once(CampaignRecord, record(1).key, lambda: record(1, "first"))
    assert not store.insert(record(1, "second"))
    assert store.insert_all([record(1), record(2)]) == 1
    assert store.retract(record(1).key, "wrong") == []
    assert store.find(CampaignRecord, record(1).key) is None
    assert store.insert(record(1, "third"))
    assert store.load_any(record(1).key).text == "third"
    assert [one.outcome for one in store.attempts()] == ["done"]


def test_facts_are_plain_fields_and_the_id_is_the_key(store):
    store.insert(record(1, "hello"))
    found = store.database["documents"].find_one({"facts.text": "hello"})
    assert found["_id"] == found["key"] == record(1).key


def test_a_result_whose_worker_died_before_it_could_say_so_counts_as_done(store):
    with store.attempt(CampaignRecord, record(1).key) as made:
        _add(store, record(1, made=made()), made.attempt)
        assert [one.outcome for one in store.attempts()] == ["running"]
        assert store.settle_attempts() == 1
        assert [one.outcome for one in store.attempts()] == ["done"]
        assert store.settle_attempts() == 0


def _add(store, document, attempt):
    return store._add(record_of(document, store.blobs), edges_of(document), attempt)


def test_a_write_repeated_after_an_outage_is_still_the_first(store):
    with store.attempt(CampaignRecord, record(1).key) as made:
        for _ in range(2):
            assert _add(store, record(1), made.attempt)
        store.insert(record(1, made=made()), made.attempt)
    assert [one.outcome for one in store.attempts()] == ["done"]


def stepping_down(store, monkeypatch, where, code):
    """The primary's first command inserts, but tells of an error; returns how often it is asked."""
    documents, asked = store._documents, []
    insert, failure = documents.insert_many, {"index": 0, "code": code, "errmsg": "interrupted"}

    def insert_many(rows, **options):
        asked.append(len(rows))
        if len(asked) > 1:
            return insert(rows, **options)
        insert(rows if where == "writeConcernErrors" else rows[1:], **options)
        details = {"writeErrors": [], "writeConcernErrors": [], "nInserted": len(rows)}
        raise BulkWriteError(details | {where: [failure]})

    monkeypatch.setattr(documents, "insert_many", insert_many, raising=False)
    return asked


@pytest.mark.parametrize("where", ["writeErrors", "writeConcernErrors"])
@pytest.mark.parametrize("code", [91, 189, 10107, 11600, 11602, 13435])
def test_rows_that_the_majority_did_not_confirm_are_written_again(store, monkeypatch, where, code):
    asked = stepping_down(store, monkeypatch, where, code)
    store.insert_all([record(1), record(2)])
    assert asked == [2, 2]
    assert set(store.keys()) == {record(1).key, record(2).key}


def test_a_majority_that_never_comes_is_an_error(store, monkeypatch):
    stepping_down(store, monkeypatch, "writeConcernErrors", 79)
    with pytest.raises(StoreError, match="refuses a request"):
        store.insert_all([record(1)])


# -- claims ---------------------------------------------------------------------------------


LIFE = timedelta(seconds=0.8)
"""Of a claim that does not beat: four times LYCB_PING_S, 0.2 s here."""


def claim(store):
    return store.database["claims"].find_one({"_id": "k"})


def wait_until_stale(store):
    life = LIFE + timedelta(milliseconds=50)  # the server has a clock of its own
    wait_until(lambda: datetime.now(UTC) > claim(store)["beat_at"] + life, "a claim's end")


@pytest.mark.usefixtures("worker")
def test_a_live_claim_gives_the_job_back_and_a_stale_one_does_not(mongo_uri, monkeypatch):
    monkeypatch.setenv("LYCB_PING_S", "0.2")
    one, other = open_store(mongo_uri), open_store(mongo_uri)
    with one.claim("k"):
        with one.claim("k"):  # a job may claim what it holds
            pass
        taken_at = claim(one)["beat_at"]
        wait_until(
            lambda: claim(one)["beat_at"] > taken_at + LIFE, "beats for longer than it lives"
        )
        with pytest.raises(GivenBackError, match="another worker"), other.claim("k"):
            pass
    with other.claim("k"):
        pass
    one._claims._take("k")  # and dies: nobody beats
    assert other.forget_stale_claims() == 0
    wait_until_stale(one)
    with other.claim("k"):
        pass
    one._claims._take("k")
    wait_until_stale(one)
    assert other.forget_stale_claims() == 1
    assert claim(one) is None
    one.close()
    other.close()


def test_who_cannot_give_back_computes_a_claimed_key_all_the_same(mongo_uri, store, monkeypatch):
    other = open_store(mongo_uri)
    with store.claim(record(1).key):
        assert other.once(CampaignRecord, record(1).key, lambda: record(1)).key == record(1).key
        monkeypatch.setattr(WALLTIME, "gives_back", True)
        with pytest.raises(GivenBackError):
            other.once(CampaignRecord, record(2).key, lambda: _claim_in_vain(other))
    assert [one.outcome for one in store.attempts(record(2).key)] == ["interrupted"]
    other.close()


def _claim_in_vain(store):
    with store.claim(record(1).key):
        return record(2)


# -- outages --------------------------------------------------------------------------------


def test_writes_wait_for_a_database_that_is_killed_and_comes_back(own_server):
    with contextlib.closing(open_store(own_server.uri("outage"))) as store:
        own_server.kill()
        back = threading.Timer(3.0, own_server.start)
        back.start()
        store.once(CampaignRecord, record(1).key, lambda: record(1))
        blob = store.blobs.put(b"bytes", "text/plain")
        back.join()
        assert store.load(CampaignRecord, record(1).key).text == "text"
        assert store.blobs.read(blob) == b"bytes"
        assert [one.outcome for one in store.attempts()] == ["done"]


def test_a_database_that_stays_away_is_one_line(own_server, monkeypatch):
    monkeypatch.setenv("LYCB_OUTAGE_S", "1")
    with contextlib.closing(open_store(own_server.uri("gone"))) as store:
        own_server.kill()
        with pytest.raises(StoreError, match="database is away"):
            store.find_document("k")


def test_no_database_is_one_line(lycb):
    assert_one_line(
        lycb("query", "run", "--store", "mongodb://127.0.0.1:1/lycb"), "no database answers"
    )
    assert_one_line(lycb("query", "run", "--store", "mongodb://a b/c?x"), "not a usable MongoDB")


# -- credentials ------------------------------------------------------------------------------


@pytest.fixture
def locked_server(tmp_path):
    with MongoServer(tmp_path / "locked", auth=True) as server:
        yield server


def test_the_password_comes_from_the_settings_and_is_never_said(locked_server, lycb, monkeypatch):
    address = locked_server.uri("secret", user="lycb")
    monkeypatch.setenv("LYCB_STORE_PASSWORD", locked_server.password)
    with contextlib.closing(open_store(address)) as store:
        store.insert(record(1))
        assert locked_server.password not in store.label
    monkeypatch.setenv("LYCB_STORE_PASSWORD", "wrong-one")
    result = lycb("query", "run", "--store", address)
    assert_one_line(result, "refuses this user")
    assert "wrong-one" not in result[2]
    monkeypatch.delenv("LYCB_STORE_PASSWORD")
    result = lycb("query", "run", "--store", address.replace("lycb@", "lycb:wrong-inline@"))
    assert_one_line(result, "refuses this user", "lycb@127.0.0.1")
    assert "wrong-inline" not in result[2]
    anonymous = locked_server.uri("secret")
    assert_one_line(lycb("query", "run", "--store", anonymous), "refuses this user")


# -- blobs ------------------------------------------------------------------------------------

_PUT_AND_GET = """
import hashlib, os, sys
from lycb_flows.store import open_store
address, path, back = sys.argv[1:]
store = open_store(address)
with open(path, "rb") as stream:
    blob = store.blobs.put_stream(stream, "application/octet-stream")
assert blob.size == os.path.getsize(path)
with open(back, "wb") as stream:
    store.blobs.write_to(blob, stream)
store.close()
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(peak.split()[1])
"""
GIGABYTE = 1 << 30


@pytest.fixture(scope="module")
def gigabyte(tmp_path_factory):
    path = tmp_path_factory.mktemp("gigabyte") / "blob"
    with path.open("wb") as file:
        for i in range(GIGABYTE >> 20):
            file.write(i.to_bytes(8, "big") * (1 << 17))
    yield path
    path.unlink()


@pytest.mark.torture
@pytest.mark.parametrize("backend", ["folder", "gridfs"])
def test_a_blob_of_1_gb_takes_less_than_300_mb_of_memory(backend, gigabyte, mongo_uri, tmp_path):
    address = mongo_uri if backend == "gridfs" else str(tmp_path / "store")
    back = tmp_path / "back"
    command = [sys.executable, "-c", _PUT_AND_GET, address, str(gigabyte), str(back)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak_mb = int(done.stdout) / 1024
    print(f"{backend}: peak {peak_mb:.0f} MB")
    assert filecmp.cmp(gigabyte, back, shallow=False)
    back.unlink()
    assert peak_mb < 300


def test_an_upload_that_died_is_seen_and_can_be_removed(store):
    chunk = {"files_id": ObjectId(), "n": 0, "data": b"x" * CHUNK_BYTES}  # killed before the rest
    store.database["blobs.chunks"].insert_one(chunk)
    (leftover,) = store.blobs.stored()
    assert leftover.size == CHUNK_BYTES
    store.blobs.delete(leftover.name)
    assert list(store.blobs.stored()) == []


def test_a_blob_that_is_there_is_stored_again_without_a_trace(store):
    content = bytes(2 * CHUNK_BYTES + 1)  # by another worker, or before an outage
    first, again = (store.blobs.put_stream(io.BytesIO(content), "x/y") for _ in range(2))
    assert first == again
    assert [kept.name for kept in store.blobs.stored()] == [first.sha256]
    assert store.database["blobs.chunks"].count_documents({}) == 3
    assert store.blobs.read(first) == content


@pytest.mark.parametrize("n_writes", [0, 1], ids=["no chunk", "its chunks"])
def test_a_blob_waits_for_a_database_that_is_full(n_writes, tmp_path, mongo_server):  # noqa: ARG001 - without: not run
    with (
        QuotaServer(tmp_path / "mongo") as server,
        contextlib.closing(open_store(server.uri("full"))) as store,
    ):
        store.blobs.put(b"first", "x/y")
        server.refuse(full=True, after=n_writes)
        store.blobs.outage_s = 0.5
        with pytest.raises(StoreError, match="disk is full"):
            store.blobs.put_stream(io.BytesIO(b"second"), "x/y")
        assert len(list(store.blobs.stored())) == 1
        server.refuse(full=True, after=n_writes)
        store.blobs.outage_s = 60.0
        space = threading.Timer(1.0, lambda: server.refuse(full=False))
        space.start()
        blob = store.blobs.put_stream(io.BytesIO(b"second"), "x/y")
        space.join()
        assert store.blobs.read(blob) == b"second"
        assert len(list(store.blobs.stored())) == 2


def test_a_shared_folder_may_hold_the_blobs_of_a_database(mongo_uri, tmp_path, monkeypatch):
    monkeypatch.setenv("LYCB_BLOBS", str(tmp_path / "shared"))
    with contextlib.closing(open_store(mongo_uri)) as store:
        blob = store.blobs.put(b"bytes", "text/plain")
        assert store.blobs.path(blob).parent.parent == tmp_path / "shared"


def test_a_job_never_makes_a_store(tmp_path):
    with pytest.raises(InputError, match="no result store"):
        open_store(tmp_path / "nowhere", create=False)
    assert not (tmp_path / "nowhere").exists()

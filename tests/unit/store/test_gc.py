"""Garbage: what nothing names is listed, waits a day, and goes; everything else stays."""

import contextlib
import io
import os
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from lycb_flows.errors import InputError
from lycb_flows.schemas import CampaignRecord, Model, Ranking
from lycb_flows.store import garbage as gc, open_store
from lycb_flows.store.blobs import CHUNK_BYTES
from lycb_flows.store.garbage import list_garbage, sweep

DAY = timedelta(days=1)
SOON = datetime.now(UTC) + 8 * DAY  # blobs that the tests write now are old by then


@pytest.fixture(params=["folder", "gridfs", "database and folder"])
def store(request, tmp_path, monkeypatch):
    address = tmp_path / "store"
    if request.param != "folder":
        address = request.getfixturevalue("mongo_uri")
    if request.param == "database and folder":
        monkeypatch.setenv("LYCB_BLOBS", str(tmp_path / "shared"))
    with contextlib.closing(open_store(address)) as store:
        yield store


@pytest.fixture
def folder_store(tmp_path):
    with contextlib.closing(open_store(tmp_path / "store")) as store:
        yield store


@pytest.fixture
def mongo_store(mongo_uri):
    with contextlib.closing(open_store(mongo_uri)) as store:
        yield store


def put(store, text):
    return store.blobs.put(text.encode(), "text/plain")


def model(number, weights):
    return Model(
        key=f"{number:064x}", name="m", architecture="toy", architecture_args={}, weights=weights,
        source="file",
    )  # fmt: skip


def names(blobs):
    return {one.name for one in blobs}


def test_what_nothing_names_is_listed_then_swept_a_day_later(store):
    named, garbage = put(store, "named"), put(store, "nobody's")
    store.insert(model(1, named))
    listed = list_garbage(store, now=SOON)
    assert names(listed.blobs) == {garbage.sha256}
    assert (listed.n_bytes, listed.n_left_out) == (garbage.size, 0)
    assert listed.blobs[0].listed_at == SOON
    swept = sweep(store, now=SOON + DAY, dry=False)
    assert names(swept.removed) == {garbage.sha256}
    assert (swept.n_bytes, swept.n_spared, swept.n_waiting) == (garbage.size, 0, 0)
    assert store.blobs.read(named) == b"named"
    assert not store.blobs.has(garbage.sha256)
    assert list_garbage(store, now=SOON + DAY).blobs == ()


def test_a_sweep_is_dry_unless_told(store):
    garbage = put(store, "nobody's")
    list_garbage(store, now=SOON)
    for _ in range(2):
        swept = sweep(store, now=SOON + DAY)
        assert (names(swept.removed), swept.dry) == ({garbage.sha256}, True)
    assert store.blobs.has(garbage.sha256)


def test_nothing_is_swept_that_was_not_shown_for_a_day(store):
    with pytest.raises(InputError, match=r"no list .* was ever shown") as refused:
        sweep(store, now=SOON, dry=False)
    assert "\n" not in str(refused.value)
    first = put(store, "first")
    list_garbage(store, now=SOON)
    second = put(store, "second")
    swept = sweep(store, now=SOON + 0.9 * DAY, dry=False)
    assert (swept.removed, swept.n_waiting) == ((), 1)
    listed = list_garbage(store, now=SOON + 0.9 * DAY)  # does not start the first one's day anew
    assert names(listed.blobs) == {first.sha256, second.sha256}
    swept = sweep(store, now=SOON + DAY, dry=False)
    assert (names(swept.removed), swept.n_waiting) == ({first.sha256}, 1)
    assert store.blobs.has(second.sha256)
    swept = sweep(store, now=SOON + 1.9 * DAY, dry=False)
    assert names(swept.removed) == {second.sha256}


def test_young_blobs_are_not_listed(store):
    put(store, "nobody's yet")
    assert list_garbage(store, now=SOON - 2 * DAY).blobs == ()
    assert len(list_garbage(store, now=SOON - 2 * DAY, min_age=5 * DAY).blobs) == 1


def test_a_withdrawn_document_still_names_its_blobs(store):
    weights, again = put(store, "withdrawn"), put(store, "its successor's")
    store.insert(model(1, weights))
    store.retract(model(1, weights).key, "wrong")
    store.insert(model(1, again))
    assert list_garbage(store, now=SOON).blobs == ()


def test_a_blob_that_becomes_named_between_list_and_sweep_stays(store):
    late, garbage = put(store, "late"), put(store, "nobody's")
    assert len(list_garbage(store, now=SOON).blobs) == 2
    store.insert(model(1, late))
    swept = sweep(store, now=SOON + DAY, dry=False)
    assert names(swept.removed) == {garbage.sha256}
    assert swept.n_spared == 1
    assert store.blobs.read(late) == b"late"


def test_blobs_are_named_in_any_field_and_depth(store):
    blobs = [put(store, f"blob {i}") for i in range(4)]
    deep = {"list": [{"deep": [blobs[0].model_dump()]}]}
    store.insert(model(1, put(store, "weights")).model_copy(update={"architecture_args": deep}))
    ranking = Ranking(
        key=f"{2:064x}", system="s", enumeration="e", model="m", n_candidates=0, n_not_converged=0,
        best=(), table=blobs[1], ground_state="g", ground_state_note="",
    )  # fmt: skip
    store.insert(ranking)
    record = CampaignRecord(key=f"{3:064x}", name="n", text=blobs[2].sha256)
    with store.attempt(CampaignRecord, blobs[3].sha256):  # names it as its key, for one
        store.insert(record)
    assert list_garbage(store, now=SOON).blobs == ()


def test_a_claim_may_name_a_blob(mongo_store):
    blob = put(mongo_store, "claimed")
    with mongo_store.claim(blob.sha256):
        assert list_garbage(mongo_store, now=SOON).blobs == ()
    assert names(list_garbage(mongo_store, now=SOON).blobs) == {blob.sha256}


# -- written again ------------------------------------------------------------------------------


def test_a_blob_written_again_after_the_list_stays_and_its_day_begins_anew(folder_store):
    blob = put(folder_store, "again")
    old = datetime.now(UTC) - 8 * DAY
    path = folder_store.blobs.path(blob)
    os.utime(path, (old.timestamp(), old.timestamp()))
    assert len(list_garbage(folder_store, now=datetime.now(UTC) - DAY / 2).blobs) == 1
    folder_store.blobs.put_stream(io.BytesIO(b"again"), "text/plain")  # its document comes soon
    assert sweep(folder_store, now=datetime.now(UTC) + DAY, dry=False).n_spared == 1
    assert folder_store.blobs.has(blob.sha256)
    (listed,) = list_garbage(folder_store, now=SOON).blobs
    assert listed.listed_at == SOON


def test_a_gridfs_blob_whose_date_is_new_stays(mongo_store):
    blob = put(mongo_store, "again")
    files = mongo_store.database["blobs.files"]
    files.update_one({}, {"$set": {"uploadDate": datetime.now(UTC) - 8 * DAY}})
    assert len(list_garbage(mongo_store, now=datetime.now(UTC) - DAY / 2).blobs) == 1
    files.update_one({}, {"$set": {"uploadDate": datetime.now(UTC)}})
    assert sweep(mongo_store, now=datetime.now(UTC) + DAY, dry=False).n_spared == 1
    assert mongo_store.blobs.has(blob.sha256)


# -- leftovers, strangers -----------------------------------------------------------------------


def test_leftovers_of_killed_writers_are_garbage(folder_store):
    put(folder_store, "makes the folder")
    leftover = folder_store.blobs.folder / ".writing-abc_12"
    leftover.write_bytes(b"half")
    assert leftover.name in names(list_garbage(folder_store, now=SOON).blobs)
    assert leftover.name in names(sweep(folder_store, now=SOON + DAY, dry=False).removed)
    assert not leftover.exists()


def test_leftovers_of_killed_uploads_are_garbage(mongo_store):
    chunk = {"files_id": ObjectId(), "n": 0, "data": b"x" * CHUNK_BYTES}
    mongo_store.database["blobs.chunks"].insert_one(chunk)
    (listed,) = list_garbage(mongo_store, now=SOON).blobs
    assert listed.size == CHUNK_BYTES
    assert sweep(mongo_store, now=SOON + DAY, dry=False).n_bytes == CHUNK_BYTES
    assert mongo_store.database["blobs.chunks"].count_documents({}) == 0
    assert list(mongo_store.blobs.stored()) == []


def test_files_of_somebody_else_are_no_garbage(folder_store):
    garbage = put(folder_store, "nobody's")
    stranger = folder_store.blobs.folder / "README"
    stranger.write_text("mine")
    assert names(list_garbage(folder_store, now=SOON).blobs) == {garbage.sha256}
    sweep(folder_store, now=SOON + DAY, dry=False)
    assert stranger.exists()


# -- size ---------------------------------------------------------------------------------------


def test_a_long_list_holds_the_oldest_and_leaves_the_rest_for_later(folder_store, monkeypatch):
    monkeypatch.setattr(gc, "MAX_LISTED", 2)
    blobs = [put(folder_store, f"nobody's {i}") for i in range(3)]
    for age, blob in enumerate(blobs):
        written = (datetime.now(UTC) - age * DAY).timestamp()
        os.utime(folder_store.blobs.path(blob), (written, written))
    listed = list_garbage(folder_store, now=SOON)
    assert [one.name for one in listed.blobs] == [blobs[2].sha256, blobs[1].sha256]
    assert listed.n_left_out == 1
    sweep(folder_store, now=SOON + DAY, dry=False)
    assert names(list_garbage(folder_store, now=SOON + DAY).blobs) == {blobs[0].sha256}


@pytest.mark.parametrize("backend", ["folder_store", "mongo_store"])
def test_documents_are_streamed(backend, request):
    store = request.getfixturevalue(backend)
    text = "x" * 10_000
    for start in range(0, 4000, 400):
        records = [
            CampaignRecord(key=f"{i:064x}", name="n", text=text) for i in range(start, start + 400)
        ]
        store.insert_all(records)
    put(store, "nobody's")
    tracemalloc.start()
    assert len(list_garbage(store, now=SOON).blobs) == 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6  # the texts alone are 40 MB

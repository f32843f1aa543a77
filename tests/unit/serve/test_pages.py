"""What the pages of `lycb serve` show: campaigns, reports, structures; and what looking costs."""

import asyncio
import hashlib
import html
import io
import re
import shutil
import sqlite3
import threading
import time
from dataclasses import replace
from importlib import resources
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure
from pages import Served, assert_no_inline, read_stream
from pymongo.errors import AutoReconnect
from starlette.exceptions import HTTPException
from waiting import wait_until

from lycb_flows.campaign import documented_progress, find_results, plan_campaign, reopen
from lycb_flows.errors import LabelError, StoreError
from lycb_flows.report import FolderAlbum
from lycb_flows.report.page import report_contents
from lycb_flows.schemas import CampaignRecord, Label, Run
from lycb_flows.serve import Desk, Sight, Watch, drawings, looks
from lycb_flows.serve.connections import Connection
from lycb_flows.serve.pages import Cache
from lycb_flows.store import open_store, trajectory_of

PARTS = {
    "3Dmol-min.js": 'exports["3Dmol"]',
    "3Dmol-min.js.LICENSE.txt": "Redistribution and use in source and binary forms",
    "3Dmol-parts.LICENSE.txt": "pako",
}


@pytest.fixture(scope="module")
def folder(loop_run, tmp_path_factory):
    """A copy of the finished loop, for tests that write."""
    path = tmp_path_factory.mktemp("pages") / "store"
    shutil.copytree(loop_run[0].folder, path)
    return path


@pytest.fixture(scope="module")
def key(loop_run):
    return loop_run[1].record.key


@pytest.fixture(scope="module")
def served(folder):
    with Served(folder) as server:
        yield server


def drawn(server, path):
    """The page of a report, once it is drawn."""
    wait_until(lambda: "being drawn" not in server.page(path), "the figures")
    return server.page(path)


# -- reading, without scripts -----------------------------------------------------------------


def test_everything_is_read_by_following_links_without_scripts(served, key, loop_run):
    store, submission, names = loop_run
    index = served.page("/")
    (address,) = re.findall(r'href="(/campaigns/[0-9a-f]+)"', index)
    assert key.startswith(address.rpartition("/")[2])
    page = served.page(address)
    found = find_results(store, submission.campaign, submission.theory)
    assert all(words in page for words in ("finished", "LYB 1 bar 600 K"))
    assert f"{len(names)} of {len(names)} jobs, 100% of the cost" in page
    for plan in found.stages:
        assert plan.title in page
    for round_ in found.rounds:
        assert round_.decision_reason in page
        errors = found.evaluations[round_.evaluation_after].overall
        assert f"<strong>{1000 * errors.energy_mae_ev_per_atom:.2f}</strong>" in page
    assert f"Tries: {store.total_attempts()['done'].n} done" in page
    report = drawn(served, f"{address}/report")
    assert "A rehearsal without DFT" in report
    pictures = re.findall(r'<image href="([^"]+)"', report)
    assert len(pictures) >= 8
    status, headers, png = served.ask(pictures[0])
    assert (status, headers["content-type"], png[:4]) == (200, "image/png", b"\x89PNG")
    views = re.findall(r'href="(/view/[0-9a-f]+)"', page)
    assert len(views) == 11
    frames = re.findall(r'href="(/frames/[^"]+)"', served.page(views[0]))
    assert served.page(frames[0]).startswith("20\nLattice=")
    for text in (index, page, report, served.page(views[0])):
        assert_no_inline(text)
        assert '<noscript><meta http-equiv="refresh"' in text


def test_a_report_shows_what_lycb_report_writes(served, key, loop_run, tmp_path):
    store, submission, _ = loop_run
    found = find_results(store, submission.campaign, submission.theory)
    contents = report_contents(store, found.document_keys(), FolderAlbum(tmp_path))
    page = drawn(served, f"/campaigns/{key}/report")
    for section in contents.sections:
        assert section.title in html.unescape(page)
        assert f'<section id="{section.anchor}">' in page
    assert page.count("<image ") == len(list(tmp_path.glob("*.png")))


def test_labels_that_failed_are_shown_with_the_reason(loop_run, tmp_path):
    shutil.copytree(loop_run[0].folder, tmp_path / "store")
    _, submission, _ = loop_run
    with open_store(tmp_path / "store") as store:
        label = next(iter(store.find_all(Label)))
        store.retract(label.key, "for the test")
        for _ in range(submission.campaign.labels.max_attempts):
            with pytest.raises(LabelError), store.attempt(Label, label.key, "label"):
                raise LabelError("SCF <b>did not</b> converge")
    with Served(tmp_path / "store") as server:
        page = server.page(f"/campaigns/{submission.record.key}")
        assert "SCF &lt;b&gt;did not&lt;/b&gt; converge" in page
        assert f"tried {submission.campaign.labels.max_attempts} times" in page
        assert 'lycb_labels{campaign="loop",stage=' in server.page("/metrics")
        assert re.search(r'lycb_labels\{.*state="failed"\} 1\n', server.page("/metrics"))


def test_how_much_of_a_folders_campaign_is_done_follows_from_its_documents(loop_run, tmp_path):
    shutil.copytree(loop_run[0].folder, tmp_path / "store")
    _, submission, names = loop_run
    with open_store(tmp_path / "store") as store:
        submission = reopen(store, store.load(CampaignRecord, submission.record.key))
        steps = plan_campaign(store, submission.campaign, submission.theory)

        def done():
            found = find_results(store, submission.campaign, submission.theory)
            text = documented_progress(store, submission, found, steps)
            return int(text["done"].split()[0]), text["rest"]

        assert done() == (len(names), "nothing")
        found = find_results(store, submission.campaign, submission.theory)
        counts = []
        for document in (*found.measured["arrhenius"], *found.measured["diffusion"]):
            store.retract(document.key, "for the test")
            counts.append(done()[0])
        for round_ in reversed(found.rounds):
            store.retract(round_.key, "for the test")
            counts.append(done()[0])
        assert counts[:2] == [len(names) - 1, len(names) - 2]
        assert counts == sorted(counts, reverse=True)
        assert counts[-1] > 0
        assert "at the pace so far" in done()[1]


# -- figures that answer to a pointer ----------------------------------------------------------


def test_the_points_of_a_figure_are_where_it_draws_them():
    figure = Figure((6, 4))
    axes = figure.subplots()
    axes.plot([2.0, 2.5], [1e-11, 3e-12], "s", color="#ff0000", markersize=5, label="1 bar")
    axes.plot([2.0, 2.5], [1e-12, 1e-12], alpha=0)  # invisible
    axes.axhline(2e-12)  # no data
    axes.set(xlabel="1000 K / T", ylabel="diffusivity (m²/s)", yscale="log")
    picture = drawings.picture_of(figure)
    image = matplotlib.image.imread(io.BytesIO(picture.png))
    assert image.shape[:2] == (picture.height, picture.width)
    texts = [point.text for point in picture.points]
    assert texts == [
        "1 bar: T = 500 K, diffusivity (m²/s) = 1.00 × 10⁻¹¹",
        "1 bar: T = 400 K, diffusivity (m²/s) = 3.00 × 10⁻¹²",
    ]
    for point in picture.points:
        red, green, blue = image[round(point.y), round(point.x), :3]
        assert (red > 0.95, green < 0.05, blue < 0.05) == (True, True, True)


def test_arrhenius_and_msd_say_what_their_documents_hold(served, key):
    page = drawn(served, f"/campaigns/{key}/report")
    assert re.search(r"<title>600 K: lag \(ps\) = [\d.]+, mean squared displacement", page)
    assert re.search(r"<title>(.*: )?T = 600 K, diffusivity \(m²/s\) = 1\.26 × 10⁻⁷", page)


# -- structures ------------------------------------------------------------------------------


def test_the_frames_of_a_run_are_those_of_its_trajectory(loop_run):
    store, _, _ = loop_run
    run = max(store.find_all(Run), key=lambda run: run.n_steps)
    trajectory = trajectory_of(store, run)
    text = drawings.frames_of(Connection(store, None), run.key)
    frames = [f"Lattice={each}" for each in text.split("Lattice=")[1:]]
    assert len(frames) == trajectory.n_frames <= drawings.MAX_FRAMES
    for index in (0, -1):
        note, *rows = frames[index].strip().splitlines()
        rows = rows[: len(trajectory.species)]  # the next frame's number of atoms follows
        assert note.endswith(f"step {trajectory.steps[index]}")
        cell = np.array(re.search('"(.*)"', note)[1].split(), float).reshape(3, 3)
        np.testing.assert_allclose(cell, trajectory.cells_ang[index], atol=1e-5)
        here = np.array([row.split()[1:] for row in rows], float) @ np.linalg.inv(cell)
        apart = here - trajectory.frac_coords[index]
        np.testing.assert_allclose(apart, np.round(apart), atol=1e-4)
        assert [row.split()[0] for row in rows] == list(trajectory.species)


def test_a_long_run_is_thinned_evenly_and_bounded(loop_run, monkeypatch):
    store, _, _ = loop_run
    run = max(store.find_all(Run), key=lambda run: run.n_steps)
    steps = trajectory_of(store, run).steps
    for n_most in (1, 3, 5):
        monkeypatch.setattr(drawings, "MAX_FRAMES", n_most)
        text = drawings.frames_of(Connection(store, None), run.key)
        shown = [int(each) for each in re.findall(r"step (\d+)", text)]
        every = -(-len(steps) // n_most)
        assert shown == list(steps[::every])
        assert len(shown) <= n_most


def test_dropped_frames_are_a_line(loop_run, tmp_path, key):
    shutil.copytree(loop_run[0].folder, tmp_path / "store")
    with Served(tmp_path / "store") as server:
        view = re.findall(r'href="/view/([0-9a-f]+)"', server.page(f"/campaigns/{key}"))[-1]
        shutil.rmtree(tmp_path / "store" / "blobs")
        status, _, body = server.ask(f"/frames/{view}.xyz")
        assert (status, body.count(b"\n")) == (409, 1)


def test_the_viewer_is_in_the_package_with_its_licences_and_asks_nobody(served):
    static = resources.files("lycb_flows.serve") / "static"
    digest = hashlib.sha256((static / "3Dmol-min.js").read_bytes()).hexdigest()
    assert digest == "f7cc78921ae72e7623e89cdd111434f58c2efddd2ffda1cd212644b406fb8016"
    for name, words in PARTS.items():
        assert words in (static / name).read_text(encoding="utf-8")
        assert served.ask(f"/static/{name}")[0] == 200
    script = (static / "serve.js").read_text()
    assert not re.search(
        r"https?://(?!www\.w3\.org/2000/svg)|innerHTML|\beval\b|Function\(", script
    )


# -- looking -----------------------------------------------------------------------------------


def test_an_open_page_hears_of_changes_and_of_nothing_else(folder, key):
    with Served(folder) as server:
        server.page("/")
        link, status = server.stream()
        assert status == 200
        assert "event" not in read_stream(link, 3)
        with open_store(folder) as store, store.attempt(Label, "0" * 64, "label 7"):
            told = read_stream(link, 3)
            page = server.page(f"/campaigns/{key}")
            assert "label 7" in page
        link.close()
    assert re.search(r"event: look\ndata: \d+\n\n", told)
    assert "label" not in told


class _Desk:
    """Counts the looks, which show nothing."""

    def __init__(self, **seen):
        self.seen, self.n_looks = {"campaigns": ()} | seen, 0

    async def ask(self, question):
        del question
        self.n_looks += 1
        await asyncio.sleep(0.05)
        if isinstance(self.seen, Exception):
            raise self.seen
        return self.seen


def test_many_readers_cost_one_look():
    async def read():
        desk = _Desk()
        watch = Watch(desk, interval_s=5.0)
        looking = asyncio.create_task(watch.keep_looking())
        await asyncio.gather(*(watch.now() for _ in range(200)))
        looking.cancel()
        return desk.n_looks

    assert asyncio.run(read()) == 1


def test_nobody_looks_when_nobody_reads():
    async def idle():
        desk = _Desk()
        watch = Watch(desk, interval_s=0.01)
        watch._asked_at = -1e9
        looking = asyncio.create_task(watch.keep_looking())
        await asyncio.sleep(0.5)
        looking.cancel()
        return desk.n_looks

    assert asyncio.run(idle()) == 0


def test_what_fails_slowly_is_told_once_and_tried_again():
    async def fail():
        await asyncio.sleep(0.05)
        raise StoreError("a blob is damaged")

    async def succeed():
        return "drawn"

    async def ask():
        cache = Cache(2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await cache.get("report", fail)
        await asyncio.sleep(0.1)
        with pytest.raises(StoreError, match="a blob is damaged"):
            await cache.get("report", fail)
        assert await cache.get("report", succeed) == "drawn"
        for key in range(3):
            await cache.get(key, succeed)
        with pytest.raises(HTTPException):
            await cache.get("report")

    asyncio.run(ask())


def test_a_costly_look_is_repeated_less_often():
    watch = Watch(_Desk(), interval_s=5.0)
    assert watch._rest_s() == 5.0
    watch.sight = Sight(at=1.0, n_queries=1000)
    assert watch._rest_s() == 100.0  # 10 queries a second
    watch.sight = replace(watch.sight, took_s=60.0)
    assert watch._rest_s() == 240.0


def test_an_outage_is_told_and_what_was_seen_stays():
    async def outage():
        desk = _Desk(campaigns=("seen",))
        watch = Watch(desk, interval_s=0.05)
        looking = asyncio.create_task(watch.keep_looking())
        before = await watch.now()
        desk.seen = StoreError("no database answers", fix="start it")
        after = await watch.after(before.version)
        looking.cancel()
        return before, after

    before, after = asyncio.run(outage())
    assert (before.campaigns, before.trouble) == (("seen",), "")
    assert after.campaigns == ("seen",)
    assert "no database answers" in after.trouble


@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk I/O error"), KeyError("facts")])
def test_whatever_a_look_fails_with_is_told_and_looked_past(error):
    async def fail():
        desk = _Desk(campaigns=("seen",))
        watch = Watch(desk, interval_s=0.05)
        looking = asyncio.create_task(watch.keep_looking())
        before = await watch.now()
        async with asyncio.timeout(20.0):
            desk.seen = error
            told = await watch.after(before.version)
            desk.seen = {"campaigns": ("anew",)}
            after = await watch.after(told.version)
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
        return told, after

    told, after = asyncio.run(fail())
    assert (told.campaigns, type(error).__name__ in told.trouble) == (("seen",), True)
    assert (after.campaigns, after.trouble) == (("anew",), "")


@pytest.mark.parametrize(
    ("error", "is_of_the_store"),
    [
        (KeyError("facts"), False),
        (StoreError("a document is damaged"), False),
        (AutoReconnect("closed"), True),
        (sqlite3.OperationalError("disk I/O error"), True),
    ],
)
def test_a_campaign_that_fails_is_told_apart_from_the_store(
    loop_run, monkeypatch, error, is_of_the_store
):
    def fail(*_):
        raise error

    monkeypatch.setattr(looks, "find_results", fail)
    asked = Connection(loop_run[0], None), loop_run[1].record
    if is_of_the_store:
        with pytest.raises(type(error)):
            looks.Looker().look(*asked, is_busy=False)
    else:
        look = looks.Looker().look(*asked, is_busy=False)
        assert look.state == "unreadable"
        assert str(error) in look.trouble


def test_a_folder_that_may_only_be_read_is_read_anew_each_time():
    opened, threads = [], set()

    def connect():
        opened.append(SimpleNamespace(closed=False))
        threads.add(threading.get_ident())
        store = SimpleNamespace(read_only=True, folder="here")
        return SimpleNamespace(
            store=store, close=lambda each=opened[-1]: vars(each).update(closed=True)
        )

    async def ask():
        desk = Desk("test", connect)
        for _ in range(3):
            await desk.ask(lambda connection: connection.store)
        desk.close()

    asyncio.run(ask())
    assert len(opened) == 3
    assert all(each.closed for each in opened)
    assert threads != {threading.get_ident()}


def test_a_page_is_quick_while_a_look_is_slow(served):
    begin = time.monotonic()
    for _ in range(20):
        served.page("/")
    assert time.monotonic() - begin < 5.0
    wait_until(lambda: "lycb_store_readable 1" in served.page("/metrics"))

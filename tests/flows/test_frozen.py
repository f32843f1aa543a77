"""What an earlier version left behind still works: stores, databases, plans, reports."""

import hashlib
import json
import re
import time
from collections import Counter
from pathlib import Path

import bson
import pytest
import yaml
from frozen import (
    FROZEN,
    attempts_in,
    attempts_on,
    campaign_file,
    jobs_on,
    read_json,
    recorded_jobs,
    report_tables,
    restore_database,
    unpack,
    unpack_store,
)
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from pymongo import MongoClient

from lycb_flows.jobs import resources as machine

pytestmark = pytest.mark.usefixtures("blank_figures")

ALL = [word for name in ("light", "gpu", "dft") for word in ("--category", name)]
SETTINGS = {
    "LYCB_PING_S": "0.2",
    "LYCB_LOST_AFTER_S": "1",
    "LYCB_MIN_FREE_GB": "0.01",
}
NOT_FROZEN = {"store", "owner", "workers", "rest", "attempts", "wall_s"}
"""Parts of a status that tell who looks where, and when, and what was measured anew."""
PRESSURES_NAMED = {"measured", "arrhenius"}
"""Lines of a status that named no pressure when it was frozen, so that two looked the same."""
KEYED_BY_PLAN = ["arrhenius", "dataset", "frames", "model", "round", "run", "segment", "transport"]
"""Kinds whose keys are known before anything runs, whatever machine then runs it."""
MEASURED_ANEW = {"transport", "arrhenius"}
"""Kinds whose method has a higher version now; nothing rests on them but themselves."""
THEIR_TABLES = ("Diffusion", "Barrier and conductivity")
PATIENCE_S = 30


@pytest.fixture
def command(lycb, tmp_path, monkeypatch):
    """A command that succeeds; what it prints. Reports of a database come into its folder.

    Figures are made but not drawn: that takes nine tenths of a report's time, and pixels are
    not compared here.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda *_: None)
    monkeypatch.setattr(Figure, "savefig", lambda _, path, **__: Path(path).write_text("<svg/>"))
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)

    def run(*words):
        code, out, err = lycb(*words)
        assert code == 0, (words, err)
        return out

    return run


# -- the answers that are asked for -----------------------------------------------------------


def assert_runs_without_work(command, monkeypatch, name, *where, by_file=True):
    """By file and by name: the same jobs, and the report of then."""
    for named in (campaign_file(name), name) if by_file else (name,):
        with recorded_jobs(monkeypatch) as jobs:
            page = command("run", named, *where, "--report", "report").strip()
        assert jobs == read_json("jobs", name)
        assert without_theirs(report_tables(Path(page))) == without_theirs(frozen_tables(name))


def assert_tells_the_same(command, name, *where, launchpad=()):
    for named in (campaign_file(name), name):
        assert status_of(command, named, *where, *launchpad) == frozen_status(name)
        assert "no label has failed for good" in command("relabel", named, *where, *launchpad)
        page = command("report", named, *where).strip()
        assert without_theirs(report_tables(Path(page))) == without_theirs(frozen_tables(name))


def status_of(command, named, *where):
    status = json.loads(command("status", named, "--json", *where))
    found = {field: value for field, value in status.items() if field not in NOT_FROZEN}
    for field in PRESSURES_NAMED & set(found):
        found[field] = [re.sub(r" \d+ bar", "", line) for line in found[field]]
    return found


def frozen_status(name):
    return {field: value for field, value in read_json("status", name) if field not in NOT_FROZEN}


def assert_only_measured_anew(before, after):
    """What was there is there, and every document of the risen methods was tried once."""
    assert set(before) <= set(after)
    added = set(after) - set(before)
    assert {kind for *_, kind in added} == MEASURED_ANEW
    assert len({key for _, key, *_ in added}) == len(added)


def assert_shows_the_same(command, name, *where):
    """A document of each kind, and all that it rests on."""
    rows = read_json("shown", name)
    assert {"campaign", "parent", "structure", "model", "run"} <= {kind for kind, *_ in rows}
    for kind, key, n_ancestors, digest in rows:
        shown = json.loads(command("show", key[:12], "--json", *where))
        assert (shown["kind"], shown["key"]) == (kind, key)
        assert len(shown["ancestors"]) == n_ancestors
        assert hashlib.sha256(json.dumps(shown["ancestors"]).encode()).hexdigest() == digest


def without_theirs(tables):
    """The tables but those of what is measured anew."""
    sections = tables.split("\n## ")
    kept = [text for text in sections if not text.startswith(THEIR_TABLES)]
    assert len(kept) == len(sections) - len(THEIR_TABLES)
    return "\n".join(map(ours_alone, "\n## ".join(kept).splitlines()))


def ours_alone(line):
    """A line of a table without what reports no longer show, or show of others.

    Since then a relaxed volume bears its model's name, published volumes stand only beside their
    own crystal and with all their digits, and a column of energies of formation has a number.
    """
    cells = line.split(" | ")
    if len(cells) > 4 and cells[2].startswith(("run", "relaxed", "round", "production")):
        return " | ".join([*cells[:2], cells[2].partition(" by ")[0], *cells[3:5]])
    if "formation (meV/atom)" in cells or (len(cells) == 9 and cells[4] == "–"):
        return " | ".join([*cells[:4], *cells[5:]])
    return line


def frozen_tables(name):
    return (FROZEN / "tables" / f"{name}.txt").read_text(encoding="utf-8")


# -- plans, and finished stores ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("quickstart", "tiny", "loop", "second", "ground_states"),
        *("vasp", "calculator", "by_dft", "service", "lycb_paper"),
    ],
)
def test_a_plan_is_what_it_was(command, tmp_path, name):
    plan = command("plan", campaign_file(name), "--store", tmp_path / "store", "--json")
    steps, then = json.loads(plan), read_json("plans", name)
    for step, former in zip(steps, then, strict=True):
        if any(each["work"].startswith(("at least", "at most")) for each in (step, former)):
            for each in (step, former):  # since then the symmetric stratum, and what can exist
                each["work"] = re.search("of [0-9]+ atoms", each["work"]).group()
                del each["cpu_s"]
        assert step == former


@pytest.mark.parametrize("name", ["quickstart", "tiny"])
def test_a_finished_store_answers_as_then_and_nothing_is_tried_again(
    command, tmp_path, monkeypatch, name
):
    store = unpack_store(name, tmp_path / "store")
    where = ("--store", store)
    before = attempts_in(store)
    assert before
    assert_runs_without_work(command, monkeypatch, name, *where)
    assert_tells_the_same(command, name, *where)
    assert_shows_the_same(command, name, *where)
    assert_only_measured_anew(before, attempts_in(store))


@pytest.mark.parametrize("name", ["calculator", "by_dft", "vasp"])
def test_a_finished_campaign_has_the_jobs_and_the_tables_that_it_had(
    command, tmp_path, monkeypatch, name
):
    store = unpack_store(name, tmp_path / "store")
    before = attempts_in(store)
    assert_runs_without_work(command, monkeypatch, name, "--store", store, by_file=False)
    assert status_of(command, name, "--store", store) == frozen_status(name)
    assert_shows_the_same(command, name, "--store", store)
    assert_only_measured_anew(before, attempts_in(store))


def test_two_pressures_are_told_apart_in_a_status(command, tmp_path):
    where = ("--store", unpack_store("by_dft", tmp_path / "store"))
    status = json.loads(command("status", "by_dft", "--json", *where))
    for lines in (status["measured"], status["arrhenius"]):
        assert len(set(lines)) == len(lines)
        assert len({line.replace(" 10000 bar", " 1 bar") for line in lines}) == len(lines) / 2
    assert re.search(r"attempts in store done +│ [0-9]+ ", command("status", "by_dft", *where))


def test_what_an_earlier_method_measured_is_shown_until_it_is_measured_again(command, tmp_path):
    """Arrhenius fits of method version 2 count "measured points", those of today temperatures."""
    store = unpack_store("tiny", tmp_path / "store")
    where, before = ("--store", store), attempts_in(store)
    told = report_tables(Path(command("report", "tiny", *where).strip()))
    assert told.count("0 measured points, 3 are needed") == 2
    assert json.loads(command("status", "tiny", "--json", *where))["arrhenius"] == []
    again = report_tables(Path(command("run", "tiny", *where, "--report", "again").strip()))
    assert "0 measured points" not in again
    assert again.count("2 are needed") == 2
    added = {key for _, key, *_ in attempts_in(store)[len(before) :]}
    kinds = {json.loads(command("show", key[:12], "--json", *where))["kind"] for key in added}
    assert "arrhenius" in kinds
    assert kinds <= {"transport", "arrhenius"}  # nothing upstream is computed again


# -- databases ---------------------------------------------------------------------------------


class Restored:
    """A LaunchPad and a result store with what was in them."""

    def __init__(self, name, client, launchpad, results, folder):
        self.launchpad, self.results = client[launchpad], client[results]
        unpacked = unpack(FROZEN / "databases" / f"{name}.tar.xz", folder)
        restore_database(self.launchpad, unpacked / "launchpad")
        restore_database(self.results, unpacked / "results")

    def states(self, campaign):
        """How many jobs of a campaign's latest workflow are in each state."""
        workflow = self.launchpad["workflows"].find_one(
            {"metadata.campaign": campaign, "state": {"$ne": "ARCHIVED"}}, sort=[("_id", -1)]
        )
        jobs = {"fw_id": {"$in": workflow["nodes"]}}
        return Counter(row["state"] for row in self.launchpad["fireworks"].find(jobs))

    def keys(self, *kinds):
        return set(self.results["documents"].distinct("key", {"kind": {"$in": kinds}}))


@pytest.fixture
def databases(request, mongo_uri, launchpad_file, monkeypatch, tmp_path):
    monkeypatch.setenv("LYCB_STORE", mongo_uri)
    monkeypatch.setenv("LYCB_SCRATCH", str(tmp_path / "scratch"))
    launchpad = yaml.safe_load(launchpad_file.read_text())["name"]
    with MongoClient(mongo_uri) as client:
        results = client.get_default_database().name
        yield Restored(request.param, client, launchpad, results, tmp_path / "dump")
    machine.open_kept(mongo_uri).close()  # of the jobs that ran in this process
    machine.open_kept.cache_clear()


@pytest.fixture
def pad(launchpad_file):
    return ("--launchpad", launchpad_file)


@pytest.mark.parametrize("databases", ["finished"], indirect=True)
def test_a_finished_database_answers_as_then_and_nothing_is_tried_again(
    command, databases, pad, monkeypatch
):
    before = attempts_on(databases.results)
    jobs = jobs_on(databases.launchpad, "loop")
    assert before
    assert jobs == read_json("jobs", "loop")
    for named in (campaign_file("loop"), "loop"):
        assert "nothing added" in command("submit", named, *pad)
    assert "0 findings" in command("reap", *pad)
    assert "no job is left; no job" in command("worker", "--nlaunches", 0, *ALL, *pad)
    assert_runs_without_work(command, monkeypatch, "loop")
    assert_tells_the_same(command, "loop", launchpad=pad)
    assert_shows_the_same(command, "loop")
    assert jobs_on(databases.launchpad, "loop") == jobs
    assert_only_measured_anew(before, attempts_on(databases.results))


@pytest.mark.parametrize("databases", ["half_finished"], indirect=True)
def test_a_half_finished_campaign_comes_to_its_end_and_no_result_is_computed_twice(
    command, lycb, databases, pad, tmp_path
):
    """A stage of `loop` is closed, but the job that closed it was killed before it went on."""
    assert set(databases.states("loop")) == {"COMPLETED", "RUNNING"}
    assert set(databases.states("second")) == {"READY", "WAITING"}
    attempts = attempts_on(databases.results)
    documents = list(databases.results["documents"].find().sort("_id", 1))
    for named in (campaign_file("loop"), "loop"):
        assert json.loads(command("status", named, "--json", *pad))["jobs"]["dft"]["RUNNING"] == 1
        command("report", named)
    command("show", documents[0]["key"])
    reap_until_nothing_runs(command, databases, pad)
    work_to_the_end(command, lycb, databases, pad)
    for name, n_rounds in (("loop", 3), ("second", 1)):
        status = json.loads(command("status", name, "--json", *pad))
        assert len(status["rounds"]) == n_rounds
        assert status["arrhenius"] == ["LYB 1 bar"]
        assert status["done"].endswith("100% of the cost")
        assert set(databases.states(name)) == {"COMPLETED"}
    jobs = [row[:3] for row in jobs_on(databases.launchpad, "loop")]
    assert jobs == [row[:3] for row in read_json("jobs", "loop")]
    assert keys_of_the_finished(tmp_path / "finished") <= databases.keys(*KEYED_BY_PLAN)
    stored = {row["_id"]: row for row in databases.results["documents"].find()}
    assert [stored[row["_id"]] for row in documents] == documents
    after = attempts_on(databases.results)
    assert set(attempts) <= set(after)
    assert set(Counter(key for _, key, *_ in after).values()) == {1}
    assert {outcome for _, _, _, outcome, *_ in after} == {"done"}


def reap_until_nothing_runs(command, databases, pad):
    """A lost job is seen twice before it is given back; the closed stage goes on at once."""
    found, until = command("reap", *pad), time.monotonic() + PATIENCE_S
    assert "closed stage" in found
    while databases.states("loop")["RUNNING"]:
        assert time.monotonic() < until, found
        time.sleep(0.1)
        found = command("reap", *pad)
    assert "lost run" in found


def work_to_the_end(command, lycb, databases, pad):
    """Old jobs load; or a worker refuses them in one line, and they are replaced."""
    code, out, err = lycb("worker", "--nlaunches", 0, *ALL, *pad)
    unfinished = [
        name for name in ("loop", "second") if set(databases.states(name)) != {"COMPLETED"}
    ]
    assert unfinished or code == 0, err
    assert "Traceback" not in out + err
    for name in unfinished:
        assert ": submitted" in command("submit", campaign_file(name), *pad)
    if unfinished:
        command("worker", "--nlaunches", 0, *ALL, *pad)


def keys_of_the_finished(folder):
    """Of the documents that the same campaign led to when nobody was killed."""
    unpacked = unpack(FROZEN / "databases" / "finished.tar.xz", folder)
    rows = bson.decode_all((unpacked / "results" / "documents.bson").read_bytes())
    return {row["key"] for row in rows if row["kind"] in {*KEYED_BY_PLAN} - MEASURED_ANEW}

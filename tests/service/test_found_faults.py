"""What broke under strangers' hands, each fault by its number, on a real MongoDB with FireWorks.

Faults 6 and 11 are of the result store: tests/unit/store.
"""

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from fireworks import LaunchPad
from messages import assert_one_line
from places import CAMPAIGNS, HELPERS
from pymongo.errors import BulkWriteError, OperationFailure, WriteError
from servers import MongoServer
from service_jobs import decide, named, needs, note, notes, wait
from slurm import qlaunch
from waiting import PATIENCE_S, wait_until
from worker_processes import Service

from lycb_flows.errors import InputError, MachineError
from lycb_flows.schemas import Label
from lycb_flows.service.launchpad import (
    BROKEN,
    cancel,
    find_workers,
    load_launchpad,
    locking,
    retry,
)
from lycb_flows.service.launchpad.locking import OwnedLock
from lycb_flows.service.qadapter import QueueConfig, write_qadapter
from lycb_flows.service.reaper import passes
from lycb_flows.service.worker.examination import examine
from lycb_flows.store import all_kinds, method_versions, open_store, outages
from lycb_flows.store.kinds import QUANTITIES

BIN, GUEST = Path(sys.executable).parent, "guest-word"


@pytest.fixture
def service(launchpad_file, mongo_uri, tmp_path):
    with Service(launchpad_file, mongo_uri, tmp_path) as one:
        yield one


def lose(service, word):
    """A worker takes the job `word`, and is killed in it."""
    worker = service.worker()
    n_starts = notes(service.folder).count(f"{word}:start")
    wait_until(lambda: notes(service.folder).count(f"{word}:start") > n_starts, "the job")
    worker.kill()


def lost_by_workers_that_lived(service, fw_id):
    """As if each worker of the job's runs had completed another job before."""
    for number, run in enumerate(service.launches(fw_id)):
        owner = run["fworker"]["env"]["lycb_owner"]
        other = {"launch_id": 1000 + number, "fw_id": 1000 + number, "state": "COMPLETED"}
        other["fworker"] = {"env": {"lycb_owner": owner}}
        service.pad.launches.replace_one({"launch_id": 1000 + number}, other, upsert=True)


# -- 1: a poison job ---------------------------------------------------------------------------


def test_fault_1_a_poison_job_is_given_up_and_a_command_clears_it(service, tmp_path):
    [fw_id] = service.submit(named(wait(str(tmp_path), "a", 60), "a"))
    for n_losses in (1, 2, 3):
        lose(service, "a")
        lost_by_workers_that_lived(service, fw_id)
        [found] = service.reap()
        assert found.done
        assert found.action == ("given up" if n_losses == 3 else "given back")
    assert service.state("a") == "FIZZLED"
    assert not service.reap()
    assert retry(service.pad, fw_id, "somebody")
    assert not retry(service.pad, fw_id, "somebody")
    assert service.state("a") == "READY"
    lose(service, "a")
    [found] = service.reap()
    assert found.action == "given back"
    (tmp_path / "go").touch()
    assert service.worker(n_launches=0).wait() == 0
    assert service.state("a") == "COMPLETED"
    service.assert_sound()


def test_fault_1_a_machine_that_kills_every_worker_is_no_fault_of_a_job(service, tmp_path):
    [fw_id] = service.submit(named(wait(str(tmp_path), "a", 60), "a"))
    for _ in range(3):
        lose(service, "a")
        [found] = service.reap()
        assert found.action == "given back"
    elsewhere = {"fworker.env.lycb_owner": "other/1-2/3/4"}
    first = service.launches(fw_id)[0]["launch_id"]
    service.pad.launches.update_one({"launch_id": first}, {"$set": elsewhere})
    lose(service, "a")
    [found] = service.reap()  # it has died on two machines
    assert found.action == "given up"


# -- 2: a broken worker ------------------------------------------------------------------------


def test_fault_2_a_broken_worker_stops_and_its_jobs_go_to_another(service, tmp_path):
    names = [f"n{i}" for i in range(12)]
    service.submit(
        *(named(needs(str(tmp_path), name, "LYCB_TEST_PACKAGE"), name) for name in names)
    )
    broken = service.worker(n_launches=0, name="hole", environment={"LYCB_TEST_PACKAGE": "broken"})
    assert broken.wait() == 1
    assert "3 jobs failed in a row: TypeError: 'dict' object is not callable" in broken.said()
    assert "n0 (1): fizzled: TypeError: 'dict' object is not callable" in broken.said()
    assert set(service.states().values()) == {"READY"}
    [seen] = find_workers(service.pad, everyone=True)
    assert (seen.state, seen.alive) == (BROKEN, False)
    assert "TypeError" in seen.trouble
    assert service.worker(n_launches=0).wait() == 0
    assert sorted(notes(tmp_path)) == sorted(names)
    assert set(service.states().values()) == {"COMPLETED"}
    service.assert_sound()


def test_fault_2_a_bug_of_all_jobs_does_not_go_round_for_ever(service, tmp_path):
    """After the third worker the jobs stay FIZZLED."""
    service.submit(*(named(needs(str(tmp_path), f"n{i}", "LYCB_TEST"), f"n{i}") for i in range(3)))
    environment = {"LYCB_TEST": "broken"}
    for n_workers in range(1, 5):
        assert set(service.states().values()) == {"READY"}, n_workers
        assert service.worker(n_launches=0, environment=environment).wait() == 1
    assert set(service.states().values()) == {"FIZZLED"}


def test_fault_2_a_worker_looks_at_itself_before_it_takes_a_job(tmp_path, mongo_uri, monkeypatch):
    with open_store(mongo_uri) as store:
        _look_at_what_is_broken(store, tmp_path, monkeypatch)


def _look_at_what_is_broken(store, tmp_path, monkeypatch):
    examine(store, ["gpu"], "cpu", tmp_path)
    with pytest.raises(MachineError, match=r"device does not compute .*device=cuda"):
        examine(store, ["gpu"], "cuda", tmp_path)
    examine(store, ["light"], "cuda", tmp_path)
    with pytest.raises(MachineError, match="scratch folder cannot be written"):
        examine(store, ["light"], "cpu", tmp_path / "absent")
    monkeypatch.delitem(sys.modules, "lycb_flows.jobs.labelling")
    monkeypatch.setitem(sys.modules, "lycb_flows.campaign", None)
    with pytest.raises(MachineError, match=r"a package is missing or broken .*labelling"):
        examine(store, ["light"], "cpu", tmp_path)


# -- 3: versions -------------------------------------------------------------------------------


def test_fault_3_a_worker_of_other_method_versions_takes_no_job(service, tmp_path):
    other = method_versions() | {"label": Label.method_version + 1}

    def submit(methods):
        first = named(decide(str(tmp_path), ["x"]), "a")
        return service.submit(first, methods=methods)

    old = submit(other)
    assert service.worker(max_idle_s=0.5).wait() == 0
    assert service.state("a") == "READY"
    assert submit(other) == []
    new = submit(method_versions())  # taken over
    assert len(new) == 1
    assert service.pad.fireworks.find_one({"fw_id": old[0]})["state"] == "ARCHIVED"
    assert service.worker(n_launches=0).wait() == 0
    assert service.states() == {"a": "COMPLETED", "x": "COMPLETED"}
    specs = [row["spec"] for row in service.pad.fireworks.find({"state": "COMPLETED"})]
    assert len({spec["methods"] for spec in specs}) == 1  # what a job adds, too
    [seen] = find_workers(service.pad, everyone=True)[-1:]
    assert seen.methods == specs[0]["methods"]


def test_fault_3_every_kind_of_the_schemas_has_its_version():
    own = {
        kind: document.method_version
        for kind, document in all_kinds().items()
        if document.__module__.startswith("lycb_flows.schemas.")
    }
    assert method_versions() == own
    quantities = {quantity.document.kind for quantity in QUANTITIES.usable().values()}
    assert {"thermodynamics", "transport"} <= quantities & set(own)


def test_fault_3_submit_takes_a_campaign_over_and_says_so(
    lycb, launchpad_file, mongo_uri, tmp_path
):
    at = ("--store", mongo_uri, "--launchpad", launchpad_file)
    assert lycb("submit", CAMPAIGNS / "loop.yaml", *at)[0] == 0
    with contextlib.closing(load_launchpad(launchpad_file)) as pad:
        change = {"metadata.methods.label": 99}
        pad.workflows.update_one({}, {"$set": change})
        _, out, _ = lycb("status", "loop", *at)
        assert f"99 there, {Label.method_version} here" in " ".join(out.split())
        code, out, _ = lycb("submit", CAMPAIGNS / "loop.yaml", *at)
        assert code == 0
        assert "taken over" in out
        assert f"label: 99 there, {Label.method_version} here" in out
        assert "already there" in lycb("submit", CAMPAIGNS / "loop.yaml", *at)[1]
        assert pad.workflows.count_documents({"state": "ARCHIVED"}) == 1
    del tmp_path


# -- 4: passwords --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked_server(tmp_path_factory, mongo_server):  # noqa: ARG001 - where there is none, not run
    with MongoServer(tmp_path_factory.mktemp("locked"), auth=True) as server:
        yield server


@pytest.fixture
def documented(locked_server, tmp_path, monkeypatch, lycb):
    """The files of docs/service.md: one without a password, and that of `lycb launchpad`."""
    content = locked_server.launchpad("doors")
    content.pop("password")
    plain = tmp_path / "launchpad.yaml"
    plain.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("LYCB_LAUNCHPAD_PASSWORD", locked_server.password)
    monkeypatch.setenv("LYCB_STORE", locked_server.uri("doors", user=locked_server.user))
    monkeypatch.setenv("LYCB_STORE_PASSWORD", locked_server.password)
    monkeypatch.setenv("LYCB_SCRATCH", str(tmp_path / "scratch"))
    before = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), before]))
    mine = tmp_path / "my_launchpad.yaml"
    code, out, err = lycb("launchpad", mine, "--launchpad", plain)
    assert code == 0, err
    assert locked_server.password not in out + err
    assert stat.S_IMODE(mine.stat().st_mode) == 0o600
    monkeypatch.delenv("LYCB_LAUNCHPAD_PASSWORD")
    yield mine
    with locked_server.client() as client:
        client.drop_database("doors")


def run(command, *words, folder):
    done = subprocess.run(
        [BIN / command, *map(str, words)], cwd=folder, timeout=PATIENCE_S, check=False,
        capture_output=True, text=True, env=os.environ | {"PYTHONWARNINGS": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_fault_4_lycb_lpad_rlaunch_and_qlaunch_agree_on_the_password(
    documented, tmp_path, slurm, lycb
):
    with contextlib.closing(load_launchpad(documented)) as pad:
        service = Service.__new__(Service)
        service.pad = pad
        first = named(note(str(tmp_path), "a"), "a")
        Service.submit(service, first, named(note(str(tmp_path), "b", after=first.output), "b"))
    assert "READY" in run("lpad", "-l", documented, "get_fws", "-d", "less", folder=tmp_path)
    run("rlaunch", "-l", documented, "singleshot", folder=tmp_path)
    assert notes(tmp_path) == ["a"]
    fworker, adapter = tmp_path / "my_fworker.yaml", tmp_path / "my_qadapter.yaml"
    fworker.write_text(yaml.safe_dump({"name": "slurm", "category": "", "query": "{}"}))
    rlaunch = f"{BIN}/rlaunch -l {documented} -w {fworker} rapidfire"
    write_qadapter(QueueConfig(queue="debug", walltime_minutes=10, command=rlaunch), adapter)
    before = slurm.job_ids()
    qlaunch(documented, fworker, adapter, tmp_path, 1)
    (submitted,) = slurm.job_ids() - before
    assert slurm.wait_for(submitted) == "COMPLETED"
    assert notes(tmp_path) == ["a", "b"]
    assert lycb("reap", "--launchpad", documented)[0] == 0


def test_fault_4_the_password_may_stand_in_the_settings_file(locked_server, tmp_path, monkeypatch):
    content = locked_server.launchpad("doors")
    password = content.pop("password")
    (tmp_path / "launchpad.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "lycb.yaml").write_text(yaml.safe_dump({"launchpad_password": password}))
    monkeypatch.delenv("LYCB_LAUNCHPAD_PASSWORD", raising=False)
    monkeypatch.setenv("LYCB_SETTINGS_FILE", str(tmp_path / "lycb.yaml"))
    load_launchpad(tmp_path / "launchpad.yaml").close()


# -- 5 and 7: what the database says -------------------------------------------------------------


def test_fault_5_space_rights_credentials_and_outage_are_told_apart(locked_server):
    with locked_server.client() as client:
        client.group.rows.insert_one({"a": 1})
        client.group.command("createUser", "guest", pwd=GUEST, roles=["read"])
        smallest = {"indexBuildMinAvailableDiskSpaceMB": 8 << 20}  # more than any disk has
        client.admin.command("setParameter", 1, **smallest)
        assert "disk is full" in told(lambda: client.group.rows.create_index("a"))
        client.admin.command("setParameter", 1, indexBuildMinAvailableDiskSpaceMB=500)
        guest = ("guest", GUEST)
        assert "lacks a right" in told(lambda: write_as(locked_server, *guest))
        assert "refuses this user" in told(lambda: write_as(locked_server, "guest", "wrong"))
        assert "refuses this user" in told(lambda: write_as(locked_server, None, None))


FULL = "28: No space left on device - "  # of mongod 8.2's storage engine, code UnknownError


@pytest.mark.parametrize(
    "error",
    [
        WriteError(FULL, 8, {"index": 0, "code": 8, "errmsg": FULL}),
        BulkWriteError({"writeErrors": [{"index": 0, "code": 8, "errmsg": FULL}]}),
    ],
    ids=["one", "many"],
)
def test_fault_5_a_disk_that_fills_up_under_the_server_is_waited_for(error, service, monkeypatch):
    """Also by the reaper, which is there again when there is space."""
    said = []

    def full_once(*_, **__):
        monkeypatch.undo()
        raise error

    monkeypatch.setattr(passes, "reap", full_once)
    for _ in range(2):
        passes._serve_once(service.pad, said.append, None)
    assert said == [
        "the database's disk is full: free space there, then run again; the reaper goes on"
    ]


def write_as(server, user, password):
    from pymongo import MongoClient  # noqa: PLC0415 - for this one

    who = {"username": user, "password": password, "authSource": "group"} if user else {}
    uri = f"mongodb://127.0.0.1:{server.port}/group?replicaSet=rs0"
    with MongoClient(uri, serverSelectionTimeoutMS=5000, **who) as client:
        client.group.rows.insert_one({"a": 2})


def told(act):
    with pytest.raises(OperationFailure) as caught:
        act()
    return str(outages.explained(caught.value))


def test_fault_7_no_part_of_a_password_with_a_slash_is_printed(tmp_path, lycb):
    address = "mongodb://lycb:first/second-part@127.0.0.1/lycb"
    result = lycb("query", "run", "--store", address)
    assert_one_line(result, "%2F")
    file = tmp_path / "launchpad.yaml"
    file.write_text(yaml.safe_dump({"host": address, "uri_mode": True, "name": "x"}))
    with pytest.raises(InputError, match="%2F") as caught:
        load_launchpad(file)
    for part in ("first", "second"):
        assert part not in result[2] + str(caught.value)


# -- 8: detect_lostruns beside a live job --------------------------------------------------------


def test_fault_8_a_live_job_rerun_by_lpad_leaves_no_orphan(service, tmp_path):
    first = named(wait(str(tmp_path), "a", 60), "a")
    added = named(decide(str(tmp_path), ["x", "y"], after=first.output), "b")
    service.submit(first, added)
    worker = service.worker(n_launches=0)
    wait_until(lambda: "a:start" in notes(tmp_path), "the job")
    plain = LaunchPad.from_file(str(service.file))
    plain.detect_lostruns(expiration_secs=0, rerun=True)
    plain.connection.close()
    (tmp_path / "go").touch()
    assert worker.wait() == 0
    assert set(service.states().values()) == {"COMPLETED"}
    assert sorted(notes(tmp_path)[-2:]) == ["x", "y"]
    service.assert_sound()


def test_fault_8_a_lock_of_lpad_is_not_broken_while_it_may_write(service, tmp_path, monkeypatch):
    """It replaces the whole workflow afterwards, and what was added meanwhile would be orphaned."""
    [fw_id] = service.submit(named(note(str(tmp_path), "a"), "a"))
    service.pad.stale_lock_s = 0.05
    service.pad.workflows.update_one({}, {"$set": {"locked": True}})
    entered = threading.Event()

    def enter():
        with OwnedLock(service.pad, fw_id):
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    assert not entered.wait(0.6)
    monkeypatch.setattr(locking.fw_config, "WFLOCK_EXPIRATION_SECS", 0.1)
    assert entered.wait(PATIENCE_S)
    thread.join()


def test_fault_8_a_workflow_that_was_written_over_is_mended(service, tmp_path):
    """As plain FireWorks does whose lock was broken: it writes its own, earlier copy."""
    service.submit(named(decide(str(tmp_path), ["x", "y"]), "a"))
    earlier = service.pad.workflows.find_one({})
    assert service.worker(n_launches=1).wait() == 0
    worker = service.worker(max_idle_s=2.0, n_launches=0)
    service.pad.workflows.replace_one({"_id": earlier["_id"]}, earlier)
    worker.wait()
    assert "Traceback" not in worker.said()
    for _ in range(3):
        service.reap_twice()
    assert service.worker(n_launches=0).wait() == 0
    service.reap_twice()
    assert set(service.states().values()) == {"COMPLETED"}
    assert {"x", "y"} <= set(notes(tmp_path))
    service.assert_sound()


# -- 9 and 10 ---------------------------------------------------------------------------------


def test_fault_9_launch_folders_that_were_deleted_are_made_again(service, tmp_path):
    service.submit(named(wait(str(tmp_path), "a", 60), "a"))
    worker = service.worker(n_launches=2)
    wait_until(lambda: "a:start" in notes(tmp_path), "the job")
    shutil.rmtree(tmp_path / "scratch")
    (tmp_path / "go").touch()
    service.wait_for("a", "COMPLETED")
    service.submit(named(note(str(tmp_path), "b"), "b"), record="s")
    assert worker.wait() == 0, worker.said()
    assert service.state("b") == "COMPLETED"


def test_fault_10_an_idle_worker_has_no_job_and_says_how_many_it_ran(service, tmp_path):
    service.submit(*(named(note(str(tmp_path), name), name) for name in ("a", "b")))
    worker = service.worker()

    def idle():
        return [one for one in find_workers(service.pad, silent_s=10) if one.state == "idle"]

    service.wait_for("b", "COMPLETED")
    wait_until(lambda: any(one.n_jobs == 2 for one in idle()), "the worker's entry")
    [seen] = idle()
    assert (seen.fw_id, seen.job) == (None, "")
    worker.kill()
    cancel(service.pad, "c")

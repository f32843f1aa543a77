"""A label that kills its workers, a broken worker with nothing else to do, a full database."""

import contextlib
import json
import time

import pytest
import yaml
from fireworks import FWorker, fw_config
from places import CAMPAIGNS
from servers import QuotaServer
from service_jobs import named, needs, note, notes, wait
from waiting import wait_until
from worker_processes import Service, service_on

from lycb_flows.jobs import resources
from lycb_flows.schemas import Dataset
from lycb_flows.service.launchpad import find_workers, load_launchpad
from lycb_flows.store import open_store

pytestmark = pytest.mark.filterwarnings("ignore:Some jobs are not connected:UserWarning")
LOST_AFTER_S = 2


@pytest.fixture
def service(launchpad_file, mongo_uri, tmp_path):
    with Service(launchpad_file, mongo_uri, tmp_path) as one:
        yield one


# -- a poison label ------------------------------------------------------------------------------


@pytest.fixture
def commands(lycb, mongo_uri, launchpad_file, monkeypatch, tmp_path):
    """Run `lycb` on a campaign of its own whose stages close without some of their labels."""
    for name, value in {
        "STORE": mongo_uri,
        "PING_S": "1",
        "MIN_FREE_GB": "0.01",
        "LOST_AFTER_S": LOST_AFTER_S,
    }.items():
        monkeypatch.setenv(f"LYCB_{name}", str(value))
    monkeypatch.setenv("LYCB_SCRATCH", str(tmp_path / "scratch"))
    content = yaml.safe_load((CAMPAIGNS / "loop.yaml").read_text())
    content["labels"] |= {"quorum": 0.5}
    file = tmp_path / "campaign.yaml"
    file.write_text(yaml.safe_dump(content))

    def run(*words):
        code, out, err = lycb(*words, "--launchpad", launchpad_file)
        assert code == 0, err
        return out

    run("submit", file)
    yield run
    resources.open_kept(mongo_uri).close()  # of the jobs that ran in this process
    resources.open_kept.cache_clear()


def lose(pad, fw_id, folder, category="dft"):
    """A worker takes this job, and is dead."""
    gone = {"lycb_owner": pad.owner.rpartition("/")[0] + "/1"}
    worker = FWorker("lost", category, {"fw_id": fw_id}, gone)
    assert pad.checkout_fw(worker, str(folder))[0] is not None


def labels_on(pad):
    query = {"spec.step": "label", "spec.stage": "test"}
    return list(pad.fireworks.find(query).sort("spec.part", 1))


def test_a_label_that_kills_its_workers_is_counted_as_failed_and_its_stage_goes_on(
    commands, mongo_uri, launchpad_file, tmp_path
):
    commands("worker", "--nlaunches", 0, "--category", "light", "--category", "gpu")
    with (
        contextlib.closing(load_launchpad(launchpad_file)) as pad,
        open_store(mongo_uri) as store,
    ):
        poison, other = labels_on(pad)
        lose(pad, poison["fw_id"], tmp_path)
        commands("reap")
        commands("worker", "--nlaunches", 1, "--category", "dft")
        after = labels_on(pad)
        assert [row["state"] for row in after] == ["READY", "COMPLETED"]  # others go first
        assert after[0]["spec"]["_priority"] == other["spec"]["_priority"] - 1
        for _ in range(2):
            lose(pad, poison["fw_id"], tmp_path)
            said = " ".join(commands("reap").split())
        assert "given up" in said
        assert "counted as failed, if it is so in" in said
        time.sleep(LOST_AFTER_S)
        assert "counted as failed done" in " ".join(commands("reap").replace("│", "").split())
        (status,) = map(json.loads, commands("status", "--json").splitlines())
        assert status["labels"]["test"] == {"done": 1, "failed": 1, "pending": 0, "late": 0}
        assert "its worker died 3 times" in status["failed labels"]["test"]
        commands("worker", "--nlaunches", 1, "--category", "dft")
        assert [row["state"] for row in labels_on(pad)] == ["COMPLETED"] * 2
        (dataset,) = store.find_all(Dataset)
        assert len(dataset.missing) == 1
        assert pad.fireworks.count_documents({"spec.stage": "r00 200 K"})
        assert "0 findings" in commands("reap")


def test_jobs_that_die_while_others_die_too_are_not_given_up(service, tmp_path):
    """Somebody kills whatever runs: what comes through later shows it."""
    jobs = [named(note(str(tmp_path), name), name) for name in "abcd"]
    ids = dict(zip("abcd", service.submit(*jobs), strict=True))
    service.pad.fireworks.update_many({}, {"$set": {"spec._priority": 5}})

    def die(name):
        lose(service.pad, ids[name], tmp_path, "light")
        [found] = service.reap()
        return found.action

    assert {die(name) for name in "abd"} == {"given back"}
    assert service.worker(n_launches=1).wait() == 0
    assert service.state("c") == "COMPLETED"  # the others wait behind it
    assert {die(name) for name in "abd"} == {"given back"}
    assert die("a") == "given up"
    assert service.reap() == []
    for _ in "bd":
        assert service.worker(n_launches=1).wait() == 0
    found = [one for one in service.reap() if one.what == "given-up job"]
    assert [(one.fw_id, one.action, one.done) for one in found] == [(ids["a"], "given back", True)]
    assert service.worker(n_launches=0).wait() == 0
    assert set(service.states().values()) == {"COMPLETED"}
    service.assert_sound()


def test_a_job_is_not_given_up_where_idle_workers_die_as_well(service, tmp_path):
    jobs = [named(note(str(tmp_path), name), name) for name in "ab"]
    a, b = service.submit(*jobs)
    lose(service.pad, a, tmp_path, "light")
    assert service.reap()[-1].action == "given back"
    service.pad.fireworks.update_one({"fw_id": a}, {"$set": {"spec._category": "gpu"}})
    idle = service.worker(categories=("light",))
    service.wait_for("b", "COMPLETED")
    wait_until(lambda: [w for w in find_workers(service.pad) if w.state == "idle"], "an idle one")
    idle.kill()
    for action in ("given back", "given back", "given up"):
        lose(service.pad, a, tmp_path, "gpu")
        assert service.reap()[-1].action == action
    assert service.state("a") == "FIZZLED"
    assert service.launches(b)[0]["state"] == "COMPLETED"


# -- a broken worker beside one that waits -------------------------------------------------------


def test_fault_2_a_broken_worker_with_one_job_leaves_it_to_another(service, tmp_path):
    """It would never come to the failures that end it, and the job would wait for a person."""
    service.submit(named(needs(str(tmp_path), "a", "LYCB_TEST_PACKAGE"), "a"))
    broken = service.worker(name="hole", environment={"LYCB_TEST_PACKAGE": "broken"})
    service.wait_for("a", "FIZZLED")
    time.sleep(1)
    assert service.state("a") == "FIZZLED"  # nobody else is there
    service.worker(categories=("dft",), name="of another kind")
    time.sleep(1)
    assert service.state("a") == "FIZZLED"
    service.worker(name="good")
    service.wait_for("a", "COMPLETED")
    assert notes(tmp_path) == ["a"]
    assert [run["fworker"]["name"] for run in service.launches(1)] == ["hole", "good"]
    broken.kill()
    service.assert_sound()


# -- locks of plain FireWorks --------------------------------------------------------------------


def test_the_reaper_leaves_a_lock_of_lpad_as_long_as_fireworks_does(service, tmp_path):
    """`lpad` writes its copy of the workflow whether it still has the lock or not."""
    service.submit(named(note(str(tmp_path), "a"), "a"))
    service.pad.workflows.update_one({}, {"$set": {"locked": True}})
    assert not any(one.done for one in service.reap(grace_s=0.01))
    service.let_pass(fw_config.WFLOCK_EXPIRATION_SECS - 5)
    [seen] = service.reap(grace_s=0.01)
    assert not seen.done
    assert "if it is so in" in seen.action
    service.let_pass(10)
    [seen] = service.reap(grace_s=0.01)
    assert (seen.what, seen.done) == ("stale lock", True)
    service.assert_sound()


# -- a database that is full ---------------------------------------------------------------------


def test_workers_wait_while_the_database_is_full(tmp_path, mongo_server):  # noqa: ARG001 - without: not run
    with (
        QuotaServer(tmp_path / "mongo") as server,
        service_on(server, tmp_path, LYCB_OUTAGE_S="60") as service,
    ):
        service.submit(
            named(wait(str(tmp_path), "a", 60), "a"), named(note(str(tmp_path), "b"), "b")
        )
        worker = service.worker(n_launches=0)
        wait_until(lambda: "a:start" in notes(tmp_path), "the job")
        server.refuse(full=True)
        (tmp_path / "go").touch()
        wait_until(lambda: "a:end" in notes(tmp_path), "the job's end")
        idle = service.worker(n_launches=0)
        wait_until(lambda: "disk is full" in idle.said(), "the idle worker's line")
        assert service.state("a") == "RUNNING"
        server.refuse(full=False)
        assert worker.wait() == 0, worker.said()
        assert idle.wait() == 0, idle.said()
        assert service.states() == {"a": "COMPLETED", "b": "COMPLETED"}
        assert notes(tmp_path).count("a:start") == 1
        assert not service.pad.launches.count_documents({"state_history.fault": {"$exists": True}})
        service.assert_sound()

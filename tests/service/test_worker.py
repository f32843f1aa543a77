"""Workers on a real MongoDB lose nothing: the rows of the failure table in `docs/engine.md`."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import jobflow
import pytest
import yaml
from jobflow import JobStore
from maggma.stores import JSONStore, MemoryStore
from places import HELPERS
from pymongo import MongoClient
from servers import MongoServer, not_run
from service_jobs import crawl, decide, march, named, note, notes, nothing, shy, stumble, wait
from waiting import PATIENCE_S, wait_until
from worker_processes import Service, service_on

from lycb_flows.errors import InputError
from lycb_flows.machine.settings import Settings
from lycb_flows.service.launchpad import count_interruptions, find_workers
from lycb_flows.service.launchpad.locking import patience_s
from lycb_flows.service.worker.outputs import durable_outputs, shared_results
from lycb_flows.service.worker.signals import Interrupted, StopSignals

OUTAGE_S = 1.0
"""Some heartbeats of 0.3 s find no database."""


@pytest.fixture
def service(launchpad_file, mongo_uri, tmp_path):
    with Service(launchpad_file, mongo_uri, tmp_path) as one:
        yield one


def started(service, word="a"):
    wait_until(lambda: f"{word}:start" in notes(service.folder), f"the start of {word}")


def seen_at(service, worker):
    (entry,) = (one for one in find_workers(service.pad, silent_s=10) if one.pid == worker.pid)
    return entry.seen_at


def go(service):
    (service.folder / "go").touch()


# -- the failure table ---------------------------------------------------------------------------


def test_a_worker_killed_minus_9_loses_its_job_to_the_next_worker(service, tmp_path):
    first = named(wait(str(tmp_path), "a", 30), "a")
    service.submit(first, named(note(str(tmp_path), "b", after=first.output), "b"))
    worker = service.worker()
    started(service)
    worker.kill()
    [lost] = service.reap(dry_run=True)
    assert (lost.what, lost.name, lost.done) == ("lost run", "a", False)
    assert service.state("a") == "RUNNING"
    [lost] = service.reap()
    assert lost.done
    assert "is gone" in lost.why
    assert service.states() == {"a": "READY", "b": "WAITING"}
    assert not service.reap()
    go(service)
    assert service.worker(n_launches=0).wait() == 0
    assert service.states() == {"a": "COMPLETED", "b": "COMPLETED"}
    assert notes(tmp_path) == ["a:start", "a:start", "a:end", "b"]
    assert count_interruptions(service.pad, "c") == {"given_back": 0, "fault": 0, "lost": 1}
    service.assert_sound()


def test_database_away_during_a_job_does_not_stop_its_heartbeat(own_server, tmp_path):
    with service_on(own_server, tmp_path) as service:
        [fw_id] = service.submit(named(wait(str(tmp_path), "a", 60), "a"))
        worker = service.worker(n_launches=0)
        started(service)
        own_server.kill()
        time.sleep(OUTAGE_S)
        own_server.start()

        def pinged():
            return service.launches(fw_id)[0]["state_history"][-1]["updated_on"]

        after = pinged()
        wait_until(lambda: pinged() > after, "a heartbeat")
        go(service)
        assert worker.wait() == 0
        assert service.state("a") == "COMPLETED"
        assert notes(tmp_path) == ["a:start", "a:end"]


def test_database_away_when_the_job_ends_is_waited_for(own_server, tmp_path):
    with service_on(own_server, tmp_path) as service:
        first = named(wait(str(tmp_path), "a", 60), "a")
        service.submit(first, named(note(str(tmp_path), "b", after=first.output), "b"))
        worker = service.worker(n_launches=0)
        started(service)
        own_server.stop()
        go(service)
        wait_until(lambda: "a:end" in notes(tmp_path), "the end of the job")
        time.sleep(OUTAGE_S)
        own_server.start()
        assert worker.wait() == 0
        assert service.states() == {"a": "COMPLETED", "b": "COMPLETED"}
        assert notes(tmp_path) == ["a:start", "a:end", "b"]
        service.assert_sound()


def test_a_database_that_stays_away_ends_the_worker_in_one_line(own_server, tmp_path):
    with service_on(own_server, tmp_path, LYCB_OUTAGE_S="1") as service:
        worker = service.worker()
        wait_until(lambda: find_workers(service.pad, silent_s=10), "the worker")
        own_server.stop()
        assert worker.wait() == 1
        *_, line = worker.said().splitlines()
        assert line.startswith("lycb: the LaunchPad's database is away")


def test_a_worker_killed_between_checkout_and_launch_leaves_a_reservation_that_is_reaped(
    service, tmp_path
):
    service.submit(named(note(str(tmp_path), "a"), "a"))
    service.worker(die_in="get_new_launch_id").wait()
    assert service.state("a") == "RESERVED"
    [seen] = service.reap()
    assert not seen.done  # it may be a checkout in this moment
    [lost] = service.reap_twice()
    assert (lost.what, lost.done) == ("lost reservation", True)
    assert service.worker(n_launches=0).wait() == 0
    assert notes(tmp_path) == ["a"]
    service.assert_sound()


@pytest.mark.parametrize("place", ["_refresh_locked", "change_workflow"])
def test_a_worker_killed_inside_the_workflow_lock_does_not_hold_the_others(
    service, tmp_path, place
):
    """Before anything is written, or with new jobs written that no workflow lists."""
    service.submit(
        named(decide(str(tmp_path), ["x", "y"]), "decide"), named(note(str(tmp_path), "b"), "b")
    )
    service.worker(die_in=place).wait()
    assert service.pad.workflows.count_documents({"locked.by": {"$exists": True}}) == 1
    assert service.state("decide") == "RUNNING"
    assert len(service.unlisted()) == (2 if place == "change_workflow" else 0)
    assert service.worker(n_launches=1).wait() == 0  # broke the dead worker's lock
    assert service.state("b") == "COMPLETED"
    service.reap_twice()
    assert service.worker(n_launches=0).wait() == 0
    assert sorted(notes(tmp_path)) == ["b", "decide", "x", "y"]
    assert set(service.states().values()) == {"COMPLETED"}
    service.assert_sound()


def test_a_full_disk_takes_no_job(service, tmp_path):
    service.submit(named(note(str(tmp_path), "a"), "a"))
    worker = service.worker(n_launches=0, environment={"LYCB_MIN_FREE_GB": "1e9"})
    assert worker.wait() == 1
    [line] = worker.said().splitlines()
    assert line.startswith("lycb: the worker can take no job")
    assert service.state("a") == "READY"


def test_a_worker_waits_until_its_full_disk_is_free_again(service, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "lycb", disk], check=False)  # noqa: S607
    if mounted.returncode:
        not_run("this machine, or this user, cannot mount a tmpfs")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 6_000_000)
        service.submit(named(note(str(tmp_path), "a"), "a"))
        environment = {"LYCB_SCRATCH": str(disk), "LYCB_MIN_FREE_GB": "0.004"}
        worker = service.worker(n_launches=1, environment=environment)
        wait_until(lambda: "GB free" in worker.said(), "the complaint")
        wait_until(
            lambda: find_workers(service.pad, silent_s=10)[0].state == "full disk", "its state"
        )
        assert service.state("a") == "READY"
        ballast.unlink()
        assert worker.wait() == 0
        assert service.state("a") == "COMPLETED"
    finally:
        subprocess.run(["umount", disk], check=True)  # noqa: S607


def test_a_frozen_worker_wakes_after_its_job_was_rerun_and_changes_nothing(service, tmp_path):
    [fw_id] = service.submit(named(wait(str(tmp_path), "a", 60), "a"))
    frozen = service.worker(n_launches=1)
    started(service)
    frozen.send(signal.SIGSTOP)
    later = service.pad.now().replace(year=2100)
    assert not service.reap()  # its last heartbeat is young
    service.reap(now=later)
    [lost] = service.reap(now=later.replace(year=2101))
    assert (lost.what, lost.done) == ("lost run", True)
    assert "no heartbeat" in lost.why
    go(service)
    assert service.worker(n_launches=1).wait() == 0
    written = service.pad.fireworks.find_one({}), service.launches(fw_id)
    frozen.send(signal.SIGCONT)
    assert frozen.wait() == 0
    assert "not used: started elsewhere" in frozen.said()
    assert (service.pad.fireworks.find_one({}), service.launches(fw_id)) == written
    assert written[0]["state"] == "COMPLETED"
    service.assert_sound()


def test_a_worker_whose_run_was_taken_stops_at_the_next_restart_point(service, tmp_path):
    [fw_id] = service.submit(named(march(str(tmp_path), 1000, 0.05), "a"))
    worker = service.worker(n_launches=1)
    wait_until(lambda: "step" in notes(tmp_path), "a step")
    service.pad.give_back(fw_id, service.launches(fw_id)[0]["launch_id"], lost="by the test")
    assert worker.wait() == 0
    assert "not used" in worker.said()
    assert service.state("a") == "READY"


def test_rerun_of_a_completed_deciding_job_adds_nothing_twice(service, tmp_path):
    [fw_id] = service.submit(named(decide(str(tmp_path), ["x", "y"]), "decide"))
    assert service.worker(n_launches=0).wait() == 0
    jobs = service.states()
    service.pad.rerun_fw(fw_id)
    assert set(service.states().values()) == {"READY", "WAITING"}
    assert service.worker(n_launches=0).wait() == 0
    assert service.states() == jobs == {"decide": "COMPLETED", "x": "COMPLETED", "y": "COMPLETED"}
    assert notes(tmp_path).count("decide") == 2
    service.assert_sound()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_scancel_gives_the_job_back_at_once(service, tmp_path, number):
    service.submit(named(wait(str(tmp_path), "a", 60), "a"))
    worker = service.worker()
    started(service)
    worker.send(number)
    worker.send(number)
    asked = time.monotonic()
    assert worker.wait() == 0
    assert time.monotonic() - asked < 5
    assert f"given back: stopped by {number.name}" in worker.said()
    assert service.state("a") == "READY"
    assert count_interruptions(service.pad, "c")["given_back"] == 1
    assert find_workers(service.pad, silent_s=10) == []
    [left] = find_workers(service.pad, silent_s=10, everyone=True)
    assert left.state == "left"
    service.assert_sound()


def test_a_second_signal_does_not_disturb_the_jobs_own_tidying(service, tmp_path):
    service.submit(named(shy(str(tmp_path)), "a"))
    worker = service.worker()
    wait_until(lambda: "shy" in notes(tmp_path), "the job")
    worker.send(signal.SIGTERM)
    wait_until(lambda: "tidying" in notes(tmp_path), "the job's end")
    worker.send(signal.SIGTERM)
    worker.send(signal.SIGINT)
    assert worker.wait() == 0
    assert notes(tmp_path) == ["shy", "tidying", "tidied"]
    assert service.state("a") == "READY"


def test_sigusr1_stops_at_the_next_restart_point_and_another_worker_goes_on(service, tmp_path):
    service.submit(named(march(str(tmp_path), 12, 0.1), "a"))
    worker = service.worker()
    wait_until(lambda: notes(tmp_path).count("step") == 2, "two steps")
    worker.send(signal.SIGUSR1)
    assert worker.wait() == 0
    done = notes(tmp_path).count("step")
    assert done < 12
    assert service.state("a") == "READY"
    assert service.worker(n_launches=0).wait() == 0
    assert notes(tmp_path).count("step") == 12
    assert f"from:{done}" in notes(tmp_path)


def test_walltime_is_no_failure(service, tmp_path):
    service.submit(named(march(str(tmp_path), 20, 0.1), "a"))
    worker = service.worker(walltime_s=1.0)
    assert worker.wait() == 0
    assert "given back: the walltime ends" in worker.said()
    assert service.states() == {"a": "READY"}
    assert service.worker(n_launches=0).wait() == 0
    words = notes(tmp_path)
    assert words.count("step") == 20
    assert words.count("from:0") == 1


def test_an_interrupted_job_is_given_back_wherever_the_signal_strikes(service, tmp_path):
    """SIGTERM at many moments of a worker that runs short jobs: none is lost, none fizzles."""
    n_jobs = 300  # so many that some are left when the last signal strikes
    service.submit(*(named(note(str(tmp_path), f"n{i}"), f"n{i}") for i in range(n_jobs)))
    for nap_s in (0.0, 0.05, 0.1, 0.15):
        worker = service.worker(n_launches=0)
        wait_until(lambda: find_workers(service.pad, silent_s=10), "the worker")
        time.sleep(nap_s)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.said()
        assert set(service.states().values()) <= {"READY", "COMPLETED"}
        service.assert_sound()
    assert service.worker(n_launches=0).wait() == 0
    assert set(service.states().values()) == {"COMPLETED"}


def test_mongod_restarted_under_load_loses_nothing(own_server, tmp_path):
    n_jobs = 80
    with service_on(own_server, tmp_path) as service:
        service.submit(*(named(note(str(tmp_path), f"n{i}"), f"n{i}") for i in range(n_jobs)))
        reaper = service.reaper(0.3)
        workers = [service.worker() for _ in range(2)]
        for share in (0.2, 0.5):
            wait_until(lambda share=share: len(notes(tmp_path)) > share * n_jobs, "some jobs")
            own_server.kill()
            own_server.start()
        wait_until(lambda: set(service.states().values()) == {"COMPLETED"}, "all jobs")
        for worker in workers:
            worker.send(signal.SIGTERM)
            assert worker.wait() == 0, worker.said()
        assert {f"n{i}" for i in range(n_jobs)} == set(notes(tmp_path))
        reaper.kill()  # it holds locks while it looks
        wait_until(lambda: not service.reap() and not service.locked(), "quiet")
        service.assert_sound()


# -- faults ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["disk", "database", "store"])
def test_a_fault_of_the_machine_is_no_failure_of_the_job(service, tmp_path, kind):
    service.submit(named(stumble(str(tmp_path), kind, 2), "a"))
    assert service.worker(n_launches=0).wait() == 0
    assert notes(tmp_path) == [kind] * 3
    assert service.state("a") == "COMPLETED"
    assert count_interruptions(service.pad, "c")["fault"] == 2


def test_too_many_faults_and_own_failures_fizzle(service, tmp_path):
    service.submit(
        named(stumble(str(tmp_path), "disk", 9), "a"), named(stumble(str(tmp_path), "own", 9), "b")
    )
    worker = service.worker(n_launches=0)
    assert worker.wait() == 0
    assert service.states() == {"a": "FIZZLED", "b": "FIZZLED"}
    assert sorted(notes(tmp_path)) == ["disk"] * 4 + ["own"]
    kept = list((tmp_path / "scratch" / "launches").iterdir())
    assert len(kept) == 2
    assert any("no such thing" in (one / "error.txt").read_text() for one in kept)
    assert "Traceback" not in worker.said()
    assert not service.reap()


def test_a_job_that_another_claims_is_left_alone_for_a_while(service, tmp_path):
    """The worker takes the others first and does not spin."""
    claimed = named(crawl(str(tmp_path)), "claimed")
    fw_id, _ = service.submit(claimed, named(note(str(tmp_path), "b"), "b"))
    worker = service.worker(n_launches=0, avoid_s=0.6)
    wait_until(lambda: notes(tmp_path).count("claimed") == 3, "three tries")
    go(service)
    assert worker.wait() == 0
    assert notes(tmp_path)[:3] == ["claimed", "b", "claimed"]
    assert set(service.states().values()) == {"COMPLETED"}
    histories = [launch["state_history"] for launch in service.launches(fw_id)]
    tries = [datetime.fromisoformat(str(history[0]["created_on"])) for history in histories]
    assert len(tries) >= 3
    assert all(later - earlier > timedelta(seconds=0.6) for earlier, later in pairwise(tries))
    assert service.pad.launches.count_documents({"state_history.given_back": "busy"}) >= 2


# -- when a worker goes, and what it leaves ---------------------------------------------------


def test_a_worker_stays_while_others_may_add_jobs_for_it(service, tmp_path):
    first = named(wait(str(tmp_path), "a", 60), "a", "dft")
    service.submit(first, named(note(str(tmp_path), "b", after=first.output), "b", "gpu"))
    dft = service.worker(n_launches=0, categories=["dft"])
    started(service)  # before the other, which would leave if nobody took the ready job
    gpu = service.worker(n_launches=0, categories=["gpu"])
    wait_until(lambda: len(find_workers(service.pad, silent_s=10)) == 2)
    for _ in range(3):  # the other looks for a job and finds none
        looked_at = seen_at(service, gpu)
        wait_until(lambda looked_at=looked_at: seen_at(service, gpu) > looked_at, "a look")
    go(service)
    assert gpu.wait() == dft.wait() == 0
    assert "b (2): completed" in gpu.said()
    assert "1 completed" in dft.said()


def test_a_worker_takes_its_categories_in_the_order_of_priority(service, tmp_path):
    jobs = [named(note(str(tmp_path), name), name, "gpu") for name in ("a", "b", "c")]
    jobs[2].config.manager_config["_priority"] = 5
    service.submit(*jobs, named(note(str(tmp_path), "d"), "d", "dft"))
    assert service.worker(max_idle_s=0.5, categories=["gpu"]).wait() == 0
    assert notes(tmp_path) == ["c", "a", "b"]
    assert service.state("d") == "READY"


def test_a_worker_is_registered_with_what_it_does(service, tmp_path):
    service.submit(named(wait(str(tmp_path), "a", 60), "a", "gpu"))
    worker = service.worker(name="w1", categories=["gpu"], n_launches=1)
    started(service)
    [known] = find_workers(service.pad, silent_s=10)
    assert (known.name, known.pid, known.state, known.job) == ("w1", worker.pid, "running", "a")
    assert (known.categories, known.alive) == (("gpu",), True)
    seen = known.seen_at
    wait_until(lambda: find_workers(service.pad, silent_s=10)[0].seen_at > seen, "a heartbeat")
    worker.kill()
    assert find_workers(service.pad, silent_s=10) == []


@pytest.mark.parametrize(
    "gone",
    [
        {"spec._tasks.0.job.function.@module": "lycb_flows.no_longer_here"},
        {"spec._tasks.0.job.function.@callable": "no_longer_here"},
    ],
)
def test_jobs_of_another_version_are_refused_in_one_line_and_replaced_by_a_submission(
    service, tmp_path, gone
):
    def jobs():
        first = named(note(str(tmp_path), "a"), "a")
        return first, named(note(str(tmp_path), "b", after=first.output), "b")

    old = service.submit(*jobs())
    service.pad.fireworks.update_many({}, {"$set": gone})
    worker = service.worker(n_launches=0)
    assert worker.wait() == 0
    [line] = [line for line in worker.said().splitlines() if "cannot be loaded" in line]
    assert f"job {old[0]} " in line
    assert "lycb submit" in line
    assert "no_longer_here" in line
    assert service.states() == {"a": "READY", "b": "WAITING"}
    new = service.submit(*jobs())
    assert len(new) == 2
    assert not set(new) & set(old)
    assert service.submit(*jobs()) == []  # what can be loaded stays
    assert service.worker(n_launches=0).wait() == 0
    assert notes(tmp_path) == ["a", "b"]
    rows = service.pad.fireworks.find({"fw_id": {"$in": old}}, {"state": 1})
    assert {row["state"] for row in rows} == {"ARCHIVED"}
    service.assert_sound()


def test_launch_folders_are_gone_after_success(service, tmp_path):
    service.submit(named(note(str(tmp_path), "a"), "a"))
    assert service.worker(n_launches=0).wait() == 0
    assert list((tmp_path / "scratch" / "launches").iterdir()) == []


def test_plain_rlaunch_works_on_the_same_launchpad(service, tmp_path):
    first = named(decide(str(tmp_path), ["x"]), "decide")
    service.submit(first, named(note(str(tmp_path), "b", after=first.output), "b"))
    environment = {**os.environ, "PYTHONPATH": str(HELPERS), "PYTHONWARNINGS": ""}
    rlaunch = [Path(sys.executable).with_name("rlaunch"), "-l", service.file]
    subprocess.run(
        [*rlaunch, "rapidfire", "--nlaunches", "2"],
        cwd=tmp_path, env=environment, check=True, timeout=PATIENCE_S, capture_output=True,
    )  # fmt: skip
    assert service.worker(n_launches=0).wait() == 0
    assert service.states() == {"decide": "COMPLETED", "b": "COMPLETED", "x": "COMPLETED"}
    assert sorted(notes(tmp_path)) == ["b", "decide", "x"]
    service.assert_sound()


# -- refusals ------------------------------------------------------------------------------------


def test_an_embedded_store_is_refused(service, tmp_path):
    worker = service.worker(environment={"LYCB_STORE": str(tmp_path / "store")})
    assert worker.wait() == 1
    assert worker.said().startswith("lycb: a worker cannot use an embedded store")
    assert worker.said().count("\n") == 1


@pytest.mark.parametrize("additional", [False, True])
def test_a_job_store_in_memory_is_replaced_or_refused(mongo_uri, tmp_path, monkeypatch, additional):
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", JobStore(MemoryStore()))
    with shared_results(Settings(store=mongo_uri)) as store:
        durable_outputs(store).update({"uuid": "u", "index": 1, "output": 3})
        with MongoClient(mongo_uri) as client:
            kept = client.get_default_database().jobflow_outputs
            assert kept.find_one({"uuid": "u"})["output"] == 3
        local = JSONStore(str(tmp_path / "x.json"), read_only=False)
        stores = (MemoryStore(), {"data": MemoryStore()}) if additional else (local,)
        monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", JobStore(*stores))
        with pytest.raises(InputError, match="would lose outputs"):
            durable_outputs(store)


def test_no_password_in_jobs_files_or_what_a_worker_says(tmp_path, mongo_server):  # noqa: ARG001
    with MongoServer(tmp_path / "own", auth=True) as server:
        file = tmp_path / "own.yaml"
        file.write_text(yaml.safe_dump(server.launchpad("lp")))
        store = server.uri("results", user=server.user)
        environment = {"LYCB_STORE_PASSWORD": server.password}
        with Service(file, store, tmp_path, **environment) as service:
            service.submit(
                named(decide(str(tmp_path), ["x"]), "a"),
                named(stumble(str(tmp_path), "own", 9), "b"),
            )
            worker = service.worker(n_launches=0)
            assert worker.wait() == 0
            assert service.states() == {"a": "COMPLETED", "b": "FIZZLED", "x": "COMPLETED"}
            with server.client() as client:
                dump = [
                    json.dumps(list(client[database][name].find({})), default=str)
                    for database in ("lp", "results")
                    for name in client[database].list_collection_names()
                ]
        texts = [*dump, worker.said()]
        texts += [one.read_text() for one in (tmp_path / "scratch").rglob("*") if one.is_file()]
        assert any("no such thing" in text for text in texts)
        assert any('"fw_id"' in text for text in texts)
        assert not any(server.password in text for text in texts)


# -- signals ---------------------------------------------------------------------------------


def test_outside_a_job_a_signal_is_only_a_wish():
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_name == "SIGTERM"
        with pytest.raises(Interrupted):
            stop.run_job(lambda _: None, {})
    with StopSignals() as stop, pytest.raises(Interrupted) as told:
        stop.run_job(lambda _: os.kill(os.getpid(), signal.SIGINT), {})
    assert told.value.to_dict() == {"given_back": "stopped by SIGINT"}


def test_sigusr1_does_not_break_into_a_job():
    with StopSignals() as stop:
        assert stop.run_job(lambda _: os.kill(os.getpid(), signal.SIGUSR1) or 3, {}) == 3
        assert stop.signal_name == "SIGUSR1"


def test_nothing_runs_without_a_job(service):
    worker = service.worker(n_launches=0)
    assert worker.wait() == 0
    assert "no job is left; no job" in worker.said()
    service.submit(named(nothing(), "a"))
    assert service.worker(n_launches=1, max_idle_s=5).wait() == 0


def test_a_workflow_that_stays_locked_is_left_to_the_reaper(service, tmp_path):
    """Somebody alive holds it for longer than the worker waits."""
    [fw_id] = service.submit(named(wait(str(tmp_path), "a", 60), "a"))
    worker = service.worker(n_launches=1, environment={"LYCB_OUTAGE_S": "0.5", "LYCB_PING_S": "9"})
    started(service)
    service.pad.workflows.update_one({}, {"$set": {"locked": True}})
    go(service)
    assert worker.wait() == 0
    assert "left to the reaper" in worker.said()
    assert service.launches(fw_id)[0]["state"] == "COMPLETED"
    assert service.state("a") == "RUNNING"
    service.reap_twice()
    assert service.state("a") == "RUNNING"
    service.let_pass(patience_s(lock=True, ours_s=0.0))  # the lock is that of a plain `lpad`
    service.reap_twice()
    service.reap_twice()
    assert service.state("a") == "COMPLETED"
    service.assert_sound()

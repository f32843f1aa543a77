"""The reaper gives back what died, only that, and only once."""

import signal
import socket
import threading
import time
from types import SimpleNamespace

import pytest
from fireworks import FWorker, LaunchPad, fw_config
from service_jobs import decide, named, note, notes, nothing, stumble
from waiting import wait_until
from worker_processes import Service, run_here, service_on

from lycb_flows.service.launchpad import locking, pause
from lycb_flows.service.reaper import evidence, findings
from lycb_flows.service.reaper.evidence import Slurm
from lycb_flows.service.reaper.passes import Reaping

pytestmark = pytest.mark.filterwarnings("ignore:Some jobs are not connected:UserWarning")
OUTAGE_S = 0.5
"""Longer than the reaper's interval: it meets a database that is away."""
HERE = socket.gethostname()
EMPTY = Slurm({}, frozenset({HERE.partition(".")[0]}))


@pytest.fixture
def service(launchpad_file, mongo_uri, tmp_path):
    with Service(launchpad_file, mongo_uri, tmp_path) as one:
        yield one


@pytest.fixture
def plain(service, mongo_server):
    """FireWorks' own LaunchPad, as `rlaunch` uses it."""
    pad = LaunchPad(**mongo_server.launchpad(service.pad.name), strm_lvl="CRITICAL")
    yield pad
    pad.connection.close()


def pair(folder):
    first = named(note(str(folder), "a"), "a")
    return first, named(note(str(folder), "b", after=first.output), "b")


def run_all(service):
    while service.pad.run_exists(FWorker()):
        run_here(service.pad, service.folder)


# -- lost runs --------------------------------------------------------------------------------


def test_a_living_run_is_left_alone(service, tmp_path):
    service.submit(*pair(tmp_path))
    _, launch_id = service.pad.checkout_fw(FWorker(), str(tmp_path))
    service.pad.ping_launch(launch_id)
    assert service.reap(grace_s=0) == []
    assert service.states() == {"a": "RUNNING", "b": "WAITING"}


def test_plain_rlaunch_is_lost_after_its_own_time(service, tmp_path, monkeypatch):
    """It pings once an hour: our setting would take its living jobs away."""
    service.submit(*pair(tmp_path))
    service.pad.checkout_fw(FWorker(), str(tmp_path))
    service.let_pass(0.1)
    assert service.reap(lost_after_s=0.01, grace_s=0) == []
    monkeypatch.setattr(fw_config, "RUN_EXPIRATION_SECS", 0.05)
    assert not service.reap()[0].done
    assert service.reap_twice()[0].why.startswith("no heartbeat for")
    assert service.states() == {"a": "READY", "b": "WAITING"}


def test_a_heartbeat_between_two_looks_saves_the_run(service, tmp_path, monkeypatch):
    """As after a long outage, when reaper and workers come back at the same moment."""
    service.submit(*pair(tmp_path))
    _, launch_id = service.pad.checkout_fw(FWorker(), str(tmp_path))
    monkeypatch.setattr(fw_config, "RUN_EXPIRATION_SECS", 0.05)
    service.let_pass(0.1)
    assert not service.reap(grace_s=0.2)[0].done
    service.let_pass(0.25)
    service.pad.ping_launch(launch_id)
    service.let_pass(0.1)
    [again] = service.reap(grace_s=0.2)
    assert not again.done
    assert service.states()["a"] == "RUNNING"


def test_a_lost_run_does_not_wake_paused_children(service, tmp_path):
    service.submit(*pair(tmp_path))
    dead = FWorker(env={"lycb_owner": service.pad.owner.rpartition("/")[0] + "/1"})
    service.pad.checkout_fw(dead, str(tmp_path))
    pause(service.pad, "c")
    [lost] = service.reap()
    assert lost.done
    assert service.states() == {"a": "PAUSED", "b": "PAUSED"}


# -- Slurm ----------------------------------------------------------------------------------


@pytest.fixture
def squeue(monkeypatch):
    """What Slurm says, to be changed by the test."""
    said = SimpleNamespace(jobs={}, hosts=EMPTY.hosts)
    monkeypatch.setattr(findings, "find_slurm", lambda: Slurm(said.jobs, said.hosts))
    return said


def in_slurm(service, job, restarts="0"):
    env = {"lycb_owner": service.pad.owner, "slurm_job": job, "slurm_restarts": restarts}
    return FWorker(env=env)


def test_a_run_that_squeue_does_not_know_is_lost_at_once(service, tmp_path, squeue):
    service.submit(*pair(tmp_path))
    service.pad.checkout_fw(in_slurm(service, "17"), str(tmp_path))
    squeue.jobs["17"] = "RUNNING"
    assert service.reap() == []
    squeue.jobs.clear()
    squeue.hosts = frozenset({"another-cluster"})
    assert service.reap() == []
    squeue.hosts = EMPTY.hosts
    [lost] = service.reap()
    assert (lost.why, lost.done) == ("Slurm job 17 is gone", True)
    assert service.states() == {"a": "READY", "b": "WAITING"}


def test_a_requeued_slurm_job_has_lost_its_run(service, tmp_path, squeue):
    service.submit(*pair(tmp_path))
    service.pad.checkout_fw(in_slurm(service, "17"), str(tmp_path))
    squeue.jobs["17"] = "PENDING"
    assert service.reap(dry_run=True)[0].why == "Slurm job 17 was requeued"
    squeue.jobs["17"] = "RUNNING"
    assert service.reap() == []
    entry = {"slurm_job": "17", "slurm_restarts": "1", "seen_at": service.pad.now()}
    service.pad.db.lycb_workers.insert_one({"_id": "x", **entry})
    assert service.reap()[0].done
    service.pad.checkout_fw(in_slurm(service, "17", "1"), str(tmp_path))
    assert service.reap() == []


def test_a_reservation_whose_slurm_job_is_gone_is_given_back(service, tmp_path, squeue, plain):
    service.submit(*pair(tmp_path))
    _, launch_id = plain.reserve_fw(FWorker(), str(tmp_path))
    assert not service.reap()[0].done  # between reservation and submission
    plain.set_reservation_id(launch_id, 17)
    squeue.jobs["17"] = "PENDING"
    assert service.reap(grace_s=0) == []
    squeue.jobs.clear()
    [lost] = service.reap()
    assert (lost.what, lost.done) == ("lost reservation", True)
    run_all(service)
    assert notes(tmp_path) == ["a", "b"]
    service.assert_sound()


def test_a_reservation_that_was_never_submitted_is_given_back(service, tmp_path, plain):
    service.submit(*pair(tmp_path))
    plain.reserve_fw(FWorker(), str(tmp_path))
    service.reap()
    [lost] = service.reap_twice()
    assert (lost.why, lost.done) == ("reserved, but never submitted", True)
    assert service.states() == {"a": "READY", "b": "WAITING"}


def test_without_slurm_nothing_is_asked_of_it(monkeypatch):
    monkeypatch.setattr(evidence.shutil, "which", lambda _: None)
    assert evidence.find_slurm() is None


def test_a_slurm_that_does_not_answer_is_no_evidence(monkeypatch):
    monkeypatch.setattr(evidence.shutil, "which", lambda name: name)
    monkeypatch.setattr(evidence, "_lines", lambda *_: None)
    assert evidence.find_slurm() is None
    answers = {"squeue": ["17 RUNNING", "18 PENDING"], "sinfo": ["n1", "n2.cluster"]}
    monkeypatch.setattr(evidence, "_lines", lambda command, *_: answers[command])
    known = evidence.find_slurm()
    assert known.states == {"17": "RUNNING", "18": "PENDING"}
    assert known.hosts == {"n1", "n2", HERE.partition(".")[0]}


def test_the_machines_slurm_is_asked(slurm):
    job = slurm.sbatch("#!/bin/bash\nsleep 600\n")
    slurm.wait_for(job, "RUNNING")
    known = evidence.find_slurm()
    assert known.states[str(job)] == "RUNNING"
    assert HERE.partition(".")[0] in known.hosts
    slurm.scancel(job)
    slurm.wait_for(job)
    assert str(job) not in evidence.find_slurm().states


# -- locks and halves -------------------------------------------------------------------------


def test_a_stale_lock_of_plain_fireworks_is_broken_when_seen_twice(service, tmp_path, monkeypatch):
    service.submit(*pair(tmp_path))
    monkeypatch.setattr(fw_config, "WFLOCK_EXPIRATION_SECS", 0)
    service.pad.workflows.update_one({}, {"$set": {"locked": True}})
    assert not service.reap()[0].done
    service.pad.workflows.update_one({}, {"$set": {"updated_on": "changed"}})
    assert not service.reap(grace_s=0.01)[0].done  # somebody was at work
    [broken] = service.reap_twice()
    assert (broken.what, broken.done) == ("stale lock", True)
    assert service.reap() == []
    service.assert_sound()


def test_the_lock_of_a_dead_worker_is_broken_at_once(service, tmp_path):
    service.submit(*pair(tmp_path))
    dead = service.pad.owner.rpartition("/")[0] + "/1"
    lock = {"by": dead, "at": service.pad.now()}
    service.pad.workflows.update_one({}, {"$set": {"locked": lock}})
    [broken] = service.reap()
    assert broken.done
    assert "is gone" in broken.why
    service.assert_sound()


class Dying(LaunchPad):
    """Plain FireWorks, killed after so many writes of a refresh: the workflow comes last."""

    n_writes, patch = 0, None

    def _upsert_fws(self, fws, reassign_all=False):  # noqa: FBT002 - FireWorks' own
        if len(fws) < 2:  # a checkout
            return super()._upsert_fws(fws, reassign_all)
        fws.sort(key=lambda one: one.fw_id)
        super()._upsert_fws(fws[: self.n_writes])
        self.patch.setattr(locking.WFLock, "__exit__", lambda *_: None)
        raise KeyboardInterrupt


@pytest.mark.parametrize("n_writes", [1, 2, 3, 4])
def test_an_action_that_plain_fireworks_applied_by_half_is_applied_whole(
    service, tmp_path, mongo_server, monkeypatch, n_writes
):
    """Of two new jobs, the deciding one and its child, in this order."""
    deciding = named(decide(str(tmp_path), ["x", "y"]), "decide")
    service.submit(deciding, named(note(str(tmp_path), "b", after=deciding.output), "b"))
    plain = Dying(**mongo_server.launchpad(service.pad.name), strm_lvl="CRITICAL")
    plain.n_writes, plain.patch = n_writes, monkeypatch
    others = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        run_here(plain, tmp_path)
    monkeypatch.undo()
    for thread in set(threading.enumerate()) - others:
        if "ping_launch" in thread.name:  # its last ping needs the connection
            thread.join()
    plain.connection.close()
    assert len(service.unlisted()) == min(n_writes, 2)
    for _ in range(3):
        service.reap_twice()
    run_all(service)
    assert set(service.states().values()) == {"COMPLETED"}
    assert sorted(notes(tmp_path)) == ["b", "decide", "x", "y"]
    assert service.reap() == []
    service.assert_sound()


def test_an_ended_run_whose_job_does_not_know_is_refreshed(service, tmp_path):
    service.submit(*pair(tmp_path))
    _, launch_id = service.pad.checkout_fw(FWorker(), str(tmp_path))
    ended = {"state": "COMPLETED", "state_history.0.state": "COMPLETED"}
    service.pad.launches.update_one({"launch_id": launch_id}, {"$set": ended})
    assert not service.reap()[0].done  # its worker may be about to do it
    assert service.states()["a"] == "RUNNING"
    assert service.reap_twice()[0].action == "refreshed"
    assert service.states() == {"a": "COMPLETED", "b": "READY"}


def test_an_orphan_does_not_stop_a_worker_and_is_deleted(service, tmp_path, plain):
    """`lpad add` was killed: jobs, but no workflow."""
    service.submit(named(note(str(tmp_path), "a"), "a"))
    row = service.pad.fireworks.find_one({}, {"_id": 0})
    plain.fireworks.insert_one(row | {"fw_id": 99, "name": "orphan"})
    worker = service.worker(max_idle_s=1.0)
    assert worker.wait() == 0
    assert notes(tmp_path) == ["a"]
    assert service.states() == {"a": "COMPLETED", "orphan": "READY"}
    [seen] = service.reap()
    assert (seen.what, seen.done) == ("orphan", False)
    assert service.reap_twice()[0].done
    service.assert_sound()


# -- faults ------------------------------------------------------------------------------------


def test_what_plain_rlaunch_fizzled_for_its_machine_is_given_back_three_times(
    service, tmp_path, plain
):
    service.submit(named(stumble(str(tmp_path), "database", 9), "a"))
    for _ in range(3):
        run_here(plain, tmp_path)
        assert service.states() == {"a": "FIZZLED"}
        [found] = service.reap()
        assert (found.what, found.done) == ("fault", True)
        assert service.states() == {"a": "READY"}
    run_here(plain, tmp_path)
    assert service.reap() == []
    assert service.states() == {"a": "FIZZLED"}


def test_failures_of_the_job_itself_are_left(service, tmp_path, plain):
    service.submit(named(stumble(str(tmp_path), "own", 9), "a"))
    run_here(plain, tmp_path)
    assert service.reap() == []
    assert service.states() == {"a": "FIZZLED"}


# -- serving ---------------------------------------------------------------------------------


def test_more_findings_are_told_with_the_others(service):
    found = Reaping("stage", None, "r01", "its labels are there", "closed", done=True)
    assert service.reap(extra=lambda: [found]) == [found]


def test_a_served_reaper_survives_an_outage_and_stops_cleanly(own_server, tmp_path):
    with service_on(own_server, tmp_path) as service:
        service.submit(named(nothing(), "a"))
        dead = FWorker(env={"lycb_owner": service.pad.owner.rpartition("/")[0] + "/1"})
        served = service.reaper(0.2)
        for n_lost in (1, 2):
            service.pad.checkout_fw(dead, str(tmp_path))
            wait_until(lambda n=n_lost: served.said().count("lost run: a (1)") == n, "the reaper")
            if n_lost == 1:
                own_server.kill()
                time.sleep(OUTAGE_S)
                own_server.start()
        served.send(signal.SIGTERM)
        assert served.wait() == 0
        assert service.states() == {"a": "READY"}

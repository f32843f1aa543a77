"""The LaunchPad: submitted once, whole; paused, resumed, cancelled; and written together."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from fireworks import FWorker, LaunchPad
from pymongo.client_session import ClientSession
from pymongo.errors import AutoReconnect
from service_jobs import decide, named, note, notes, nothing
from worker_processes import Service, run_here

from lycb_flows.errors import InputError, StoreError
from lycb_flows.service.launchpad import (
    campaign_workflows,
    cancel,
    count_states,
    pause,
    resume,
)
from lycb_flows.service.launchpad.faults import DatabaseGoneError, machine_fault, why_unfinished
from lycb_flows.service.launchpad.identity import is_gone, this_process
from lycb_flows.service.launchpad.pad import ServiceLaunchPad

pytestmark = pytest.mark.filterwarnings("ignore:Some jobs are not connected:UserWarning")


@pytest.fixture
def service(launchpad_file, mongo_uri, tmp_path):
    with Service(launchpad_file, mongo_uri, tmp_path) as one:
        yield one


def chain(folder):
    """Three jobs, each after the one before; in three categories."""
    jobs = []
    for name, category in (("a", "light"), ("b", "gpu"), ("c", "dft")):
        after = jobs[-1].output if jobs else None
        jobs.append(named(note(str(folder), name, after=after), name, category))
    return jobs


def run_all(service):
    while service.pad.run_exists(FWorker()):
        run_here(service.pad, service.folder)


# -- submitting ----------------------------------------------------------------------------


def test_the_same_record_is_submitted_once(service, tmp_path):
    assert service.submit(*chain(tmp_path)) == [1, 2, 3]
    assert service.submit(*chain(tmp_path)) == []
    assert service.submit(*chain(tmp_path), record="other") == [4, 5, 6]
    assert service.pad.fireworks.count_documents({}) == 6
    run_all(service)
    assert service.submit(*chain(tmp_path)) == []
    assert sorted(notes(tmp_path)) == sorted("abcabc")
    service.assert_sound()


def test_two_that_submit_at_the_same_moment_add_one_workflow(service, tmp_path, monkeypatch):
    """The second passes the look-up and is stopped by the index."""
    add = ServiceLaunchPad.add_fireworks

    def overtaken(self, new, write):
        monkeypatch.setattr(ServiceLaunchPad, "add_fireworks", add)
        assert len(service.submit(*chain(tmp_path))) == 3
        add(self, new, write)

    monkeypatch.setattr(ServiceLaunchPad, "add_fireworks", overtaken)
    assert service.submit(*chain(tmp_path)) == []
    assert service.pad.fireworks.count_documents({}) == 3
    service.assert_sound()


def test_a_submission_that_is_interrupted_leaves_nothing_to_run(service, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ClientSession, "with_transaction", interrupted)
    with pytest.raises(KeyboardInterrupt):
        service.submit(*chain(tmp_path))
    monkeypatch.undo()
    assert not service.pad.run_exists(FWorker())
    service.reap_twice()
    assert service.states() == {}
    assert len(service.submit(*chain(tmp_path))) == 3


def test_names_are_unique_in_a_campaign(service):
    with pytest.raises(InputError, match="two jobs of one name"):
        service.submit(named(nothing(), "a"), named(nothing(), "a"))


def test_many_jobs_are_submitted_and_counted_quickly(service):
    """2,000 of the 10,000 that take 5 s on a free machine; far too generous for a busy one."""
    root = named(nothing(), "root")
    jobs = [named(nothing(root.output), f"n{i}", ("gpu", "dft")[i % 2]) for i in range(2000)]
    started = time.monotonic()
    assert len(service.submit(root, *jobs)) == 2001
    assert time.monotonic() - started < 12
    started = time.monotonic()
    counts = count_states(service.pad, "c")
    assert time.monotonic() - started < 0.4
    assert counts == {"light": {"READY": 1}, "gpu": {"WAITING": 1000}, "dft": {"WAITING": 1000}}
    started = time.monotonic()
    run_here(service.pad, service.folder)  # FireWorks needs minutes for the children
    assert time.monotonic() - started < 10
    assert count_states(service.pad, "c")["gpu"] == {"READY": 1000}
    service.assert_sound()


# -- levers --------------------------------------------------------------------------------


def test_cancel_archives_and_a_new_submission_starts_anew(service, tmp_path):
    service.submit(*chain(tmp_path))
    run_here(service.pad, tmp_path)
    assert cancel(service.pad, "c") == 2
    assert set(service.states().values()) == {"ARCHIVED"}
    assert count_states(service.pad, "c") == {}
    assert not service.pad.run_exists(FWorker())
    assert cancel(service.pad, "c") == 0
    assert len(service.submit(*chain(tmp_path))) == 3
    run_all(service)
    assert count_states(service.pad, "c") == {
        name: {"COMPLETED": 1} for name in ("light", "gpu", "dft")
    }
    assert [one.state for one in campaign_workflows(service.pad, "c")] == ["ARCHIVED", "COMPLETED"]
    service.assert_sound()


def test_what_lpad_archived_or_defused_may_be_submitted_again(service, tmp_path):
    ids = service.submit(*chain(tmp_path))
    service.pad.defuse_fw(ids[2])
    assert service.submit(*chain(tmp_path)) == []  # some of it still runs
    service.pad.defuse_wf(ids[0])
    ids = service.submit(*chain(tmp_path))
    service.pad.archive_wf(ids[0])
    assert len(service.submit(*chain(tmp_path))) == 3


def test_paused_jobs_stay_so_whatever_ends_meanwhile(service, tmp_path):
    """A running job ends, adds jobs, is given back: nothing becomes runnable before resume."""
    deciding = named(decide(str(tmp_path), ["x", "y"]), "decide")
    follower = named(note(str(tmp_path), "b", after=deciding.output), "b")
    service.submit(deciding, follower, named(note(str(tmp_path), "lone"), "lone"))
    taken, launch_id = service.pad.checkout_fw(FWorker(), str(tmp_path), fw_id=1)
    lost, lost_launch = service.pad.checkout_fw(FWorker(), str(tmp_path), fw_id=3)
    assert pause(service.pad, "c") == 1
    taken.tasks[0].fw_id = 1
    service.pad.complete_launch(launch_id, taken.tasks[0].run_task(taken.spec))
    assert service.pad.give_back(lost.fw_id, lost_launch, lost="by the test")
    assert service.states() == {
        "decide": "COMPLETED", "b": "PAUSED", "x": "PAUSED", "y": "PAUSED", "lone": "PAUSED",
    }  # fmt: skip
    assert not service.reap_twice()
    service.assert_sound()
    assert resume(service.pad, "c") == 4
    assert set(service.states().values()) == {"COMPLETED", "READY"}
    run_all(service)
    assert set(service.states().values()) == {"COMPLETED"}
    service.assert_sound()


def test_resume_makes_only_those_ready_whose_parents_are_done(service, tmp_path):
    service.submit(*chain(tmp_path))
    run_here(service.pad, tmp_path)
    before = service.states()
    assert (pause(service.pad, "c"), resume(service.pad, "c")) == (2, 2)
    assert service.states() == before == {"a": "COMPLETED", "b": "READY", "c": "WAITING"}
    run_all(service)
    assert notes(tmp_path) == ["a", "b", "c"]


# -- a job's life --------------------------------------------------------------------------


def test_giving_back_leaves_paused_and_defused_children_alone(service, tmp_path):
    """FireWorks' own rerun would wake them."""
    service.submit(*chain(tmp_path))
    service.pad.pause_fw(2)
    service.pad.defuse_fw(3)
    _, launch_id = service.pad.checkout_fw(FWorker(), str(tmp_path))
    assert service.pad.give_back(1, launch_id, lost="by the test")
    assert service.states() == {"a": "READY", "b": "PAUSED", "c": "DEFUSED"}
    assert not service.pad.give_back(1, launch_id, lost="again")
    [launch] = service.launches(1)
    assert launch["state"] == "ARCHIVED"
    assert launch["state_history"][-1]["lost"] == "by the test"


def test_completing_twice_is_completing_once(service, tmp_path):
    """The launch was saved, the answer or the refresh was lost."""
    service.submit(named(decide(str(tmp_path), ["x"]), "decide"))
    job, launch_id = service.pad.checkout_fw(FWorker(), str(tmp_path))
    job.tasks[0].fw_id = 1
    action = job.tasks[0].run_task(job.spec)
    before, failures = service.pad._refresh_locked, [AutoReconnect("gone")] * 2

    def refresh(fw_id, row):
        if failures:
            raise failures.pop()
        before(fw_id, row)

    service.pad._refresh_locked = refresh
    service.pad.complete_launch(launch_id, action)
    service.pad.complete_launch(launch_id, action)
    assert service.states() == {"decide": "COMPLETED", "x": "READY"}
    service.assert_sound()


def test_a_job_that_cannot_be_completed_in_time_is_left_to_the_reaper(
    service, tmp_path, monkeypatch
):
    service.submit(*chain(tmp_path))
    _, launch_id = service.pad.checkout_fw(FWorker(), str(tmp_path))
    service.pad.outage_s = 0.3

    def gone(*_):
        raise AutoReconnect("gone")

    monkeypatch.setattr(service.pad, "_refresh_locked", gone)
    with pytest.raises(DatabaseGoneError):
        service.pad.complete_launch(launch_id)
    monkeypatch.undo()
    assert service.states()["a"] == "RUNNING"
    service.reap()
    [found] = service.reap_twice()
    assert (found.what, found.action) == ("unfinished business", "refreshed")
    assert service.states() == {"a": "COMPLETED", "b": "READY", "c": "WAITING"}


def test_a_broken_lock_keeps_its_late_owner_from_writing(service, tmp_path, monkeypatch):
    """As a worker that was frozen inside the lock: it starts again, with what is there now."""
    service.submit(*chain(tmp_path))
    _, launch_id = service.pad.checkout_fw(FWorker(), str(tmp_path))
    load, broken = service.pad.write_workflow, []

    def break_first(*arguments):
        if not broken:
            seen = service.pad.workflows.find_one({})
            broken.append(service.pad.break_lock(seen))
        load(*arguments)

    monkeypatch.setattr(service.pad, "write_workflow", break_first)
    service.pad.complete_launch(launch_id)
    assert broken == [True]
    assert service.states() == {"a": "COMPLETED", "b": "READY", "c": "WAITING"}
    service.assert_sound()


def test_a_flow_is_added_below_a_job_once(service, tmp_path):
    [fw_id] = service.submit(named(note(str(tmp_path), "a"), "a"))
    added = [service.pad.append_flow(fw_id, named(note(str(tmp_path), "b"), "b")) for _ in "12"]
    assert added == [True, False]
    run_all(service)
    assert notes(tmp_path) == ["a", "b"]
    service.assert_sound()


def test_heartbeats_never_fail_and_count_by_the_databases_clock(service, tmp_path, monkeypatch):
    service.submit(*chain(tmp_path))
    _, launch_id = service.pad.checkout_fw(FWorker(), str(tmp_path))
    service.pad.clock_ahead_s = 3600.0
    service.pad.ping_launch(launch_id, checkpoint={"_task_n": 0})
    entry = service.launches(1)[0]["state_history"][-1]
    assert entry["updated_on"] > service.pad.now().isoformat()[:13]
    assert entry["checkpoint"] == {"_task_n": 0}

    def gone(*_, **__):
        raise AutoReconnect("gone")

    monkeypatch.setattr(service.pad.launches, "find_one_and_update", gone, raising=False)
    service.pad.launches.find_one_and_update = gone
    service.pad.ping_launch(launch_id)


# -- identity and faults --------------------------------------------------------------------


def test_a_dead_process_is_known_to_be_gone_and_others_are_not():
    host, machine, pid, start = this_process().split("/")
    assert not is_gone(this_process())
    assert is_gone(f"{host}/{machine}/{pid}/{int(start) - 1}")  # its pid is used again
    with subprocess.Popen(["true"]) as child:  # noqa: S607
        child.wait()
    assert is_gone(f"{host}/{machine}/{child.pid}/1")
    assert not is_gone(f"elsewhere/{machine}/{child.pid}/1")
    assert not is_gone(f"{host}/other/{child.pid}/1")
    assert not is_gone("")


@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError])
@pytest.mark.parametrize("as_other_user", [False, True])
def test_a_process_that_proc_hides_counts_as_gone_only_when_it_is(
    monkeypatch, error, as_other_user
):
    """As where /proc is mounted with hidepid=2 or 1."""
    host, machine, *_ = this_process().split("/")
    read, send = Path.read_text, os.kill

    def hide(self, *args, **kwargs):
        if self.name == "stat":
            raise error(self)
        return read(self, *args, **kwargs)

    def refuse(pid, number):
        send(pid, number)
        raise PermissionError(pid)

    monkeypatch.setattr(Path, "read_text", hide)
    if as_other_user:
        monkeypatch.setattr(os, "kill", refuse)
    with subprocess.Popen(["sleep", "600"]) as child:  # noqa: S607
        assert not is_gone(f"{host}/{machine}/{child.pid}/17")
        send(child.pid, signal.SIGKILL)
        child.wait()
    assert is_gone(f"{host}/{machine}/{child.pid}/17")


def test_faults_are_told_from_failures():
    assert "No space" in machine_fault(OSError(28, "No space left on device"))
    assert machine_fault(StoreError("away")) == "StoreError: away"
    assert machine_fault(ValueError("no")) == ""
    wrapped = ValueError("no")
    wrapped.__cause__ = AutoReconnect("closed")
    assert machine_fault(wrapped) == "AutoReconnect: closed"

    def action(trace, details=None):
        return {"stored_data": {"_exception": {"_stacktrace": trace, "_details": details}}}

    assert why_unfinished(action("Traceback\npymongo.errors.AutoReconnect: closed\n")) == {
        "fault": "pymongo.errors.AutoReconnect: closed"
    }
    assert why_unfinished(action("Traceback\nOSError: [Errno 28] No space left on device")) == {
        "fault": "OSError: [Errno 28] No space left on device"
    }
    assert why_unfinished(action("OSError: [Errno 2] No such file")) == {}
    assert why_unfinished(action("x", {"given_back": "walltime"})) == {"given_back": "walltime"}
    assert why_unfinished(None) == {}


def test_fireworks_own_launchpad_is_locked_as_before(service, tmp_path, mongo_server):
    """Our process may hold both kinds; `lpad` in another process knows only its own."""
    service.submit(*chain(tmp_path))
    plain = LaunchPad(**mongo_server.launchpad(service.pad.name), strm_lvl="CRITICAL")
    assert run_here(plain, tmp_path)
    plain.rerun_fw(1)
    plain.connection.close()
    service.assert_sound()
    run_all(service)
    assert notes(tmp_path) == ["a", "a", "b", "c"]

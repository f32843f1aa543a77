"""Short jobs are claimed and completed together, and cost the same in a workflow of any size."""

import pytest
from fireworks import FWorker
from service_jobs import named, note, notes, nothing, wait
from service_scale import add_held, compare_sizes, connections, release, watch
from waiting import wait_until
from worker_processes import Service

from lycb_flows.service.launchpad import CLAIM, Stream, pause, resume

pytestmark = pytest.mark.filterwarnings("ignore:Some jobs are not connected:UserWarning")


@pytest.fixture
def service(launchpad_file, mongo_uri, tmp_path):
    with Service(launchpad_file, mongo_uri, tmp_path) as one:
        yield one


def words(n):
    return [f"w{i:02d}" for i in range(n)]


def short_jobs(folder, n, **long_s):
    """Jobs of one kind in their order; those that are named take so long."""
    return [named(wait(str(folder), word, long_s.get(word, 0)), word) for word in words(n)]


def ends(folder):
    return sorted(word for word in notes(folder) if word.endswith(":end"))


def claimed(service):
    return service.pad.fireworks.count_documents({"state": "RESERVED", CLAIM: {"$exists": True}})


def test_each_job_of_a_stream_has_a_run_of_its_own(service, tmp_path):
    ids = service.submit(*short_jobs(tmp_path, 30))
    worker = service.worker(n_launches=0)
    assert worker.wait() == 0
    assert ends(tmp_path) == [f"{word}:end" for word in words(30)]
    assert set(service.states().values()) == {"COMPLETED"}
    runs = [launch for fw_id in ids for launch in service.launches(fw_id)]
    assert [run["fw_id"] for run in runs] == ids
    assert {run["state"] for run in runs} == {"COMPLETED"}
    assert all(run["action"] is not None and "time_end" in run for run in runs)
    assert not service.pad.fireworks.count_documents({CLAIM: {"$exists": True}})
    assert worker.said().count("completed, ") == 30
    service.assert_sound()
    (workflow,) = service.pad.workflows.find({})
    assert workflow["state"] == "COMPLETED"
    assert not service.reap()


def test_children_run_when_the_last_of_a_stream_has_ended(service, tmp_path):
    jobs = short_jobs(tmp_path, 12)
    last = named(note(str(tmp_path), "last", after=[job.output for job in jobs]), "last")
    service.submit(*jobs, last)
    assert service.worker(n_launches=0).wait() == 0
    assert notes(tmp_path)[-1] == "last"
    assert set(service.states().values()) == {"COMPLETED"}
    service.assert_sound()


def test_a_worker_that_dies_in_a_stream_loses_only_the_job_it_ran(service, tmp_path):
    ids = service.submit(*short_jobs(tmp_path, 20, w09=30))
    worker = service.worker()
    wait_until(lambda: "w09:start" in notes(tmp_path), "the long job")
    worker.kill()
    assert len(ends(tmp_path)) == 9
    done = {run["fw_id"] for run in service.pad.launches.find({"state": "COMPLETED"})}
    assert done == set(ids[:9])  # written at once, whatever the workflow knows
    found = service.reap()
    assert [one.name for one in found if one.what == "lost run"] == ["w09"]
    assert not service.reap()
    states = service.states()
    assert [states[word] for word in words(20)] == ["COMPLETED"] * 9 + ["READY"] * 11
    service.assert_sound()
    (tmp_path / "go").touch()
    assert service.worker(n_launches=0).wait() == 0
    assert ends(tmp_path) == [f"{word}:end" for word in words(20)]  # each once
    service.assert_sound()


def test_a_long_job_in_a_stream_holds_nothing(service, tmp_path):
    """A label that is computed after many that were looked up."""
    service.submit(*short_jobs(tmp_path, 20, w09=60))
    service.worker()
    wait_until(lambda: "w09:start" in notes(tmp_path), "the long job")
    wait_until(lambda: service.state("w08") == "COMPLETED" and not claimed(service), "relief")
    states = service.states()
    assert (states["w09"], states["w10"]) == ("RUNNING", "READY")
    other = service.worker(n_launches=10)
    assert other.wait() == 0
    assert len(ends(tmp_path)) == 19
    (tmp_path / "go").touch()
    service.wait_for("w09", "COMPLETED")
    locked = {"locked": {"$exists": True}}
    wait_until(lambda: not service.pad.workflows.count_documents(locked), "the worker's unlocking")
    service.assert_sound()


def stream_of(service, n):
    """A stream in this process that has claimed n jobs, which are short by experience."""
    stream = Stream(service.pad)
    worker = FWorker()
    assert stream.look(worker, 1)
    stream._usual_s[stream._next[1]] = 0.001
    assert stream.look(worker, n)
    assert claimed(service) == n
    return stream, worker


def test_a_paused_campaign_starts_no_job_that_was_claimed(service, tmp_path):
    service.submit(*(named(nothing(), f"n{i}") for i in range(6)))
    stream, worker = stream_of(service, 4)
    first, launch_id = stream.checkout_fw(worker, str(tmp_path))
    assert pause(service.pad, "c") == 5
    stream.complete_launch(launch_id)
    assert stream.checkout_fw(worker, str(tmp_path)) == (None, None)
    stream.close()
    states = service.states()
    assert states.pop(first.name) == "COMPLETED"
    assert set(states.values()) == {"PAUSED"}
    assert resume(service.pad, "c") == 5
    assert not claimed(service)
    service.assert_sound()


def test_a_stream_gives_up_its_claims_at_the_end(service, tmp_path):
    service.submit(*(named(nothing(), f"n{i}") for i in range(6)))
    stream, worker = stream_of(service, 4)
    stream.checkout_fw(worker, str(tmp_path))
    stream.close()
    assert sorted(service.states().values()) == ["READY"] * 5 + ["RUNNING"]


def test_a_run_that_was_taken_away_is_not_completed_by_its_stream(service, tmp_path):
    """A frozen worker wakes up after the reaper has given its job back."""
    service.submit(*(named(nothing(), f"n{i}") for i in range(3)))
    stream, worker = stream_of(service, 2)
    job, launch_id = stream.checkout_fw(worker, str(tmp_path))
    assert service.pad.give_back(job.fw_id, launch_id, lost="by a test")
    stream.complete_launch(launch_id)
    stream.close()
    assert service.state(job.name) == "READY"
    assert service.pad.launches.find_one({"launch_id": launch_id})["state"] == "ARCHIVED"
    service.assert_sound()


# -- cost ----------------------------------------------------------------------------------------


def test_a_job_costs_the_same_in_a_large_workflow_and_a_worker_has_few_connections(service):
    """2,000 jobs instead of the 10,000 of `scripts/service_check.py scale`, with the same bound."""
    before = connections(service.pad)
    worker = service.worker(categories=["light"])
    wait_until(lambda: service.pad.db.lycb_workers.count_documents({}), "the worker")
    warm = add_held(service.pad, "warm", 20)
    release(service.pad, warm)
    watch(service.pad, warm, [worker.pid])
    assert connections(service.pad) - before <= 5
    small, large = compare_sizes(
        service.pad, [worker.pid], small=50, large=2000, n_measured=200, n_rounds=3
    )
    assert large.cpu_ms_per_job < 1.3 * small.cpu_ms_per_job

"""A campaign through a real Slurm: qlaunch starts our workers, `lycb reap` alone repairs."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from places import CAMPAIGNS
from slurm import qlaunch

from lycb_flows.campaign.descriptions import CATEGORIES
from lycb_flows.service.launchpad import load_launchpad
from lycb_flows.store import differences, open_store

pytestmark = pytest.mark.torture
LOOP = CAMPAIGNS / "loop.yaml"
PATIENCE_S = 240
BINARIES = Path(sys.executable).parent


class Cluster:
    """Commands in a user's shell, on a cluster whose nodes see the same files."""

    def __init__(self, launchpad_file, folder):
        self.launchpad_file, self.folder = launchpad_file, folder
        self.fworker = folder / "fworker.yaml"
        content = {"name": "slurm", "category": list(CATEGORIES), "query": "{}"}
        self.fworker.write_text(yaml.safe_dump(content))
        self.pad = load_launchpad(launchpad_file)

    def lycb(self, *words):
        command = [BINARIES / "lycb", *words]
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=False, cwd=self.folder
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def adapter(self, *options):
        path = self.folder / "my_qadapter.yaml"
        path.unlink(missing_ok=True)  # another one stays
        self.lycb("qadapter", path, "--queue", "debug", "--walltime-minutes", 30, *options)
        return path

    def worker_adapter(self, *options):
        words = [word for category in CATEGORIES for word in ("--category", category)]
        return self.adapter(
            *words, "--launchpad", self.launchpad_file, "--max-idle-s", 15, *options
        )

    def qlaunch(self, adapter, n):
        qlaunch(self.launchpad_file, self.fworker, adapter, self.folder, n)

    def reap(self):
        return self.lycb("reap", "--launchpad", self.launchpad_file)

    def states(self):
        return {row["name"]: row["state"] for row in self.pad.fireworks.find({})}

    def wait(self, true, what):
        until = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < until, f"waited in vain for {what}: {self.states()}"
            time.sleep(0.2)

    def running(self):
        return self.pad.launches.find_one({"state": "RUNNING"})


@pytest.fixture
def cluster(slurm, launchpad_file, mongo_uri, tmp_path, monkeypatch):  # noqa: ARG001 - it must run
    monkeypatch.setenv("LYCB_STORE", mongo_uri)
    monkeypatch.setenv("LYCB_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("LYCB_PING_S", "1")
    monkeypatch.setenv("LYCB_MIN_FREE_GB", "0.01")
    cluster = Cluster(launchpad_file, tmp_path)
    yield cluster
    cluster.pad.connection.close()


def test_qlaunch_rapidfire_finishes_a_campaign(cluster, mongo_uri, loop_run):
    reference, _, names = loop_run
    cluster.lycb("submit", LOOP, "--launchpad", cluster.launchpad_file)
    cluster.qlaunch(cluster.worker_adapter(), 1)
    cluster.wait(
        lambda: list(cluster.states().values()) == ["COMPLETED"] * len(names), "the campaign"
    )
    with contextlib.closing(open_store(mongo_uri)) as store:
        assert not any(differences(reference, store).values())


def test_what_scancel_leaves_behind_is_recovered_by_reap_alone(cluster, slurm, tmp_path):
    long = yaml.safe_load(LOOP.read_text())
    long["learning"]["nvt_ps"] = 600.0  # it must not end before it is cancelled
    long["md"]["segment_ps"] = 0.5
    long["learning"]["selection"]["thinning_fs"] = 100.0
    campaign = tmp_path / "long.yaml"
    campaign.write_text(yaml.safe_dump(long))
    cluster.lycb("submit", campaign, "--launchpad", cluster.launchpad_file)
    adapter = cluster.worker_adapter()
    _running_job_is_cancelled(cluster, slurm, adapter, signal=())
    _running_job_is_cancelled(cluster, slurm, adapter, signal=("--signal=KILL", "--full"))
    _running_job_is_requeued(cluster, slurm, adapter)
    _pending_reservation_is_cancelled(cluster, slurm)
    assert not cluster.pad.launches.count_documents({"state": {"$in": ["RUNNING", "RESERVED"]}})
    assert "FIZZLED" not in cluster.states().values()


def _start(cluster, slurm, adapter):
    before = slurm.job_ids()
    cluster.qlaunch(adapter, 1)
    (job,) = slurm.job_ids() - before
    cluster.wait(lambda: _runs_md(cluster), "a worker at work")
    return job


def _runs_md(cluster):
    row = cluster.pad.fireworks.find_one({"state": "RUNNING"}, {"name": 1})
    return row is not None and row["name"].startswith("md nvt r00")


def _running_job_is_cancelled(cluster, slurm, adapter, signal):
    job = _start(cluster, slurm, adapter)
    launch = cluster.running()
    slurm.run("scancel", *signal, str(job))
    slurm.wait_for(job)
    cluster.reap()
    _is_ready_again(cluster, launch)


def _running_job_is_requeued(cluster, slurm, adapter):
    job = _start(cluster, slurm, adapter)
    launch = cluster.running()
    slurm.requeue(job)
    cluster.wait(lambda: slurm.state(job) != "RUNNING", "the requeue")
    slurm.scancel(job)
    slurm.wait_for(job)
    cluster.reap()
    _is_ready_again(cluster, launch)


def _is_ready_again(cluster, launch):
    assert cluster.pad.fireworks.find_one({"fw_id": launch["fw_id"]})["state"] == "READY"
    again = cluster.pad.launches.find_one({"launch_id": launch["launch_id"]})
    assert again["state"] == "ARCHIVED"


def _pending_reservation_is_cancelled(cluster, slurm):
    hold = slurm.sbatch("#!/bin/bash\nsleep 600\n", "--cpus-per-task=4", folder=cluster.folder)
    slurm.wait_for(hold, "RUNNING")
    adapter = cluster.adapter("--command", "rlaunch singleshot")
    text = subprocess.run(  # reservation mode ties a queue job to one job of the LaunchPad
        [
            BINARIES / "qlaunch", "-r", "-l", cluster.launchpad_file, "-w", cluster.fworker,
            "-q", adapter, "--launch_dir", cluster.folder, "singleshot",
        ],
        cwd=cluster.folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    reserved = cluster.pad.fireworks.find_one({"state": "RESERVED"})
    assert reserved is not None, text.stdout + text.stderr
    launch = cluster.pad.launches.find_one({"fw_id": reserved["fw_id"], "state": "RESERVED"})
    job = int(next(e["reservation_id"] for e in launch["state_history"] if "reservation_id" in e))
    assert slurm.state(job) == "PENDING"
    slurm.scancel(job)
    slurm.wait_for(job)
    cluster.reap()
    assert cluster.pad.fireworks.find_one({"fw_id": reserved["fw_id"]})["state"] == "READY"
    slurm.scancel(hold)

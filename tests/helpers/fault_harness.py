"""A campaign on a LaunchPad while everything around it breaks, in a random order of one seed.

    python fault_harness.py CAMPAIGN FOLDER SEED

Four workers, a reaper, a MongoDB of its own. Imports are paid once: workers are forks. The
campaign runs embedded first; at the end both stores must hold the same facts. With seed 0
nothing breaks. Prints what was done and, at the end, one line of JSON.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

os.environ |= {
    "OMP_NUM_THREADS": "1",
    "LYCB_PROCESSES": "1",
    "LYCB_PING_S": "1",
    "LYCB_LOST_AFTER_S": "8",
    "LYCB_OUTAGE_S": "300",
    "LYCB_MIN_FREE_GB": "0.002",
}

import pytest
import yaml
from fireworks.core.launchpad import LockedWorkflowError
from servers import MongoServer

from lycb_flows.campaign.descriptions import CATEGORIES
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.errors import LycbError
from lycb_flows.flows.campaign import campaign_flow
from lycb_flows.flows.embedded import run_embedded
from lycb_flows.schemas import Round
from lycb_flows.service.campaigns import close_open_stages, submit_campaign
from lycb_flows.service.launchpad import campaign_workflows, count_interruptions, load_launchpad
from lycb_flows.service.reaper.passes import serve
from lycb_flows.service.worker import WorkerOptions, run_worker
from lycb_flows.store import differences, open_store

N_WORKERS = 4
FAULTS = {
    "kill -9 of a worker": 20,
    "SIGTERM of a worker": 10,
    "kill -9 of mongod": 3,
    "restart of mongod": 3,
    "30 s outage": 1,
    "worker frozen until its job was rerun": 1,
    "full scratch disk": 1,
    "rerun of a completed job": 9,
    "rerun of the deciding job": 1,
}
OUTAGE_S, END_S = 30.0, 600.0


class Service:
    """A LaunchPad, a result store, and who works on them."""

    def __init__(self, folder, seed):
        self.folder, self.chance = folder, random.Random(seed)
        self.server = MongoServer(folder / "mongo")
        self.workers, self.reaper, self.n_born = {}, None, 0
        self.log = (folder / "service.log").open("a", buffering=1)

    def start(self):
        self.server.start()
        self.launchpad_file = self.folder / "launchpad.yaml"
        self.launchpad_file.write_text(yaml.safe_dump(self.server.launchpad("launchpad")))
        os.environ["LYCB_STORE"] = self.server.uri("results")
        self.scratch = self.folder / "scratch"
        self.scratch.mkdir()

    def submit(self, campaign):
        with self.database() as (launchpad, store):
            self.name = campaign.name
            submit_campaign(launchpad, submit(store, campaign))
        self.reaper = self.fork(self.reap)
        self.keep_manned()

    @contextmanager
    def database(self):
        """Connections of this process, closed before the next fork."""
        launchpad, store = (
            load_launchpad(self.launchpad_file),
            open_store(self.server.uri("results")),
        )
        try:
            yield launchpad, store
        finally:
            launchpad.connection.close()
            store.close()

    # -- processes -------------------------------------------------------------------

    def fork(self, work):
        pid = os.fork()
        if pid == 0:
            os.dup2(self.log.fileno(), 1)
            os.dup2(self.log.fileno(), 2)
            try:
                work()
                code = 0
            except LycbError as err:
                print(f"{os.getpid()}: {err}", flush=True)
                code = 1
            except BaseException:  # noqa: BLE001 - a fork must never return into its parent's code
                sys.excepthook(*sys.exc_info())
                code = 2
            os._exit(code)
        return pid

    def reap(self):
        launchpad = load_launchpad(self.launchpad_file)
        store = open_store(os.environ["LYCB_STORE"])
        serve(launchpad, 1.0, say=print, extra=lambda: self.close(launchpad, store))

    def close(self, launchpad, store):
        store.settle_attempts()
        store.forget_stale_claims()
        return close_open_stages(launchpad, store)

    def work(self, number, scratch):
        os.environ["LYCB_SCRATCH"] = str(scratch)
        os.chdir(self.folder)
        options = WorkerOptions(
            categories=CATEGORIES, name=f"worker{number}", sleep_s=0.5, avoid_s=1.0
        )
        run_worker(load_launchpad(self.launchpad_file), options, print)

    def keep_manned(self, scratch=None):
        self.bury_dead()
        while len(self.workers) < N_WORKERS:
            self.n_born += 1
            number = self.n_born
            pid = self.fork(partial(self.work, number, scratch or self.scratch))
            self.workers[pid] = number

    def bury_dead(self):
        for pid in list(self.workers):
            if os.waitpid(pid, os.WNOHANG)[0]:
                del self.workers[pid]

    def any_worker(self):
        self.keep_manned()
        return self.chance.choice(sorted(self.workers))

    def stop(self):
        for pid in [*self.workers, self.reaper]:
            os.kill(pid, signal.SIGTERM)
        for pid in [*self.workers, self.reaper]:
            os.waitpid(pid, 0)
        self.workers = {}

    def kill(self):
        for pid in self.workers:
            os.kill(pid, signal.SIGKILL)
        if self.server.process:
            self.server.kill()

    # -- faults ----------------------------------------------------------------------

    def kill_9_of_a_worker(self):
        self.end_worker(signal.SIGKILL)

    def sigterm_of_a_worker(self):
        self.end_worker(signal.SIGTERM)

    def end_worker(self, number, *, pid=None, scratch=None):
        pid = pid or self.any_worker()
        os.kill(pid, number)
        os.waitpid(pid, 0)
        del self.workers[pid]
        self.keep_manned(scratch)

    def kill_9_of_mongod(self):
        self.server.kill()
        time.sleep(self.chance.uniform(0.0, 2.0))
        self.server.start()

    def restart_of_mongod(self):
        self.server.restart()

    def a_30_s_outage(self):
        self.server.stop()
        time.sleep(OUTAGE_S)
        self.server.start()

    def worker_frozen_until_its_job_was_rerun(self):
        """Its process is alive: it must be silence that counts."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            pid = self.any_worker()
            os.kill(pid, signal.SIGSTOP)
            with self.database() as (launchpad, _):
                at_work = {"state": "RUNNING", "fworker.name": f"worker{self.workers[pid]}"}
                launches = launchpad.launches.distinct("launch_id", at_work)
                job = {"state": "RUNNING", "launches": {"$in": launches}}
                frozen = launchpad.fireworks.find_one(job, {"fw_id": 1})
                while frozen and launchpad.fireworks.count_documents(job | frozen):
                    time.sleep(0.5)
                    assert time.monotonic() < until, "its job was not rerun"
            os.kill(pid, signal.SIGCONT)
            if frozen:
                return
            time.sleep(0.05)
        pytest.fail("no worker was ever at work")

    def full_scratch_disk(self):
        """A worker there takes no job, and takes some when there is space again."""
        disk = self.folder / "disk"
        disk.mkdir()
        subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=4m", "none", disk], check=True)
        try:
            (disk / "filling").write_bytes(b"x" * 3_000_000)
            self.end_worker(signal.SIGTERM, scratch=disk)
            time.sleep(4)
            with self.database() as (launchpad, _):
                entry = launchpad.db["lycb_workers"].find_one({"name": f"worker{self.n_born}"})
                taken = launchpad.launches.count_documents({"fworker.name": entry["name"]})
            assert (entry["state"], taken) == ("full disk", 0), entry
            (disk / "filling").unlink()
            time.sleep(2)
            self.end_worker(signal.SIGTERM, pid=max(self.workers, key=self.workers.get))
        finally:
            subprocess.run(["/bin/umount", "-l", disk], check=True)

    def rerun_of_a_completed_job(self):
        self.rerun({})

    def rerun_of_the_deciding_job(self):
        self.rerun({"name": {"$regex": "^decide r00"}})

    def rerun(self, query):
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with self.database() as (launchpad, _):
                done = [
                    row["fw_id"]
                    for row in launchpad.fireworks.find(
                        {"state": "COMPLETED"} | query, {"fw_id": 1}
                    )
                ]
                if done:
                    # a heartbeat of 1 s: a slow lock is taken for a dead one's; then once more
                    with suppress(LockedWorkflowError):
                        launchpad.rerun_fw(self.chance.choice(sorted(done)))
                        return
            time.sleep(1)
        pytest.fail(f"nothing to rerun: {query}")

    def strike(self, fault):
        name = fault.replace(" -", "_").replace("-", "_").replace(" ", "_").lower()
        getattr(self, "a_" + name if name[0].isdigit() else name)()

    # -- the end -----------------------------------------------------------------------

    def wait(self):
        until = time.monotonic() + END_S
        while time.monotonic() < until:
            self.keep_manned()
            with self.database() as (launchpad, store):
                states = [one.state for one in campaign_workflows(launchpad, self.name)]
                active = {"state": {"$in": ["RUNNING", "RESERVED"]}}
                untidy = launchpad.launches.count_documents(active)  # until the reaper comes
                untidy += store.database["claims"].count_documents({})
            if states == ["COMPLETED"] and not untidy:
                return
            time.sleep(1)
        pytest.fail(f"the campaign did not end: {states}, see {self.log.name}")


def audit(service, reference):
    """What must be true of the databases after all."""
    with service.database() as (launchpad, store):
        (workflow,) = campaign_workflows(launchpad, service.name)
        names = Counter(row["name"] for row in launchpad.fireworks.find({}, {"name": 1}))
        successes = Counter(one.key for one in store.attempts(outcome="done"))
        differing = differences(reference, store)
        count = launchpad.fireworks.count_documents
        return {
            "jobs": len(workflow.fw_ids),
            "differences": {name: len(keys) for name, keys in differing.items()},
            "most successes of a key": max(successes.values()),
            "rounds": len(list(store.find_all(Round))),
            "jobs of one name": [name for name, n in names.items() if n > 1],
            "orphans": count({"fw_id": {"$nin": list(workflow.fw_ids)}}),
            "unfinished jobs": count({"state": {"$ne": "COMPLETED"}}),
            "unfinished launches": launchpad.launches.count_documents(
                {"state": {"$in": ["RUNNING", "RESERVED"]}}
            ),
            "locks": launchpad.workflows.count_documents({"locked": {"$exists": True}}),
            "claims": store.database["claims"].count_documents({}),
            "interrupted launches": count_interruptions(launchpad, service.name),
            "attempts": {name: total.n for name, total in store.total_attempts().items()},
        }


def storm(service, faults):
    """Every fault as often as it is listed, in random order."""
    plan = [fault for fault, n in faults.items() for _ in range(n)]
    service.chance.shuffle(plan)
    started = time.monotonic()
    for fault in plan:
        print(f"{time.monotonic() - started:6.1f} s  {fault}", flush=True)
        service.strike(fault)
        service.keep_manned()
        time.sleep(service.chance.uniform(0.1, 1.0))


def main(campaign_file, folder, seed):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    campaign = read_campaign(Path(campaign_file))
    reference = open_store(folder / "embedded")
    submission = submit(reference, campaign)
    started = time.monotonic()
    run_embedded(reference, campaign_flow(submission.campaign, submission.theory), lambda *_: None)
    embedded_s = time.monotonic() - started
    service = Service(folder, seed)
    service.start()
    started = time.monotonic()
    service.submit(campaign)
    try:
        storm(service, FAULTS if seed else {})
        service.wait()
        elapsed_s = time.monotonic() - started
        service.stop()
        found = audit(service, reference)
    finally:
        service.kill()
    print(json.dumps(found | {"seed": seed, "embedded_s": embedded_s, "service_s": elapsed_s}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve(), int(sys.argv[3]))

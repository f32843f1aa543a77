"""A campaign on a LaunchPad while everything around it breaks, in a random order of one seed.

    python fault_harness.py CAMPAIGN FOLDER SEED

Four workers, a reaper, a MongoDB of its own on a small disk. Imports are paid once: workers are
forks. The campaign runs embedded first; at the end both stores must hold the same facts. With seed
0 nothing breaks. Else one label of the first round kills every worker that tries it (in the
embedded run its tries fail), and a worker of another method version is there from the beginning
to the end. Prints what was done and, at the end, one line of JSON.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
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
from broken_machines import (
    MongoOnSmallDisk,
    break_code,
    break_package,
    change_methods,
    die_of_memory,
    fail_of_memory,
    poison_a_label,
)
from fireworks.core.launchpad import LockedWorkflowError
from storm_audit import MANY, audit, audit_strangers
from waiting import wait_until

from lycb_flows.campaign.descriptions import CATEGORIES
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.errors import LycbError
from lycb_flows.flows.campaign import campaign_flow
from lycb_flows.flows.embedded import run_embedded
from lycb_flows.service.campaigns import close_open_stages, submit_campaign
from lycb_flows.service.launchpad import campaign_workflows, load_launchpad
from lycb_flows.service.reaper.passes import serve
from lycb_flows.service.worker import WorkerOptions, run_worker
from lycb_flows.store import open_store

N_WORKERS = 4
FAULTS = {
    "kill -9 of a worker": 20,
    "SIGTERM of a worker": 10,
    "kill -9 of mongod": 3,
    "restart of mongod": 3,
    "30 s outage": 1,
    "worker frozen until its job was rerun": 1,
    "full scratch disk": 1,
    "full database disk": 1,
    "broken code of a worker": 1,
    "broken package of a worker": 2,
    "rerun of a completed job": 9,
    "rerun of the deciding job": 1,
}
OUTAGE_S, END_S = 30.0, 600.0


def forked(work, log=None):
    """The id of a process that does this work; it ends with 1 at an error of one line."""
    pid = os.fork()
    if pid == 0:
        if log is not None:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
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


class Service:
    """A LaunchPad, a result store, and who works on them."""

    def __init__(self, folder, seed):
        self.folder, self.chance = folder, random.Random(seed)
        self.seed, self.server = seed, MongoOnSmallDisk(folder / "mongo")
        self.workers, self.reaper, self.n_born = {}, None, 0
        self.strangers, self.kept_out = {}, []
        self.log = (folder / "service.log").open("a", buffering=1)

    def start(self):
        self.server.mount()
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
        if self.seed:
            self.stranger("old", change_methods)
        ready = self.folder / "reaper"
        wait_until(ready.exists, "the reaper")  # what starts without a database says so and ends
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
        return forked(work, self.log)

    def reap(self):
        launchpad = load_launchpad(self.launchpad_file)
        store = open_store(os.environ["LYCB_STORE"])
        (self.folder / "reaper").touch()
        serve(launchpad, 1.0, say=print, extra=lambda: self.close(launchpad, store))

    def close(self, launchpad, store):
        store.settle_attempts()
        store.forget_stale_claims()
        return close_open_stages(launchpad, store)

    def work(self, name, scratch, change=None):
        os.environ["LYCB_SCRATCH"] = str(scratch)
        os.chdir(self.folder)
        if self.seed:
            poison_a_label(die_of_memory)
        if change:
            change()
        options = WorkerOptions(categories=CATEGORIES, name=name, sleep_s=0.5, avoid_s=1.0)
        run_worker(load_launchpad(self.launchpad_file), options, print)

    def stranger(self, name, change):
        """A worker beside the others that is not as they are."""
        pid = self.fork(partial(self.work, name, self.scratch, change))
        self.strangers[pid] = name
        return pid

    def keep_manned(self, scratch=None):
        self.bury_dead()
        while len(self.workers) < N_WORKERS:
            self.n_born += 1
            number = self.n_born
            pid = self.fork(partial(self.work, f"worker{number}", scratch or self.scratch))
            self.workers[pid] = number

    def bury_dead(self):
        assert not os.waitpid(self.reaper, os.WNOHANG)[0], f"the reaper ended, see {self.log.name}"
        for pid in list(self.workers):
            if os.waitpid(pid, os.WNOHANG)[0]:
                del self.workers[pid]

    def any_worker(self):
        self.keep_manned()
        return self.chance.choice(sorted(self.workers))

    def stop(self):
        everyone = [*self.workers, *self.strangers, self.reaper]
        for pid in everyone:
            os.kill(pid, signal.SIGTERM)
        codes = {pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in everyone}
        self.ends = {name: codes[pid] for pid, name in self.strangers.items()}
        self.workers, self.strangers = {}, {}

    def kill(self):
        for pid in [*self.workers, *self.strangers, self.reaper]:
            with suppress(TypeError, ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.server.process:
            self.server.kill()
        self.server.unmount()

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
        until = time.monotonic() + END_S
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

    def full_database_disk(self):
        """mongod ends in the middle of its work, and starts again when there is space."""
        self.server.fill(END_S)
        time.sleep(self.chance.uniform(1.0, 5.0))
        self.server.free()
        self.server.start()

    def broken_code_of_a_worker(self):
        """It stays until it has found out: not every moment has three jobs for it."""
        return self.stranger(f"hole{len(self.strangers)}", break_code)

    def broken_code_where_many_jobs_wait(self):
        """The others are frozen for a moment, so that it gets its three jobs and ends."""
        with self.database() as (launchpad, _):
            count = launchpad.fireworks.count_documents
            wait_until(lambda: count({"state": "READY"}) >= 2 * MANY, "jobs")
            for pid in self.workers:
                os.kill(pid, signal.SIGSTOP)
        try:
            pid, how = self.broken_code_of_a_worker(), os.WEXITED | os.WNOWAIT | os.WNOHANG
            wait_until(lambda: os.waitid(os.P_PID, pid, how), "the end of a broken worker")
        finally:
            for pid in self.workers:
                os.kill(pid, signal.SIGCONT)

    def broken_package_of_a_worker(self):
        """It looks at itself, takes no job and ends."""
        name = f"unfit{len(self.kept_out)}"
        self.kept_out.append(name)
        _, status = os.waitpid(self.fork(partial(self.work, name, self.scratch, break_package)), 0)
        assert os.waitstatus_to_exitcode(status) == 1, f"{name}, see {self.log.name}"

    def rerun_of_a_completed_job(self):
        self.rerun({})

    def rerun_of_the_deciding_job(self):
        self.rerun({"name": {"$regex": "^decide r00"}})

    def rerun(self, query):
        until = time.monotonic() + END_S
        while time.monotonic() < until:
            self.keep_manned()
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


def run_reference(campaign, folder, *, poisoned):
    """The campaign in one process, which is a fork: what is changed for it stays there."""

    def run():
        if poisoned:
            poison_a_label(fail_of_memory)
        with open_store(folder) as store:
            submission = submit(store, campaign)
            flow = campaign_flow(submission.campaign, submission.theory)
            run_embedded(store, flow, lambda *_: None)

    started = time.monotonic()
    assert os.waitpid(forked(run), 0)[1] == 0
    return time.monotonic() - started


def main(campaign_file, folder, seed):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    campaign = read_campaign(Path(campaign_file))
    embedded_s = run_reference(campaign, folder / "embedded", poisoned=bool(seed))
    service = Service(folder, seed)
    try:
        service.start()
        started = time.monotonic()
        service.submit(campaign)
        if seed:
            service.strike("broken code where many jobs wait")
        storm(service, FAULTS if seed else {})
        service.wait()
        elapsed_s = time.monotonic() - started
        service.stop()
        with open_store(folder / "embedded") as reference:
            found = audit(service, reference)
        found |= audit_strangers(service) if seed else {}
    finally:
        service.kill()
    print(json.dumps(found | {"seed": seed, "embedded_s": embedded_s, "service_s": elapsed_s}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve(), int(sys.argv[3]))

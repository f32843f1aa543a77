"""Worker processes for tests of the service, forked from one that has imported everything."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import service_jobs
import yaml
from fireworks import FWorker
from fireworks.core.rocket_launcher import launch_rocket
from jobflow import Flow
from places import HELPERS, ROOT
from servers import _die_with as die_with, spawn
from waiting import wait_until

from lycb_flows.errors import LycbError
from lycb_flows.service.launchpad import ServiceLaunchPad, load_launchpad, submit_flow
from lycb_flows.service.reaper.passes import reap, serve
from lycb_flows.service.worker import WorkerOptions, run_worker
from lycb_flows.service.worker.examination import import_jobs

CATEGORIES = ("light", "gpu", "dft")
NO_SLURM = {"SLURM_JOB_ID": "", "SLURM_JOB_END_TIME": ""}


MONGO_DB = "lycb_test"


class Service:
    """A LaunchPad, a result store, and processes that work on them."""

    def __init__(self, launchpad_file, store, folder, **environment):
        self.file, self.folder = launchpad_file, folder
        self.environment = {
            "LYCB_STORE": store,
            "LYCB_SCRATCH": str(folder / "scratch"),
            "LYCB_PING_S": "0.3",
            "LYCB_LOST_AFTER_S": "3",
            "LYCB_OUTAGE_S": "30",
            "LYCB_MIN_FREE_GB": "0.01",
            **NO_SLURM,
            **environment,
        }
        self.processes = []
        with _variables(self.environment):
            self.pad = load_launchpad(launchpad_file)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
        self.pad.close()

    def submit(self, *jobs, record="r", campaign="c", **more):
        metadata = {"campaign": campaign, "record": record, **more}
        return submit_flow(self.pad, Flow(list(jobs)), name=campaign, metadata=metadata)

    def worker(self, **options):
        """A worker process; options as of `WorkerOptions`, and `die_in`, `environment`."""
        environment = self.environment | options.pop("environment", {})
        request = {"do": "work", "launchpad": str(self.file), "options": options}
        return self._start(request, environment)

    def reaper(self, interval_s):
        request = {"do": "reap", "launchpad": str(self.file), "interval_s": interval_s}
        return self._start(request, self.environment)

    def _start(self, request, environment):
        output = self.folder / f"process{len(self.processes)}.out"
        request |= {"environment": environment, "output": str(output), "cwd": str(self.folder)}
        process = Process(_zygote().fork(request), output)
        self.processes.append(process)
        return process

    def reap(self, **options):
        with _variables(self.environment):
            return reap(self.pad, **options)

    def reap_twice(self, **options):
        """As a reaper does that was there all the time."""
        self.reap(**options)
        self.let_pass(0.05)
        return self.reap(**options | {"grace_s": 0.01})

    def let_pass(self, seconds):
        """The LaunchPad's clock goes on at once."""
        self.pad.clock_ahead_s += seconds

    def states(self):
        rows = self.pad.fireworks.find({}, {"name": 1, "state": 1})
        return {row["name"]: row["state"] for row in rows}

    def state(self, name):
        return self.pad.fireworks.find_one({"name": name}, {"state": 1})["state"]

    def wait_for(self, name, state):
        wait_until(lambda: self.state(name) == state, f"{name} {state}; {self.states()}")

    def launches(self, fw_id):
        return list(self.pad.launches.find({"fw_id": fw_id}).sort("launch_id", 1))

    def unlisted(self):
        listed = {node for row in self.pad.workflows.find({}) for node in row["nodes"]}
        return {row["fw_id"] for row in self.pad.fireworks.find({}, {"fw_id": 1})} - listed

    def locked(self):
        """How many workflows are locked; the lock of a write that a crash lost is reaped later."""
        return self.pad.workflows.count_documents({"locked": {"$exists": True}})

    def assert_sound(self):
        """No lock, no orphan, and workflows know the states of their jobs."""
        assert not self.locked()
        assert not self.unlisted()
        states = {row["fw_id"]: row["state"] for row in self.pad.fireworks.find({})}
        for row in self.pad.workflows.find({}):
            assert {int(one): state for one, state in row["fw_states"].items()} == {
                node: states[node] for node in row["nodes"]
            }


class Process:
    """A forked worker or reaper."""

    def __init__(self, pid, output):
        self.pid, self.output = pid, output

    def said(self):
        return self.output.read_text() if self.output.exists() else ""

    def send(self, number):
        os.kill(self.pid, number)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        self.wait()

    def wait(self):
        """Its exit code; None when it was killed."""
        wait_until(lambda: not _lives(self.pid), f"the end of a process that said {self.said()}")
        code = self.output.with_suffix(".code")
        return int(code.read_text()) if code.exists() else None


@contextlib.contextmanager
def service_on(server, folder, **environment):
    file = folder / "own.yaml"
    file.write_text(yaml.safe_dump(server.launchpad(MONGO_DB)))
    with Service(file, server.uri("results"), folder, **environment) as one:
        yield one


def run_here(pad, folder, fw_id=None):
    """One job in this process, as plain FireWorks does."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        return launch_rocket(pad, FWorker(), fw_id=fw_id, strm_lvl="CRITICAL")
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _variables(values):
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _lives(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


# -- the process that forks ----------------------------------------------------------------------

_ZYGOTES = []


class _Zygote:
    def __init__(self):
        environment = {**os.environ, "PYTHONPATH": f"{HELPERS}:{ROOT}", "PYTHONWARNINGS": ""}
        self.process = spawn(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            env=environment,
            text=True,
        )

    def fork(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def _zygote():
    if not _ZYGOTES:
        _ZYGOTES.append(_Zygote())
    return _ZYGOTES[0]


def _fork_on_request():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            die_with(parent)
            _work(json.loads(line))
        print(pid, flush=True)


def _work(request):
    """In the child: never returns."""
    output = Path(request["output"])
    with output.open("a") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    code = 70
    try:
        code = _do(request)
    except BaseException:  # noqa: BLE001 - told, then the process ends
        traceback.print_exc()
    sys.stdout.flush()
    output.with_suffix(".code").write_text(str(code))
    os._exit(code)


def _do(request):
    logging.disable(logging.CRITICAL)
    try:
        pad = load_launchpad(Path(request["launchpad"]))
        if request["do"] == "reap":
            serve(pad, request["interval_s"], say=_say)
            return 0
        options = request["options"]
        if "die_in" in options:
            _die_in(options.pop("die_in"))
        defaults = {"categories": CATEGORIES, "sleep_s": 0.2, "avoid_s": 0.2}
        run_worker(pad, WorkerOptions(**defaults | options), _say)
    except LycbError as err:
        _say(f"lycb: {err}")
        return 1
    return 0


def _say(line):
    print(line, flush=True)


def _die_in(name):
    """kill -9 inside a method of the LaunchPad."""

    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(ServiceLaunchPad, name, die)


if __name__ == "__main__":
    service_jobs.nothing()  # imported by name before any fork, as all that workers look at
    import_jobs()
    _fork_on_request()

"""Workers side by side: a GPU each, signals for all, killed ones again, none left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from places import ROOT
from waiting import wait_until

from lycb_flows.errors import MachineError
from lycb_flows.machine import side_by_side
from lycb_flows.machine.side_by_side import devices_of, run_side_by_side

WORKER = """
import os, pathlib, signal, sys, time
name, folder = sys.argv[2], pathlib.Path(sys.argv[0]).parent
def tell(number, _):
    (folder / f"{name}.told").write_text(signal.Signals(number).name)
    sys.exit()
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, tell)
with (folder / f"{name}.started").open("a") as file:
    file.write(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')}\\n")
if name == "sick":
    sys.exit(1)
while not (folder / "go").exists():
    time.sleep(0.02)
"""
SUPERVISOR = """
import sys
from lycb_flows.machine.side_by_side import run_side_by_side
def say(line):
    print(line, flush=True)
run_side_by_side([sys.executable, sys.argv[1]], sys.argv[2:], "cpu", say)
"""


@pytest.mark.parametrize(
    ("n", "device", "visible", "gpus"),
    [
        (2, "cpu", None, [None, None]),
        (4, "cuda", None, ["0", "1", "2", "3"]),
        (2, "cuda", "", [None, None]),  # the batch job has none
        (2, "cuda:1", "2,3", [None, None]),
        (2, "cuda:0", "2,3", ["2", "3"]),
        (4, "cuda", "4,5,6,7", ["4", "5", "6", "7"]),
        (3, "cpu", "GPU-8f, MIG-2a", ["GPU-8f", "MIG-2a", "GPU-8f"]),
    ],
)
def test_each_worker_has_a_gpu_of_the_batch_job(n, device, visible, gpus, monkeypatch):
    monkeypatch.setattr(side_by_side, "_count_gpus", lambda: 0)
    assert [each.get("CUDA_VISIBLE_DEVICES") for each in devices_of(n, device, visible)] == gpus


def test_workers_share_the_gpus_that_the_node_has(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: H200 (UUID: a)'\necho 'GPU 1: H200 (UUID: b)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    shared = [each["CUDA_VISIBLE_DEVICES"] for each in devices_of(4, "cuda", None)]
    assert shared == ["0", "1", "0", "1"]


@pytest.mark.parametrize(
    ("options", "device"), [((), "cuda"), (("--device", "cpu"), "cpu")], ids=["file", "option"]
)
def test_the_device_of_the_option_or_of_the_settings_file_divides_the_gpus(
    lycb, tmp_path, monkeypatch, options, device
):
    (tmp_path / "settings.yaml").write_text("device: cuda")
    monkeypatch.setenv("LYCB_SETTINGS_FILE", str(tmp_path / "settings.yaml"))
    monkeypatch.delenv("LYCB_DEVICE", raising=False)
    given = []
    monkeypatch.setattr("lycb_flows.machine.run_side_by_side", lambda *words: given.append(words))
    assert lycb("worker", "--workers", "2", *options)[0] == 0
    assert [words[2] for words in given] == [device]


@pytest.fixture
def supervisor(tmp_path):
    """Start it with workers of these names; all that it started is gone at the end."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    started = []

    def start(*names, **variables):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", SUPERVISOR, script, *names],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        wait_until(lambda: all(runs(tmp_path, name) for name in names), "the workers")
        return started[-1]

    yield start
    (tmp_path / "go").touch()
    for process in started:
        process.kill()
        process.communicate()


def runs(folder, name):
    """(pid, GPU) of each start of a worker."""
    file = Path(folder) / f"{name}.started"
    return [tuple(line.split()) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_the_queues_signal_reaches_every_worker(supervisor, tmp_path, number):
    process = supervisor("a", "b", CUDA_VISIBLE_DEVICES="2,3")
    assert [runs(tmp_path, name)[0][1] for name in "ab"] == ["2", "3"]
    process.send_signal(number)
    assert process.wait(60) == 0
    assert {(tmp_path / f"{name}.told").read_text() for name in "ab"} == {number.name}


class Signalled:
    """A process during whose start the queue signals; it ends when it is told, or was killed."""

    def __init__(self, command, *, killed, **_):
        self.name, self.code, self.told = command[-1], None, []
        if killed:
            self.code = -signal.SIGKILL
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    def send_signal(self, number):
        if self.code is None:
            self.told.append(number)
            self.code = 0

    def poll(self):
        if self.code is None:
            self.code = 1  # nobody has told it
            return None
        return self.code


@pytest.mark.parametrize("n_killed", [0, 2], ids=["first starts", "second starts"])
def test_a_signal_that_comes_during_a_start_reaches_it_and_nothing_starts_after(
    monkeypatch, n_killed
):
    started = []

    def start(*words, **options):
        started.append(Signalled(*words, killed=len(started) < n_killed, **options))
        return started[-1]

    monkeypatch.setattr(side_by_side.subprocess, "Popen", start)
    monkeypatch.setattr(side_by_side, "_LOOK_S", 0.0)
    workers = side_by_side._Workers(["worker"], {"a": {}, "b": {}}, print)
    before = signal.signal(signal.SIGTERM, workers.pass_on)
    try:
        codes = workers.run()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [process.told for process in started[n_killed:]] == [[signal.SIGTERM]]
    assert codes == ({"a": 0, "b": -signal.SIGKILL} if n_killed else {"a": 0})


def test_a_worker_that_was_killed_is_started_again_on_its_gpu(supervisor, tmp_path):
    process = supervisor("a", "b", CUDA_VISIBLE_DEVICES="2,3")
    os.kill(int(runs(tmp_path, "b")[0][0]), signal.SIGKILL)
    wait_until(lambda: len(runs(tmp_path, "b")) == 2, "the second start")
    assert [gpu for _, gpu in runs(tmp_path, "b")] == ["3", "3"]
    (tmp_path / "go").touch()
    said, _ = process.communicate(timeout=60)
    assert "b: killed by SIGKILL, started again" in said
    assert process.returncode == 0


def test_a_worker_that_cannot_work_is_named_when_the_others_are_done(supervisor, tmp_path):
    process = supervisor("a", "sick")
    (tmp_path / "go").touch()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "could not work (workers=sick)" in errors.splitlines()[-1]


def test_no_worker_is_left_when_the_main_process_is_killed(supervisor, tmp_path):
    process = supervisor("a", "b")
    workers = [psutil.Process(int(runs(tmp_path, name)[0][0])) for name in "ab"]
    process.kill()
    assert psutil.wait_procs(workers, timeout=60)[1] == []


def test_one_that_is_killed_again_and_again_is_given_up(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text("import os; os.kill(os.getpid(), 9)")
    said = []
    with pytest.raises(MachineError, match="workers=a"):
        run_side_by_side([sys.executable, str(script)], ["a"], "cpu", said.append)
    assert len(said) == 5

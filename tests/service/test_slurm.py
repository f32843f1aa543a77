"""The tests' Slurm is real: it runs, signals and cancels, and leaves nothing behind."""

import os
import signal
import subprocess
import sys

import psutil
from places import HELPERS
from slurm import SlurmServer, wait_for_file

HOLD = "#!/bin/bash\nsleep 600 &\ntouch started\nwait\n"
ALL_CPUS = "--cpus-per-task=4"


def test_a_batch_job_runs(slurm, tmp_path):
    job = slurm.sbatch("#!/bin/bash\necho $SLURM_JOB_ID > said\n", folder=tmp_path)
    assert slurm.wait_for(job) == "COMPLETED"
    assert (tmp_path / "said").read_text().strip() == str(job)


def test_running_and_pending_jobs_are_cancelled(slurm):
    running, pending = slurm.sbatch(HOLD, ALL_CPUS), slurm.sbatch(HOLD, ALL_CPUS)
    assert slurm.wait_for(running, "RUNNING") == "RUNNING"
    assert slurm.state(pending) == "PENDING"
    for job in (pending, running):
        slurm.scancel(job)
        assert slurm.wait_for(job) == "CANCELLED"


def test_a_requeued_job_runs_again(slurm, tmp_path):
    script = "#!/bin/bash\n[ -e started ] && exit\ntouch started\nsleep 600\n"
    job = slurm.sbatch(script, "--requeue", folder=tmp_path)
    wait_for_file(tmp_path / "started")
    slurm.requeue(job)
    assert slurm.wait_for(job) == "COMPLETED"


def descendants(pid):
    return psutil.Process(pid).children(recursive=True)


def test_stop_leaves_no_process(tmp_path, slurm_server):  # noqa: ARG001 - without Slurm: not run
    with SlurmServer(tmp_path) as server:
        server.sbatch(HOLD)
        wait_for_file(tmp_path / "started")
        started = descendants(server.supervisor.pid)
        assert "sleep" in {process.name() for process in started}
    assert not any(process.is_running() for process in started)


def test_a_killed_test_run_leaves_no_process(tmp_path, slurm_server):  # noqa: ARG001 - as above
    code = "import sys; from slurm import SlurmServer as S; s = S(sys.argv[1]); s.start(); "
    code += f"s.sbatch({HOLD!r}); print(s.supervisor.pid, flush=True); "
    code += "import time; time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path],
        cwd=HELPERS,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        supervisor = psutil.Process(int(run.stdout.readline()))
        wait_for_file(tmp_path / "started")
        started = [supervisor, *descendants(supervisor.pid)]
        assert "sleep" in {process.name() for process in started}
        os.kill(run.pid, signal.SIGKILL)
    assert psutil.wait_procs(started, timeout=20)[1] == []

"""A real one-node Slurm for the tests, without systemd and with no file outside its own folder.

Munge, slurmctld, slurmd and every job are descendants of one supervisor (this file as a program):
when the tests stop it, or are killed themselves, it kills them all.
"""

import ctypes
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
from servers import NoServerError, free_port, install_packages, spawn

PACKAGES = ("slurm-wlm", "munge")
ENDED = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL"}
_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_S = 60
_CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ctld_port}
SlurmdPort={d_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2
MailProg={true}
KillWait=5
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=2000
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE
"""


def find_slurm():
    """Slurm's programs are there, or are installed (as root, on Debian)."""
    if all(map(shutil.which, ("munged", "slurmctld", "slurmd", "sbatch"))) and not os.geteuid():
        return
    install_packages(*PACKAGES)
    if os.geteuid():
        msg = "not root: slurmd runs as root"
        raise NoServerError(msg)


class SlurmServer:
    """One controller, one node of four CPUs, partition `debug`; all in `folder`.

    Its commands find it by the `SLURM_CONF` of `environment`.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.supervisor = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def environment(self):
        """What a process needs to talk to this Slurm."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self):
        """Started, its node idle."""
        find_slurm()
        self._write_files()
        self.supervisor = subprocess.Popen(
            [sys.executable, __file__, self.folder],
            stdin=subprocess.PIPE,
            env={**os.environ, **self.environment},
            start_new_session=True,  # it outlives a killed test run by the time it needs to clean
        )
        self._wait(lambda: self.run("sinfo", "-h", "-o", "%T", check=False).strip() == "idle")

    def stop(self):
        """All jobs cancelled, then no process left."""
        if self.supervisor.poll() is None:
            self.cancel_all()
        self.supervisor.stdin.close()
        self.supervisor.wait(_PATIENCE_S)

    def run(self, *command, check=True):
        """A Slurm command's standard output."""
        done = subprocess.run(
            list(map(str, command)),
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            msg = f"{command}: {done.stderr}"
            raise RuntimeError(msg)
        return done.stdout

    def sbatch(self, script, *options, folder=None):
        """The job id of a script (its text)."""
        file = self.folder / "script.sh"
        file.write_text(script)
        where = Path(folder or self.folder)
        return int(self.run("sbatch", "--parsable", f"--chdir={where}", *options, file))

    def job_ids(self):
        """Of all jobs of the last minutes, ended ones too."""
        return set(map(int, self.run("squeue", "-h", "-t", "all", "-o", "%i").split()))

    def state(self, job_id):
        """Such as PENDING, RUNNING, COMPLETED, CANCELLED, TIMEOUT."""
        shown = self.run("scontrol", "-o", "show", "job", job_id)
        return shown.partition("JobState=")[2].split()[0]

    def wait_for(self, job_id, *states):
        """The state, once it is one of these (by default: the job has ended)."""
        wanted = set(states) or ENDED
        self._wait(lambda: self.state(job_id) in wanted)
        return self.state(job_id)

    def scancel(self, job_id):
        self.run("scancel", job_id)

    def requeue(self, job_id):
        """Stopped and pending again, for 2 s: Slurm by itself waits for two minutes."""
        self.run("scontrol", "requeue", job_id)
        self.wait_for(job_id, "PENDING")
        self.run("scontrol", "update", f"JobId={job_id}", "StartTime=now+2")

    def cancel_all(self):
        """No job pending, running or completing."""
        self.run("scancel", "--user=root")
        self._wait(lambda: not self.run("squeue", "-h").strip())

    def _write_files(self):
        for place in ("state", "spool"):
            (self.folder / place).mkdir(parents=True, exist_ok=True)
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        (self.folder / "slurm.conf").write_text(
            _CONF.format(
                host=socket.gethostname().partition(".")[0],
                folder=self.folder,
                ctld_port=free_port(),
                d_port=free_port(),
                true=shutil.which("true"),
            )
        )

    def _wait(self, ready):
        until = time.monotonic() + _PATIENCE_S
        while not ready():
            if self.supervisor.poll() is not None or time.monotonic() > until:
                tails = [log.read_text()[-500:] for log in sorted(self.folder.glob("*.log"))]
                msg = f"Slurm does not do what was asked: {tails}"
                raise RuntimeError(msg)
            time.sleep(0.1)


def wait_for_file(file):
    """Until a job has made it."""
    until = time.monotonic() + _PATIENCE_S
    while not file.exists():
        assert time.monotonic() < until, f"no {file}"
        time.sleep(0.05)


def qlaunch(launchpad_file, fworker_file, qadapter_file, folder, n):
    """FireWorks' own queue launcher submits `n` jobs from `folder`; what it printed."""
    qlaunch = Path(sys.executable).with_name("qlaunch")
    files = ["-l", launchpad_file, "-w", fworker_file, "-q", qadapter_file]
    command = [qlaunch, *files, "--launch_dir", folder, "rapidfire", "--nlaunches", n]
    command += ["--sleep", 1, "--timeout", _PATIENCE_S]  # it waits for READY jobs until n is met
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False
    )
    printed = done.stdout + done.stderr
    if done.returncode or "Launch unsuccessful" in printed:
        msg = f"qlaunch failed: {printed[-2000:]}"
        raise RuntimeError(msg)
    return printed


def supervise(folder):
    """Run the daemons until standard input ends; then kill whatever descends from here."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    munged = ["munged", "--foreground", "--force"]  # as root, with its files in our folder
    munged += [f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket"]
    munged += [f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log"]
    munged += [f"--seed-file={folder}/munged.seed"]
    spawn(munged)
    while not (folder / "munge.socket").exists():
        time.sleep(0.02)
    for daemon in ("slurmctld", "slurmd"):
        spawn([daemon, "-D"])
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        _reap()
    while descendants := psutil.Process().children(recursive=True):
        for process in descendants:
            process.kill()
        psutil.wait_procs(descendants, timeout=1)


def _reap():
    """No zombies: a job's step daemon is ours when its own parent has left."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    supervise(Path(sys.argv[1]))

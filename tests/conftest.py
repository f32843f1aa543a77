"""One torch thread, set before torch is imported (`docs/engine.md`); campaigns run once."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["LYCB_PROCESSES"] = "1"  # the processes of a pool import for seconds

import signal

# A shell starts what it runs in the background with Ctrl-C ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import functools
import shutil
import sys
import uuid
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import typer.main
import yaml
from campaign_runs import run_campaign
from places import CAMPAIGNS
from servers import (
    MongoServer,
    NoServerError,
    find_mongod,
    not_run,
    pytest_terminal_summary,  # noqa: F401 - pytest looks for it here
)
from slurm import SlurmServer, find_slurm
from stand_in import forking

from lycb_flows.campaign.submission import read_campaign
from lycb_flows.cli import app as cli
from lycb_flows.flows import (
    campaign as campaign_flows,
    measurement as measurement_flows,
    routing,
    structures as structure_flows,
)
from lycb_flows.labels.vasp import labeler
from lycb_flows.store import open_store
from lycb_flows.testing.vasp_server import ADDRESS

LONGEST_FIRST = (
    "test_service.py", "test_dft_flows.py", "test_frozen.py", "test_md.py", "test_worker.py",
    "test_makers.py", "test_dft_service.py", "test_plugin.py", "test_flows.py", "test_docker.py",
    "test_lammps.py", "test_vasp.py", "test_chgnet.py", "test_queues.py", "test_report.py",
)  # fmt: skip
"""Files of a minute and of half a minute: begun last, one would run alone at the end."""


IN_MEMORY, NEEDED_BYTES = Path("/dev/shm"), 6e9  # noqa: S108 - pytest makes a folder of its own


def pytest_configure():
    """Databases lie in memory: on a disk each write waits. A run that passes leaves nothing."""
    if IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > NEEDED_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))


@pytest.hookimpl(trylast=True)  # after the order was made random
def pytest_collection_modifyitems(items):
    """Files that take long begin first."""
    place = {name: index for index, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture
def loop_campaign():
    return read_campaign(CAMPAIGNS / "loop.yaml")


@pytest.fixture(scope="session")
def loop_run(tmp_path_factory):
    """A finished three-round loop: (store, submission, names of its jobs)."""
    store = open_store(tmp_path_factory.mktemp("loop"))
    return store, *run_campaign(store, read_campaign(CAMPAIGNS / "loop.yaml"))


@pytest.fixture(scope="session")
def student_run(tmp_path_factory):
    """A finished campaign whose student measures: (store, submission, names of its jobs)."""
    store = open_store(tmp_path_factory.mktemp("student"))
    return store, *run_campaign(store, read_campaign(CAMPAIGNS / "student.yaml"))


@pytest.fixture
def random_names(monkeypatch):
    """Jobs made in this process have names that say nothing; a list of these names."""
    names, make_job = [], routing.make_job

    def make_renamed(description, maker, **inputs):
        names.append(uuid.uuid4().hex)
        return make_job(replace(description, name=names[-1]), maker, **inputs)

    for module in (campaign_flows, measurement_flows, routing, structure_flows):
        monkeypatch.setattr(module, "make_job", make_renamed)
    return names


COMMAND_LINE = functools.cache(typer.main.get_command)
"""Of `lycb`, put together once: every command of a test would do it again, for 0.1 s."""


@pytest.fixture
def lycb(monkeypatch, capsys, tmp_path):
    """Run the command; returns (exit code, stdout, stderr or the exit message)."""
    monkeypatch.setenv("LYCB_STORE", str(tmp_path / "default"))
    monkeypatch.setattr(typer.main, "get_command", COMMAND_LINE)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["lycb", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        code = 0
        message = ""
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
            message = stop.code if isinstance(stop.code, str) else ""
        printed = capsys.readouterr()
        return code, printed.out, message or printed.err

    return run


@pytest.fixture
def blank_figures(monkeypatch):
    """Figures of reports are drawn, but not rendered: half a second each; `unit/report` does."""
    from lycb_flows.report import figure_style  # noqa: PLC0415 - matplotlib, for few

    def save_blank(figure, stem):
        assert figure.axes
        for suffix in (".png", ".svg"):
            stem.with_suffix(suffix).write_bytes(b"<svg/>")
        return b"<svg/>"

    monkeypatch.setattr(figure_style, "save", save_blank)


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory):
    """One replica set for all tests, started when first needed; who kills starts another."""
    try:
        find_mongod()
    except NoServerError as err:
        not_run(err)
    with MongoServer(tmp_path_factory.mktemp("mongo")) as server:
        yield server


@contextmanager
def _fresh_database(server):
    name = f"test_{uuid.uuid4().hex}"
    yield name
    with server.client() as client:
        client.drop_database(name)


@pytest.fixture
def mongo_uri(mongo_server):
    """Of a database that is this test's own."""
    with _fresh_database(mongo_server) as name:
        yield mongo_server.uri(name)


@pytest.fixture
def launchpad_file(mongo_server, tmp_path):
    """A launchpad.yaml for a database that is this test's own (not reset, as a user's)."""
    with _fresh_database(mongo_server) as name:
        file = tmp_path / "launchpad.yaml"
        file.write_text(yaml.safe_dump(mongo_server.launchpad(name)))
        yield file


@pytest.fixture(scope="session")
def slurm_server(tmp_path_factory):
    """One Slurm for all tests, started when first needed."""
    try:
        find_slurm()
    except NoServerError as err:
        not_run(err)
    with SlurmServer(tmp_path_factory.mktemp("slurm")) as server:
        yield server


@pytest.fixture
def slurm(slurm_server, monkeypatch):
    """Slurm, found by this process's commands too; no job of the test is left in it."""
    for name, value in slurm_server.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm_server
    slurm_server.cancel_all()


@pytest.fixture
def own_server(tmp_path, mongo_server):  # noqa: ARG001 - where there is no mongod, not run
    """A server that a test may kill."""
    with MongoServer(tmp_path / "own") as server:
        yield server


@pytest.fixture(scope="session")
def stand_in_server():
    """The address of one warmed process that forks VASP's stand-in and custodian's process."""
    with forking() as address:
        yield address


@pytest.fixture
def quick_stand_in(stand_in_server, monkeypatch):
    """Custodian and VASP's stand-in are programs as ever, and start in no time."""
    monkeypatch.setenv(ADDRESS, stand_in_server)
    program = Path(__file__).parent / "helpers" / "forked_custodian.py"
    monkeypatch.setattr(labeler, "CUSTODIAN", (sys.executable, str(program), stand_in_server))

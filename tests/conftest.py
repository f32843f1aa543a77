"""One torch thread, set before torch is imported (engine.md 14); campaigns run once."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import sys
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from servers import NOT_RUN, MongoServer, NoServerError, find_mongod, not_run
from slurm import SlurmServer, find_slurm

from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.cli import app as cli
from lycb_flows.flows.campaign import campaign_flow
from lycb_flows.flows.embedded import run_embedded
from lycb_flows.flows.structures import ranking_flow
from lycb_flows.store import open_store

CAMPAIGNS = Path(__file__).parent / "campaigns"


def run_campaign(store, campaign, *, ranking_only=False):
    """The submission, after its whole campaign ran in this process; and its jobs' names."""
    names = []
    submission = submit(store, campaign)
    flow = campaign_flow(submission.campaign, submission.theory)
    if ranking_only:
        flow = ranking_flow(submission.campaign)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LYCB_PROCESSES", "1")
        run_embedded(store, flow, lambda job, finished: finished and names.append(job.name))
    return submission, names


@pytest.fixture
def loop_campaign():
    return read_campaign(CAMPAIGNS / "loop.yaml")


@pytest.fixture(scope="session")
def loop_run(tmp_path_factory):
    """A finished three-round loop: (store, submission, names of its jobs)."""
    store = open_store(tmp_path_factory.mktemp("loop"))
    return store, *run_campaign(store, read_campaign(CAMPAIGNS / "loop.yaml"))


@pytest.fixture
def lycb(monkeypatch, capsys, tmp_path):
    """Run the command; returns (exit code, stdout, stderr or the exit message)."""
    monkeypatch.setenv("LYCB_STORE", str(tmp_path / "default"))

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


def assert_one_line(result, *words):
    code, _, message = result
    assert code != 0
    assert message.count("\n") <= 1
    assert message.startswith("lycb: ")
    for word in words:
        assert word in message


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


def pytest_terminal_summary(terminalreporter):
    """The tests that found no server, by name."""
    skipped = terminalreporter.stats.get("skipped", [])
    missed = [report for report in skipped if NOT_RUN in str(report.longrepr)]
    if missed:
        terminalreporter.section("NOT RUN", red=True, bold=True)
    for report in missed:
        reason = str(report.longrepr[2]).partition(NOT_RUN)[2]
        terminalreporter.line(f"{NOT_RUN}{report.nodeid}: {reason}", red=True)

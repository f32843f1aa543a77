"""One torch thread, set before torch is imported (engine.md 14); campaigns run once."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import sys
from pathlib import Path

import pytest

from lycb_flows import cli
from lycb_flows.campaigns import read_campaign, submit
from lycb_flows.embedded import run_embedded
from lycb_flows.flows import campaign_flow, ranking_flow
from lycb_flows.store import ResultStore

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
        run_embedded(store, flow, lambda name, finished: finished and names.append(name))
    return submission, names


@pytest.fixture
def loop_campaign():
    return read_campaign(CAMPAIGNS / "loop.yaml")


@pytest.fixture(scope="session")
def loop_run(tmp_path_factory):
    """A finished three-round loop: (store, submission, names of its jobs)."""
    store = ResultStore(tmp_path_factory.mktemp("loop"))
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

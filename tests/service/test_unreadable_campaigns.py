"""A campaign that cannot be read is named, and keeps nobody else's from going on."""

import json
import shutil

import pytest
from pymongo.errors import AutoReconnect, OperationFailure
from service_jobs import nothing
from worker_processes import Service

from lycb_flows.campaign.results import find_results
from lycb_flows.flows.campaign import stage_flow
from lycb_flows.schemas import CampaignRecord
from lycb_flows.service import campaigns
from lycb_flows.service.launchpad import submit_flow
from lycb_flows.service.reaper import passes
from lycb_flows.service.reaper.passes import Reaping
from lycb_flows.store import open_store

STRANGE = ("of a newer version", "no JSON", "damaged", "buggy")


@pytest.fixture
def service(launchpad_file, mongo_uri, tmp_path):
    with Service(launchpad_file, mongo_uri, tmp_path) as opened:
        yield opened


@pytest.fixture
def store(loop_run, tmp_path):
    shutil.copytree(loop_run[0].folder, tmp_path / "store")
    with open_store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def strange(service, store, loop_run, monkeypatch):
    """Campaigns that cannot be read, then one that does not go on after a stage: its name."""
    _, submission, _ = loop_run
    resolved = json.loads(submission.record.resolved)
    newer = json.dumps(resolved | {"measure": resolved["measure"] | {"an_option": 1}})
    buggy = json.dumps(resolved | {"name": "buggy"})
    for number, (name, text) in enumerate(zip(STRANGE, (newer, "{", "{}", buggy), strict=True)):
        record = CampaignRecord(key=f"{number:064x}", name=name, text="", resolved=text)
        store.insert(record)
        service.submit(nothing(), record=record.key, campaign=name)
    store._db.execute("UPDATE documents SET facts = '{' WHERE key = ?", (f"{2:064x}",))
    plan = find_results(store, submission.campaign, submission.theory).stages[-1]
    metadata = {"campaign": submission.campaign.name, "record": submission.record.key}
    submit_flow(service.pad, stage_flow(plan), name="loop", metadata=metadata)

    def find(store, campaign, theory):
        return {}[1] if campaign.name == "buggy" else find_results(store, campaign, theory)

    monkeypatch.setattr(campaigns, "find_results", find)
    return submission.campaign.name


def test_the_stages_of_the_others_are_closed(service, store, strange):
    found = {each.name: each for each in campaigns.close_open_stages(service.pad, store)}
    assert found.keys() == {*STRANGE, f"stage r02 600 K of {strange}"}
    for name in STRANGE:
        assert (found[name].what, found[name].action) == ("unreadable campaign", "none")
    assert "an_option" in found["of a newer version"].why
    assert found["buggy"].why == "KeyError: 1"
    assert found[f"stage r02 600 K of {strange}"].done


@pytest.mark.usefixtures("strange")
def test_a_database_that_is_away_is_no_fault_of_a_campaign(service, store, monkeypatch):
    def away(*_):
        raise AutoReconnect("connection closed")

    monkeypatch.setattr(campaigns, "find_results", away)
    with pytest.raises(AutoReconnect):
        campaigns.close_open_stages(service.pad, store)


@pytest.mark.parametrize(
    ("error", "line"),
    [(KeyError("x"), "KeyError: 'x'"), (OperationFailure("no", 13), "lacks a right")],
)
def test_no_error_ends_a_served_reaper(service, error, line):
    said = []

    def fail():
        raise error

    passes._serve_once(service.pad, said.append, fail)
    assert len(said) == 1
    assert line in said[0]
    found = Reaping("stage", None, "r01", "its labels are there", "closed", done=True)
    passes._serve_once(service.pad, said.append, lambda: [found])
    assert "r01" in said[1]

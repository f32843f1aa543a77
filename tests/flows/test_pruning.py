"""Trajectories are dropped when nothing of their campaign, in any version, is left to measure."""

import pytest
import yaml
from campaign_runs import run_campaign
from messages import assert_one_line
from places import CAMPAIGNS

from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.campaign.trajectories import trajectories_to_prune
from lycb_flows.config import Campaign
from lycb_flows.errors import InputError, StoreError
from lycb_flows.schemas import Segment
from lycb_flows.store import open_store
from lycb_flows.store.checks import Counts, verify
from lycb_flows.store.copies import copy_documents


@pytest.fixture
def finished(tmp_path):
    """The store and submission of a finished campaign that measures at two temperatures."""
    given = read_campaign(CAMPAIGNS / "loop.yaml").model_dump(mode="json", exclude={"learning"})
    given["measure"] |= {"temperatures_k": [400.0, 600.0], "model": "best"}
    given["learning"] = {"rounds": 0, "model": "toy-soft"}
    with open_store(tmp_path / "store") as store:
        yield store, run_campaign(store, Campaign.model_validate(given))[0]


def test_trajectories_of_a_finished_campaign_go_and_are_not_missed(finished, tmp_path, lycb):
    store, _ = finished
    segments = list(store.find_all(Segment))
    at = ("--store", tmp_path / "store")
    code, out, _ = lycb("prune", "loop", *at)
    assert (code, "would be dropped" in out) == (0, True)
    code, out, _ = lycb("prune", "loop", "--yes", *at)
    assert f"{len({s.trajectory.sha256 for s in segments})} trajectories dropped" in out
    with pytest.raises(StoreError, match="missing"):
        store.blobs.read(segments[0].trajectory)
    assert list(verify(store, Counts())) == []
    with open_store(tmp_path / "copy") as copy:
        assert copy_documents(store, copy).left_out == {}
    assert "0 trajectories" in lycb("prune", "loop", *at)[1]


def test_every_condition_of_every_quantity_must_be_measured(finished, tmp_path, lycb):
    store, submission = finished
    measured = find_results(store, submission.campaign, submission.theory).measured
    assert [len(documents) for documents in measured.values()] == [2, 1]
    for document in measured["diffusion"]:
        store.retract(document.key, "as if the campaign had stopped before it")
        printed = lycb("prune", "loop", "--yes", "--store", tmp_path / "store")
        assert_one_line(printed, "not finished")
    assert all(store.blobs.has(s.trajectory.sha256) for s in store.find_all(Segment))


def test_another_version_of_the_campaign_must_be_finished_too(finished, tmp_path):
    store, submission = finished
    file = tmp_path / "first.yaml"
    file.write_text(submission.record.text)
    data = yaml.safe_load(submission.record.text)
    data["measure"]["nvt_ps"] *= 2  # it goes on from the same segments
    changed = submit(store, Campaign.model_validate(data)).record
    for name in (str(file), "loop"):
        with pytest.raises(InputError, match="not finished") as refused:
            trajectories_to_prune(store, name)
        assert changed.key in str(refused.value)
    store.retract(changed.key, "given up")
    assert trajectories_to_prune(store, str(file))


def test_another_campaign_keeps_what_its_runs_go_on_from(finished):
    store, submission = finished
    data = yaml.safe_load(submission.record.text)
    data["measure"]["nvt_ps"] *= 2
    longer = submit(store, Campaign.model_validate(data | {"name": "longer"})).record
    assert trajectories_to_prune(store, "loop") == []
    store.retract(longer.key, "given up")
    n_segments = len({segment.trajectory.sha256 for segment in store.find_all(Segment)})
    assert len(trajectories_to_prune(store, "loop")) == n_segments

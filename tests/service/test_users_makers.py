"""What is added to a campaign on a LaunchPad is made by the Makers that it was submitted with."""

from dataclasses import dataclass

import pytest

from lycb_flows.campaign.results import find_results
from lycb_flows.errors import MachineError
from lycb_flows.flows.campaign import DecideMaker, LabelMaker, stage_flow
from lycb_flows.flows.makers import CampaignMakers
from lycb_flows.jobs import EvaluateMaker, TrainMaker
from lycb_flows.service import campaigns
from lycb_flows.service.launchpad import load_launchpad, submit_flow


@dataclass(kw_only=True)
class UsersTrainMaker(TrainMaker):
    """A Maker of the user's own."""

    remark: str = ""


MAKERS = CampaignMakers(train=UsersTrainMaker(remark="kept"))


@pytest.fixture
def launchpad(launchpad_file):
    pad = load_launchpad(launchpad_file)
    yield pad
    pad.connection.close()


@pytest.fixture
def closed_stage(launchpad, loop_run):
    """Submit a stage whose labels are there, but without what follows it: (store, submission)."""
    store, submission, _ = loop_run
    plan = find_results(store, submission.campaign, submission.theory).stages[-1]
    metadata = {"campaign": submission.campaign.name, "record": submission.record.key}
    submit_flow(launchpad, stage_flow(plan, MAKERS), name="loop", metadata=metadata)
    return store, submission


def makers_on(launchpad):
    """The Makers of all jobs, in the order in which they were added."""
    ids = sorted(launchpad.get_fw_ids())
    return [launchpad.get_fw_by_id(fw_id).tasks[0]["job"].maker for fw_id in ids]


def test_a_campaign_is_submitted_with_the_users_makers(launchpad, loop_run):
    _, submission, _ = loop_run
    assert campaigns.submit_campaign(launchpad, submission, MAKERS)
    (begin,) = [maker for maker in makers_on(launchpad) if maker.name == "begin"]
    assert begin.makers == MAKERS


def test_the_reaper_continues_a_closed_stage_with_the_users_makers(launchpad, closed_stage):
    n_before = len(makers_on(launchpad))
    (found,) = campaigns.close_open_stages(launchpad, closed_stage[0])
    assert (found.what, found.action, found.done) == ("closed stage", "go on", True)
    added = makers_on(launchpad)[n_before:]
    assert {type(maker) for maker in added} == {UsersTrainMaker, EvaluateMaker, DecideMaker}
    assert {maker.remark for maker in added if isinstance(maker, UsersTrainMaker)} == {"kept"}
    assert [maker.makers for maker in added if isinstance(maker, DecideMaker)] == [MAKERS]


def test_labels_are_tried_again_with_the_users_makers(launchpad, closed_stage, monkeypatch):
    monkeypatch.setattr(campaigns, "failed_labels", lambda *_: [1])
    assert campaigns.relabel(launchpad, *closed_stage) == {"r02 600 K": 1}
    again = makers_on(launchpad)[-1]
    assert isinstance(again, LabelMaker)
    assert (again.again, again.index, again.makers) == (True, 1, MAKERS)


def test_makers_that_are_not_installed_here_are_refused(launchpad, closed_stage, monkeypatch):
    monkeypatch.setattr(campaigns, "failed_labels", lambda *_: [1])
    path = "spec._tasks.0.job.function.@bound.makers.train.@module"
    launchpad.fireworks.update_many({"spec.step": "label"}, {"$set": {path: "gone_away"}})
    with pytest.raises(MachineError, match=r"cannot be loaded .*gone_away.*install"):
        campaigns.relabel(launchpad, *closed_stage)
    (found,) = campaigns.close_open_stages(launchpad, closed_stage[0])
    assert not found.done
    assert "gone_away" in found.why

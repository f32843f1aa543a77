"""Whose a campaign is, on a LaunchPad; and one more round after its last was decided."""

import contextlib
import re

import pytest
from campaign_runs import run_campaign
from messages import assert_one_line
from places import CAMPAIGNS

from lycb_flows.service.launchpad import load_launchpad
from lycb_flows.store import open_store, user_name

LOOP = CAMPAIGNS / "loop.yaml"


@pytest.fixture
def at(launchpad_file, mongo_uri):
    return ("--store", mongo_uri, "--launchpad", launchpad_file)


def test_another_users_campaign_is_not_cancelled_unasked(lycb, at, launchpad_file):
    assert lycb("submit", LOOP, *at)[0] == 0
    with contextlib.closing(load_launchpad(launchpad_file)) as pad:
        assert pad.workflows.find_one({})["metadata"]["owner"] == user_name()
        pad.workflows.update_one({}, {"$set": {"metadata.owner": "ana"}})
        pad_only = at[2:]
        assert_one_line(lycb("cancel", "loop", *pad_only), "another user", "owner=ana", "--yes")
        assert pad.workflows.find_one({})["state"] == "READY"
        assert lycb("cancel", "loop", "--yes", *pad_only)[0] == 0
        assert pad.workflows.find_one({})["state"] == "ARCHIVED"


def test_ones_own_campaign_is_cancelled_at_once(lycb, at):
    assert lycb("submit", LOOP, *at)[0] == 0
    assert lycb("cancel", "loop", *at[2:])[0] == 0


def test_one_more_round_after_the_last_is_submitted_anew(
    lycb, at, launchpad_file, mongo_uri, loop_campaign
):
    with contextlib.closing(open_store(mongo_uri)) as store:
        run_campaign(store, loop_campaign)
    assert lycb("submit", "loop", *at)[0] == 0
    code, out, _ = lycb("extend", "loop", *at)
    assert code == 0
    assert "4 rounds, the last at 600 K" in out
    assert "submitted anew" in out
    with contextlib.closing(load_launchpad(launchpad_file)) as pad:
        states = [row["state"] for row in pad.workflows.find({}).sort("_id", 1)]
        assert states == ["ARCHIVED", "READY"]
    (n_jobs,) = re.findall(r" of (\d+) jobs", lycb("status", "loop", *at)[1])
    assert int(n_jobs) == 47 + 12  # MD, selection, five labels, training, two looks, decision


def test_one_more_round_leaves_other_versions_of_the_campaign_alone(
    lycb, at, launchpad_file, mongo_uri, loop_campaign, tmp_path
):
    with contextlib.closing(open_store(mongo_uri)) as store:
        first = run_campaign(store, loop_campaign)[0].record.key
    assert lycb("submit", LOOP, *at)[0] == 0
    changed = tmp_path / "changed.yaml"
    changed.write_text(LOOP.read_text() + "seed: 7\n")
    assert lycb("submit", changed, *at)[0] == 0
    assert "submitted anew" in lycb("extend", LOOP, *at)[1]
    with contextlib.closing(load_launchpad(launchpad_file)) as pad:
        old, other, new = pad.workflows.find({}).sort("_id", 1)
    assert [row["state"] for row in (old, other, new)] == ["ARCHIVED", "READY", "READY"]
    assert new["metadata"]["record"] == first != other["metadata"]["record"]

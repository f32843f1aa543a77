"""Levers on a campaign: one more round, an end after this round; said by whom and when."""

import json

import pytest
from campaign_runs import run_campaign
from messages import assert_one_line

from lycb_flows.campaign.levers import extend, levers_of, stop_after
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import submit
from lycb_flows.config import Levers
from lycb_flows.errors import InputError
from lycb_flows.schemas import CampaignRecord
from lycb_flows.store import open_store, user_name

pytestmark = pytest.mark.usefixtures("blank_figures")
LADDER = (200.0, 400.0, 600.0)


def test_without_levers_decisions_are_as_ever(loop_campaign):
    decided = [loop_campaign.decide(i) for i in range(3)]
    assert [one.next_temperature_k for one in decided] == [400.0, 600.0, None]
    assert decided == [loop_campaign.decide(i, Levers()) for i in range(3)]


@pytest.mark.parametrize(
    ("levers", "following"),
    [
        ({"more_rounds": ("ana", "bo")}, [400.0, 600.0, 600.0, 600.0, None]),
        ({"stop_after": 0, "stop_note": "ana"}, [None]),
        ({"stop_after": 1, "stop_note": "ana", "more_rounds": ("bo",)}, [400.0, None]),
        (
            {"stop_after": 3, "stop_note": "ana", "more_rounds": ("bo",)},
            [400.0, 600.0, 600.0, None],
        ),
    ],
)
def test_levers_are_an_argument_of_the_decision(loop_campaign, levers, following):
    decided = [loop_campaign.decide(i, Levers(**levers)) for i in range(len(following))]
    assert [one.next_temperature_k for one in decided] == following
    assert "ana" in " ".join(one.reason for one in decided)


def test_extend_and_stop_after_undo_each_other(tmp_path, loop_campaign):
    store = open_store(tmp_path / "store")
    campaign = submit(store, loop_campaign).campaign
    assert "after round 0" in stop_after(store, campaign, [], None)
    extend(store, campaign)
    assert levers_of(store, campaign).stop_after == 1
    extend(store, campaign)
    extend(store, campaign)
    levers = levers_of(store, campaign)
    assert levers.stop_after is None or levers.stop_after == 2
    assert all(user_name() in note for note in levers.more_rounds)
    other = submit(store, loop_campaign.model_copy(update={"seed": 7})).campaign
    assert levers_of(store, other) == Levers()


def n_rounds(store, campaign):
    """How many rounds the loop has with what was asked for."""
    levers = levers_of(store, campaign)
    rounds = (campaign.decide(i, levers).next_temperature_k for i in range(99))
    return 1 + next(i for i, following in enumerate(rounds) if following is None)


@pytest.mark.parametrize("stop", [None, 0, 1, 2, 3, 4])
def test_one_wish_is_one_round_wherever_the_loop_was_to_stop(tmp_path, loop_campaign, stop):
    with open_store(tmp_path / "store") as store:
        campaign = submit(store, loop_campaign).campaign
        extend(store, campaign)
        extend(store, campaign)
        assert n_rounds(store, campaign) == 5
        if stop is not None:
            stop_after(store, campaign, [], stop)
        before = n_rounds(store, campaign)
        assert before == (5 if stop is None else stop + 1)
        for more in (1, 2, 3, 4, 5, 6):
            extend(store, campaign)
            assert n_rounds(store, campaign) == before + more


def test_a_loop_cannot_stop_after_its_last_round(tmp_path, loop_campaign):
    with open_store(tmp_path / "store") as store:
        campaign = submit(store, loop_campaign).campaign
        for last in (2, 3):
            with pytest.raises(InputError, match=f"ends before this round.*up to {last}"):
                stop_after(store, campaign, [], 99)
            assert levers_of(store, campaign).stop_after is None
            stop_after(store, campaign, [], last)
            extend(store, campaign)


def test_where_nothing_is_learned_there_is_no_round_to_add_or_to_stop_after(
    tmp_path, loop_campaign, lycb
):
    learning = loop_campaign.learning.model_copy(update={"rounds": 0})
    campaign = loop_campaign.model_copy(update={"learning": learning})
    at = ("--store", tmp_path / "store")
    with open_store(tmp_path / "store") as store:
        submit(store, campaign)
    for command in (("extend",), ("stop-after",), ("stop-after", "--round", 0)):
        assert_one_line(lycb(command[0], "loop", *command[1:], *at), "nothing is learned")


def test_a_campaign_stops_and_goes_on_as_asked_and_its_report_says_so(
    tmp_path, loop_campaign, lycb
):
    store = open_store(tmp_path / "store")
    at = ("--store", tmp_path / "store")
    submission = submit(store, loop_campaign)
    assert lycb("stop-after", "loop", "--round", 0, *at)[0] == 0
    [asked] = json.loads(lycb("status", "loop", "--json", *at)[1])["asked for"]
    assert asked.startswith(f"stop after round 0: {user_name()} on 20")
    run_campaign(store, loop_campaign)
    found = find_results(store, submission.campaign, submission.theory)
    assert [round_.temperature_k for round_ in found.rounds] == [200.0]
    assert found.measured["diffusion"]
    assert user_name() in found.rounds[0].decision_reason
    assert_one_line(lycb("stop-after", "loop", *at), "decided already", "round from 1 on")
    code, out, _ = lycb("extend", "loop", *at)
    assert (code, "after round 1" in out) == (0, True)
    same = find_results(store, submission.campaign, submission.theory)
    assert same.measured["diffusion"] == found.measured["diffusion"]  # until it has gone on
    run_campaign(store, loop_campaign)
    found = find_results(store, submission.campaign, submission.theory)
    assert [round_.temperature_k for round_ in found.rounds] == [200.0, 400.0]
    assert lycb("report", "loop", *at, "--report", tmp_path / "report")[0] == 0
    assert f"asked for by {user_name()} on 20" in (tmp_path / "report" / "report.html").read_text()


# -- the model of a round measures ---------------------------------------------------------------


@pytest.fixture
def hottest_measures(loop_campaign):
    measure = loop_campaign.measure.model_copy(update={"model": "600"})
    return loop_campaign.model_copy(update={"measure": measure})


@pytest.mark.parametrize("index", [None, 0, 1])
def test_a_loop_does_not_end_before_the_round_whose_model_measures(
    tmp_path, hottest_measures, index
):
    with open_store(tmp_path / "store") as store:
        campaign = submit(store, hottest_measures).campaign
        with pytest.raises(InputError, match=r"measure.*give a round from 2 on"):
            stop_after(store, campaign, [], index)
        assert levers_of(store, campaign) == Levers()
        assert "after round 2" in stop_after(store, campaign, [], 2)


def test_a_loop_that_ended_before_that_round_says_so_and_can_be_extended(
    tmp_path, hottest_measures, lycb
):
    at = ("--store", tmp_path / "store")
    with open_store(tmp_path / "store") as store:
        submission = submit(store, hottest_measures)
        asked = Levers(stop_after=0, stop_note="ana, before this was refused")
        name = f"levers {CampaignRecord.key_of(submission.campaign)}"
        store.set_note(name, asked.model_dump(mode="json"))
        with pytest.raises(InputError, match=r"not learned.*lycb extend"):
            run_campaign(store, hottest_measures)
        found = find_results(store, submission.campaign, submission.theory)
        assert (len(found.rounds), found.measurement) == (1, None)
        for command in ("status", "extend", "extend"):
            assert lycb(command, "loop", *at)[0] == 0
        run_campaign(store, hottest_measures)
        found = find_results(store, submission.campaign, submission.theory)
        assert found.measurement.model == found.rounds[2].model
        assert found.measured["diffusion"]

"""A campaign by its name is what was submitted last, with the settings that it had then."""

import pytest

from lycb_flows.campaign import find_submission, reopen
from lycb_flows.campaign.submission import submit
from lycb_flows.config import Campaign
from lycb_flows.schemas import CampaignRecord
from lycb_flows.store import open_store


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "store") as opened:
        yield opened


def changed(campaign, section, **fields):
    data = campaign.model_dump(exclude_unset=True)
    data[section] = {**data[section], **fields}
    return Campaign.model_validate(data)


def test_a_name_means_the_version_submitted_last_also_one_that_was_there(store, loop_campaign):
    at = {t: changed(loop_campaign, "measure", temperatures_k=[t]) for t in (500.0, 600.0)}
    for temperature_k in (500.0, 600.0, 500.0, 500.0, 600.0):
        submitted = submit(store, at[temperature_k])
        found = find_submission(store, "loop")
        assert found.campaign.measure.temperatures_k == (temperature_k,)
        assert found.record.key == submitted.record.key
    assert len(list(store.find_all(CampaignRecord, name="loop"))) == 2
    store.retract(submitted.record.key, "given up")
    assert find_submission(store, "loop").campaign.measure.temperatures_k == (500.0,)


def test_to_look_at_an_older_version_does_not_submit_it(store, loop_campaign):
    first = submit(store, loop_campaign)
    submit(store, changed(loop_campaign, "measure", temperatures_k=[500.0]))
    old = store.load(CampaignRecord, first.record.key)
    for record in (old, old.model_copy(update={"resolved": ""})):
        assert reopen(store, record).campaign == first.campaign
        assert find_submission(store, "loop").campaign.measure.temperatures_k == (500.0,)


def test_settings_that_no_key_holds_are_those_submitted_last(store, loop_campaign):
    first = submit(store, loop_campaign)
    patient = {"timeout_s": 9000.0, "max_attempts": 5, "grace_s": 7.0, "allow_unknown": True}
    again = submit(store, changed(loop_campaign, "labels", **patient))
    assert again.record.key == first.record.key
    kept = store.load(CampaignRecord, first.record.key)
    for record in (kept, kept.model_copy(update={"resolved": ""})):
        labels = reopen(store, record).campaign.labels
        assert {name: getattr(labels, name) for name in patient} == patient
    found = find_submission(store, "loop").campaign
    assert found == again.campaign
    assert CampaignRecord.key_of(found) == kept.key
    submit(store, loop_campaign)
    assert find_submission(store, "loop").campaign == first.campaign
    wide = submit(store, changed(loop_campaign, "md", replicas_per_job=3))
    assert find_submission(store, "loop").campaign.md.replicas_per_job == 3
    assert wide.record.key == first.record.key


def test_a_note_is_written_once_for_the_same(store, loop_campaign, monkeypatch):
    submit(store, loop_campaign)
    monkeypatch.setattr(type(store), "set_note", lambda *_: pytest.fail("written again"))
    submit(store, loop_campaign)


def test_a_store_without_notes_has_its_newest_record(store, loop_campaign, monkeypatch):
    monkeypatch.setattr(type(store), "set_note", lambda *_: None)
    for temperature_k in (500.0, 600.0, 500.0):
        submit(store, changed(loop_campaign, "measure", temperatures_k=[temperature_k]))
    assert find_submission(store, "loop").campaign.measure.temperatures_k == (600.0,)


def test_to_plan_a_version_does_not_submit_it(store, loop_campaign):
    first = submit(store, loop_campaign)
    other = changed(loop_campaign, "measure", temperatures_k=[500.0])
    planned = submit(store, other, to_run=False)
    assert planned.record.key != first.record.key
    assert find_submission(store, "loop").record.key == first.record.key

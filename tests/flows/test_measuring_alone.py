"""Campaigns that learn nothing: a model measures as it is, alone or by its student."""

import pytest
from campaign_runs import run_campaign
from html_page import Page
from places import CAMPAIGNS

from lycb_flows.campaign import documented_progress, plan_campaign
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.config import Campaign
from lycb_flows.potentials import find_model
from lycb_flows.report.page import write_report
from lycb_flows.schemas import Label, Model, Round, Transport
from lycb_flows.store import open_store

FILE = CAMPAIGNS / "student.yaml"
OTHERS = {"rounds": 0, "model": "toy-soft"}


def campaign_with(**sections) -> Campaign:
    """Return the campaign of the student with nothing to learn, and other sections changed."""
    given = read_campaign(FILE).model_dump(mode="json", exclude={"learning"})
    for name, fields in sections.items():
        given[name] |= fields
    return Campaign.model_validate(given | {"learning": OTHERS})


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    store = open_store(tmp_path_factory.mktemp("alone"))
    return store, *run_campaign(store, campaign_with(measure={"student": None}))


@pytest.fixture(scope="module")
def by_student(tmp_path_factory):
    store = open_store(tmp_path_factory.mktemp("by_student"))
    return store, *run_campaign(store, campaign_with())


def test_the_model_measures_and_no_label_is_made(alone):
    store, submission, names = alone
    found = find_results(store, submission.campaign, submission.theory)
    (transport,) = found.documents(Transport)
    assert transport.model == find_model("toy-soft").model.key
    assert not list(store.find_all(Label))
    assert not list(store.find_all(Round))
    planned = plan_campaign(store, submission.campaign, submission.theory)
    assert sorted(names) == sorted(job.name for step in planned for job in step.jobs)
    progress = documented_progress(store, submission, found, planned)
    assert progress["rest"] == "nothing"


def test_it_can_be_followed_while_its_mixed_halides_are_ranked(tmp_path):
    with open_store(tmp_path / "store") as store:
        run_campaign(store, campaign_with(measure={"student": None}), ranking_only=True)
        given = campaign_with(measure={"student": None, "decorations": True}).model_dump(
            mode="json"
        )
        given["systems"][0]["decorations"] = [{"x": 3.0}]
        submission = submit(store, Campaign.model_validate(given | {"name": "mixed"}))
        found = find_results(store, submission.campaign, submission.theory)
        assert list(found.ground_states) == [given["systems"][0]["name"]]
        assert found.measurement is None
        planned = plan_campaign(store, submission.campaign, submission.theory)
        progress = documented_progress(store, submission, found, planned)
        assert progress["rest"] != "nothing"


def test_its_report_says_that_nothing_was_learned(alone, tmp_path):
    store, submission, _ = alone
    found = find_results(store, submission.campaign, submission.theory)
    page = Page(write_report(store, "alone", found.document_keys(), tmp_path))
    assert "Nothing was learned here: the model measures as it is." in page.text
    assert "no learning round" not in page.text
    assert "has finished yet" not in page.text


def test_its_student_measures_in_its_place(by_student):
    store, submission, _ = by_student
    found = find_results(store, submission.campaign, submission.theory)
    assert found.student.teacher == find_model("toy-soft").model.key
    assert [each.model for each in found.documents(Transport)] == [found.student.model]
    assert found.student.on_labels is None
    assert store.load(Model, found.student.model).source == "distilled"


def test_what_needs_labels_is_refused():
    given = read_campaign(FILE).model_dump(mode="json")
    wrong = (
        {"learning": OTHERS | {"model": ["toy-soft", "toy-teacher"]}},
        {"learning": OTHERS, "measure": {"quantities": ["benchmark"]}},
        {"learning": OTHERS | {"test": {"sets": {"a": {"temperatures_k": [300.0]}}}}},
        {"learning": OTHERS | {"rounds": 1}},
    )
    for sections in wrong:
        with pytest.raises(ValueError, match="rounds"):
            Campaign.model_validate(given | sections)

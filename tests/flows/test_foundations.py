"""A campaign that names several models to start from: its test labels choose one of them."""

import pytest
from campaign_runs import run_campaign
from places import CAMPAIGNS

from lycb_flows import schemas
from lycb_flows.campaign import costs_of_jobs
from lycb_flows.campaign.cost import plan_campaign
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import read_campaign
from lycb_flows.config import Campaign, MeasurementConfig
from lycb_flows.potentials import find_model
from lycb_flows.report.page import write_report
from lycb_flows.store import open_store

pytestmark = pytest.mark.usefixtures("blank_figures")
SOFT, TEACHER = (find_model(name).model.key for name in ("toy-soft", "toy-teacher"))


def starting_from(*models, n_test_frames=6):
    data = read_campaign(CAMPAIGNS / "loop.yaml").model_dump(exclude_unset=True)
    data["learning"] |= {"model": list(models), "max_temperature_k": 200.0}
    data["learning"]["test"]["n_frames"] = n_test_frames
    data["measure"]["quantities"] = {"benchmark": {"scratch_updates": 40, "scratch_neurons": 10}}
    return Campaign.model_validate(data)


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """A finished campaign of two models: (store, submission, names of its jobs, results)."""
    store = open_store(tmp_path_factory.mktemp("foundations"))
    submission, names = run_campaign(store, starting_from("toy-soft", "toy-teacher"))
    found = find_results(store, submission.campaign, submission.theory)
    yield store, submission, names, found
    store.close()


def test_the_model_that_made_the_labels_is_chosen(chosen):
    _, _, _, found = chosen
    best, other = found.foundation.candidates
    assert found.foundation.model == best.model == TEACHER
    assert best.errors.force_mae_ev_per_ang < 1e-6 < other.errors.force_mae_ev_per_ang
    assert other.model == SOFT
    assert found.foundation.n_fitting == found.foundation.n_testing == 2


def test_the_loop_goes_on_from_it(chosen):
    store, _, _, found = chosen
    (round_,) = found.rounds
    test_stage, first = found.stages
    assert test_stage.model == SOFT  # the first of the list runs the test MD
    assert round_.start_model == first.model == TEACHER
    assert store.load(schemas.Model, round_.model).parent_model == TEACHER
    runs = [store.load(schemas.Run, key) for key in round_.runs]
    assert {run.model for run in runs} == {TEACHER}


def test_the_plan_lists_every_job_that_ran(chosen):
    store, submission, names, _ = chosen
    planned = costs_of_jobs(plan_campaign(store, submission.campaign, submission.theory))
    assert sorted(names) == sorted(job.name for job in planned)


def test_a_second_run_chooses_nothing_again(chosen):
    store, *_ = chosen
    n_attempts = len(store.attempts())
    run_campaign(store, starting_from("toy-soft", "toy-teacher"))
    assert len(store.attempts()) == n_attempts


def test_the_order_of_the_list_decides_only_who_runs_the_test_md(tmp_path):
    store = open_store(tmp_path)
    submission, _ = run_campaign(store, starting_from("toy-teacher", "toy-soft"))
    found = find_results(store, submission.campaign, submission.theory)
    assert found.stages[0].model == TEACHER
    assert found.foundation.model == TEACHER


def test_the_report_shows_the_choice_and_a_model_from_scratch(chosen, tmp_path):
    store, _, _, found = chosen
    path = write_report(store, "loop", found.document_keys(), tmp_path, ["benchmark"])
    assert "Models that the loop could start from" in path.read_text()
    (document,) = found.documents(schemas.Benchmark)
    assert {row.role for row in document.models} >= {"before learning", "other", "from scratch"}
    before = next(row for row in document.models if row.role == "before learning")
    assert before.model == TEACHER


def test_pretrained_means_the_chosen_one(tmp_path):
    store = open_store(tmp_path)
    campaign = starting_from("toy-soft", "toy-teacher")
    unset = {"model": "pretrained", "quantities": MeasurementConfig().quantities}
    measure = campaign.measure.model_copy(update=unset)
    submission, _ = run_campaign(store, campaign.model_copy(update={"measure": measure}))
    found = find_results(store, submission.campaign, submission.theory)
    runs = [run for run in store.find_all(schemas.Run) if run.model == TEACHER]
    assert found.rounds[0].start_model == TEACHER
    assert len(runs) == len(found.rounds[0].runs) + 2  # its production runs, NpT and NVT


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "at least one model"),
        (["toy-soft", "toy-soft"], "different models"),
    ],
)
def test_a_list_that_is_none_is_refused(models, message):
    with pytest.raises(ValueError, match=message):
        starting_from(*models)


def test_one_test_label_cannot_fit_and_judge():
    with pytest.raises(
        ValueError, match=r"test.n_frames = 1 cannot choose among models: at least 2"
    ):
        starting_from("toy-soft", "toy-teacher", n_test_frames=1)


def test_a_list_of_one_is_that_model():
    alone = starting_from("toy-soft").learning
    assert alone.model == "toy-soft"
    assert alone.candidates is None

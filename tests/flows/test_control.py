"""Jobs are told by their fields, stores and clocks by their thread: no name decides anything."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from campaign_runs import run_campaign
from frozen import report_tables
from jobflow import JobStore
from maggma.stores import MemoryStore

from lycb_flows.campaign import costs_of_jobs
from lycb_flows.campaign.cost import plan_campaign
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.rounds import closed_by
from lycb_flows.campaign.submission import submit
from lycb_flows.flows.campaign import campaign_flow, stage_flow
from lycb_flows.flows.embedded import run_embedded
from lycb_flows.flows.routing import description_of
from lycb_flows.jobs.resources import working_on
from lycb_flows.report.page import write_report
from lycb_flows.schemas import Dataset, Made, Run
from lycb_flows.store import differences, open_store

pytestmark = pytest.mark.usefixtures("blank_figures")

# -- the plan ------------------------------------------------------------------------------


def test_the_plan_of_what_is_enumerated_is_the_same_and_reads_no_crystal(
    loop_campaign, loop_run, tmp_path, monkeypatch
):
    finished, submission, _ = loop_run
    new = open_store(tmp_path / "new")
    first = submit(new, loop_campaign)
    planned = plan_campaign(new, first.campaign, first.theory)
    monkeypatch.setattr("lycb_flows.campaign.listing.load_crystal", pytest.fail)
    assert plan_campaign(finished, submission.campaign, submission.theory) == planned


# -- names ---------------------------------------------------------------------------------


def run_described(store, campaign):
    """The submission, and the descriptions of the jobs that started and that ended."""
    submission, started, ended = submit(store, campaign), [], []

    def listener(job, finished):
        (ended if finished else started).append(job)

    run_embedded(store, campaign_flow(submission.campaign, submission.theory), listener)
    return submission, started, ended


@pytest.fixture
def renamed_run(loop_campaign, tmp_path, random_names):
    """The loop, each of whose jobs has a name that says nothing."""
    store = open_store(tmp_path / "renamed")
    submission, started, ended = run_described(store, loop_campaign)
    assert {job.name for job in ended} == set(random_names)
    return store, submission, started, ended


def test_a_campaign_of_renamed_jobs_has_the_same_facts_progress_and_report(
    renamed_run, loop_run, tmp_path
):
    store, submission, started, ended = renamed_run
    reference, same, _ = loop_run
    assert not any(differences(reference, store).values())
    planned = costs_of_jobs(plan_campaign(store, submission.campaign, submission.theory))
    assert started == ended
    assert len(ended) == len(planned)
    assert set(ended) == set(planned)
    categories = {job: job.category for job in planned}
    assert {job: job.category for job in ended} == categories
    pages = [
        write_report(
            one, "loop", find_results(one, which.campaign, which.theory).document_keys(), folder
        )
        for one, which, folder in (
            (store, submission, tmp_path / "a"), (reference, same, tmp_path / "b")
        )
    ]  # fmt: skip
    assert report_tables(pages[0]) == report_tables(pages[1])


def additions(store, plan):
    """The label jobs of a stage that go on when all of them run again: part -> what is added."""
    outputs = JobStore(MemoryStore())
    outputs.connect()
    added = {}
    with working_on(store):
        for job, _ in stage_flow(plan).iterflow():
            description = description_of(job)
            if description.step == "label":
                flow = job.run(outputs).addition
                if flow is not None:
                    added[description.part] = [
                        description_of(one).step for one, _ in flow.iterflow()
                    ]
    return added


def test_exactly_the_renamed_label_that_closed_a_stage_goes_on_again(renamed_run):
    store, submission, _, _ = renamed_run
    stages = find_results(store, submission.campaign, submission.theory).stages
    for plan in stages:
        closer = closed_by(plan, store.load(Dataset, plan.dataset_key))
        follows = additions(store, plan)
        assert list(follows) == [closer]
        first = "md" if plan.index < 0 else "train"
        assert follows[closer][0] == first


def test_a_stage_that_another_closed_goes_on_by_its_last_label(renamed_run, tmp_path):
    finished, submission, _, _ = renamed_run
    plan = find_results(finished, submission.campaign, submission.theory).stages[1]
    closed = finished.load(Dataset, plan.dataset_key)
    last = plan.label_jobs()[-1]
    for number, part in enumerate(("", "0001 again 20261128-120000", "0099")):
        made = closed.made.model_copy(update={"part": part})
        store = copy_without(finished, tmp_path / str(number), closed, made)
        assert list(additions(store, plan)) == [last.part]


def test_datasets_of_before_say_by_the_name_of_their_job_who_goes_on(loop_run, tmp_path):
    finished, submission, _ = loop_run
    plan = find_results(finished, submission.campaign, submission.theory).stages[1]
    closed = finished.load(Dataset, plan.dataset_key)
    for job, goes_on in (
        ("label r00 200 K 0001", "0001"),
        ("label r00 200 K 0001 again 20261128-120000", plan.label_jobs()[-1].part),
        ("reaper", plan.label_jobs()[-1].part),
    ):
        made = Made.model_validate(closed.made.model_dump(exclude={"part"}) | {"job": job})
        store = copy_without(finished, tmp_path / job, closed, made)
        assert list(additions(store, plan)) == [goes_on]


def copy_without(finished, folder, closed, made):
    """A store with what the first round needs, whose dataset was made otherwise."""
    store = open_store(folder)
    documents = [finished.find_document(key) for key in finished.ancestors(closed.key)]
    store.insert_all([one for one in documents if one is not None])
    store.insert(closed.model_copy(update={"made": made}))
    for blob in (finished.folder / "blobs").rglob("*"):
        target = store.folder / "blobs" / blob.relative_to(finished.folder / "blobs")
        if blob.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(blob, target)
    return store


# -- threads -------------------------------------------------------------------------------


def test_two_campaigns_in_two_threads_with_two_stores_do_not_mix(
    loop_run, loop_campaign, tmp_path, monkeypatch
):
    monkeypatch.setenv("LYCB_STORE", str(tmp_path / "nobodys"))
    reference, _, names = loop_run
    other = loop_campaign.model_copy(update={"name": "other", "seed": loop_campaign.seed + 1})

    def run(name, campaign):
        store = open_store(tmp_path / name)
        submission, started, ended = run_described(store, campaign)
        store.close()
        return submission, started, ended

    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run, *one) for one in (("a", loop_campaign), ("b", other))]
        outcomes = [one.result() for one in runs]
    assert os.environ["LYCB_STORE"] == str(tmp_path / "nobodys")
    assert not (tmp_path / "nobodys").exists()
    stores = [open_store(tmp_path / name) for name in "ab"]
    assert not any(differences(reference, stores[0]).values())
    for store, (submission, started, ended) in zip(stores, outcomes, strict=True):
        assert started == ended
        assert [job.name for job in ended] == names
        assert len(find_results(store, submission.campaign, submission.theory).rounds) == 3
    runs_of = [{run.key for run in store.find_all(Run)} for store in stores]
    assert len(runs_of[0]) == len(runs_of[1])
    assert not runs_of[0] & runs_of[1]


def test_a_finished_campaign_is_found_from_another_thread(loop_campaign, tmp_path):
    store = open_store(tmp_path / "store")
    run_campaign(store, loop_campaign, ranking_only=True)
    n_attempts = len(store.attempts())

    def again():
        mine = open_store(tmp_path / "store")
        run_campaign(mine, loop_campaign, ranking_only=True)
        return len(mine.attempts())

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(again).result() == n_attempts

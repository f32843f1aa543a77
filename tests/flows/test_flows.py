"""The loop: its jobs travel, its labels may fail or hang, and nothing is done twice."""

import shutil
import time
from collections import Counter

import bson
import pytest
from campaign_runs import run_campaign
from fireworks import Firework
from job_names import category_by_name, step_by_name
from jobflow import JobStore
from jobflow.managers.fireworks import flow_to_workflow
from maggma.stores import MemoryStore
from monty.json import MontyDecoder
from places import CAMPAIGNS

from lycb_flows.campaign.cost import plan_campaign
from lycb_flows.campaign.descriptions import choose_job
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.rounds import close_stage, label_status, refuse_overlap
from lycb_flows.campaign.students import StudentPlan
from lycb_flows.campaign.submission import read_campaign
from lycb_flows.config import StudentConfig
from lycb_flows.errors import InputError, LycbError, MachineError, PhysicsError
from lycb_flows.flows import (
    campaign as flows,
    makers as flow_makers,
    measurement as measurement_flows,
    structures as structure_flows,
)
from lycb_flows.flows.campaign import (
    ChooseMaker,
    DecideMaker,
    LabelMaker,
    after_stage,
    campaign_flow,
    stage_flow,
)
from lycb_flows.flows.measurement import measurement_flow
from lycb_flows.flows.routing import make_job, route
from lycb_flows.flows.structures import AnchorMaker, DftRelaxMaker, GroundStatesMaker
from lycb_flows.labels.teacher import Teacher
from lycb_flows.quantities.plan import MeasurementPlan
from lycb_flows.relaxation import by_model
from lycb_flows.report.page import write_report
from lycb_flows.schemas import (
    Arrhenius,
    CampaignRecord,
    Dataset,
    Evaluation,
    Frames,
    Label,
    Model,
    Ordering,
    Parent,
    Produced,
    Ranking,
    Run,
    Structure,
    TestSet,
    Transport,
)
from lycb_flows.service.launchpad.faults import machine_fault
from lycb_flows.store import differences, open_store

pytestmark = pytest.mark.usefixtures("blank_figures")


def all_flows(store, submission):
    """Every flow that the finished campaign was made of."""
    campaign, theory = submission.campaign, submission.theory
    found = find_results(store, campaign, theory)
    yield campaign_flow(campaign, theory)
    for plan in found.stages:
        yield stage_flow(plan)
        yield after_stage(plan, store.load(Dataset, plan.dataset_key))
    keys = [one.key for one in found.rounds]
    choosing = ChooseMaker(campaign=campaign, theory=theory, rounds=keys)
    yield route(flows.Flow([make_job(choose_job(), choosing)]), priority=0)
    starts, model = found.stages[0].starts, found.rounds[-1].model
    student = StudentPlan(
        config=StudentConfig(),
        teacher=model,
        starts=tuple(starts.values()),
        temperatures_k=campaign.measure.temperatures_k,
    )
    yield measurement_flow(
        MeasurementPlan(campaign=campaign, starts=starts, model=model), student=student
    )


def choosing_flow(store, submission):
    """What follows the test labels of a campaign that names two models to start from."""
    plan = find_results(store, submission.campaign, submission.theory).stages[0]
    models = {"candidates": (plan.model, "0" * 64)}
    learning = plan.campaign.learning.model_copy(update=models)
    campaign = plan.campaign.model_copy(update={"learning": learning})
    dataset = store.load(Dataset, plan.dataset_key)
    return after_stage(plan.model_copy(update={"campaign": campaign}), dataset)


def words(*texts):
    return set(" ".join(texts).split())


def jobs_of(flow):
    return [job for job, _ in flow.iterflow()]


def test_every_maker_survives_the_road_to_a_worker(loop_run):
    store, submission, _ = loop_run
    makers = set()
    for flow in (*all_flows(store, submission), choosing_flow(store, submission)):
        before = {job.uuid: (job.maker, job.function_kwargs) for job in jobs_of(flow)}
        workflow = flow_to_workflow(flow, store=None)
        for firework in workflow.fws:
            travelled = bson.decode(bson.encode(firework.to_db_dict()))
            spec = Firework.from_dict(travelled).to_dict()["spec"]
            job = MontyDecoder().process_decoded(spec["_tasks"][0]["job"])
            assert (job.maker, job.function_kwargs) == before[job.uuid]
            makers.add(type(job.maker))
    ours = {
        one
        for module in (flows, flow_makers, measurement_flows, structure_flows)
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, flows.Maker) and one is not flows.Maker
    }
    by_dft = {AnchorMaker, DftRelaxMaker, GroundStatesMaker}  # their road: test_dft_flows.py
    assert makers == ours - by_dft


def test_in_a_three_round_loop_every_job_has_a_unique_name_a_schema_and_a_route(loop_run):
    store, submission, names = loop_run
    assert [name for name, count in Counter(names).items() if count > 1] == []
    categories = {}
    for flow in all_flows(store, submission):
        for job in jobs_of(flow):
            assert issubclass(job.output_schema, Produced)
            categories[job.name] = job.config.manager_config["_category"]
            assert job.metadata["category"] == categories[job.name] == category_by_name(job.name)
            assert job.metadata["step"] == step_by_name(job.name)
            assert words(job.metadata["system"], job.metadata["part"]) <= words(job.name)
    assert set(names) <= set(categories) | {"evaluate final"}
    assert categories["label r00 200 K 0000"] == "dft"
    assert categories["md npt r00 200 K 00"] == "gpu"
    assert categories["train r02 600 K"] == "gpu"
    assert categories["decide r01 400 K"] == "light"
    assert categories["begin"] == "light"


def test_what_a_deciding_job_adds_keeps_its_own_route(loop_run):
    store, submission, _ = loop_run
    for flow in all_flows(store, submission):
        deciding = [job for job in jobs_of(flow) if isinstance(job.maker, LabelMaker | DecideMaker)]
        assert not any(job.config.pass_manager_config for job in deciding)


def test_what_is_added_by_a_job_that_ran_has_its_own_category(loop_run, monkeypatch):
    store, submission, _ = loop_run
    monkeypatch.setenv("LYCB_STORE", store.address)
    flow = campaign_flow(submission.campaign, submission.theory)
    begin = next(job for job in jobs_of(flow) if job.name == "begin")
    outputs = JobStore(MemoryStore())
    outputs.connect()
    added = jobs_of(begin.run(outputs).addition)
    categories = {job.config.manager_config["_category"] for job in added}
    assert categories == {"gpu", "dft", "light"}
    assert all(job.config.manager_config["_priority"] < 10_000 for job in added)


def test_the_plan_names_exactly_the_jobs_that_ran(loop_run):
    store, submission, names = loop_run
    steps = plan_campaign(store, submission.campaign, submission.theory)
    assert sorted(job.name for step in steps for job in step.jobs) == sorted(names)


def test_no_key_has_two_successful_attempts_and_a_rerun_computes_nothing(loop_run):
    store, _, names = loop_run
    done = Counter(one.key for one in store.attempts(outcome="done"))
    assert max(done.values()) == 1
    n_attempts = len(store.attempts())
    _, again = run_campaign(store, read_campaign(CAMPAIGNS / "loop.yaml"))
    assert sorted(again) == sorted(names)
    assert len(store.attempts()) == n_attempts


def test_two_runs_of_a_campaign_have_the_same_facts(loop_run, loop_campaign, tmp_path):
    store, _, _ = loop_run
    other = open_store(tmp_path)
    run_campaign(other, loop_campaign)
    assert not any(differences(store, other).values())


def test_every_number_leads_back_to_a_cif(loop_run):
    store, submission, _ = loop_run
    found = find_results(store, submission.campaign, submission.theory)
    for key in found.document_keys():
        kinds = {store.find_document(one).kind for one in store.ancestors(key)}
        assert {"parent", "enumeration"} <= kinds
    transport_kinds = {
        store.find_document(one).kind for one in store.ancestors(found.documents(Transport)[0].key)
    }
    assert {"run", "segment", "model", "dataset", "label", "frames", "parent"} <= transport_kinds


def test_each_round_learns_from_all_labels_before_it(loop_run):
    store, submission, _ = loop_run
    rounds = find_results(store, submission.campaign, submission.theory).rounds
    seen = [
        {*dataset.training_labels, *dataset.validation_labels}
        for dataset in (store.load(Dataset, one.dataset) for one in rounds)
    ]
    assert [one.temperature_k for one in rounds] == [200.0, 400.0, 600.0]
    assert seen[0] < seen[1] < seen[2]
    assert len(seen[0]) == 4
    tests = [store.load(Dataset, one.dataset).test_sets for one in rounds]
    assert len(tests[0]) == 1
    assert set(tests[0]) < set(tests[1]) < set(tests[2])


def test_training_and_evaluation_refuse_what_the_other_has(loop_run):
    store, submission, _ = loop_run
    rounds = find_results(store, submission.campaign, submission.theory).rounds
    dataset = store.load(Dataset, rounds[0].dataset)
    (test_set,) = dataset.test_sets
    test_label = store.load(TestSet, test_set).labels[0]
    with pytest.raises(LycbError, match="in a test set"):
        refuse_overlap(store, [*dataset.training_labels, test_label], [test_set])
    refuse_overlap(store, dataset.training_labels, [test_set])


def broken_structure(loop_run):
    """The structure of one training frame of round 0, the same in every run of the campaign."""
    finished, submission, _ = loop_run
    plan = find_results(finished, submission.campaign, submission.theory).stages[1]
    return finished.load(Frames, plan.frames_key).frames[1].structure


def with_labels(campaign, **labels):
    return campaign.model_copy(update={"labels": campaign.labels.model_copy(update=labels)})


def test_a_label_that_fails_for_good_leaves_a_round_that_closes(
    loop_run, loop_campaign, tmp_path, monkeypatch
):
    store = open_store(tmp_path)
    bad = broken_structure(loop_run)
    label = Teacher.label

    def failing(self, structure):
        if structure.key == bad:
            raise PhysicsError("no convergence", fix="give up")
        return label(self, structure)

    monkeypatch.setattr(Teacher, "label", failing)
    submission, _ = run_campaign(store, with_labels(loop_campaign, quorum=0.5, max_attempts=3))
    found = find_results(store, submission.campaign, submission.theory)
    assert len(found.rounds) == 3
    dataset = store.load(Dataset, found.rounds[0].dataset)
    (missing,) = dataset.missing
    failures = store.attempts(missing, "failed")
    assert [one.reason for one in failures] == ["no convergence: give up"] * 3


def test_a_machine_that_cannot_label_spends_no_try_and_another_goes_on(
    loop_run, loop_campaign, tmp_path, monkeypatch
):
    store, bad, label = open_store(tmp_path), broken_structure(loop_run), Teacher.label

    def lacking(self, structure):
        if structure.key == bad:
            raise InputError("GPAW is not installed", fix="install it")
        return label(self, structure)

    monkeypatch.setattr(Teacher, "label", lacking)
    with pytest.raises(MachineError, match=r"no label can be made here.*not installed") as caught:
        run_campaign(store, loop_campaign)
    assert "\n" not in str(caught.value)
    assert machine_fault(caught.value) == f"MachineError: {caught.value}"
    assert [one for one in store.attempts(outcome="failed") if one.kind == Label.kind] == []
    monkeypatch.setattr(Teacher, "label", label)
    submission, _ = run_campaign(store, loop_campaign)
    found = find_results(store, submission.campaign, submission.theory)
    assert [store.load(Dataset, one.dataset).missing for one in found.rounds] == [()] * 3


def test_a_label_that_never_ends_is_stopped_and_leaves_a_round_that_closes(
    loop_run, loop_campaign, tmp_path, monkeypatch
):
    store = open_store(tmp_path)
    bad = broken_structure(loop_run)
    label = Teacher.label

    def hanging(self, structure):
        while structure.key == bad:
            time.sleep(60)
        return label(self, structure)

    monkeypatch.setattr(Teacher, "label", hanging)
    campaign = with_labels(loop_campaign, quorum=0.5, max_attempts=1, timeout_s=0.5)
    submission, _ = run_campaign(store, campaign)
    rounds = find_results(store, submission.campaign, submission.theory).rounds
    assert len(rounds) == 3
    (missing,) = store.load(Dataset, rounds[0].dataset).missing
    assert "took too long" in store.attempts(missing, "failed")[0].reason


def test_a_label_still_running_elsewhere_holds_nothing(
    loop_run, loop_campaign, tmp_path, monkeypatch
):
    store = open_store(tmp_path)
    late = broken_structure(loop_run)
    label = LabelMaker._label
    left_alone = []

    def running_elsewhere(self, store, structure, key):
        if structure == late:
            left_alone.append(key)
            return "running elsewhere"
        return label(self, store, structure, key)

    monkeypatch.setattr(LabelMaker, "_label", running_elsewhere)
    campaign = with_labels(loop_campaign, quorum=0.5, grace_s=0.0)
    submission, _ = run_campaign(store, campaign)
    found = find_results(store, submission.campaign, submission.theory)
    assert len(found.rounds) == 3
    assert left_alone
    assert set(left_alone) <= set(store.load(Dataset, found.rounds[0].dataset).missing)
    assert set(label_status(store, found.stages[1]).pending) == set(left_alone)


def test_the_reaper_closes_after_the_grace_time_and_not_before(loop_run, tmp_path):
    finished, submission, _ = loop_run
    plan = find_results(finished, submission.campaign, submission.theory).stages[1]
    store = open_store(tmp_path)
    frames = finished.load(Frames, plan.frames_key)
    done = [finished.load(Label, key) for key in label_status(finished, plan).done]
    store.insert_all([frames, *done[:-1]])

    def with_grace(seconds):
        campaign = with_labels(plan.campaign, quorum=0.5, grace_s=seconds)
        return plan.model_copy(update={"campaign": campaign})

    assert close_stage(store, with_grace(3600.0), "reaper") is None
    dataset = close_stage(store, with_grace(0.0), "reaper")
    assert dataset.made.job == "reaper"
    assert dataset.missing == (done[-1].key,)
    assert close_stage(store, with_grace(0.0), "another") == dataset


def test_too_many_failed_labels_stop_the_campaign_with_one_clear_message(
    loop_campaign, tmp_path, monkeypatch
):
    def failing(_labeler, structure):
        raise PhysicsError("the licence has expired", fix="renew it", structure=structure.key[:6])

    monkeypatch.setattr(Teacher, "label", failing)
    store = open_store(tmp_path)
    with pytest.raises(LycbError, match=r"too many labels failed.*licence has expired") as caught:
        run_campaign(store, loop_campaign)
    assert "\n" not in str(caught.value)
    assert store.attempts(outcome="failed")


def test_documents_of_a_campaign_are_small(loop_run):
    store, _, _ = loop_run
    for kind in (CampaignRecord, Evaluation, Frames, Label, Model, Parent, Run, Structure):
        for document in store.find_all(kind):
            assert len(document.model_dump_json()) < 100_000


def test_a_changed_measurement_reuses_the_loop_and_a_run_that_explodes_is_a_result(
    loop_run, loop_campaign, tmp_path
):
    finished, _, _ = loop_run
    shutil.copytree(finished.folder, tmp_path / "store")
    store = open_store(tmp_path / "store")
    n_attempts = len(store.attempts())
    measurement = loop_campaign.measure.model_copy(update={"temperatures_k": (200_000.0,)})
    submission, _ = run_campaign(store, loop_campaign.model_copy(update={"measure": measurement}))
    new = store.attempts()[n_attempts:]
    assert {attempt.kind for attempt in new} == {
        "campaign",
        "run",
        "segment",
        "transport",
        "arrhenius",
    }
    found = find_results(store, submission.campaign, submission.theory)
    (transport,) = found.documents(Transport)
    assert not transport.healthy
    assert "left physics" in transport.estimate.reason
    assert transport.estimate.diffusivity_m2_per_s is None
    assert transport.estimate.diffusivity_upper_m2_per_s is None
    (fit,) = found.documents(Arrhenius)
    assert not fit.fitted
    report = write_report(store, "loop", found.document_keys(), tmp_path / "report")
    assert "left physics" in report.read_text()


def test_a_mobile_species_that_is_not_there_is_refused_before_anything_runs(
    loop_campaign, tmp_path
):
    diffusion = loop_campaign.measure.diffusion.model_copy(update={"mobile_species": "Na"})
    measurement = loop_campaign.measure.model_copy(update={"diffusion": diffusion})
    campaign = loop_campaign.model_copy(update={"measure": measurement})
    store = open_store(tmp_path)
    with pytest.raises(InputError, match="mobile species"):
        run_campaign(store, campaign)
    assert list(store.find_all(CampaignRecord)) == []


def test_a_candidate_that_flies_apart_is_counted_and_the_others_are_ranked(
    loop_run, loop_campaign, tmp_path, monkeypatch
):
    finished, _, _ = loop_run
    best = next(iter(finished.find_all(Ranking))).best[0]
    gone = finished.load(Ordering, best.ordering).structure
    relax_many = by_model.relax_many

    def exploding(structures, potential, config):
        outcomes = relax_many(structures, potential, config)
        for structure, outcome in zip(structures, outcomes, strict=True):
            lost = PhysicsError("atoms without a neighbour", fix="check the structure")
            yield lost if structure.key == gone else outcome

    monkeypatch.setattr(by_model, "relax_many", exploding)
    store = open_store(tmp_path)
    run_campaign(store, loop_campaign, ranking_only=True)
    (ranking,) = store.find_all(Ranking)
    assert ranking.n_candidates == 10
    assert ranking.n_not_converged == next(iter(finished.find_all(Ranking))).n_not_converged + 1
    assert best.ordering not in {row.ordering for row in ranking.best}
    (failure,) = store.attempts(outcome="failed")
    assert "without a neighbour" in failure.reason

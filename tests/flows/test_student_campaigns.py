"""Students in campaigns: made from a teacher, certified, and measuring in place of the model."""

import json
import shutil

import pytest
from ase.build import bulk
from campaign_runs import run_campaign
from html_page import Page
from places import CAMPAIGNS

from lycb_flows.campaign import campaign_status
from lycb_flows.campaign.cost import plan_campaign
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.students import StudentPlan, student_plan
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.cli.progress import live_progress
from lycb_flows.config import StudentConfig
from lycb_flows.crystals import canonical_structure
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.flows.embedded import run_embedded
from lycb_flows.jobs.distilling import DistilMaker, refuse_bare
from lycb_flows.learning.students.certificate import Certificate
from lycb_flows.potentials.models import find_model
from lycb_flows.report.page import write_report
from lycb_flows.schemas import CampaignRecord, Label, Model, Run, StudentCondition, Transport
from lycb_flows.store import open_store

FILE = CAMPAIGNS / "student.yaml"
PLAN = StudentPlan(
    config=StudentConfig(), teacher="1" * 64, starts=("2" * 64,), temperatures_k=(300.0,)
)


@pytest.fixture(scope="module")
def found(student_run):
    store, submission, _ = student_run
    return find_results(store, submission.campaign, submission.theory)


def test_the_student_measures_and_its_runs_are_its_own(student_run, found):
    store, submission, names = student_run
    student = found.student
    assert [document.model for document in found.documents(Transport)] == [student.model]
    model = store.load(Model, student.model)
    assert (model.source, model.architecture) == ("distilled", "nep")
    assert student.teacher == model.parent_model == found.rounds[-1].model
    assert student.n_given == submission.campaign.learning.selection.n_frames
    planned = plan_campaign(store, submission.campaign, submission.theory)
    assert sorted(names) == sorted(job.name for step in planned for job in step.jobs)
    assert names.index("evaluate final") < names.index("distil")
    assert names.index("distil") < names.index("md npt production 00")


def test_a_diffusivity_leads_back_to_the_labels_behind_the_teacher(student_run, found):
    store, submission, _ = student_run
    (transport,) = found.documents(Transport)
    behind = [store.find_document(key) for key in store.ancestors(transport.key)]
    theories = {document.theory_name for document in behind if isinstance(document, Label)}
    teacher = store.load(Model, found.student.teacher)
    assert submission.theory.name in theories
    assert any(teacher.name in name for name in theories)
    assert found.rounds[-1].dataset in {document.key for document in behind}


def test_the_certificate_says_where_it_was_looked_at(found):
    student = found.student
    assert [(c.temperature_k, c.ensemble) for c in student.conditions] == [
        (150.0, "nvt"), (150.0, "npt"),
    ]  # fmt: skip
    assert all(condition.errors.n_labels == 2 for condition in student.conditions)
    assert student.on_labels.n_labels == 2
    assert student.largest_grade > 0
    assert abs(student.drift_ev_per_atom_per_ps) < 1e-3


def test_nothing_is_measured_by_a_student_without_a_certificate(student_run, found, tmp_path):
    original, submission, _ = student_run
    shutil.copytree(original.address, tmp_path / "copy")
    store = open_store(tmp_path / "copy")
    store.retract(found.student.key, "test")
    bare = find_results(store, submission.campaign, submission.theory)
    assert found.measured["diffusion"]
    assert bare.measured == {}
    assert campaign_status(store, submission)["student"] == []


@pytest.mark.usefixtures("blank_figures")
def test_report_and_status_say_what_is_known_and_what_is_not(student_run, found, tmp_path):
    store, submission, _ = student_run
    page = Page(write_report(store, "student", found.document_keys(), tmp_path))
    first = page.text[: page.text.index("Enumeration")]
    assert "Its dynamics were not compared with those of toy r00 200 K" in first
    assert "statics rest on 4 frames at a temperature, fewer than 50" in first
    assert "toy r00 200 K (a potential" not in page.text  # its labels are no level of theory
    assert "Statics" in page.text
    runs = list(store.find_all(Run, model=found.student.model))
    beyond = [run for run in runs if run.largest_grade > found.student.largest_grade]
    sentence = f"{len(beyond)} of 2 runs of the student went beyond the grades of its certificate"
    assert (sentence in first) == bool(beyond)
    status = campaign_status(store, submission)["student"]
    assert status[0] == f"of toy r00 200 K, {found.student.n_frames} frames"
    places = [line.partition(":")[0] for line in status[1:]]
    assert places == ["150 K nvt", "150 K npt 1 bar"]


def test_a_named_teacher_is_a_model_of_the_campaign(tmp_path):
    campaign = read_campaign(FILE)
    student = campaign.measure.student.model_copy(update={"teacher": "toy-teacher"})
    measure = campaign.measure.model_copy(update={"student": student})
    store = open_store(tmp_path)
    submission = submit(store, campaign.model_copy(update={"measure": measure}))
    key = find_model("toy-teacher").model.key
    plan = student_plan(submission.campaign, {"LYB": "2" * 64}, "3" * 64, ())
    assert plan.teacher == key
    assert key in submission.record.parents
    missing = student.model_copy(update={"teacher": "no-such-model"})
    measure = measure.model_copy(update={"student": missing})
    campaign = campaign.model_copy(update={"measure": measure})
    with pytest.raises(InputError, match="no such model"):
        submit(store, campaign)


def test_a_campaign_without_a_student_keeps_its_text_and_keys():
    campaign = read_campaign(CAMPAIGNS / "loop.yaml")
    assert "student" not in campaign.model_dump(mode="json")["measure"]
    assert "extrapolation_limit" not in json.dumps(campaign.model_dump(mode="json"))
    explicit = campaign.measure.model_copy(update={"student": None})
    stated = campaign.model_copy(update={"measure": explicit})
    assert CampaignRecord.key_of(stated) == CampaignRecord.key_of(campaign)


def test_what_only_the_certificate_needs_trains_no_other_student():
    def with_config(**changes):
        return PLAN.model_copy(update={"config": PLAN.config.model_copy(update=changes)})

    more = with_config(certified_frames=60)
    assert more.model_key == PLAN.model_key
    assert more.key != PLAN.key
    assert with_config(updates=100).model_key != PLAN.model_key
    judged = PLAN.model_copy(update={"dataset": "4" * 64})
    assert judged.model_key == PLAN.model_key
    assert judged.key != PLAN.key


def test_statics_that_are_missing_are_refused_in_one_line():
    lost = StudentCondition(
        temperature_k=600.0, ensemble="nvt", errors=None, largest_grade=0.0, failures=("melted",)
    )
    with pytest.raises(PhysicsError, match=r"without statics measures nothing.*melted"):
        refuse_bare(Certificate((lost,), None, 0.0, None))
    with pytest.raises(InputError, match="a student needs crystals"):
        DistilMaker().make()


def test_runs_of_the_student_keep_their_largest_grade(student_run, found):
    store, _, _ = student_run
    (transport,) = found.documents(Transport)
    run = store.load(Run, transport.run)
    assert run.model == found.student.model
    assert run.largest_grade > 0
    learned = store.load(Run, found.rounds[0].runs[0])
    assert learned.largest_grade is None
    assert "largest_grade" not in learned.facts()


def test_a_command_that_runs_jobs_shows_how_far_a_student_is(student_run, tmp_path, capsys):
    finished, submission, _ = student_run
    config = StudentConfig(
        rattled_per_start=4, rounds=1, updates=8, run_ps=0.1, neurons=10, certified_frames=2
    )
    salt = canonical_structure(bulk("LiCl", "rocksalt", a=5.1, cubic=True))
    job = DistilMaker(student=config, temperatures_k=[150.0]).make([salt], "toy-soft")
    with live_progress(finished, submission):
        run_embedded(open_store(tmp_path), job, lambda _job, _finished: None)
    shown = capsys.readouterr().err
    assert "round 1: training on 4 frames, 2 updates" in shown
    assert "certificate: runs of the student" in shown


@pytest.mark.torture
def test_a_student_of_sevennet_measures_beside_a_chgnet_that_learns(tmp_path):
    store = open_store(tmp_path)
    submission, names = run_campaign(store, read_campaign(CAMPAIGNS / "fast_tiny.yaml"))
    found = find_results(store, submission.campaign, submission.theory)
    assert "distil" in names
    assert store.load(Model, found.student.teacher).name == "sevennet-0"
    assert store.load(Model, found.rounds[-1].model).architecture == "chgnet"
    assert {document.model for document in found.documents(Transport)} == {found.student.model}
    assert all(condition.errors.force_slope > 0.5 for condition in found.student.conditions)

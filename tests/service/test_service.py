"""A campaign as a user of the service sees it: submit, work, look, repair. The queue is real."""

import contextlib
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from campaign_runs import run_campaign
from job_names import category_by_name, step_by_name
from messages import assert_one_line
from places import CAMPAIGNS
from servers import MongoServer

from lycb_flows.campaign import rounds
from lycb_flows.campaign.descriptions import CATEGORIES
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.rounds import label_status
from lycb_flows.campaign.submission import find_submission, read_campaign
from lycb_flows.errors import LabelError
from lycb_flows.jobs import resources as machine
from lycb_flows.labels.teacher import Teacher
from lycb_flows.labels.vasp import labeler as vasp
from lycb_flows.labels.vasp.process import run_custodian
from lycb_flows.schemas import Dataset, Label, Round
from lycb_flows.service.launchpad import load_launchpad
from lycb_flows.store import differences, open_store
from lycb_flows.store.garbage import list_garbage

LOOP = CAMPAIGNS / "loop.yaml"
ALL = [word for category in CATEGORIES for word in ("--category", category)]


@pytest.fixture
def service(lycb, mongo_uri, launchpad_file, monkeypatch, tmp_path):
    """Run commands against a LaunchPad and a store of one's own."""
    monkeypatch.setenv("LYCB_STORE", mongo_uri)
    monkeypatch.setenv("LYCB_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("LYCB_PING_S", "1")
    monkeypatch.setenv("LYCB_MIN_FREE_GB", "0.01")

    def run(*words):
        return lycb(*words, "--launchpad", launchpad_file)

    yield run
    machine.open_kept(mongo_uri).close()  # of the jobs that ran in this process
    machine.open_kept.cache_clear()


@pytest.fixture
def store(mongo_uri):
    with contextlib.closing(open_store(mongo_uri)) as store:
        yield store


@pytest.fixture
def launchpad(launchpad_file):
    pad = load_launchpad(launchpad_file)
    yield pad
    pad.connection.close()


def work(service, *words):
    code, out, err = service("worker", "--nlaunches", 0, *(words or ALL))
    assert code == 0, err
    return out


def campaign_file(tmp_path, **changes):
    """loop.yaml with other sections."""
    content = yaml.safe_load(LOOP.read_text())
    for section, fields in changes.items():
        content[section] |= fields
    path = tmp_path / "campaign.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_submitted_campaign_gives_the_embedded_runs_facts_and_status_counts_its_jobs(
    service, store, launchpad, loop_run
):
    reference, _, names = loop_run
    assert "submitted" in service("submit", LOOP)[1]
    assert "nothing added" in service("submit", LOOP)[1]
    (before,) = json_lines(service("status", "--json"))
    assert before["jobs"] == {"light": {"READY": 1, "WAITING": 1}, "gpu": {"WAITING": 1}}
    work(service)
    check_status_of_the_finished(service)
    assert not any(differences(reference, store).values())
    jobs = list(launchpad.fireworks.find({}))
    assert sorted(job["name"] for job in jobs) == sorted(names)
    for job in jobs:
        assert job["spec"]["_category"] == job["spec"]["category"] == category_by_name(job["name"])
        assert job["spec"]["step"] == step_by_name(job["name"])
        assert job["spec"]["stage"] in {"structures", "measurement"} or (
            job["spec"]["stage"] in job["name"]
        )
    order = {job["name"]: job["spec"]["_priority"] for job in jobs}
    assert order["begin"] > order["md npt r00 200 K 00"] > order["md npt r01 400 K 00"]
    assert order["md npt r02 600 K 00"] > order["md npt production 00"]
    assert order["select r00 200 K"] > order["label r00 200 K 0000"]


def test_a_student_is_made_and_measures_on_a_launchpad(service, store, launchpad, student_run):
    """Teacher and learner are toys; `test_student_campaigns.py` has SevenNet and CHGNet."""
    reference, _, names = student_run
    service("submit", CAMPAIGNS / "student.yaml")
    work(service)
    assert not any(differences(reference, store).values())
    jobs = list(launchpad.fireworks.find({}))
    assert sorted(job["name"] for job in jobs) == sorted(names)
    (distil,) = (job for job in jobs if job["spec"]["step"] == "distil")
    assert distil["spec"]["_category"] == "gpu"


def check_status_of_the_finished(service):
    (after,) = json_lines(service("status", "loop", "--json"))
    assert sum(after["jobs"]["dft"].values()) == after["jobs"]["dft"]["COMPLETED"]
    assert len(after["rounds"]) == 3
    assert after["labels"]["r00 200 K"] == {"done": 4, "failed": 0, "pending": 0, "late": 0}
    assert after["done"].endswith("100% of the cost")
    assert "Status of loop" in service("status")[1]


def json_lines(result):
    code, out, err = result
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def test_a_second_campaign_with_the_same_first_round_computes_nothing_in_it(
    service, store, tmp_path
):
    service("submit", LOOP)
    work(service)
    found = find_submission(store, "loop")
    plans = find_results(store, found.campaign, found.theory).stages
    n_before = {one.key: one.number for one in store.attempts()}
    other = campaign_file(tmp_path, learning={"max_temperature_k": 400.0})
    content = yaml.safe_load(other.read_text()) | {"name": "shorter"}
    other.write_text(yaml.safe_dump(content))
    service("submit", other)
    work(service)
    again = [one for one in store.attempts() if one.key in n_before]
    assert len(again) == len(n_before)
    short = find_submission(store, "shorter")
    rounds = find_results(store, short.campaign, short.theory).rounds
    assert [one.temperature_k for one in rounds] == [200.0, 400.0]
    assert rounds[0].key in {one.key for one in store.find_all(Round)}
    shared = {plan.dataset_key for plan in plans} & {
        plan.dataset_key for plan in find_results(store, short.campaign, short.theory).stages
    }
    assert len(shared) == 3  # test, first and second round


def test_pause_resume_cancel_and_submit_again(service, launchpad):
    service("submit", LOOP)
    assert "3 jobs paused" in service("pause", "loop")[1]
    assert "no job is left" in work(service)
    assert launchpad.fireworks.count_documents({"state": "COMPLETED"}) == 0
    assert "3 jobs resumed" in service("resume", "loop")[1]
    service("worker", "--nlaunches", 2, *ALL)
    assert launchpad.fireworks.count_documents({"state": "COMPLETED"}) == 2
    assert "cancelled" in service("cancel", "loop")[1]
    assert "no job is left" in work(service)
    assert "submitted" in service("submit", LOOP)[1]
    work(service)
    (status,) = json_lines(service("status", "loop", "--json"))
    assert len(status["rounds"]) == 3


@pytest.mark.usefixtures("random_names")
def test_a_label_that_hangs_holds_nothing_the_reaper_closes_the_round(
    service, tmp_path, monkeypatch
):
    path = campaign_file(tmp_path, labels={"quorum": 0.5})
    over = []
    monkeypatch.setattr(rounds, "_grace_is_over", lambda *_: bool(over))
    service("submit", path)
    no_dft = ["--category", "light", "--category", "gpu", "--max-idle-s", 1]
    service("worker", *no_dft)
    service("worker", "--nlaunches", 2, "--category", "dft")  # the test stage's two labels
    for n_labels in (4, 6, 6):  # of each round, with the one that hung before: it comes late
        service("worker", *no_dft)
        service("worker", "--nlaunches", n_labels - 1, "--category", "dft")
        assert "closed stage" not in service("reap")[1]
        over.append(True)  # an hour later
        assert "closed stage" in service("reap")[1]
        over.clear()
        assert "closed stage" not in service("reap")[1]  # once
    service("worker", *no_dft)
    (status,) = json_lines(service("status", "--json"))
    assert len(status["rounds"]) == 3
    assert status["arrhenius"] == ["LYB 1 bar"]
    assert [one["pending"] for one in status["labels"].values()] == [0, 0, 0, 1]
    assert [one["late"] for one in status["labels"].values()] == [0, 1, 1, 0]


@pytest.mark.usefixtures("random_names")
def test_failed_labels_stop_with_one_message_and_relabel_goes_on(
    service, store, launchpad, tmp_path, monkeypatch
):
    path = campaign_file(tmp_path, labels={"quorum": 1.0, "max_attempts": 2})
    label, broken = Teacher.label, []

    def unlucky(teacher, structure):
        if not broken or structure.key in broken:
            broken.append(structure.key)
            raise LabelError("the SCF did not converge", fix="look at it")
        return label(teacher, structure)

    monkeypatch.setattr(Teacher, "label", unlucky)
    service("submit", path)
    work(service)
    failed = list(launchpad.fireworks.find({"state": "FIZZLED"}))
    assert len(failed) == 1
    (status,) = json_lines(service("status", "--json"))
    assert status["labels"]["test"]["failed"] == 1
    assert "too many labels failed" in service("reap")[1]
    assert {one.reason for one in store.attempts(outcome="failed")} == {
        "the SCF did not converge: look at it"
    }
    monkeypatch.setattr(Teacher, "label", label)
    assert "1 label submitted again" in service("relabel", path)[1]
    work(service)
    assert "given back" in service("reap")[1]  # the job that had said it
    work(service)
    assert_each_job_is_done_once(launchpad)
    (status,) = json_lines(service("status", "--json"))
    assert len(status["rounds"]) == 3
    assert status["done"].endswith("100% of the cost")
    assert "no label has failed" in service("relabel", path)[1]


def test_a_second_submission_tells_what_queued_jobs_keep_and_relabel_has_its_settings(
    service, launchpad, tmp_path, monkeypatch
):
    def fail(_teacher, _structure):
        raise LabelError("the SCF did not converge", fix="look at it")

    monkeypatch.setattr(Teacher, "label", fail)
    service("submit", campaign_file(tmp_path, labels={"max_attempts": 1}))
    work(service)
    patient = campaign_file(tmp_path, labels={"max_attempts": 3, "timeout_s": 7.0})
    said = service("submit", patient)[1]
    assert "nothing added; its jobs keep labels.max_attempts, labels.timeout_s: `lycb" in said
    assert "2 labels submitted again" in service("relabel", "loop")[1]
    queued = str(list(launchpad.fireworks.find({"state": "READY"}, {"spec._tasks": 1})))
    assert queued.count("'timeout_s': 7.0") == queued.count("'max_attempts': 3") >= 2
    same = service("submit", campaign_file(tmp_path, labels={"max_attempts": 1}))[1]
    assert same.strip().endswith("nothing added")


def assert_each_job_is_done_once(launchpad):
    jobs = list(launchpad.fireworks.find({}))
    assert {job["state"] for job in jobs} == {"COMPLETED"}
    what = [
        tuple(job["spec"][name] for name in ("stage", "step", "system", "part")) for job in jobs
    ]
    assert len(set(what)) == len(what)


def test_a_late_label_joins_the_next_rounds_dataset(service, store, tmp_path, monkeypatch):
    path = campaign_file(tmp_path, labels={"quorum": 0.5, "max_attempts": 1, "grace_s": 0.0})
    label, broken = Teacher.label, []

    def unlucky(teacher, structure):
        if len(list(store.find_all(Label))) == 3 and len(broken) == 0:
            broken.append(structure.key)
            raise LabelError("not now", fix="later")
        return label(teacher, structure)

    monkeypatch.setattr(Teacher, "label", unlucky)
    service("submit", path)
    while not broken:
        service("worker", "--nlaunches", 1, *ALL)
    submission = find_submission(store, str(path))
    service("relabel", path)
    work(service)
    found = find_results(store, submission.campaign, submission.theory)
    first, second = (store.find_document(one.dataset) for one in found.rounds[:2])
    late = Label.key_of(broken[0], submission.theory.fingerprint)
    assert late in first.missing
    assert late in {*second.training_labels, *second.validation_labels}
    assert label_status(store, found.stages[1]).failed == ()


def test_bad_input_is_one_line(service, lycb, launchpad_file, tmp_path):
    assert_one_line(service("cancel", "nothing"), "no such campaign")
    assert_one_line(service("worker", "--category", "gpus"), "no job has this category", "gpus")
    assert_one_line(lycb("submit", LOOP, "--launchpad", tmp_path / "no.yaml"), "no LaunchPad")
    folder = ["--store", tmp_path / "folder"]
    open_store(tmp_path / "folder").close()
    assert_one_line(
        lycb("submit", LOOP, *folder, "--launchpad", launchpad_file), "store that they all reach"
    )
    assert_one_line(
        lycb("submit", tmp_path / "none.yaml", "--launchpad", launchpad_file), "cannot read"
    )


@pytest.fixture
def locked(lycb, tmp_path, monkeypatch):
    """A server with a password, and commands that know it from the environment only."""
    with MongoServer(tmp_path / "locked", auth=True) as server:
        pad_file = tmp_path / "locked.yaml"
        content = server.launchpad("lycb_fw")
        content.pop("password")
        pad_file.write_text(yaml.safe_dump(content))
        uri = server.uri("lycb_results", user="lycb")
        monkeypatch.setenv("LYCB_STORE", uri)
        monkeypatch.setenv("LYCB_STORE_PASSWORD", server.password)
        monkeypatch.setenv("LYCB_LAUNCHPAD_PASSWORD", server.password)
        monkeypatch.setenv("LYCB_SCRATCH", str(tmp_path / "scratch"))
        monkeypatch.setenv("LYCB_MIN_FREE_GB", "0.01")
        yield server, lambda *words: lycb(*words, "--launchpad", pad_file)
        machine.open_kept(uri).close()
        machine.open_kept.cache_clear()


def dump(server):
    """Every document of both databases, as text."""
    with server.client() as client:
        return [
            str(row)
            for name in ("lycb_fw", "lycb_results")
            for collection in client[name].list_collection_names()
            for row in client[name][collection].find({})
        ]


def test_no_password_is_anywhere(locked, tmp_path, monkeypatch):
    server, run = locked

    def broken(_teacher, _structure):
        raise RuntimeError("a bug")  # a FIZZLED job leaves its folder, with a traceback

    monkeypatch.setattr(Teacher, "label", broken)
    said = [run("submit", LOOP), run("worker", "--nlaunches", 0, *ALL)]
    said += [run("status", "--json"), run("reap"), run("doctor")]
    scratch = tmp_path / "scratch"
    assert list(scratch.rglob("FW.json"))
    files = [path.read_text(errors="replace") for path in scratch.rglob("*") if path.is_file()]
    documents = dump(server)
    assert len(documents) > 50
    texts = [*documents, *files, str(said)]
    assert not [text for text in texts if server.password in text]
    monkeypatch.setenv("LYCB_LAUNCHPAD_PASSWORD", "the-wrong-one")
    result = run("submit", LOOP)
    assert_one_line(result, "refuses this user")
    assert "the-wrong-one" not in result[2]


def test_the_embedded_store_can_relabel_too(tmp_path, lycb, monkeypatch):
    campaign = read_campaign(campaign_file(tmp_path, labels={"quorum": 0.5, "max_attempts": 1}))
    store, label = open_store(tmp_path / "store"), Teacher.label

    def broken(_teacher, _structure):
        raise LabelError("not now", fix="later")

    def relabel():
        return lycb("relabel", campaign.name, "--store", store.address)

    monkeypatch.setattr(Teacher, "label", broken)
    with pytest.raises(Exception, match="too many labels failed"):
        run_campaign(store, campaign)
    n_labels = len(list(store.attempts(outcome="failed")))
    assert n_labels > 1
    assert_one_line(relabel(), "too many labels failed")
    assert len(list(store.attempts(outcome="failed"))) == 2 * n_labels
    monkeypatch.setattr(Teacher, "label", label)
    code, out, err = relabel()
    assert (code, f"{n_labels} labels tried again" in out) == (0, True), err
    (dataset,) = store.find_all(Dataset)
    assert (len(list(store.find_all(Label))), dataset.missing) == (n_labels, ())
    submission, _ = run_campaign(store, campaign)
    assert len(find_results(store, submission.campaign, submission.theory).rounds) == 3


# -- labels by VASP's stand-in -------------------------------------------------------------------


def run_with_fates(service, monkeypatch):
    """The campaign of vasp.yaml, whose labels meet these fates one after the other."""
    monkeypatch.setattr(vasp, "run", run_custodian_here)
    service("submit", CAMPAIGNS / "vasp.yaml")
    others = ["--category", "light", "--category", "gpu", "--max-idle-s", 1]
    service("worker", *others)  # to the test stage's labels
    for fate in ("edddav,once", "", "dentet,once", "killed,always", "", "zbrent,once"):
        monkeypatch.setenv("LYCB_STAND_IN_FAILS", fate)
        service("worker", "--nlaunches", 1, "--category", "dft")
        service("worker", *others)
    work(service)


@pytest.mark.usefixtures("quick_stand_in")
def test_labels_of_vasp_repaired_quarantined_and_killed_in_a_campaign(
    service, store, launchpad, monkeypatch
):
    run_with_fates(service, monkeypatch)
    assert {job["state"] for job in launchpad.fireworks.find({})} == {"COMPLETED"}
    found = find_submission(store, "vasp")
    (learned,) = find_results(store, found.campaign, found.theory).rounds
    dataset = store.find_document(learned.dataset)
    quarantined, killed = store.attempts(outcome="failed")
    assert re.match(r"quarantined.*KPOINTS: Gamma", quarantined.reason)
    assert "killed by SIGKILL" in killed.reason
    assert set(dataset.missing) == {quarantined.key, killed.key}
    labels = {label.key: label for label in store.find_all(Label)}
    tests = store.find_document(dataset.test_sets[0]).labels
    assert len(labels) == 4
    assert {*dataset.training_labels, *dataset.validation_labels, *tests} == set(labels)
    assert sorted(label.corrections for label in labels.values()) == [
        (), (), ("ALGO: Normal -> All", "ISEARCH: unset -> 1"),
        ("EDIFF: 1e-06 -> 1e-07", "NELMIN: unset -> 8"),
    ]  # fmt: skip
    assert {label.theory_name for label in labels.values()} == {found.theory.name}
    assert found.theory.name.startswith("vasp stand-in")
    assert all("vasp" in one.logs for one in store.attempts() if one.kind == "label")
    assert list_garbage(store, now=datetime.now(UTC) + timedelta(days=8)).blobs == ()


def run_custodian_here(folder, request, **_threads):
    """VASP is a process, custodian is this one: its imports are paid once."""
    return run_custodian(folder, request)

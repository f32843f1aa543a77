"""Finished runs exported, and imported into a fresh store: its campaign asks for no MD."""

import json
import shutil

import pytest
from campaign_runs import run_campaign
from places import CAMPAIGNS

from lycb_flows import schemas
from lycb_flows.campaign.export import write_labels
from lycb_flows.campaign.finished import export_runs, import_runs
from lycb_flows.campaign.importing import import_labels
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import read_campaign
from lycb_flows.errors import InputError, StoreError
from lycb_flows.store import open_store, trajectory_of

COMPUTED_ANEW = {
    *("campaign", "enumeration", "dataset", "test_set", "model", "evaluation", "round"),
    "arrhenius",  # a fit to the imported transports
}


@pytest.fixture(scope="module")
def exported(loop_run, tmp_path_factory):
    """The folder with the runs of the finished loop, and the file with its labels."""
    folder = tmp_path_factory.mktemp("exported")
    done = export_runs(loop_run[0], folder / "runs", "loop")
    assert not done.left_out
    assert done.n_bytes == sum(path.stat().st_size for path in (folder / "runs").iterdir())
    write_labels(loop_run[0], folder / "labels.extxyz", campaign="loop")
    return folder / "runs", folder / "labels.extxyz"


@pytest.fixture(scope="module")
def second(exported, tmp_path_factory):
    """A fresh store with both imported, after the campaign: (store, submission, job names)."""
    store = open_store(tmp_path_factory.mktemp("second"))
    runs, labels = exported
    imported = import_runs(store, runs)
    assert not imported.refused
    import_labels(store, labels)
    submission, names = run_campaign(store, read_campaign(CAMPAIGNS / "loop.yaml"))
    yield store, submission, names
    store.close()


def test_an_imported_run_says_that_it_has_no_trajectory(second):
    run = next(iter(second[0].find_all(schemas.Run)))
    with pytest.raises(StoreError, match=r"no trajectory here.*retract it"):
        trajectory_of(second[0], run)


def test_every_run_of_the_campaign_is_exported_small(loop_run, exported):
    store, _, _ = loop_run
    paths = list(exported[0].iterdir())
    runs = {path.stem.removeprefix("run-") for path in paths if path.name.startswith("run-")}
    assert runs == {run.key[:16] for run in store.find_all(schemas.Run)}
    assert any(path.name.startswith("transport-") for path in paths)
    sizes = [path.stat().st_size for path in paths if not path.name.startswith("ranking")]
    assert max(sizes) < 60_000


def test_a_second_campaign_asks_for_no_md_and_no_label(second):
    store, _, names = second
    assert {attempt.kind for attempt in store.attempts()} <= COMPUTED_ANEW
    assert any(name.startswith("md ") for name in names)  # the jobs find the runs
    assert not list(store.find_all(schemas.Segment))


def test_it_measures_the_same_numbers(loop_run, second):
    store, submission, _ = loop_run
    fresh = second[0]
    found = find_results(fresh, second[1].campaign, second[1].theory)
    (transport,) = found.documents(schemas.Transport)
    original = store.load(schemas.Transport, transport.key)
    assert transport.facts() == original.facts()
    assert transport.made == original.made.model_copy(update={"logs": {}})
    before = find_results(store, submission.campaign, submission.theory)
    assert [each.key for each in found.rounds] == [each.key for each in before.rounds]


def test_a_student_travels_and_measures_again_as_it_is(student_run, tmp_path):
    original, submission, _ = student_run
    export_runs(original, tmp_path / "runs", submission.campaign.name)
    store = open_store(tmp_path / "other")
    assert not import_runs(store, tmp_path / "runs").refused
    run_campaign(store, read_campaign(CAMPAIGNS / "student.yaml"))
    (student,) = original.find_all(schemas.Student)
    assert store.load(schemas.Student, student.key).facts() == student.facts()
    weights = [one.load(schemas.Model, student.model).weights for one in (original, store)]
    assert weights[0] == weights[1]
    assert store.blobs.read(weights[0]) == original.blobs.read(weights[0])
    assert not list(store.attempts(student.key))
    store.close()


def test_importing_again_adds_nothing(second, exported):
    again = import_runs(second[0], exported[0])
    assert not again.n_new
    assert not again.refused
    assert again.n_known > len(list(exported[0].iterdir()))  # structures too


def changed(exported, tmp_path, change):
    """The refusals of a transport's file after a change of its data, in a fresh store."""
    (source,) = exported[0].glob("transport-*.json")
    path = tmp_path / source.name
    shutil.copy(source, path)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with open_store(tmp_path / "store") as store:
        done = import_runs(store, path)
        assert not done.n_new
        assert not list(store.keys())
    return done.refused[path.name]


def test_files_that_are_not_right_are_refused_with_a_reason(exported, tmp_path, loop_run):
    def older(data):
        data["documents"][-1]["method_version"] = 1

    def without_lags(data):
        del data["documents"][-1]["facts"]["lags_ps"]

    assert "another version of the method" in changed(exported, tmp_path, older)
    assert "not a document of its kind" in changed(exported, tmp_path, without_lags)
    assert "not a file of" in changed(exported, tmp_path, lambda data: data.update(form="other"))
    (source,) = exported[0].glob("transport-*.json")
    other = tmp_path / "other.json"
    other.write_text(source.read_text().replace('"duration_ps": ', '"duration_ps": 1'))
    done = import_runs(loop_run[0], other)
    assert "other facts" in done.refused["other.json"]
    (tmp_path / "cut.json").write_text(source.read_text()[:200])
    assert "unreadable" in import_runs(loop_run[0], tmp_path / "cut.json").refused["cut.json"]
    with pytest.raises(InputError, match="no runs to import"):
        import_runs(loop_run[0], tmp_path / "absent")


def test_a_store_without_a_run_has_nothing_to_export(tmp_path):
    store = open_store(tmp_path / "store")
    with pytest.raises(InputError, match="no finished run"):
        export_runs(store, tmp_path / "runs")
    store.close()

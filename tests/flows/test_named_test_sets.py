"""Named test sets: frozen before any training, from runs of their own, judged by `benchmark`."""

import pytest
from campaign_runs import run_campaign
from html_page import Page, papers_panels
from places import CAMPAIGNS
from pydantic import ValidationError

from lycb_flows import schemas
from lycb_flows.campaign.cost import plan_campaign
from lycb_flows.campaign.ground_states import low_orderings
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import read_campaign
from lycb_flows.config import Campaign
from lycb_flows.report.page import write_report
from lycb_flows.store import open_store

pytestmark = pytest.mark.usefixtures("blank_figures")
SETS = {
    "near ground states": {"x": [3.0], "orderings": 2},
    "the same by another name": {"x": [3.0], "orderings": 2},
    "parents": {"temperatures_k": [300.0, 400.0], "n_frames": 2},
    "mixed halides": {"x": [3.0], "temperatures_k": [300.0], "n_frames": 3},
    "an end": {"x": [6.0], "orderings": 2},  # the parent has this x: a single decoration
    "the other end": {"x": [0.0], "orderings": 2},
}
N_LABELS = {
    "near ground states": 2,
    "the same by another name": 2,
    "parents": 8,
    "mixed halides": 3,
    "an end": 2,
    "the other end": 1,
}
CHLORIDE = {"name": "LYC", "parent": "Li3YCl6", "enumeration": {"supercell": [1, 1, 1]}}


def with_sets(sets, *others, **options):
    data = read_campaign(CAMPAIGNS / "loop.yaml").model_dump()
    data["systems"] = [*data["systems"], *others]
    data["systems"][0]["decorations"] = [
        {"x": 3.0, "cap": 10, "n_samples": 2}, {"x": 0.0}, {"x": 6.0},
    ]  # fmt: skip
    data["ranking"]["n_fine"] = 2
    data["learning"] |= {"max_temperature_k": 400.0}
    data["learning"]["test"]["sets"] = sets
    data["measure"]["decorations"] = False
    data["measure"]["quantities"] = {
        "benchmark": {"scratch_updates": None, "models": ["toy-teacher"], **options}
    }
    return Campaign.model_validate(data)


@pytest.fixture(scope="module")
def tested(tmp_path_factory):
    """The finished campaign: (store, submission, its results)."""
    store = open_store(tmp_path_factory.mktemp("sets"))
    submission, _ = run_campaign(store, with_sets(SETS, CHLORIDE))
    yield store, submission, find_results(store, submission.campaign, submission.theory)
    store.close()


def test_each_set_is_frozen_with_its_labels_before_the_first_training(tested):
    store, _, results = tested
    before = store.load(schemas.Dataset, results.stages[0].dataset_key)
    found = {each.name: each for each in (store.load(schemas.TestSet, k) for k in before.test_sets)}
    assert {name: each.n_labels for name, each in found.items()} == {"test": 4, **N_LABELS}
    assert len(results.rounds) == 2
    for each in results.rounds:
        dataset = store.load(schemas.Dataset, each.dataset)
        assert set(before.test_sets) <= set(dataset.test_sets)
        trained = {*dataset.training_labels, *dataset.validation_labels}
        assert not trained & {label for test in found.values() for label in test.labels}


def test_their_frames_are_of_runs_of_their_own_or_of_rankings(tested):
    store, _, results = tested
    plan = results.stages[0]
    frames = store.load(schemas.Frames, plan.frames_key).frames
    trains = {run for each in results.rounds for run in each.runs}
    for name in ("parents", "mixed halides"):
        runs = {schemas.Run.key_of(run) for run in plan.set_runs()[name]}
        assert {frame.run for frame in frames if frame.test_set == name} == runs
        assert not runs & (trains | {schemas.Run.key_of(run) for run in plan.own_test_runs()})
    mixed = [store.load(schemas.Run, run) for run in runs]
    species = store.load(schemas.Structure, mixed[0].start_structure).species
    assert species.count("Cl") == species.count("Br") > 0
    ranked = [frame.structure for frame in frames if frame.test_set == "near ground states"]
    assert ranked[0] == results.rankings["LYB-x3"].ground_state
    assert len(set(ranked)) == 2


def test_a_set_at_the_parents_composition_takes_the_parents_orderings_too(tested):
    store, submission, results = tested
    rows = results.stages[0].set_orderings()
    of_set = {name: [key for _, key in rows[name]] for name in rows}
    parents = [row.structure for row in results.rankings["LYB"].best]
    assert of_set["an end"] == [results.rankings["LYB-x6"].ground_state, parents[1]]
    assert of_set["the other end"] == [results.rankings["LYB-x0"].ground_state]
    planned = plan_campaign(store, submission.campaign, submission.theory)
    (labels,) = [step for step in planned if step.jobs[0].name.startswith("label test")]
    assert len(labels.jobs) == results.stages[0].n_labels == 4 + sum(N_LABELS.values())


def test_after_the_orderings_that_dft_looked_at_come_the_rankings_others():
    def row(name, **facts):
        return schemas.RankedCandidate.model_construct(
            ordering=name, structure=f"{name} by model", volume_flag=False, **facts
        )

    def by_dft(name, structure):
        return schemas.DftCandidate.model_construct(
            ordering=name, structure=structure, model_volume_flag=False
        )

    ranking = schemas.Ranking.model_construct(best=(row("a"), row("b"), row("c")))
    rows = (by_dft("b", "b by DFT"), by_dft("a", None))
    decided = schemas.GroundState.model_construct(candidates=rows)
    assert low_orderings("b by DFT", ranking, decided) == ["b by DFT"]
    all_of_them = low_orderings("b by DFT", ranking, decided, beyond_dft=True)
    assert all_of_them == ["b by DFT", "a by model", "c by model"]


def test_the_benchmark_has_the_errors_on_each_set(tested):
    (document,) = tested[2].documents(schemas.Benchmark)
    for row in document.models:
        assert {each.name: each.errors.n_labels for each in row.sets} == N_LABELS
    n_distinct = sum(N_LABELS.values()) - N_LABELS["the same by another name"]
    assert {row.overall.n_labels for row in document.models} == {4 + 2 + n_distinct}
    assert document.n_left_out == 0
    for row in document.models:  # the teacher has labelled, so it has no error on any set
        is_teacher = row.role == "other"
        for each in row.sets:
            assert (each.errors.force_mae_ev_per_ang < 1e-6) == is_teacher


def test_labels_with_an_element_that_no_training_label_has_judge_no_model(tmp_path):
    sets = {name: SETS[name] for name in ("parents", "near ground states")}
    store = open_store(tmp_path)
    submission, _ = run_campaign(store, with_sets(sets, scratch_updates=40, scratch_neurons=10))
    results = find_results(store, submission.campaign, submission.theory)
    (document,) = results.documents(schemas.Benchmark)
    assert document.n_left_out == 2  # those of mixed halides; training labels are of the bromide
    assert "from scratch" in {row.role for row in document.models}
    for row in document.models:
        assert row.overall.n_labels == 2 + 1 + 4
        assert [(each.name, each.errors.n_labels) for each in row.sets] == [("parents", 4)]
    page = write_report(store, "x", [document.key], tmp_path / "report", ["benchmark"])
    left_out = "Left out: 2 test labels with an element that no training label has."
    assert left_out in Page(page).text


def test_the_papers_chapter_shows_them(tested, tmp_path):
    store, _, results = tested
    page = write_report(
        store, "x", results.document_keys(), tmp_path / "report", ["benchmark"], only_paper=True
    ).read_text()
    panels = papers_panels(page)
    (document,) = results.documents(schemas.Benchmark)
    for panel, name in (("S1", "near ground states"), ("S2", "parents"), ("S3", "mixed halides")):
        (errors,) = [each.errors for each in document.models[0].sets if each.name == name]
        assert f"{errors.force_mae_ev_per_ang * 1000:.3g}" in panels[f"Figure {panel}"]


def test_a_campaign_without_named_sets_keeps_its_keys(loop_run):
    store, submission, _ = loop_run
    data = submission.campaign.model_dump(mode="json")
    assert "sets" not in data["learning"]["test"]
    plan = find_results(store, submission.campaign, submission.theory).stages[0]
    frames = store.load(schemas.Frames, plan.frames_key).frames
    assert all("test_set" not in frame.model_dump() for frame in frames)


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ({"a": {"x": [4.0], "orderings": 1}}, "no system has decorations"),
        ({"a": {"orderings": 3}}, "exceeds"),
        ({"a": {"orderings": 1, "temperatures_k": [300.0]}}, "either orderings or temperatures_k"),
        ({"a": {}}, "either orderings or temperatures_k"),
    ],
)
def test_a_set_that_cannot_be_made_is_refused(sets, words):
    with pytest.raises(ValidationError, match=words):
        with_sets(sets)

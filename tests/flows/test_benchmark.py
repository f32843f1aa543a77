"""Models side by side on the test labels of a finished loop, and what a report says of them."""

import shutil

import pytest
from campaign_runs import run_campaign
from html_page import Page, papers_panels
from places import CAMPAIGNS

from lycb_flows import schemas
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.config import Campaign
from lycb_flows.errors import InputError
from lycb_flows.potentials import find_model
from lycb_flows.quantities.benchmark import benchmark_figure
from lycb_flows.quantities.plan import Condition, MeasurementPlan
from lycb_flows.quantities.registry import find_quantity
from lycb_flows.report.page import collect, write_report
from lycb_flows.report.paper_figures import paper_entries
from lycb_flows.store import open_store

pytestmark = pytest.mark.usefixtures("blank_figures")
OPTIONS = {"models": ["toy-teacher"], "scratch_updates": 40, "scratch_neurons": 10}


def comparing(options):
    data = read_campaign(CAMPAIGNS / "loop.yaml").model_dump()
    data["measure"]["quantities"] = {"benchmark": options}
    return Campaign.model_validate(data)


@pytest.fixture(scope="module")
def measured(loop_run, tmp_path_factory):
    """The finished loop with `benchmark` added: (store, submission, documents before, document)."""
    folder = tmp_path_factory.mktemp("benchmark") / "store"
    shutil.copytree(loop_run[0].folder, folder)
    store = open_store(folder)
    n_attempts = len(store.attempts())
    submission, _ = run_campaign(store, comparing(OPTIONS))
    new = [attempt.kind for attempt in store.attempts()[n_attempts:]]
    found = find_results(store, submission.campaign, submission.theory)
    (document,) = found.documents(schemas.Benchmark)
    yield store, submission, new, document
    store.close()


@pytest.fixture
def rows(measured):
    return {row.role: row for row in measured[3].models}


def test_only_the_comparison_and_its_model_are_computed(measured):
    assert sorted(measured[2]) == ["benchmark", "campaign", "model"]


def test_the_model_before_learning_all_rounds_and_the_named_ones_are_compared(measured, rows):
    store, submission, _, document = measured
    found = find_results(store, submission.campaign, submission.theory)
    assert set(rows) == {
        "before learning", "round 1, 200 K", "round 2, 400 K", "round 3, 600 K", "other",
        "from scratch",
    }  # fmt: skip
    assert [rows[f"round {i + 1}, {t} K"].model for i, t in enumerate((200, 400, 600))] == [
        each.model for each in found.rounds
    ]
    assert document.parents[0] == document.dataset == found.rounds[-1].dataset


def test_the_labels_own_potential_has_no_errors_and_is_the_best(measured, rows):
    teacher = rows["other"]
    assert teacher.overall.force_mae_ev_per_ang < 1e-9
    assert teacher.overall.energy_mae_ev_per_atom < 1e-9
    assert max(map(abs, teacher.shift_ev.values())) < 1e-6
    assert measured[3].best == teacher.model == find_model("toy-teacher").model.key
    scores = [row.overall.score for row in measured[3].models]
    assert scores == sorted(scores)


def test_errors_of_the_rounds_are_those_that_chose_the_model(measured):
    store, submission, _, document = measured
    for each in find_results(store, submission.campaign, submission.theory).rounds:
        key = schemas.Evaluation.key_of(each.model, document.test_sets)
        evaluation = store.load(schemas.Evaluation, key)
        (row,) = (row for row in document.models if row.model == each.model)
        assert row.overall == evaluation.overall
        assert not row.shift_ev


def test_parts_are_the_systems_and_the_temperatures_of_the_runs(measured, rows):
    store, submission, _, _ = measured
    rounds = find_results(store, submission.campaign, submission.theory).rounds
    temperatures_k = {
        run.temperature_k
        for frames in store.find_all(schemas.Frames)
        for frame in frames.frames
        if frame.block == "test"
        for run in [store.load(schemas.Run, frame.run)]
    }
    parts = rows["round 3, 600 K"].parts
    assert {part.system for part in parts} == {"LYB"}
    assert {part.temperature_k for part in parts} == temperatures_k
    assert len(rounds) == 3
    assert sum(part.errors.n_labels for part in parts) == rows["other"].overall.n_labels


def test_the_model_from_scratch_comes_from_the_training_labels_alone(measured, rows):
    store, _, _, document = measured
    model = store.load(schemas.Model, rows["from scratch"].model)
    assert (model.architecture, model.source) == ("nep", "from scratch")
    assert model.parents == (document.dataset,)
    assert model.parent_model is None
    assert document.n_training == len(store.load(schemas.Dataset, document.dataset).training_labels)


def test_a_submitted_campaign_has_keys_and_a_wrong_name_is_refused(measured):
    store, submission, _, _ = measured
    options = submission.campaign.measure.quantities["benchmark"]
    assert options["models"] == [find_model("toy-teacher").model.key]
    n_documents = len(list(store.find_all(schemas.Benchmark)))
    with pytest.raises(InputError, match="no-such-model"):
        submit(store, comparing({"models": ["no-such-model"]}))
    assert len(list(store.find_all(schemas.Benchmark))) == n_documents


def test_the_report_shows_the_models_beside_the_paper(measured, tmp_path):
    store, submission, _, document = measured
    found = find_results(store, submission.campaign, submission.theory)
    path = write_report(store, "loop", found.document_keys(), tmp_path, ["benchmark"])
    text = Page(path).text
    assert "Models side by side" in text
    assert "paper, CHGNet_600K" in text
    assert "NEP from scratch" in text
    data = collect(store, [document.key])
    (finding,) = find_quantity("benchmark").findings(data)
    assert finding.text.startswith(f"On {document.models[0].overall.n_labels} test labels toy")
    assert finding.keys == (document.key,)


def test_every_figure_and_table_of_the_paper_is_in_the_report_of_a_small_campaign(
    measured, tmp_path
):
    store, submission, _, document = measured
    keys = find_results(store, submission.campaign, submission.theory).document_keys()
    page = write_report(store, "x", keys, tmp_path / "report", ["benchmark"]).read_text()
    panels = papers_panels(page)
    for entry in paper_entries():
        for panel in entry.panels:
            assert ("<table>" in panels[panel]) != ("Not filled: " in panels[panel]), panel
    before = next(row for row in document.models if row.role == "before learning")
    assert f"{before.parts[0].errors.energy_mae_ev_per_atom * 1000:.3g}" in panels["Figure 2a"]
    assert "no Li3YCl6" in panels["Figure 3a"]  # the campaign has Li3YBr6 alone
    assert "no production run of LYB" in panels["Figure 4f"]


def key_with(model):
    data = comparing(OPTIONS).model_dump(exclude={"learning": {"model", "candidates"}})
    data["learning"]["model"] = model
    plan = MeasurementPlan(
        campaign=Campaign.model_validate(data), starts={}, model="1" * 64, rounds=("2" * 64,)
    )
    return find_quantity("benchmark").key(plan, Condition())


def test_candidates_that_are_compared_are_in_the_key():
    (learned,) = {key_with("toy-soft"), key_with(["toy-soft"])}
    assert key_with(["toy-soft", "toy-teacher"]) != learned


def benchmarked(model, name, role):
    errors = schemas.ModelErrors(
        n_labels=2, energy_mae_ev_per_atom=0.01, force_mae_ev_per_ang=0.1, stress_mae_gpa=0.1,
        energy_rmse_ev_per_atom=0.01, force_rmse_ev_per_ang=0.1, stress_rmse_gpa=0.1, force_slope=1,
    )  # fmt: skip
    return schemas.BenchmarkedModel(
        name=name, model=model * 64, role=role, overall=errors,
        parts=(schemas.BenchmarkPart(system="LYC", temperature_k=400.0, errors=errors),),
    )  # fmt: skip


def test_models_of_one_name_have_a_line_each():
    models = [
        benchmarked("1", "chgnet r03 800 K", "round 4, 800 K"),
        benchmarked("2", "chgnet r03 800 K", "other"),
        benchmarked("3", "chgnet r03 800 K", "other"),
        benchmarked("4", "chgnet", "before learning"),
    ]
    document = schemas.Benchmark(
        key="5" * 64, dataset="6" * 64, test_sets=(), n_training=1, models=models, best="1" * 64
    )
    labels = [line.get_label() for line in benchmark_figure(document).axes[0].get_lines()]
    assert labels == [
        "chgnet r03 800 K (round 4, 800 K)",
        f"chgnet r03 800 K (other) ({'2' * 16})",
        f"chgnet r03 800 K (other) ({'3' * 16})",
        "chgnet",
    ]

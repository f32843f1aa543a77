"""Mean cells of NpT runs with errors, thermal expansion, and what a report shows of both."""

import shutil

import numpy as np
import pytest
from campaign_runs import run_campaign
from html_page import Page
from report_campaign import Campaign

from lycb_flows import schemas
from lycb_flows.campaign import plan_campaign
from lycb_flows.campaign.finished import export_runs, import_runs
from lycb_flows.campaign.results import find_results
from lycb_flows.config import RelaxationConfig
from lycb_flows.crystals import load_binary
from lycb_flows.md.summary import cell_parameters
from lycb_flows.potentials import find_model
from lycb_flows.quantities import cells
from lycb_flows.quantities.cells import thermal_expansion, volume_at_rest
from lycb_flows.quantities.registry import find_quantity
from lycb_flows.quantities.volumes import volume_table
from lycb_flows.report import CellRun, ReportData, volumes_at_rest
from lycb_flows.report.page import collect, write_report
from lycb_flows.report.paper_figures import volumes_here
from lycb_flows.store import open_store
from lycb_flows.store.trajectories import trajectory_of
from lycb_flows.transport.averages import block_error

pytestmark = pytest.mark.usefixtures("blank_figures")


@pytest.fixture
def finished(loop_run, tmp_path):
    """A copy of the store of the finished loop."""
    shutil.copytree(loop_run[0].folder, tmp_path / "store")
    store = open_store(tmp_path / "store")
    yield store
    store.close()


def measuring(campaign, quantities):
    data = campaign.model_dump()
    data["measure"]["quantities"] = quantities
    return type(campaign).model_validate(data)


def test_the_mean_cell_is_that_of_the_averaging_window(finished, loop_campaign):
    n_attempts = len(finished.attempts())
    campaign = measuring(loop_campaign, {"volumes": {"n_blocks": 4}, "diffusion": {}})
    submission, _ = run_campaign(finished, campaign)
    new = [attempt.kind for attempt in finished.attempts()[n_attempts:]]
    assert new == ["campaign", "volumes", "relaxation"]  # to 0 K, by the model that measures
    found = find_results(finished, submission.campaign, submission.theory)
    (document,) = found.documents(schemas.CellVolumes)
    (cell,) = document.cells
    run = finished.load(schemas.Run, cell.run)
    assert run.ensemble == "npt"
    frames = trajectory_of(finished, run)
    frames = frames.between(run.n_steps - 16, run.n_steps)  # 0.8 of 0.04 ps, in steps of 2 fs
    assert cell.n_frames == frames.n_frames == 8
    volumes = frames.volumes_ang3 / len(frames.species)
    assert cell.volume_ang3_per_atom == pytest.approx(volumes.mean())
    assert cell.volume_err_ang3_per_atom == pytest.approx(float(block_error(volumes, 4)))
    lengths, angles = cell_parameters(frames.cells_ang)
    assert cell.lengths_ang == pytest.approx(lengths.mean(axis=0))
    assert cell.angles_deg == pytest.approx(angles.mean(axis=0))
    assert cell.angles_err_deg == pytest.approx(block_error(angles, 4))
    assert document.expansion is None  # one temperature, not equilibrated
    assert "0 temperatures" in document.reason


def test_the_model_that_measures_has_a_volume_at_rest_also_beside_an_old_document(
    finished, loop_campaign, tmp_path
):
    campaign = measuring(loop_campaign, {"volumes": {"n_blocks": 4}})
    submission, _ = run_campaign(finished, campaign)

    def found():
        return find_results(finished, submission.campaign, submission.theory)

    plan = found().measurement
    (relaxed,) = found().further
    assert (relaxed.model, relaxed.structure) == (plan.model, plan.starts["LYB"])
    finished.retract(relaxed.key, "as before it was made")
    data = collect(finished, found().document_keys())  # a document without it opens
    assert volumes_at_rest(data, "LYB") == []
    n_attempts = len(finished.attempts())
    run_campaign(finished, campaign)
    new = [attempt.kind for attempt in finished.attempts()[n_attempts:]]
    assert new == ["relaxation"]
    data = collect(finished, found().document_keys())
    (at_rest,) = volumes_at_rest(data, "LYB")
    assert at_rest.volume_ang3_per_atom == relaxed.volume_ang3_per_atom
    assert at_rest.other_model == ""
    here = volumes_here(data, "LYB")
    assert here["here, 1 bar"][0.0] == (relaxed.volume_ang3_per_atom, relaxed.key)
    names = [row[2].text for row in volume_table(data, "LYB").rows if row[0].text == "0"]
    assert f"relaxed by {data.model_name(plan.model)}" in names
    export_runs(finished, tmp_path / "runs")
    with open_store(tmp_path / "other") as other:
        assert not import_runs(other, tmp_path / "runs").refused
        assert other.load(schemas.Relaxation, relaxed.key).facts() == relaxed.facts()


def test_the_volume_of_the_model_that_ranks_is_not_called_ours_nor_held_against_what_is_tuned(
    campaign,
):
    ground = campaign.ranking("LYC", "Cl")
    key = campaign.npt("LYC", ground, 300.0, 1.0, "production", model="2" * 64)
    run = campaign.store.load(schemas.Run, key)
    data = collect(campaign.store, campaign.keys)
    data.cell_runs.append(CellRun("LYC", "production", run))
    (ranking,) = data.rankings
    data.documents |= {
        ranking.model: data.documents[ranking.model].model_copy(
            update={"architecture": "chgnet", "source": "pretrained"}
        ),
        "2" * 64: data.documents[ranking.model].model_copy(
            update={"name": "tuned", "source": "fine-tuned"}
        ),
    }
    row = next(row for row in volume_table(data, "LYC").rows if row[0].text == "0")
    assert row[2].text == "relaxed by chgnet-0.3.0"
    columns = volume_table(data, "LYC").columns
    volume = float(row[3].text)
    assert row[columns.index("here / paper")].text == f"{volume / 22.8:.3f}"  # not over 23.1
    assert set(volumes_here(data, "LYC")) == {"here, relaxed by chgnet-0.3.0", "here, 1 bar"}
    hot = next(row for row in volume_table(data, "LYC").rows if row[0].text == "300")
    assert hot[columns.index("here / paper")].text == f"{float(hot[3].text.split()[0]) / 24.4:.3f}"


def test_too_few_frames_give_a_mean_without_an_error(finished, loop_campaign):
    submission, _ = run_campaign(finished, measuring(loop_campaign, ["volumes"]))
    found = find_results(finished, submission.campaign, submission.theory)
    (document,) = found.documents(schemas.CellVolumes)
    (cell,) = document.cells
    assert cell.reason == "8 frames are too few for 10 blocks"
    assert cell.volume_ang3_per_atom > 0
    assert cell.volume_err_ang3_per_atom is None


def test_other_models_find_the_same_cells_at_temperatures_of_their_own(
    finished, loop_campaign, tmp_path
):
    options = {"n_blocks": 4, "temperatures_k": [150.0, 300.0], "models": ["toy-teacher"]}
    campaign = measuring(loop_campaign, {"volumes": options})
    submission, _ = run_campaign(finished, campaign)
    found = find_results(finished, submission.campaign, submission.theory)
    (document,) = found.documents(schemas.CellVolumes)
    own, other = document.by_model
    assert own.model == document.model == found.measurement.model
    assert own.cells == document.cells
    assert other.name == "toy-teacher"
    assert [cell.temperature_k for cell in (*own.cells, *other.cells)] == 2 * [150.0, 300.0]
    assert {finished.load(schemas.Run, each.run).model for each in other.cells} == {other.model}
    assert own.at_rest_ang3_per_atom != other.at_rest_ang3_per_atom > 0
    assert set(document.parents) == {cell.run for each in document.by_model for cell in each.cells}
    page = Page(write_report(finished, "loop", found.document_keys(), tmp_path / "report"))
    assert "by toy-teacher" in page.text
    assert "Volume by model at 1 bar" in page.text
    assert "here by toy-teacher, 1 bar" in page.text
    assert f"{other.at_rest_ang3_per_atom:.2f}" in page.text
    means = {each.run: each.volume_ang3_per_atom for each in (*own.cells, *other.cells)}
    cells = collect(finished, found.document_keys()).cell_runs
    shown = {cell.run.key: cell.volume_ang3_per_atom for cell in cells}
    assert means.items() <= shown.items()  # not the volume of the average cell
    steps = plan_campaign(finished, submission.campaign, submission.theory)
    works = {step.jobs[0].name: step.work for step in steps}
    assert works["md npt production 00"].startswith("4 runs")


def test_a_volume_that_is_not_at_rest_is_none(tmp_path, monkeypatch):
    source, start = find_model("toy-soft"), load_binary("LiCl")
    with open_store(tmp_path / "store") as store:
        store.blobs.put(source.weights, source.model.weights.media_type)
        store.insert(start)
        assert volume_at_rest(store, source.model, start.key) > 0
        in_one_step = RelaxationConfig(fmax_ev_per_ang=1e-9, max_steps=1)
        monkeypatch.setattr(cells, "RelaxationConfig", lambda: in_one_step)
        assert volume_at_rest(store, source.model, start.key) is None


def test_the_model_that_measures_is_there_once_also_when_it_is_named(finished, loop_campaign):
    measure = loop_campaign.measure.model_copy(update={"model": "pretrained"})
    campaign = loop_campaign.model_copy(update={"measure": measure})
    options = {"n_blocks": 4, "models": ["toy-teacher", "toy-soft"]}
    submission, _ = run_campaign(finished, measuring(campaign, {"volumes": options}))
    found = find_results(finished, submission.campaign, submission.theory)
    (document,) = found.documents(schemas.CellVolumes)
    assert [each.name for each in document.by_model] == ["toy-soft", "toy-teacher"]
    assert len(document.parents) == len(set(document.parents)) == 2
    cells = collect(finished, found.document_keys()).cell_runs
    shown = {cell.series for cell in cells if cell.run.key in document.parents}
    assert shown == {"production", "by toy-teacher"}


def test_without_options_the_key_of_a_mean_cell_is_as_before(loop_campaign):
    plain, stated = (
        find_quantity("volumes").settings(measuring(loop_campaign, {"volumes": given}))
        for given in ({}, {"models": None, "temperatures_k": None})
    )
    keys = {
        schemas.make_key(schemas.CellVolumes, options=each)
        for each in (plain, stated, {"n_blocks": 10})
    }
    assert len(keys) == 1


def test_a_cell_has_three_lengths_and_three_angles():
    cells = np.array([[[6.0, 0, 0], [0, 7.0, 0], [-4.0, 0, 10.0]]])
    lengths, angles = cell_parameters(cells)
    assert lengths[0] == pytest.approx([6.0, 7.0, np.hypot(4.0, 10.0)])
    assert angles[0] == pytest.approx([90.0, 90.0 + np.degrees(np.arctan(0.4)), 90.0])


def cell_at(temperature_k, *, equilibrated=True, run="1" * 64, **facts):
    """A cell that expands by 10⁻⁴ per K, a third of it along each direction."""
    factor = 1 + 1e-4 * (temperature_k - 500.0)
    values = {
        "n_frames": 1000,
        "volume_ang3_per_atom": 24.0 * factor,
        "volume_err_ang3_per_atom": 0.02,
        "lengths_ang": tuple(12.0 * factor ** (1 / 3) * np.ones(3)),
        "lengths_err_ang": (0.01, 0.01, 0.02),
        "angles_deg": (90.0, 90.0, 120.0),
        "angles_err_deg": (0.1, 0.1, 0.1),
    }
    return schemas.CellAverage(
        run=run, temperature_k=temperature_k, equilibrated=equilibrated, **values | facts
    )


@pytest.mark.parametrize(
    ("per_k", "words"), [(1.2e-5, "expands by 12"), (-1.2e-5, "shrinks by 12")]
)
def test_a_framework_that_shrinks_does_not_expand(per_k, words):
    expansion = schemas.ThermalExpansion.model_construct(
        volume_per_k=per_k, volume_err_per_k=3e-6, lowest_temperature_k=300.0,
        highest_temperature_k=500.0,
    )  # fmt: skip
    document = schemas.CellVolumes.model_construct(
        key="1" * 64, system="NZP", pressure_bar=1.0, expansion=expansion, by_model=()
    )
    (finding,) = find_quantity("volumes").findings(ReportData(measurements={"volumes": [document]}))
    assert f"the volume {words}" in finding.text


def test_the_expansion_is_that_of_the_cells_and_only_equilibrated_ones_count():
    cells = [cell_at(t) for t in (400.0, 500.0, 600.0)]
    odd = cell_at(700.0, equilibrated=False, volume_ang3_per_atom=99.0)
    failed = schemas.CellAverage(run="2" * 64, temperature_k=800.0, equilibrated=False, reason="x")
    expansion, reason = thermal_expansion([*cells, odd, failed])
    assert reason == ""
    assert expansion.volume_per_k == pytest.approx(1e-4)
    assert expansion.volume_err_per_k == pytest.approx(0.02 / 24.0 / np.sqrt(2 * 100.0**2))
    assert expansion.lengths_per_k == pytest.approx([1e-4 / 3] * 3, rel=2e-3)
    assert expansion.lengths_err_per_k[2] == pytest.approx(2 * expansion.lengths_err_per_k[0])
    assert expansion.highest_temperature_k == 600.0
    assert thermal_expansion([*cells[:1], odd])[0] is None


@pytest.fixture
def campaign(tmp_path):
    made = Campaign(tmp_path / "made")
    yield made
    made.store.close()


def cells_document(campaign, system, cells):
    key = campaign.put(
        schemas.CellVolumes,
        f"cells of {system}",
        parents=tuple(cell.run for cell in cells),
        system=system,
        pressure_bar=1.0,
        model="2" * 64,
        cells=cells,
        expansion=thermal_expansion(cells)[0],
        reason=thermal_expansion(cells)[1],
    )
    campaign.keys.append(key)


def test_a_report_shows_errors_of_means_where_they_were_measured(campaign, tmp_path):
    ground = campaign.ranking("LYC", "Cl")
    runs = {t: campaign.npt("LYC", ground, t, 1.0, "production") for t in (400.0, 500.0, 600.0)}
    before = volume_table(collect(campaign.store, [*campaign.keys, *runs.values()]), "LYC")
    cells_document(campaign, "LYC", [cell_at(t, run=key) for t, key in runs.items()])
    path = write_report(campaign.store, "test", campaign.keys, tmp_path / "report")
    page = Page(path)
    assert "fluctuation" in page.text
    table = volume_table(collect(campaign.store, campaign.keys), "LYC")
    assert [row[3].text for row in table.rows] != [row[3].text for row in before.rows]
    assert "24.000 ± 0.020" in [row[3].text for row in table.rows]
    (_, here) = volumes_here(collect(campaign.store, campaign.keys), "LYC").items()
    assert [volume for volume, _ in here[1].values()] == pytest.approx([23.76, 24.0, 24.24])
    assert "LYC at 1 bar: the volume expands by 100.0 ± 5.9 × 10⁻⁶ per K" in page.text
    assert page.text.count("Thermal expansion") == 1


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"equilibrated": False}, "no thermal expansion, 0 temperatures"),
        ({"volume_ang3_per_atom": 25.0}, "not a straight line"),
        ({}, ""),
    ],
)
def test_what_limits_an_expansion_is_said(campaign, facts, words):
    ground = campaign.ranking("LYC", "Cl")
    cells = [
        cell_at(t, run=campaign.npt("LYC", ground, t, 1.0, "production"), **given)
        for t, given in ((400.0, {}), (500.0, facts), (600.0, {}))
    ]
    if "equilibrated" in facts:
        cells = [cell.model_copy(update=facts) for cell in cells]
    cells_document(campaign, "LYC", cells)
    sentences = list(find_quantity("volumes").limits(collect(campaign.store, campaign.keys)))
    assert bool(sentences) == bool(words)
    assert all(words in sentence.text for sentence in sentences)


@pytest.mark.parametrize("n_equilibrated", [1, 3])
def test_an_expansion_that_was_not_found_is_a_row_with_its_reason(n_equilibrated):
    cells = [cell_at(t) for t in (400.0, 500.0, 600.0)[:n_equilibrated]]
    expansion, reason = thermal_expansion(cells)
    document = schemas.CellVolumes(
        key="1" * 64, system="LYC", pressure_bar=1.0, model="2" * 64, cells=cells,
        expansion=expansion, reason=reason,
    )  # fmt: skip
    *_, last = find_quantity("volumes").numbers(document)
    assert (last.quantity, last.note) == ("volume expansion", reason)
    assert (last.value is None) == (last.error is None) == bool(reason) == (n_equilibrated == 1)


@pytest.mark.parametrize(
    ("facts", "known"),
    [
        ({}, True),
        ({"converged": False}, False),
        ({"structure": "8" * 64}, False),
        ({"model": "8" * 64}, False),
    ],
)
def test_a_relaxation_of_the_cell_that_runs_repeat_is_their_volume_at_rest(facts, known):
    run = schemas.Run.model_construct(
        key="1" * 64, start="2" * 64, start_structure="3" * 64, model="4" * 64, pressure_bar=1.0
    )
    relaxed = schemas.Relaxation.model_construct(
        key="5" * 64,
        volume_ang3_per_atom=23.0,
        **{"structure": run.start, "model": run.model, "converged": True, **facts},
    )
    data = ReportData(
        documents={relaxed.key: relaxed}, cell_runs=[CellRun("LYC", "production", run)]
    )
    found = volumes_at_rest(data, "LYC")
    assert [(each.volume_ang3_per_atom, each.pressures_bar) for each in found] == (
        [(23.0, (1.0,))] if known else []
    )
    assert volumes_at_rest(data, "LYB") == []


def test_every_models_volume_at_rest_is_shown_at_zero_kelvin():
    by_model = tuple(
        schemas.ModelVolumes(model=digit * 64, name=name, cells=(), at_rest_ang3_per_atom=volume)
        for digit, name, volume in (
            ("2", "own", 23.0), ("3", "other", 22.0), ("4", "lost", None), ("7", "twin", 21.0),
            ("8", "twin", 20.0),
        )
    )  # fmt: skip
    facts = {"system": "LYC", "model": "2" * 64, "cells": (), "by_model": by_model}
    documents = [
        schemas.CellVolumes(key=digit * 64, pressure_bar=pressure_bar, **facts)
        for digit, pressure_bar in (("5", 1.0), ("6", 10_000.0))
    ]
    found = volumes_here(ReportData(measurements={"volumes": documents}), "LYC")
    assert found == {
        "here, 1 bar": {0.0: (23.0, "5" * 64)},
        "here by other, 1 bar": {0.0: (22.0, "5" * 64)},
        f"here by twin ({'7' * 16}), 1 bar": {0.0: (21.0, "5" * 64)},
        f"here by twin ({'8' * 16}), 1 bar": {0.0: (20.0, "5" * 64)},
    }

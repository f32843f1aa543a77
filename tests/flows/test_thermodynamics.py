"""Means of a production run."""

import pytest
from campaign_runs import run_campaign

from lycb_flows.campaign.results import find_results
from lycb_flows.quantities.registry import find_quantity
from lycb_flows.quantities.thermodynamics import RunThermodynamics
from lycb_flows.report.data import ReportData
from lycb_flows.schemas import Run
from lycb_flows.store import open_store
from lycb_flows.store.trajectories import trajectory_of

pytestmark = pytest.mark.usefixtures("blank_figures")


def test_the_means_are_those_of_the_frames(loop_campaign, tmp_path):
    data = loop_campaign.model_dump()
    options = {"n_blocks": 4, "discard_ps": 0.02}
    data["measure"]["quantities"] = {"thermodynamics": options}
    store = open_store(tmp_path)
    submission, names = run_campaign(store, type(loop_campaign).model_validate(data))
    assert not [name for name in names if name.startswith(("transport", "arrhenius"))]
    found = find_results(store, submission.campaign, submission.theory)
    (document,) = found.documents(RunThermodynamics)
    assert not document.reason
    run = store.load(Run, document.run)
    frames = trajectory_of(store, run).between(10, run.n_steps)
    assert document.n_frames == frames.n_frames == 10
    energies = frames.potential_energy_ev / len(frames.species)
    assert document.potential_energy_ev_per_atom == pytest.approx(energies.mean())
    assert document.mean_pressure_gpa == pytest.approx(frames.pressures_gpa.mean())
    assert document.mean_temperature_k == pytest.approx(frames.temperature_k.mean())
    assert document.drift_ev_per_atom == pytest.approx(energies[5:].mean() - energies[:5].mean())
    assert {"run", "model", "label", "parent"} <= {
        store.find_document(key).kind for key in store.ancestors(document.key)
    }


def document_with(**facts):
    values = {
        "potential_energy_ev_per_atom": -4.1,
        "potential_energy_err_ev_per_atom": 0.001,
        "drift_ev_per_atom": 0.001,
        "drift_err_ev_per_atom": 0.002,
        "mean_temperature_k": 601.0,
        "mean_temperature_err_k": 1.0,
        "mean_pressure_gpa": 1.02,
        "mean_pressure_err_gpa": 0.01,
    }
    return RunThermodynamics(
        key="1" * 64, run="2" * 64, model="3" * 64, system="LYC", pressure_bar=10_000.0,
        temperature_k=600.0, n_frames=100, **values | facts,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, []),
        ({"drift_ev_per_atom": -0.007}, ["energy drifts"]),
        ({"mean_temperature_k": 603.5}, ["temperature is not the thermostat's"]),
        ({"mean_pressure_gpa": 0.9}, ["pressure is not that of the NpT run"]),
    ],
)
def test_a_run_that_misses_what_it_was_held_at_is_named(facts, words):
    data = ReportData(measurements={"thermodynamics": [document_with(**facts)]})
    sentences = [statement.text for statement in find_quantity("thermodynamics").limits(data)]
    assert len(sentences) == len(words)
    assert all(word in text for word, text in zip(words, sentences, strict=True))


def test_replicas_that_miss_it_are_told_apart():
    runs = [document_with(mean_pressure_gpa=0.9, replica=replica) for replica in (None, 2)]
    data = ReportData(measurements={"thermodynamics": runs})
    first, second = (each.text for each in find_quantity("thermodynamics").limits(data))
    assert first.startswith("LYC 10000 bar 600 K: the mean pressure")
    assert second.startswith("LYC 10000 bar 600 K replica 2: the mean pressure")


def test_a_run_without_means_says_why():
    nothing = dict.fromkeys(RunThermodynamics.model_fields)
    absent = {name: None for name in nothing if name.endswith(("_k", "_gpa", "_per_atom"))}
    del absent["temperature_k"]
    document = document_with(reason="the run left physics at step 12", **absent)
    row = find_quantity("thermodynamics").row(document)
    assert row == ("–", "–", "–", "–", "the run left physics at step 12")

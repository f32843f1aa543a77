"""A campaign for a sodium conductor: everything speaks of Na, and nothing of Li."""

import re

import numpy as np
import pytest
from campaign_runs import run_campaign
from places import CAMPAIGNS

from lycb_flows.campaign import find_results
from lycb_flows.campaign.submission import read_campaign
from lycb_flows.config import HealthConfig, SelectionConfig
from lycb_flows.learning import sampling
from lycb_flows.md.health import Reference, frame_failure, framework_mask
from lycb_flows.md.trajectory import Snapshot
from lycb_flows.report.page import write_report
from lycb_flows.schemas import ChargeTransport, Run, Transport
from lycb_flows.store import open_store, trajectory_of

CELL_ANG = 12.0


@pytest.fixture(scope="module")
def sodium_run(tmp_path_factory):
    """The finished campaign: (store, submission)."""
    store = open_store(tmp_path_factory.mktemp("sodium"))
    submission, _ = run_campaign(store, read_campaign(CAMPAIGNS / "sodium.yaml"))
    return store, submission


def test_health_selection_and_measurement_speak_of_sodium(sodium_run):
    store, submission = sodium_run
    campaign = submission.campaign
    sections = (campaign.md.health, campaign.learning.selection, campaign.measure.diffusion)
    assert {section.mobile_species for section in sections} == {"Na"}
    assert all(run.health.healthy for run in store.find_all(Run))
    found = find_results(store, campaign, submission.theory)
    (transport,) = found.documents(Transport)
    (charge,) = found.documents(ChargeTransport)
    for document in (transport, charge):
        assert (document.mobile_species, document.n_mobile) == ("Na", 6)


def test_the_report_speaks_of_sodium_and_of_no_lithium(sodium_run, tmp_path):
    store, submission = sodium_run
    found = find_results(store, submission.campaign, submission.theory)
    page = write_report(store, "sodium", found.document_keys(), tmp_path / "report").read_text()
    text = re.sub(r"<style.*?</style>|\"data:[^\"]*\"", "", page, flags=re.DOTALL)
    assert "D of Na: the most likely one" in text
    for word in (
        r"\bLi\b",
        "lithium",
        "Li3YCl6",
        "Li<sub>3</sub>",
        r"\bYCl3\b",
        r"\bLYC\b",
        "paper σ",
        "the paper enumerates",
        "paper: below",
        r"the paper's target",
        r"below the paper's",
        ">paper<",
        "CHGNet_?600K",
        "below the paper",
        r"the paper's 2000 ps",
        "enumlib",
        "0–800",
    ):
        assert not re.search(word, text, flags=re.IGNORECASE if word == "lithium" else 0), word


def crossed(symbols, ion):
    """A frame in which the ions have hopped to their images a cell away and nothing else moved."""
    start = np.stack(np.meshgrid(*[np.arange(4) / 4] * 3), -1).reshape(-1, 3)[: len(symbols)]
    frame = start.copy()
    moves = np.random.default_rng(0).integers(-1, 2, len(symbols))
    frame[:, 0] += np.where(np.array(symbols) == ion, moves, 0)
    cell = np.eye(3) * CELL_ANG
    snapshot = Snapshot(
        steps=1, frac_coords=frame, cells_ang=cell, potential_energy_ev=0.0,
        temperature_k=600.0, stress_gpa=np.zeros((3, 3)),
    )  # fmt: skip
    return snapshot, Reference(start, cell, 0.0)


@pytest.mark.parametrize(
    ("ion", "setting"), [("Na", "Na"), ("Na", "Li"), ("K", "Li"), ("Li", "Li")]
)
def test_an_ion_that_crosses_the_cell_is_no_melting(ion, setting):
    symbols = [ion] * 16 + ["Cl"] * 16
    config = HealthConfig(mobile_species=setting)
    snapshot, reference = crossed(symbols, ion)
    framework = framework_mask(symbols, config.mobile_species)
    assert frame_failure(snapshot, reference, framework, config) == ""
    snapshot, reference = crossed(symbols, "Cl")
    assert "framework" in frame_failure(snapshot, reference, framework, config)


def test_frames_are_chosen_by_what_sodium_does(sodium_run):
    store, _ = sodium_run
    run = next(run for run in store.find_all(Run) if run.pressure_bar is None)
    trajectory = trajectory_of(store, run)
    default = SelectionConfig(n_frames=2, thinning_fs=4.0)
    candidates = [sampling.Candidates(run.key, trajectory, -1, 10_000)]
    chosen = [
        sampling.select_frames(candidates, default.model_copy(update={"mobile_species": ion}))
        for ion in ("Na", "Li", "S")
    ]
    distances = [[pick.distance_ang for pick in picks][1:] for picks in chosen]
    assert distances[0] == distances[1] != distances[2]

"""What production runs may say, by the health of what they rest on."""

from types import SimpleNamespace

import numpy as np
import pytest

from lycb_flows.config import MeasurementConfig
from lycb_flows.crystals import structure_from_arrays
from lycb_flows.md.trajectory import Trajectory
from lycb_flows.quantities import Condition, charge
from lycb_flows.quantities.arrhenius import mobile_density_per_ang3
from lycb_flows.quantities.density import IonDensity
from lycb_flows.quantities.diffusion import failure_of
from lycb_flows.quantities.thermodynamics import Thermodynamics
from lycb_flows.schemas import DiffusionEstimate, Health, Run, Transport
from lycb_flows.store import open_store

BROKEN = Health(healthy=False, failed_step=812, reason="volume doubled")


def run_of(key, start, ensemble, health=None):
    return Run(
        key=key * 64,
        parents=(),
        name=ensemble,
        start=start * 64,
        start_structure="5" * 64,
        model="m" * 64,
        ensemble=ensemble,
        temperature_k=600.0,
        pressure_bar=1.0 if ensemble == "npt" else None,
        n_steps=4000,
        time_step_fs=1.0,
        segments=(),
        means=None,
        average_lattice_ang=None,
        average_volume_ang3_per_atom=None,
        average_structure=None,
        equilibrated=False,
        health=health or Health(),
    )


HEALTHS = pytest.mark.parametrize(
    ("npt_health", "nvt_health", "reason"),
    [
        (None, None, ""),
        (None, BROKEN, "the run left physics at step 812: volume doubled"),
        (BROKEN, None, "the NpT run that was to find its cell left physics at step 812"),
    ],
)


@HEALTHS
def test_a_run_in_a_cell_that_was_never_found_says_nothing(
    tmp_path, npt_health, nvt_health, reason
):
    store = open_store(tmp_path)
    production = run_of("b", "a", "nvt", nvt_health)
    store.insert_all([run_of("a", "5", "npt", npt_health), production])
    found = failure_of(store, production)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


def measured_alone(monkeypatch, quantity, run):
    """The quantity measures this run, whatever the plan; a frame every 100 steps of 1 fs."""
    config = SimpleNamespace(protocol=SimpleNamespace(sample_interval_steps=100))
    monkeypatch.setattr(quantity, "only_run", lambda *_: run)
    monkeypatch.setattr(quantity, "runs", lambda *_: (config,))
    monkeypatch.setattr(quantity, "key", lambda *_: "k")


@pytest.mark.parametrize("quantity", [Thermodynamics, IonDensity])
@pytest.mark.parametrize(
    ("npt_health", "nvt_health", "n_frames"),
    [(None, BROKEN, 8 - 2), (BROKEN, None, 40 - 2), (BROKEN, BROKEN, 8 - 2)],
)
def test_a_run_that_left_physics_elsewhere_needs_no_frames(
    tmp_path, monkeypatch, quantity, npt_health, nvt_health, n_frames
):
    start = structure_from_arrays(5 * np.eye(3), ["Li", "Cl"], [[0.0] * 3, [0.5] * 3])
    facts = {"segments": ("9" * 64,), "start_structure": start.key}
    facts |= {} if nvt_health is None else {"n_steps": 812}
    production = run_of("b", "a", "nvt", nvt_health).model_copy(update=facts)
    measured_alone(monkeypatch, quantity, production)
    with open_store(tmp_path) as store:  # without the segment, as `lycb import runs` leaves it
        store.insert_all([run_of("a", "5", "npt", npt_health), production, start])
        measure = MeasurementConfig(diffusion={"discard_ps": 0.2})
        measure = measure.model_copy(
            update={"quantities": {"thermodynamics": {"discard_ps": 0.2}, "density": {}}}
        )
        plan = SimpleNamespace(campaign=SimpleNamespace(measure=measure))
        condition = Condition(system="LYC", pressure_bar=1.0, temperature_k=600.0)
        document = quantity().compute(store, plan, condition)
    assert "left physics at step 812" in document.reason
    assert document.n_frames == n_frames


def test_charge_says_what_the_diffusivity_said():
    reason = "the NpT run that was to find its cell left physics at step 812: volume doubled"
    failed = transport_at(600.0, 20.0, healthy=False, reason=reason)
    estimate = charge._estimate(None, failed, None, None, None)
    assert (estimate.resolved, estimate.reason) == (False, reason)


@HEALTHS
def test_such_a_run_has_no_mean_energy_and_pressure(
    tmp_path, monkeypatch, npt_health, nvt_health, reason
):
    n, rng = 41, np.random.default_rng(0)
    frames = Trajectory(
        species=("Li", "Cl"),
        time_step_fs=1.0,
        steps=np.arange(n) * 100,
        frac_coords=np.zeros((n, 2, 3), np.float32),
        cells_ang=np.repeat(5.0 * np.eye(3)[None], n, 0),
        potential_energy_ev=rng.normal(-8, 0.01, n),
        temperature_k=rng.normal(600, 20, n),
        stress_gpa=-np.eye(3) * rng.normal(3, 0.1, (n, 1, 1)),
    )
    monkeypatch.setattr("lycb_flows.store.trajectory_of", lambda *_: frames)
    production = run_of("b", "a", "nvt", nvt_health)
    measured_alone(monkeypatch, Thermodynamics, production)
    store = open_store(tmp_path)
    store.insert_all([run_of("a", "5", "npt", npt_health), production])
    plan = SimpleNamespace(campaign=SimpleNamespace(measure=MeasurementConfig()))
    condition = Condition(system="LYC", pressure_bar=1.0, temperature_k=600.0)
    document = Thermodynamics().compute(store, plan, condition)
    assert document.reason.startswith(reason)
    assert bool(document.reason) == bool(reason)
    energy, pressure = Thermodynamics().numbers(document)
    assert (energy.value is None, pressure.value is None) == (bool(reason), bool(reason))
    assert energy.note == document.reason


def transport_at(temperature_k, volume, *, healthy=True, reason=""):
    return Transport.model_construct(
        temperature_k=temperature_k,
        volume_ang3_per_atom=volume,
        n_atoms=10,
        n_mobile=3,
        healthy=healthy,
        estimate=DiffusionEstimate.model_construct(reason=reason),
    )


def test_the_cells_of_failed_runs_do_not_enter_the_density():
    good = [transport_at(t, 20 + t / 100) for t in (500.0, 600.0, 700.0)]
    bad = transport_at(800.0, 99.0, healthy=False)
    density = mobile_density_per_ang3([*good, bad], 300.0)
    assert density == pytest.approx(3 / 10 / 23)
    assert mobile_density_per_ang3([bad], 300.0) == pytest.approx(3 / 10 / 99)

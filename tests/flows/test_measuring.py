"""What production runs may say, by the health of what they rest on."""

from types import SimpleNamespace

import numpy as np
import pytest

from lycb_flows.config import MeasurementConfig
from lycb_flows.md.trajectory import Trajectory
from lycb_flows.quantities import Condition
from lycb_flows.quantities.arrhenius import mobile_density_per_ang3
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
    monkeypatch.setattr(Thermodynamics, "only_run", lambda *_: production)
    monkeypatch.setattr(Thermodynamics, "key", lambda *_: "k")
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


def transport_at(temperature_k, volume, *, healthy=True):
    return Transport.model_construct(
        temperature_k=temperature_k,
        volume_ang3_per_atom=volume,
        n_atoms=10,
        n_mobile=3,
        healthy=healthy,
        estimate=DiffusionEstimate.model_construct(),
    )


def test_the_cells_of_failed_runs_do_not_enter_the_density():
    good = [transport_at(t, 20 + t / 100) for t in (500.0, 600.0, 700.0)]
    bad = transport_at(800.0, 99.0, healthy=False)
    density = mobile_density_per_ang3([*good, bad], 300.0)
    assert density == pytest.approx(3 / 10 / 23)
    assert mobile_density_per_ang3([bad], 300.0) == pytest.approx(3 / 10 / 99)

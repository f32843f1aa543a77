"""Dynamics in native code: the steps of the integrators, restarts, limits, threads."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.data import atomic_masses
from neps import CRYSTAL, SHAPES, random_weights
from springs import frames_of, protocol, run

from lycb_flows.config import HealthConfig
from lycb_flows.crystals import canonical_structure
from lycb_flows.md.integrators import Dynamics
from lycb_flows.md.motion import Replica, begin_motion, thermal_momenta
from lycb_flows.md.native import NativeDynamics, make_dynamics
from lycb_flows.md.protocol import RunAhead, run_batch, start_run
from lycb_flows.potentials.nep.potential import NepPotential

ENSEMBLES = (
    {"ensemble": "nvt"},
    {"ensemble": "nve"},
    {"ensemble": "npt", "pressure_bar": 500.0},
    {"ensemble": "npt", "cell_shape": "anisotropic"},
    {"ensemble": "npt", "cell_shape": "isotropic"},
)


@pytest.fixture(scope="module")
def potential():
    """A NEP so soft that its atoms move smoothly, although its weights are random."""
    weights = random_weights(SHAPES["three-body"])
    return NepPotential(SHAPES["three-body"], replace(weights, second=0.05 * weights.second))


def crystal(repeat=(1, 1, 1)) -> Atoms:
    return Atoms(**CRYSTAL, pbc=True).repeat(repeat)


def replica_of(atoms: Atoms, how) -> Replica:
    momenta = thermal_momenta(atomic_masses[atoms.numbers], 300.0, np.random.default_rng(0))
    motion = begin_motion(atoms.numbers, atoms.positions, atoms.cell.array, momenta)
    return Replica(atoms.numbers, motion, how, atoms.cell.array)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_native_steps_are_those_of_the_integrators(potential, ensemble):
    replicas = [replica_of(crystal(r), protocol(**ensemble)) for r in ((1, 1, 1), (2, 1, 1))]
    evaluator = potential.evaluator([replica.numbers for replica in replicas])
    slow, fast = Dynamics(replicas, evaluator), make_dynamics(replicas, potential)
    assert isinstance(fast, NativeDynamics)
    for step in range(40):
        for dynamics in (slow, fast):
            if step == 5:
                dynamics.set_phase(np.array([True, True]))
            dynamics.step(np.array([300.0 + step, 400.0]))
    for name in ("cells_ang", "cell_momenta", "heat_ev", "kinetic_ev", "energies_ev"):
        assert np.allclose(getattr(slow, name), getattr(fast, name), rtol=0, atol=1e-9), name
    assert np.allclose(slow.chains.rates, fast.chains.rates, rtol=0, atol=1e-9)
    assert np.allclose(slow.full_stresses_gpa, fast.full_stresses_gpa, rtol=0, atol=1e-8)
    assert np.allclose(slow.conserved_energies_ev, fast.conserved_energies_ev, rtol=0, atol=1e-8)
    assert (slow.positions_ang - fast.positions_ang).abs().max() < 1e-9
    start = torch.from_numpy(replicas[1].motion.positions_ang)
    assert (fast.positions_ang[14:] - start).abs().max() > 0.1
    if ensemble["ensemble"] == "npt":
        assert np.abs(fast.cells_ang[0] - replicas[0].motion.cell_ang).max() > 1e-3


def test_a_run_that_is_resumed_is_the_run_that_was_not(potential):
    start, how = canonical_structure(crystal((2, 2, 1))), protocol("npt", segment_steps=20)
    whole = run(start, how, 60, potential=potential)
    rest = run(start, how, 60, potential=potential, resume_from=whole[0].checkpoint)
    assert [segment.trajectory for segment in whole[1:]] == [part.trajectory for part in rest]
    assert [segment.checkpoint for segment in whole[1:]] == [part.checkpoint for part in rest]
    assert np.ptp(frames_of(whole).frac_coords, axis=0).max() > 0.01


def test_neither_company_nor_threads_change_a_bit(potential):
    starts = [canonical_structure(crystal(r)) for r in ((1, 1, 1), (3, 3, 1), (2, 1, 1))]
    how, threads = protocol(segment_steps=25), torch.get_num_threads()
    runs = [RunAhead(start_run(s, potential, how, i), how, 50) for i, s in enumerate(starts)]
    alone = {}
    for i, ahead in enumerate(runs):
        alone[i] = [part.trajectory for _, part in run_batch([ahead], potential)]
    try:
        torch.set_num_threads(2)
        together = list(run_batch(runs, potential, batch_size=3))
        big = [part.trajectory for _, part in run_batch([runs[1]], potential)]
    finally:
        torch.set_num_threads(threads)
    for i, trajectories in alone.items():
        assert [part.trajectory for place, part in together if place == i] == trajectories
    assert all(part.health.healthy for _, part in together)
    assert big == alone[1]


def test_a_replica_that_leaves_its_limits_stops_and_the_other_goes_on(potential):
    hot = protocol(
        temperature_k=900.0,
        start_temperature_k=900.0,
        thermostat_damping_ps=0.01,
        health=HealthConfig(max_temperature_factor=1.05),
        sample_interval_steps=50,
        segment_steps=100,
    )
    calm = protocol(sample_interval_steps=50, segment_steps=100)
    starts = [canonical_structure(crystal()), canonical_structure(crystal((2, 1, 1)))]
    runs = [
        RunAhead(start_run(start, potential, how, 0), how, 100)
        for start, how in zip(starts, (hot, calm), strict=True)
    ]
    parts = list(run_batch(runs, potential, batch_size=2))
    failed = next(part for place, part in parts if place == 0)
    assert "temperature" in failed.health.reason
    assert 0 < failed.health.failed_step < 100
    assert failed.last_step == failed.health.failed_step
    (calm_part,) = [part for place, part in parts if place == 1]
    assert calm_part.health.healthy
    assert (calm_part.last_step, calm_part.n_frames) == (100, 3)


def test_energy_is_conserved(potential):
    dynamics = make_dynamics([replica_of(crystal((2, 2, 2)), protocol("nve"))], potential)
    dynamics.set_phase(np.array([True]))
    conserved, potentials = [], []
    for _ in range(200):
        dynamics.step(np.array([300.0]))
        conserved.append(dynamics.conserved_energies_ev.item())
        potentials.append(dynamics.energies_ev.item())
    assert np.ptp(potentials) > 0.5
    assert np.ptp(conserved) < 0.02 * np.ptp(potentials)

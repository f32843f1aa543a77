"""LAMMPS sees our energy, forces and virial, and goes where our own integrators go."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from springs import Crystal, ManyCrystals, fcc, frames_of, mean_and_error, protocol, run

from lycb_flows.config import EnumerationConfig
from lycb_flows.enumeration import enumerate_orderings
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.md import lammps
from lycb_flows.md.lammps import LammpsRun, run_lammps
from lycb_flows.md.protocol import start_run
from lycb_flows.md.summary import average_cell_ang
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.structures import load_parent, structure_from_arrays, to_ase
from lycb_flows.units import BAR_GPA, EV_PER_ANG3_GPA

BAR_PER_EV_PER_ANG3 = EV_PER_ANG3_GPA / BAR_GPA
TENSOR = ("pxx", "pxy", "pxz", "pxy", "pyy", "pyz", "pxz", "pyz", "pzz")
SHAPES = ("triclinic", "anisotropic", "isotropic")


@pytest.fixture(scope="module")
def toy():
    source = find_model("toy-soft")
    return load_potential(source.model, source.weights)


@pytest.fixture(scope="module")
def bromide():
    """20 atoms of a monoclinic ordering, every one a little off its site."""
    orderings = enumerate_orderings(load_parent("Li3YBr6"), EnumerationConfig(supercell=(1, 1, 1)))
    atoms = to_ase(orderings.structure(5))
    atoms.rattle(0.1, seed=1)
    return seen_as(atoms, np.eye(3), np.eye(3))


def seen_as(atoms, integers, rotation):
    """The same crystal by other lattice vectors, turned."""
    cell = np.array(integers) @ atoms.cell.array
    frac_coords = np.linalg.solve(cell.T, atoms.positions.T).T
    return structure_from_arrays(cell @ rotation, list(atoms.symbols), frac_coords)


TURNED = Rotation.from_rotvec([0.5, -1.0, 0.7]).as_matrix()
VIEWS = {
    "turned": (np.eye(3), TURNED),
    "strongly skewed": ([[1, 0, 0], [2, 1, 0], [-1, 3, 1]], TURNED),
    "left-handed": ([[0, 1, 0], [1, 0, 0], [0, 0, 1]], np.eye(3)),
}


# -- what LAMMPS sees -------------------------------------------------------------------


def energy_ev(evaluate, positions, cell):
    now = evaluate(torch.tensor(positions), torch.tensor(cell[None]))
    return now.energies_ev.item()


@pytest.mark.parametrize("view", VIEWS)
def test_lammps_sees_our_energy_and_its_derivatives(view, bromide, toy):
    start = seen_as(to_ase(bromide), *VIEWS[view])
    here = start_run(start, toy, protocol(start_temperature_k=1e-12), seed=0)
    cell, positions = here.motion.cell_ang, here.motion.positions_ang
    evaluate, step = toy.evaluator([here.numbers]), 1e-4
    with lammps._new_lammps() as engine:
        next(LammpsRun(engine, here, toy, protocol()).frames(1))
        engine.command("run 0")
        forces = np.array(engine.gather("f", 1, 3)).reshape(-1, 3)
        pressure = np.reshape([engine.get_thermo(name) for name in TENSOR], (3, 3))
        assert engine.get_thermo("pe") == pytest.approx(energy_ev(evaluate, positions, cell))
        theirs = np.diag([engine.get_thermo(name) for name in ("lx", "ly", "lz")])
        theirs[(1, 2, 2), (0, 0, 1)] = [engine.get_thermo(name) for name in ("xy", "xz", "yz")]
    rotation = np.linalg.solve(theirs, cell)  # ours = theirs @ rotation

    def slope(move):
        up, down = (energy_ev(evaluate, *move(sign * step)) for sign in (1, -1))
        return (up - down) / (2 * step)

    for i, k in ((0, 0), (7, 1), (19, 2)):

        def displaced(by, i=i, k=k):
            moved = positions.copy()
            moved[i] += by * rotation[k]
            return moved, cell

        assert forces[i, k] == pytest.approx(-slope(displaced), abs=1e-6)
    for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):

        def strained(by, i=i, j=j):
            strain = np.eye(3)
            strain[i, j] += by / 2
            strain[j, i] += by / 2
            ours = rotation.T @ strain @ rotation
            return positions @ ours, cell @ ours

        expected = -slope(strained) / abs(np.linalg.det(cell)) * BAR_PER_EV_PER_ANG3
        assert pressure[i, j] == pytest.approx(expected, abs=2.0)
    assert np.abs(pressure).min() > 20.0  # so that every sign and place has been seen


def test_lammps_and_we_agree_about_temperature_and_pressure(bromide, toy):
    here = start_run(bromide, toy, protocol(), seed=0)
    with lammps._new_lammps() as engine:
        frame = list(LammpsRun(engine, here, toy, protocol("npt")).frames(10))[-1]
        engine.command("run 0 post no")
        assert engine.get_thermo("temp") == pytest.approx(frame.temperature_k, rel=1e-5)
        pressure_gpa = engine.get_thermo("press") * BAR_GPA
    assert pressure_gpa == pytest.approx(-np.trace(frame.stress_gpa) / 3, rel=1e-5)


@pytest.mark.parametrize("view", VIEWS)
def test_a_cell_comes_back_as_it_went(view, bromide, toy):
    start = seen_as(to_ase(bromide), *VIEWS[view])
    frames = run_lammps(start, toy, protocol(sample_interval_steps=1), seed=0, n_steps=1)
    assert frames.cells_ang == pytest.approx(np.array([start.lattice_ang] * 2), abs=1e-10)
    assert frames.frac_coords[0] == pytest.approx(np.array(start.frac_coords), abs=1e-7)
    assert frames.species == start.species


# -- where LAMMPS goes ------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_nve_and_nvt_are_our_own_step_by_step(view, bromide, toy):
    start = seen_as(to_ase(bromide), *VIEWS[view])
    for ensemble in ("nve", "nvt"):
        how = protocol(ensemble, time_step_fs=1.0, start_temperature_k=600.0, segment_steps=50)
        theirs = run_lammps(start, toy, how, seed=3, n_steps=50)
        ours = frames_of(run(start, how, 50, seed=3, potential=toy))
        assert theirs.steps.tolist() == ours.steps.tolist()
        assert theirs.frac_coords == pytest.approx(ours.frac_coords, abs=1e-6)
        assert theirs.temperature_k == pytest.approx(ours.temperature_k, rel=1e-5)
        assert theirs.potential_energy_ev == pytest.approx(ours.potential_energy_ev, abs=1e-5)
        assert theirs.stress_gpa == pytest.approx(ours.stress_gpa, abs=1e-4)
        assert np.abs(ours.frac_coords - ours.frac_coords[0]).max() > 0.01


@pytest.mark.parametrize("shape", SHAPES)
def test_a_barostat_begins_as_ours_with_n_plus_one_in_its_mass(shape, toy):
    start, potential, n_steps = fcc(), ManyCrystals(fcc()), 5
    how = protocol("npt", time_step_fs=1.0, pressure_bar=20_000.0, cell_shape=shape)
    theirs = run_lammps(start, potential, how, seed=0, n_steps=n_steps).cells_ang
    ours = frames_of(run(start, how, n_steps, potential=potential)).cells_ang
    grown, expected = (
        np.linalg.norm(cells, axis=2)[-1] - np.linalg.norm(cells, axis=2)[0]
        for cells in (theirs, ours)
    )
    assert grown == pytest.approx(32 / 33 * expected, rel=5e-3)
    angles, expected = (
        np.einsum("ij,kj->ik", cells[-1], cells[-1])[(0, 0, 1), (1, 2, 2)]
        for cells in (theirs, ours)
    )
    assert angles == pytest.approx(32 / 33 * expected, rel=5e-3, abs=1e-9)
    assert (np.abs(angles) > 1e-4).all() == (shape == "triclinic")


def test_the_phases_are_the_protocols():
    phases = {"heating_steps": 33, "equilibration_steps": 14, "start_temperature_k": 100.0}
    potential = ManyCrystals(fcc())
    for ensemble in ("nve", "nvt", "npt"):
        how = protocol(ensemble, temperature_k=400.0, **phases)
        theirs = run_lammps(fcc(), potential, how, seed=0, n_steps=60)
        ours = frames_of(run(fcc(), how, 60, potential=potential))
        assert theirs.steps.tolist() == list(range(0, 61, 5))
        in_ramp = ours.steps <= 33
        assert theirs.temperature_k[in_ramp] == pytest.approx(ours.temperature_k[in_ramp], rel=1e-4)
        still = np.abs(theirs.cells_ang - theirs.cells_ang[0]).max(axis=(1, 2)) < 1e-9
        assert still.tolist() == (theirs.steps <= (47 if ensemble == "npt" else 60)).tolist()


def test_the_total_momentum_stays_zero_though_forces_do_not_sum_to_zero():
    class Pulled(ManyCrystals):
        def evaluator(self, numbers):
            evaluate = super().evaluator(numbers)

            def pulled(positions, cells):
                now = evaluate(positions, cells)
                now.forces_ev_per_ang[:, 0] += 0.01
                return now

            return pulled

    frames = run_lammps(fcc(), Pulled(fcc()), protocol("npt"), seed=0, n_steps=500)
    drift = (frames.frac_coords - frames.frac_coords[0]).mean(axis=1)
    assert np.abs(drift).max() < 1e-6


@pytest.mark.parametrize("shape", ["triclinic", "isotropic"])
def test_fix_npt_has_our_mean_volume_and_temperature(shape):
    n_steps, after = 8000, 500
    potential = ManyCrystals(fcc())
    how = protocol("npt", pressure_bar=20_000.0, cell_shape=shape, segment_steps=n_steps)
    theirs = run_lammps(fcc(), potential, how, seed=1, n_steps=n_steps).between(after, n_steps)
    ours = frames_of(run(fcc(), how, n_steps, seed=2, potential=potential))
    ours = ours.between(after, n_steps)
    start_ang3 = abs(np.linalg.det(fcc().lattice_ang))
    for series in ("volumes_ang3", "temperature_k", "pressures_gpa"):
        mean, error = mean_and_error(getattr(theirs, series))
        expected, expected_error = mean_and_error(getattr(ours, series))
        assert abs(mean - expected) < 3 * np.hypot(error, expected_error), series
    mean, error = mean_and_error(theirs.volumes_ang3)
    assert error < 0.1 * abs(mean - start_ang3)  # the pressure's own effect is well resolved
    mean, error = mean_and_error(theirs.pressures_gpa)
    assert abs(mean - 2.0) < 3 * error
    mean, error = mean_and_error(theirs.temperature_k)
    assert abs(mean - 300.0) < 3 * error
    lengths = np.linalg.norm(average_cell_ang(theirs.cells_ang), axis=1)
    assert lengths == pytest.approx(lengths.mean(), rel=5e-3)


# -- what goes wrong --------------------------------------------------------------------


def test_forces_that_are_no_numbers_end_the_run_in_one_line():
    broken = Crystal(fcc(), break_after=20)
    with pytest.raises(PhysicsError, match=r"not a number, step=\d+") as caught:
        run_lammps(fcc(), broken, protocol(), seed=0, n_steps=100)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [30.0, 1e6, 1e200])
def test_an_explosion_ends_the_run_in_one_line(damage):
    broken = Crystal(fcc(), break_after=20, damage=damage)
    with pytest.raises(PhysicsError, match="has left physics") as caught:
        run_lammps(fcc(), broken, protocol(), seed=0, n_steps=200)
    assert "\n" not in str(caught.value)


def test_an_error_of_the_potential_is_not_lost_inside_lammps():
    class Stopped(ManyCrystals):
        calls = 0

        def evaluator(self, numbers):
            evaluate = super().evaluator(numbers)

            def stopped(positions, cells):
                self.calls += 1
                if self.calls == 20:
                    raise KeyboardInterrupt
                return evaluate(positions, cells)

            return stopped

    with pytest.raises(KeyboardInterrupt):
        run_lammps(fcc(), Stopped(fcc()), protocol(), seed=0, n_steps=100)


def test_a_missing_lammps_is_one_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lammps", None)
    with pytest.raises(InputError, match=r'pip install "lycb-flows\[lammps\]"') as caught:
        run_lammps(fcc(), ManyCrystals(fcc()), protocol(), seed=0, n_steps=10)
    assert "\n" not in str(caught.value)


def test_lammps_is_silent_and_leaves_no_file(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    run_lammps(fcc(), ManyCrystals(fcc()), protocol("npt"), seed=0, n_steps=20)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())

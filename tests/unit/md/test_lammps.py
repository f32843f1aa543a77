"""LAMMPS sees our energy, forces and virial, and goes where our own integrators go."""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from springs import (
    Crystal,
    ManyCrystals,
    fcc,
    frames_of,
    mean_and_error,
    protocol,
    run,
    run_side_by_side,
)

from lycb_flows.config import EnumerationConfig, RelaxationConfig
from lycb_flows.crystals.enumeration import enumerate_orderings
from lycb_flows.crystals.structures import load_parent, structure_from_arrays, to_ase
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.md import lammps
from lycb_flows.md.lammps import LammpsRun, run_lammps
from lycb_flows.md.protocol import start_run
from lycb_flows.md.summary import average_cell_ang
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.relaxation.by_model import relax
from lycb_flows.units import BAR_GPA, EV_PER_ANG3_GPA

BAR_PER_EV_PER_ANG3 = EV_PER_ANG3_GPA / BAR_GPA
BOX = ("lx", "ly", "lz", "xy", "xz", "yz")
TENSOR = ("pxx", "pxy", "pxz", "pxy", "pyy", "pyz", "pxz", "pyz", "pzz")
SHAPES = ("triclinic", "anisotropic", "isotropic")


@pytest.fixture(scope="module")
def toy():
    source = find_model("toy-soft")
    return load_potential(source.model, source.weights)


@pytest.fixture(scope="module")
def bromide(toy):
    """20 atoms of a monoclinic ordering, every one a little off its site."""
    orderings = enumerate_orderings(load_parent("Li3YBr6"), EnumerationConfig(supercell=(1, 1, 1)))
    relaxed = relax(orderings.structure(5), toy, RelaxationConfig(fmax_ev_per_ang=0.05))
    atoms = to_ase(relaxed.structure)
    atoms.rattle(0.05, seed=1)
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


class Standing:
    """A crystal at rest in LAMMPS, and our energy of it under small moves in LAMMPS' frame."""

    def __init__(self, start, potential):
        here = start_run(start, potential, protocol(start_temperature_k=1e-12), seed=0)
        self.cell, self.positions = here.motion.cell_ang, here.motion.positions_ang
        self.volume_ang3 = abs(np.linalg.det(self.cell))
        self.evaluate = potential.evaluator([here.numbers])
        with lammps._new_lammps() as engine:
            next(LammpsRun(engine, here, potential, protocol()).frames(1))
            engine.command("run 0")
            seen = {name: engine.get_thermo(name) for name in ("pe", *BOX, *TENSOR)}
            self.forces = np.array(engine.gather("f", 1, 3)).reshape(-1, 3)
        self.energy_ev = seen["pe"]
        self.pressure_bar = np.reshape([seen[name] for name in TENSOR], (3, 3))
        theirs = np.zeros((3, 3))
        theirs[(0, 1, 2, 1, 2, 2), (0, 1, 2, 0, 0, 1)] = [seen[name] for name in BOX]
        self.rotation = np.linalg.solve(theirs, self.cell)  # ours = theirs @ rotation

    def slope(self, move, step=1e-4):
        up, down = (self.energy_of(*move(sign * step)) for sign in (1, -1))
        return (up - down) / (2 * step)

    def energy_of(self, positions, cell):
        return self.evaluate(torch.tensor(positions), torch.tensor(cell[None])).energies_ev.item()

    def displaced(self, i, k, by):
        positions = self.positions.copy()
        positions[i] += by * self.rotation[k]
        return positions, self.cell

    def strained(self, i, j, by):
        strain = np.eye(3)
        strain[i, j] += by / 2
        strain[j, i] += by / 2
        ours = self.rotation.T @ strain @ self.rotation
        return self.positions @ ours, self.cell @ ours


@pytest.mark.parametrize("view", VIEWS)
def test_lammps_sees_our_energy_and_its_derivatives(view, bromide, toy):
    standing = Standing(seen_as(to_ase(bromide), *VIEWS[view]), toy)
    expected = standing.energy_of(standing.positions, standing.cell)
    assert standing.energy_ev == pytest.approx(expected, rel=1e-12)
    for i, k in ((0, 0), (7, 1), (19, 2)):
        slope = standing.slope(partial(standing.displaced, i, k))
        assert standing.forces[i, k] == pytest.approx(-slope, abs=1e-6)
    for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
        slope = standing.slope(partial(standing.strained, i, j))
        expected = -slope / standing.volume_ang3 * BAR_PER_EV_PER_ANG3
        assert standing.pressure_bar[i, j] == pytest.approx(expected, abs=2.0)
    assert np.abs(standing.pressure_bar).min() > 20.0  # every sign and place has been seen


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
        how = protocol(ensemble, time_step_fs=1.0, start_temperature_k=400.0, segment_steps=50)
        theirs = run_lammps(start, toy, how, seed=3, n_steps=50)
        ours = frames_of(run(start, how, 50, seed=3, potential=toy))
        assert theirs.steps.tolist() == ours.steps.tolist()
        assert theirs.frac_coords == pytest.approx(ours.frac_coords, abs=1e-6)
        assert theirs.temperature_k == pytest.approx(ours.temperature_k, rel=1e-5)
        assert theirs.potential_energy_ev == pytest.approx(ours.potential_energy_ev, abs=1e-5)
        assert theirs.stress_gpa == pytest.approx(ours.stress_gpa, abs=1e-4)
        assert np.abs(ours.frac_coords - ours.frac_coords[0]).max() > 0.01


@pytest.mark.parametrize("shape", SHAPES)
def test_a_barostat_begins_as_ours_but_for_the_cells_mass(shape):
    start, potential, n_steps = fcc(), ManyCrystals(fcc()), 5
    how = protocol("npt", time_step_fs=1.0, pressure_bar=20_000.0, cell_shape=shape)
    theirs = run_lammps(start, potential, how, seed=0, n_steps=n_steps).cells_ang
    ours = frames_of(run(start, how, n_steps, potential=potential)).cells_ang
    grown, expected = (
        np.linalg.norm(cells, axis=2)[-1] - np.linalg.norm(cells, axis=2)[0]
        for cells in (theirs, ours)
    )
    assert grown == pytest.approx(32 / 33 * expected, rel=5e-3)
    skews, expected = (
        np.einsum("ij,kj->ik", cells[-1], cells[-1])[(0, 0, 1), (1, 2, 2)]
        for cells in (theirs, ours)
    )
    assert skews == pytest.approx(32 / 33 / 2 * expected, rel=0.1, abs=1e-9)
    assert (np.abs(skews) > 1e-4).all() == (shape == "triclinic")


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


N_STEPS, SETTLED = 3000, 500
COMPRESSING = {
    shape: protocol("npt", pressure_bar=20_000.0, cell_shape=shape, segment_steps=N_STEPS)
    for shape in ("triclinic", "isotropic")
}


@pytest.fixture(scope="module")
def our_compressed():
    """Our own runs, by the cell's shape."""
    runs = run_side_by_side(fcc(), COMPRESSING.values(), N_STEPS, ManyCrystals(fcc()), seed=2)
    frames = [frames_of(segments).between(SETTLED, N_STEPS) for segments in runs]
    return dict(zip(COMPRESSING, frames, strict=True))


@pytest.mark.parametrize("shape", COMPRESSING)
def test_fix_npt_has_our_mean_volume_and_its_own_targets(shape, our_compressed):
    theirs = run_lammps(fcc(), ManyCrystals(fcc()), COMPRESSING[shape], seed=1, n_steps=N_STEPS)
    theirs, ours = theirs.between(SETTLED, N_STEPS), our_compressed[shape]
    mean, error = mean_and_error(theirs.volumes_ang3)
    expected, expected_error = mean_and_error(ours.volumes_ang3)
    assert abs(mean - expected) < 3 * np.hypot(error, expected_error)
    compressed = abs(np.linalg.det(fcc().lattice_ang)) - expected
    assert compressed > 30 * error  # what the pressure does is well resolved
    for series, target in (("pressures_gpa", 2.0), ("temperature_k", 300.0)):
        mean, error = mean_and_error(getattr(theirs, series))
        assert abs(mean - target) < 4 * error, series
    lengths = np.linalg.norm(average_cell_ang(theirs.cells_ang), axis=1)
    assert lengths == pytest.approx(lengths.mean(), rel=5e-3)


# -- what goes wrong --------------------------------------------------------------------


def test_forces_that_are_no_numbers_end_the_run_in_one_line():
    broken = Crystal(fcc(), break_after=20)
    with pytest.raises(PhysicsError, match=r"not a number, step=\d+") as caught:
        run_lammps(fcc(), broken, protocol(), seed=0, n_steps=100)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [1e4, 1e6, 1e200])
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

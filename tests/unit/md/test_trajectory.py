"""Frames of a run, the cell and the structure that they average to, and pieces that join."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from ase import units
from ase.geometry import cellpar_to_cell
from springs import (
    Springs,
    fcc,
    frames_of,
    protocol,
    run,
)
from waiting import wait_until

from lycb_flows.crystals.structures import canonical_structure, to_ase
from lycb_flows.errors import InputError
from lycb_flows.md.checkpoint import Checkpoint
from lycb_flows.md.summary import average_cell_ang, averaging_window, summarise_run
from lycb_flows.md.trajectory import Trajectory, join, read_trajectory, write_trajectory
from lycb_flows.schemas import Health

# -- averages ---------------------------------------------------------------------------


def made_up_trajectory(cells, interval: int = 10) -> Trajectory:
    n = len(cells)
    rng = np.random.default_rng(0)
    return Trajectory(
        species=("Li", "Cl"),
        time_step_fs=1.0,
        steps=np.arange(1, n + 1) * interval,
        frac_coords=rng.normal(size=(n, 2, 3)).astype(np.float32),
        cells_ang=np.asarray(cells, float),
        potential_energy_ev=rng.normal(size=n),
        temperature_k=rng.normal(300, 10, size=n),
        stress_gpa=rng.normal(size=(n, 3, 3)),
    )


def test_the_average_cell_is_the_mean_of_parameters_over_exactly_the_window():
    rng = np.random.default_rng(1)
    parameters = rng.normal([6, 7, 8, 95, 109, 87], [0.1, 0.1, 0.1, 2, 2, 2], size=(50, 6))
    parameters[:10, :3] *= 1.5  # before the window
    rotations = np.linalg.qr(rng.normal(size=(50, 3, 3)))[0]
    rotations *= np.linalg.det(rotations)[:, None, None]
    cells = np.array([cellpar_to_cell(row) for row in parameters]) @ rotations
    trajectory = made_up_trajectory(cells)
    how = protocol("npt", time_step_fs=1.0, barostat_damping_ps=0.04)
    assert averaging_window(how, 500) == (100, 500)
    summary = summarise_run(
        [
            write_trajectory(trajectory.between(0, 250)),
            write_trajectory(trajectory.between(250, 500)),
        ],
        how,
        n_steps=500,
        health=Health(),
    )
    found = to_ase(summary.average_structure).cell.cellpar()
    assert found == pytest.approx(parameters[10:].mean(axis=0), abs=1e-6)
    assert not np.allclose(found, parameters[-1], atol=0.01)
    last = trajectory.frac_coords[-1].astype(float) % 1
    assert np.array(summary.average_structure.frac_coords) == pytest.approx(last, abs=1e-9)
    assert summary.means.temperature_k == pytest.approx(trajectory.temperature_k[10:].mean())
    assert summary.means.pressure_gpa == pytest.approx(trajectory.pressures_gpa[10:].mean())


def test_a_left_handed_cell_stays_left_handed():
    cell = cellpar_to_cell([6, 7, 8, 95, 109, 87]) * [1, 1, -1]
    average = average_cell_ang(np.array([cell, cell]))
    assert np.linalg.det(average) == pytest.approx(np.linalg.det(cell))
    assert np.linalg.det(cell) < 0


def test_an_npt_window_below_ten_barostat_times_is_not_equilibrated():
    trajectory = write_trajectory(made_up_trajectory([np.eye(3) * 8] * 50))
    flags = {}
    for damping_ps in (0.0400, 0.0401):  # the window is 0.4 ps
        how = protocol("npt", time_step_fs=1.0, barostat_damping_ps=damping_ps)
        summary = summarise_run([trajectory], how, n_steps=500, health=Health())
        flags[damping_ps] = summary.equilibrated
    assert flags == {0.0400: True, 0.0401: False}
    how = protocol("nvt", time_step_fs=1.0)
    nvt = summarise_run([trajectory], how, n_steps=500, health=Health())
    assert nvt.equilibrated
    assert nvt.average_structure is None
    assert nvt.average_volume_ang3_per_atom == pytest.approx(256.0)


def test_a_healthy_run_whose_frames_miss_the_window_is_refused():
    trajectory = write_trajectory(made_up_trajectory([np.eye(3) * 8] * 5))
    with pytest.raises(InputError, match="without frames"):
        summarise_run([trajectory], protocol(), n_steps=5000, health=Health())


# -- trajectory -------------------------------------------------------------------------


def test_equal_frames_give_equal_bytes_whenever_they_are_written():
    trajectory = made_up_trajectory(np.eye(3) * np.linspace(8, 9, 700)[:, None, None])
    first = write_trajectory(trajectory)
    written_at = int(time.time())
    wait_until(lambda: int(time.time()) > written_at, "HDF5's clock, which ticks in seconds")
    assert write_trajectory(trajectory) == first
    assert write_trajectory(read_trajectory(first)) == first
    for field in dataclasses.fields(Trajectory):
        read, written = getattr(read_trajectory(first), field.name), getattr(trajectory, field.name)
        assert np.array_equal(read, written)


def test_a_stored_frame_always_gives_the_same_structure():
    segments = run(fcc(), protocol("npt", segment_steps=20), 40)
    joined = frames_of(segments)
    second = read_trajectory(segments[1].trajectory)
    keys = [joined.structure(i).key for i in range(joined.n_frames)]
    assert len(set(keys)) == joined.n_frames
    assert keys[-second.n_frames :] == [second.structure(i).key for i in range(second.n_frames)]
    assert canonical_structure(to_ase(joined.structure(3))).key == keys[3]
    end = Checkpoint.from_bytes(segments[1].checkpoint)
    moved = end.motion.positions_ang - to_ase(joined.structure(-1)).positions
    images = moved @ np.linalg.inv(end.motion.cell_ang)
    assert np.abs(images - np.rint(images)).max() < 1e-6


def test_an_ion_is_followed_across_cells():
    times = np.arange(400)
    frac = np.zeros((400, 2, 3))
    frac[:, 0, 0] = 0.02 * times  # eight cells in a row
    cell = cellpar_to_cell([6, 7, 8, 95, 109, 87])
    moving = dataclasses.replace(
        made_up_trajectory([cell] * 400), frac_coords=frac.astype(np.float32)
    )
    assert moving.unwrapped_ang() == pytest.approx(frac @ cell, abs=1e-4)


def test_a_breathing_cell_does_not_swing_an_ion_that_is_far_from_home():
    scale = 1 + 0.01 * np.sin(np.arange(400))
    cells = 10.0 * np.eye(3) * scale[:, None, None]
    frac = np.full((400, 2, 3), [[5.25, 0, 0]])
    breathing = dataclasses.replace(made_up_trajectory(cells), frac_coords=frac.astype(np.float32))
    naive = (frac @ cells)[:, 0, 0]
    assert np.ptp(naive) == pytest.approx(1.05, rel=0.01)
    assert np.ptp(breathing.unwrapped_ang()[:, 0, 0]) == pytest.approx(0.05, rel=0.01)


def test_positions_are_continuous_in_npt():
    frames = frames_of(run(fcc(), protocol("npt", segment_steps=100), 300))
    positions = frames.unwrapped_ang()
    jumps = np.linalg.norm(np.diff(positions, axis=0), axis=2)
    assert 0.01 < jumps.max() < 0.5
    assert (frames.frac_coords < 0).any()  # some have left the cell


def test_pieces_that_do_not_belong_together_do_not_join():
    trajectory = made_up_trajectory([np.eye(3) * 8] * 5)
    with pytest.raises(InputError, match="overlap"):
        join([trajectory, trajectory])
    with pytest.raises(InputError, match="different runs"):
        join([trajectory, dataclasses.replace(trajectory, species=("Li", "Br"))])
    with pytest.raises(InputError, match="no trajectory"):
        join([])
    with pytest.raises(InputError, match="not HDF5"):
        read_trajectory(b"no such thing")


def test_energies_and_stress_in_the_frames_are_the_calculators():
    frames = frames_of(run(fcc(), protocol("npt"), 50))
    atoms = to_ase(fcc())
    calculator = Springs(to_ase(fcc()))
    atoms.set_cell(frames.cells_ang[-1])
    atoms.positions = frames.frac_coords[-1].astype(float) @ frames.cells_ang[-1]
    atoms.calc = calculator
    assert frames.potential_energy_ev[-1] == pytest.approx(atoms.get_potential_energy(), rel=1e-4)
    volume = atoms.get_volume()
    kinetic_gpa = 31 * units.kB * frames.temperature_k[-1] / volume / units.GPa
    virial_gpa = -np.trace(atoms.get_stress(voigt=False)) / 3 / units.GPa
    assert frames.pressures_gpa[-1] == pytest.approx(virial_gpa + kinetic_gpa, abs=1e-3)
    assert kinetic_gpa > 0.1

"""Trajectories of other programs: the same walk from every format."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
from ase.io import read
from walk_files import (
    CELL_ANG,
    DUMPS,
    FRAME_FS,
    SPECIES,
    STEP_FS,
    vasprun,
    walk,
    write_dump,
    write_walk,
)

from lycb_flows.errors import InputError
from lycb_flows.md.foreign import ReadingOptions, read_any_trajectory
from lycb_flows.md.foreign.tables import TableReader
from lycb_flows.transport.msd import mean_squared_displacement, subtract_drift

FILES = {  # name -> option that its format needs
    "run.h5": None, "run.extxyz": None, "run.traj": None, "run.lammpstrj": STEP_FS,
    "XDATCAR": FRAME_FS, "vasprun.xml": None,
}  # fmt: skip


def read_walk(path, time_step_fs=None, **options):
    return read_any_trajectory(path, ReadingOptions(time_step_fs=time_step_fs, **options))


def msd(positions):
    framework = np.array(SPECIES) != "Li"
    return mean_squared_displacement(subtract_drift(positions, framework)[:, ~framework])


def assert_same_walk(found, trajectory, atol=2e-3):
    """Equal displacements, but for the orientation of the cell."""
    expected = trajectory.unwrapped_ang()
    assert found.species == SPECIES
    assert found.positions_ang.shape == expected.shape
    assert found.frame_interval_ps == pytest.approx(FRAME_FS / 1000)
    np.testing.assert_allclose(msd(found.positions_ang), msd(expected), rtol=1e-4, atol=atol)
    np.testing.assert_allclose(
        np.linalg.det(found.cells_ang), np.linalg.det(trajectory.cells_ang), rtol=1e-6
    )


@pytest.mark.parametrize("breathes", [False, True], ids=["nvt", "npt"])
@pytest.mark.parametrize("name", FILES)
def test_a_walk_is_the_same_from_every_format(name, breathes, tmp_path):
    trajectory = walk(breathes=breathes)
    found = read_walk(write_walk(trajectory, tmp_path / name), FILES[name])
    assert_same_walk(found, trajectory)


@pytest.mark.parametrize("breathes", [False, True], ids=["nvt", "npt"])
@pytest.mark.parametrize("columns", DUMPS)
def test_every_kind_of_lammps_dump_gives_the_walk(columns, breathes, tmp_path):
    trajectory = walk(breathes=breathes)
    path = write_dump(trajectory, tmp_path / "dump.walk", columns)
    assert_same_walk(read_walk(path, STEP_FS), trajectory)

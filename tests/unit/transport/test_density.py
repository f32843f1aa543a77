"""Where the ions are: counts that integrate to their number, maps, and files of other programs."""

from pathlib import Path

import numpy as np
import pytest
from ase.calculators.vasp import VaspChargeDensity
from ase.io.cube import read_cube_data
from ase.units import Bohr

from lycb_flows.errors import InputError
from lycb_flows.transport.density import (
    density_grid,
    grid_bytes,
    read_grid,
    relative_motion,
    write_density,
)

LATTICE = np.array([[6.0, 0, 0], [-2.5, 7.1, 0], [0.7, -0.4, 9.3]])
SPECIES = ("Li", "Cl", "Li", "Y", "Cl", "Li")


def wandering(n_frames=400, drift=0.0, seed=0):
    """Fractional coordinates of three Li that wander and three atoms that vibrate."""
    rng = np.random.default_rng(seed)
    start = rng.random((1, 6, 3))
    moves = rng.normal(0, 0.05, (n_frames, 6, 3))
    moves[0] = 0
    mobile = np.array(SPECIES) == "Li"
    walked = np.where(mobile[:, None], np.cumsum(moves, axis=0), 0.2 * moves)
    return start + walked + drift * np.arange(n_frames)[:, None, None]


def grid_of(frac, spacing=0.3):
    return density_grid(relative_motion(frac, SPECIES, "Li"), LATTICE, "Li", spacing)


def test_density_integrates_to_the_number_of_ions():
    grid = grid_of(wandering())
    assert grid.counts.shape == (20, 26, 32)
    assert grid.per_ang3.sum() * grid.voxel_ang3 == pytest.approx(3.0)
    assert grid.n_ions == 3.0
    assert grid.smoothed(0.4).sum() * grid.voxel_ang3 == pytest.approx(3.0)
    for axis, shape in enumerate([(26, 32), (20, 32), (20, 26)]):
        seen = np.delete(LATTICE, axis, axis=0)
        across = LATTICE[axis] / np.linalg.norm(LATTICE[axis])
        pixel = abs(across @ np.cross(*seen)) / np.prod(shape)
        assert grid.projection(axis).shape == shape
        assert grid.projection(axis).sum() * pixel == pytest.approx(3.0)


def test_drift_of_the_crystal_moves_no_ion():
    still, drifting = wandering(), wandering(drift=0.013)
    np.testing.assert_allclose(
        relative_motion(drifting, SPECIES, "Li").mobile,
        relative_motion(still, SPECIES, "Li").mobile,
        atol=1e-12,
    )
    np.testing.assert_allclose(
        relative_motion(drifting, SPECIES, "Li").framework,
        relative_motion(still, SPECIES, "Li").framework,
        atol=1e-12,
    )


def test_an_ion_is_counted_in_the_voxel_around_it():
    frac = np.zeros((5, 6, 3))
    frac[:, 0] = [0.25, 1.5, -0.01]
    frac[:, 1] = [0.3, 0.3, 0.3]
    grid = grid_of(frac)
    assert grid.counts[5, 13, 0] == 5
    assert grid.counts[0, 0, 0] == 10
    assert grid.volume_share(1.0) == pytest.approx(2 / grid.counts.size, abs=1.1 / grid.counts.size)
    assert grid.volume_share(0.6) == pytest.approx(1 / grid.counts.size)


def test_a_grid_survives_its_bytes():
    grid = grid_of(wandering())
    again = read_grid(grid_bytes(grid))
    for name, value in vars(grid).items():
        np.testing.assert_array_equal(getattr(again, name), value)
    assert grid_bytes(again) == grid_bytes(grid)


@pytest.mark.parametrize("name", ["Li.cube", "CHGCAR", "Li.vasp"])
def test_other_programs_read_the_density_where_it_is(tmp_path, name):
    grid = grid_of(wandering())
    path = tmp_path / name
    write_density(grid, path)
    if path.suffix == ".cube":
        data, atoms = read_cube_data(str(path))
        np.testing.assert_allclose(data / Bohr**3, grid.per_ang3, rtol=1e-5, atol=1e-12)
    else:
        read = VaspChargeDensity(str(path))
        atoms, data = read.atoms[0], read.chg[0]
        np.testing.assert_allclose(data, grid.per_ang3, rtol=1e-5, atol=1e-12)
    assert atoms.get_chemical_formula() == "Cl2Y"
    np.testing.assert_allclose(atoms.cell.array, LATTICE, atol=1e-4)
    (yttrium,) = (atom for atom in atoms if atom.symbol == "Y")
    expected = grid.framework[grid.framework_species.index("Y")] % 1.0 @ LATTICE
    np.testing.assert_allclose(yttrium.position, expected, atol=1e-4)


def test_what_is_no_density_is_refused():
    grid = grid_of(wandering(20))
    with pytest.raises(InputError, match="no format of densities"):
        write_density(grid, Path("density.xyz"))
    with pytest.raises(InputError, match="mobile ions and a framework"):
        relative_motion(wandering(20), SPECIES, "Na")
    with pytest.raises(InputError, match="frames"):
        relative_motion(np.empty((0, 6, 3)), SPECIES, "Li")
    broken = wandering(20)
    broken[3, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        grid_of(broken)

"""Our cell filter is ASE's, in fewer operations."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter

from lycb_flows.crystals.cell_filter import CellFilter


def sheared():
    atoms = bulk("Cu", cubic=True) * (1, 1, 2)
    atoms.rattle(0.1, seed=0)
    atoms.calc = EMT()
    return atoms


def test_variables_forces_and_stress_are_ases_after_any_move():
    ours, theirs = CellFilter(sheared()), FrechetCellFilter(sheared())
    rng = np.random.default_rng(0)
    for _ in range(3):
        assert ours.get_positions() == pytest.approx(theirs.get_positions(), abs=1e-10)
        assert ours.get_forces() == pytest.approx(theirs.get_forces(), abs=1e-10)
        assert ours.stress == pytest.approx(theirs.stress, abs=1e-12)
        move = rng.normal(0, 0.05, (len(ours), 3))
        move[-3:] *= 8  # the strain counts once per atom
        for moved in (ours, theirs):
            moved.set_positions(moved.get_positions() + move)
        assert np.abs(ours.deform_grad() - np.eye(3)).max() > 0.02
        assert ours.atoms.cell.array == pytest.approx(theirs.atoms.cell.array, abs=1e-12)


def test_a_crystal_that_was_moved_by_another_hand_has_its_own_variables():
    ours = CellFilter(sheared())
    ours.set_positions(ours.get_positions() + 0.1)
    before = ours.get_forces()
    ours.atoms.positions[0] += 0.1
    assert ours.get_positions() == pytest.approx(FrechetCellFilter.get_positions(ours), abs=1e-12)
    assert np.abs(ours.get_forces() - before).max() > 1e-3

"""Which crystals of a batch are none."""

import numpy as np
import pytest

from lycb_flows.potentials.evaluator import lost_crystals

FLAT = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 4.0, 0.0]]


@pytest.mark.parametrize(
    "cell",
    [FLAT, np.zeros((3, 3)), np.eye(3) * 1e200, np.eye(3) * np.nan, [[2, np.inf, 0], *FLAT[1:]]],
)
@pytest.mark.filterwarnings("error")
def test_a_cell_that_is_not_finite_or_without_a_finite_volume_is_lost_alone(cell):
    cells = np.array([np.eye(3) * 4, cell, np.eye(3) * -1e-3])
    lost = lost_crystals(np.zeros((4, 3)), cells, np.array([0, 0, 1, 2]))
    assert lost.tolist() == [False, True, False]


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_so_is_a_crystal_with_a_position_that_is_not_finite(number):
    positions = np.zeros((4, 3))
    positions[1, 2] = number
    lost = lost_crystals(positions, np.array([np.eye(3)] * 3), np.array([0, 0, 1, 2]))
    assert lost.tolist() == [True, False, False]

"""Wrapped positions become displacements, in place."""

import numpy as np

from lycb_flows.md.foreign.unwrapping import unwrap_in_place

SPECIES = ("Li", "Li", "Li", "Cl", "Cl")


def test_unwrapping_follows_an_atom_through_a_breathing_triclinic_cell():
    rng = np.random.default_rng(0)
    cell = np.array([[6.0, 0, 0], [1.5, 7.0, 0], [-2.0, 0.5, 8.0]])
    cells = cell + rng.normal(0, 0.05, (400, 3, 3))
    steps = rng.normal([0.2, -0.1, 0.15], 0.2, (400, 5, 3))
    wrapped = np.empty_like(steps)
    wrapped[0] = rng.random((5, 3)) @ cells[0]
    for i in range(1, 400):
        fractional = (wrapped[i - 1] + steps[i]) @ np.linalg.inv(cells[i])
        wrapped[i] = (fractional % 1.0) @ cells[i]
    expected = wrapped[0] + np.concatenate([np.zeros((1, 5, 3)), np.cumsum(steps[1:], axis=0)])
    assert np.abs(expected[-1]).max() > 50  # many cells away
    unwrap_in_place(wrapped, cells, SPECIES[:5], unwrapped=False)
    np.testing.assert_allclose(wrapped, expected, atol=1e-9)


def test_unwrapping_undoes_wrapping_in_a_fixed_cell():
    cell = np.array([[6.0, 0, 0], [1.5, 7.0, 0], [-2.0, 0.5, 8.0]])
    walkers = np.cumsum(np.random.default_rng(0).normal(0, 0.5, (500, 4, 3)), axis=0)
    wrapped = (walkers @ np.linalg.inv(cell) % 1.0) @ cell
    assert np.abs(walkers - wrapped).max() > 6
    unwrap_in_place(wrapped, np.tile(cell, (500, 1, 1)), SPECIES[:4], unwrapped=False)
    np.testing.assert_allclose(wrapped - wrapped[0], walkers - walkers[0], atol=1e-9)

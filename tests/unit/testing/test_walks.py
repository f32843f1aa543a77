"""Walks have the diffusivities, plateaus and exponents that they promise."""

import numpy as np
import pytest

from lycb_flows.testing.confinement import boxed, caged, rings, single_file
from lycb_flows.testing.walks import (
    Clock,
    back_jumpers,
    free_walkers,
    hoppers,
    random_groups,
    strings,
    sub_diffusive,
    vibrating,
)

CLOCK = Clock(200.0, 0.5)
N = 600


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def msd(positions, lag):
    moved = positions[lag:] - positions[:-lag]
    return np.mean(np.sum(moved**2, axis=2))


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: free_walkers(N, 0.1, CLOCK, rng),
        lambda rng: back_jumpers(N, 0.1, 0.6, CLOCK, rng),
        lambda rng: strings(free_walkers(N, 0.1, CLOCK, rng), 2),
        lambda rng: random_groups(N, 0.1, 3, CLOCK, rng),
    ],
    ids=["free", "back-jumps", "strings", "groups"],
)
def test_displacement_grows_with_the_promised_diffusivity(make, rng):
    walk = make(rng)
    slope = (msd(walk, 160) - msd(walk, 80)) / (80 * 0.5)
    assert slope / 6 == pytest.approx(0.1, rel=0.12)


def test_back_jumps_undo_the_hop_before(rng):
    walk = back_jumpers(N, 0.1, 0.9, Clock(20.0, 0.02), rng)
    hops = np.diff(walk, axis=0)
    moved = hops.any(axis=2)
    rate = 6 * 0.1 * (1.9 / 0.1) / 9
    assert moved.mean() == pytest.approx(1 - np.exp(-rate * 0.02), rel=0.05)
    cosines = [
        np.sum(path[1:] * path[:-1], axis=1) / 9
        for path in (hops[moved[:, i], i] for i in range(100))
    ]
    assert np.concatenate(cosines).mean() == pytest.approx(-0.9, abs=0.05)


def test_hops_along_vectors_have_the_tensor_of_their_outer_products(rng):
    vectors = np.array([[3.0, 0, 0], [1.0, 2.0, 0], [0, 0, 2.5]])
    rates = np.array([0.02, 0.01, 0.03])
    walk = hoppers(4000, vectors, rates, CLOCK, rng)
    moved = walk[-1] - walk[0]
    tensor = moved.T @ moved / len(moved) / (2 * 200)
    expected = np.einsum("j,ja,jb->ab", rates, vectors, vectors)
    np.testing.assert_allclose(tensor, expected, atol=0.012)


def test_cages_have_their_plateau_and_their_time(rng):
    walk = caged(N, 6.0, 4.0, CLOCK, rng)
    assert msd(walk, 200) == pytest.approx(6.0, rel=0.05)
    assert msd(walk, 8) == pytest.approx(6.0 * (1 - np.exp(-1)), rel=0.05)
    assert walk[0].std() == pytest.approx(1.0, rel=0.1)  # stationary from the start


def test_boxes_are_not_left_and_every_site_is_visited(rng):
    walk = boxed((4, 1, 2), 100, 0.5, CLOCK, rng)
    for axis, n_sites in enumerate((4, 1, 2)):
        assert set(np.unique(walk[..., axis])) == {3.0 * site for site in range(n_sites)}


def test_fractional_motion_has_its_exponent(rng):
    walk = sub_diffusive(N, 0.6, 0.6, CLOCK, rng)
    assert msd(walk, 2) == pytest.approx(0.6, rel=0.03)
    assert msd(walk, 200) == pytest.approx(0.6 * 100**0.6, rel=0.1)


def test_a_ring_of_ions_moves_as_one(rng):
    paths = [single_file(6, 8, 0.5, CLOCK, rng) for _ in range(12)]
    sites = np.rint(paths[0] / 3).astype(int) % 8
    assert all(len(set(row)) == 6 for row in sites)
    walk = rings(paths)
    assert walk.shape == (401, 72, 3)
    long_run = [single_file(6, 8, 0.5, Clock(2000.0, 2.0), rng) for _ in range(6)]
    end = np.array([path[-1] - path[0] for path in long_run]).mean(axis=1)
    expected = 2 * 2000 * 0.5 * 9 * (2 / 7) / 6
    assert np.mean(end**2) / expected == pytest.approx(1, abs=1.9)
    sum_of_steps = np.concatenate([np.diff(path.sum(axis=1)) for path in long_run])
    assert np.var(sum_of_steps) == pytest.approx(36 * expected / 1000, rel=0.2)


def test_vibration_is_added_to_every_frame(rng):
    noise = vibrating(np.zeros((400, 50, 3)), rng)
    assert noise.std() == pytest.approx(0.2, rel=0.02)

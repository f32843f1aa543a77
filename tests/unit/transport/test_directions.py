"""D by direction: the tensor, its errors, its anisotropy."""

import numpy as np
import pytest

from lycb_flows.config import DiffusionConfig
from lycb_flows.testing.walks import Clock, free_walkers, hoppers, vibrating
from lycb_flows.transport.diffusion import analyse_diffusion

BETA = np.radians(109.6)
LATTICE = np.array([[7.0, 0, 0], [0, 12.0, 0], [7 * np.cos(BETA), 0, 7 * np.sin(BETA)]])
CLOCK = Clock(200.0, 0.5)
VECTORS = 3.0 * LATTICE / np.linalg.norm(LATTICE, axis=1, keepdims=True)
RATES = np.array([0.05, 0.05, 0.15]) / 9
TENSOR = np.einsum("j,ja,jb->ab", RATES, VECTORS, VECTORS)


def analyse(walkers):
    positions = np.concatenate([walkers, np.zeros_like(walkers[:, :1])], axis=1)
    mobile = np.arange(positions.shape[1]) < walkers.shape[1]
    return analyse_diffusion(positions, 0.5, mobile, LATTICE, 500.0, DiffusionConfig(discard_ps=0))


@pytest.fixture(scope="module")
def result():
    rng = np.random.default_rng(3)
    return analyse(vibrating(hoppers(36, VECTORS, RATES, CLOCK, rng), rng))


def test_tensor_belongs_to_the_diffusivity_and_to_the_directions(result):
    tensor = np.array(result.diffusivity_tensor_m2_per_s)
    assert np.trace(tensor) / 3 == pytest.approx(result.estimate.diffusivity_m2_per_s, rel=1e-3)
    unit = LATTICE / np.linalg.norm(LATTICE, axis=1, keepdims=True)
    along = np.einsum("ia,ab,ib->i", unit, tensor, unit)
    np.testing.assert_allclose(result.lattice_diffusivities_m2_per_s, along, rtol=1e-12)
    axes = np.array(result.principal_axes)
    np.testing.assert_allclose(
        axes @ tensor @ axes.T, np.diag(result.principal_diffusivities_m2_per_s), atol=1e-15
    )


def test_directions_are_those_of_the_walk_within_their_errors(result):
    unit = LATTICE / np.linalg.norm(LATTICE, axis=1, keepdims=True)
    truth = np.einsum("ia,ab,ib->i", unit, TENSOR, unit) * 1e-8
    errors = np.array(result.lattice_errors_m2_per_s)
    assert np.all(np.abs(result.lattice_diffusivities_m2_per_s - truth) < 3.5 * errors)
    assert np.all(errors < 0.25 * truth)
    ratio = 2 * truth[2] / (truth[0] + truth[1])
    assert abs(result.anisotropy - ratio) < 3.5 * result.anisotropy_err
    assert result.anisotropy - 3 * result.anisotropy_err > 1


def test_errors_along_the_axes_hold_over_seeds():
    z = []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        found = analyse(vibrating(free_walkers(18, 0.1, CLOCK, rng), rng))
        if found.lattice_diffusivities_m2_per_s is not None:
            off = np.array(found.lattice_diffusivities_m2_per_s) - 1e-9
            z.append(off / found.lattice_errors_m2_per_s)
    assert len(z) > 20
    assert 0.7 < np.std(z) < 1.3

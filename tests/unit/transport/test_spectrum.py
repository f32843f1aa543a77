"""Mode powers and their expectations, against sums written out."""

import numpy as np
import pytest

from lycb_flows.testing import lattice_walkers
from lycb_flows.transport import spectrum as spectrum_module
from lycb_flows.transport.spectrum import (
    cage_powers,
    choose_modes,
    mode_powers,
    powers_of_msd,
    vibration_powers,
)

N, DT_PS = 57, 0.3
MODES = choose_modes(N, DT_PS)


def direct(covariance):
    """E[Z_k²] / (2 dt) as the double sum over increments."""
    k, t = np.arange(MODES.first[-1])[:, None], np.arange(N)
    basis = np.sqrt(2 / N) * np.cos(np.pi * k * (t + 0.5) / N)
    basis[0] = 1 / np.sqrt(N)
    matrix = covariance[np.abs(t[:, None] - t)]
    return np.einsum("kt,ts,ks->k", basis, matrix, basis) / (2 * DT_PS)


def covariance_of(msd):
    padded = np.concatenate([[msd[1]], msd])
    return (padded[2:] - 2 * padded[1:-1] + padded[:-2]) / 2


@pytest.mark.parametrize("time_ps", [0.2, 2.0, 30.0, 500.0])
def test_powers_of_a_cage_are_the_double_sum(time_ps):
    msd = 2 * (1 - np.exp(-np.arange(N + 1) * DT_PS / time_ps))
    expected = direct(covariance_of(msd))
    np.testing.assert_allclose(cage_powers(MODES, np.array([time_ps]))[0], expected, atol=1e-12)
    np.testing.assert_allclose(powers_of_msd(MODES, msd), expected, atol=1e-12)


def test_powers_of_vibration_and_of_sub_diffusion_are_the_double_sum():
    white = np.zeros(N)
    white[:2] = 2, -1
    np.testing.assert_allclose(vibration_powers(MODES), direct(white), atol=1e-12)
    msd = 2 * np.arange(N + 1.0) ** 0.6
    np.testing.assert_allclose(powers_of_msd(MODES, msd), direct(covariance_of(msd)), atol=1e-12)


def test_every_mode_of_brownian_motion_is_an_estimate_of_d():
    rng = np.random.default_rng(0)
    steps = rng.normal(0, np.sqrt(2 * 0.1 * 0.5), (401, 300, 3)) * [1.0, 1.0, 2.0]
    spectrum = mode_powers(np.cumsum(steps, axis=0), 0.5)
    d = np.einsum("kaa->ka", spectrum.tracer)
    relative = np.sqrt(2 / (300 * spectrum.modes.counts))[:, None]
    z = (d / [0.1, 0.1, 0.4] - 1) / relative
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert z.std() == pytest.approx(1, abs=0.15)
    assert spectrum.collective_powers.mean() == pytest.approx(0.2, rel=0.2)
    assert spectrum.modes.periods_ps[1] == 400.0


def test_spectrum_does_not_depend_on_the_blocks(monkeypatch):
    walkers = lattice_walkers(7, 1e-9, 100, 0.5, seed=4)
    at_once = mode_powers(walkers, 0.5)
    monkeypatch.setattr(spectrum_module, "_BLOCK", 1000)
    in_blocks = mode_powers(walkers, 0.5)
    np.testing.assert_allclose(in_blocks.tracer, at_once.tracer, rtol=1e-12)
    np.testing.assert_allclose(in_blocks.collective, at_once.collective, rtol=1e-12)


def test_strings_add_up_in_the_collective_spectrum():
    leaders = lattice_walkers(60, 1e-9, 400, 0.5, seed=2, vibration_ang=0.0)
    spectrum = mode_powers(np.repeat(leaders, 3, axis=1), 0.5)
    ratio = spectrum.collective_powers.mean() / spectrum.powers.mean()
    assert ratio == pytest.approx(3.0, rel=0.25)


def test_bins_hold_every_slow_mode_once_and_no_fast_one():
    modes = choose_modes(100_000, 0.1)
    assert modes.first[0] == 0
    assert np.all(np.diff(modes.first) > 0)
    assert modes.first[-1] == 20_001  # period 1 ps
    assert len(modes.counts) < 250
    assert modes.samples()[0].max() < modes.first[-1]
    assert choose_modes(9, 0.1).first.tolist() == list(range(10))

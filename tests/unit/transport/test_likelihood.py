"""Fits of mode powers and the likelihood of D, against what is known exactly."""

import numpy as np
import pytest
from scipy.optimize import minimize

from lycb_flows.testing import lattice_walkers
from lycb_flows.testing.confinement import single_file
from lycb_flows.testing.walks import Clock
from lycb_flows.transport.events import SHORTEST_HOP, Freedom, event_size, windows
from lycb_flows.transport.fits import Powers, freedom_of
from lycb_flows.transport.likelihood import Likelihood, interval
from lycb_flows.transport.spectrum import mode_powers


def powers_of(walkers, n_axes=3):
    spectrum = mode_powers(walkers, 0.5)
    overlap = np.einsum("aakl->kl", spectrum.overlap) / n_axes
    most = float(n_axes * walkers.shape[1])
    freedom = freedom_of(spectrum.modes, spectrum.powers, overlap, most)
    return Powers(spectrum.modes, spectrum.powers, freedom)


def brownian(n_ions, seed):
    steps = np.random.default_rng(seed).normal(0, np.sqrt(0.1), (401, n_ions, 3))
    return np.cumsum(steps, axis=0)


def test_strengths_maximise_the_likelihood():
    powers = powers_of(lattice_walkers(18, 1e-9, 200, 0.5, seed=3))
    fit = powers.fits(1)[0]

    def loss(log_strengths):
        ratio = powers.values / (np.exp(log_strengths) @ fit.terms)
        return np.sum(powers.weights * (ratio - 1 - np.log(ratio)))

    start = np.log(np.maximum(fit.strengths, 1e-6)) + 0.1
    best = minimize(loss, start, method="Nelder-Mead", options={"maxiter": 4000, "maxfev": 4000})
    assert fit.loss <= best.fun + 1e-3
    assert np.all(fit.strengths >= 0)


def test_freedom_counts_the_ions_that_move_independently():
    independent = np.mean([powers_of(brownian(18, s)).freedom[0] for s in range(4)])
    assert independent == pytest.approx(54, rel=0.15)
    strings = np.repeat(brownian(6, 1), 3, axis=1)
    assert powers_of(strings).freedom[50] == pytest.approx(18, rel=0.2)


def test_slow_modes_of_a_file_have_less_freedom_than_fast_ones():
    path = single_file(6, 8, 0.5, Clock(200.0, 0.5), np.random.default_rng(0))
    freedom = powers_of(path[..., None] * np.array([1.0, 0.0, 0.0])).freedom
    assert freedom[0] < 0.6 * freedom[60]
    assert freedom[60] < 10  # one axis of three moves


def test_event_is_a_hop_of_the_ion_or_of_the_string():
    def event(length, seed):
        leaders = lattice_walkers(36 // length, 1e-9, 2000, 0.5, seed, vibration_ang=0.0)
        parts = windows(np.repeat(leaders, length, axis=1), 0.5)
        values = [np.trace(part.tensors, axis1=1, axis2=2) / 3 for part in parts]
        pairs = list(zip(parts, values, strict=True))
        hop = 9 / (6 * 36 * 2000)
        return event_size(0.1, pairs, Freedom(108 / length, 108), hop) / hop

    assert np.mean([event(1, s) for s in range(12)]) == pytest.approx(1, rel=0.35)
    assert np.mean([event(4, s) for s in range(12)]) == pytest.approx(4, rel=0.35)


def test_no_event_is_smaller_than_the_shortest_hop():
    """A run shorter than a hop is full of motion that is no hop."""
    walkers = np.cumsum(np.random.default_rng(1).normal(0, 0.01, (400, 18, 3)), axis=0)
    parts = windows(walkers, 0.01)
    values = [np.trace(part.tensors, axis1=1, axis2=2) / 3 for part in parts]
    diffusivity = 0.01**2 / (2 * 0.01)
    hop = 9 / (6 * 18 * 4)
    event = event_size(diffusivity, list(zip(parts, values, strict=True)), Freedom(54, 54), hop)
    assert event >= hop * SHORTEST_HOP**2


def test_bound_without_an_event_is_poissons():
    nothing = Likelihood(0.0, 1e-9, np.array([0.0, 1e-9]), np.array([0.0, 1.0]))
    assert interval(nothing, 0.01, 0.95).upper == pytest.approx(0.03, rel=0.01)
    assert interval(nothing, 0.01, 0.99).upper == pytest.approx(0.046, rel=0.02)


def test_interval_of_many_events_is_that_of_their_count():
    exact = Likelihood(1.0, 1e-6, 1 + 1e-6 * np.arange(-4, 5), np.arange(-4.0, 5) ** 2)
    found = interval(exact, 0.01, 0.95)  # a hundred events
    assert found.error == pytest.approx(0.1, rel=1e-3)
    assert found.low == pytest.approx(1 - 0.185, abs=0.01)
    assert found.high == pytest.approx(1 + 0.207, abs=0.01)

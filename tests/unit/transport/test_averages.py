"""Errors of means from blocks, and slopes of means over temperature."""

import numpy as np
import pytest

from lycb_flows.errors import InputError
from lycb_flows.transport.averages import block_error, relative_slope


def test_blocks_give_the_error_of_series_with_memory():
    rng = np.random.default_rng(3)
    n_series, length, memory = 400, 4000, 0.9
    noise = rng.normal(size=(length, n_series))
    series = np.zeros_like(noise)
    for i in range(1, length):
        series[i] = memory * series[i - 1] + noise[i]
    scatter = series.mean(axis=0).std()  # what the mean of one series is uncertain by
    naive = series.std(axis=0).mean() / np.sqrt(length)
    blocks = np.sqrt(np.mean(block_error(series, 10) ** 2))
    assert naive < 0.3 * scatter
    assert blocks == pytest.approx(scatter, rel=0.1)


def test_a_rest_that_fills_no_block_is_left_out_of_the_error():
    assert block_error(np.array([99.0, 1.0, 1.0, 3.0, 3.0]), 2) == pytest.approx(1.0)


def test_every_series_has_its_own_error():
    series = np.random.default_rng(0).normal(size=(60, 2, 3))
    errors = block_error(series, 6)
    assert errors.shape == (2, 3)
    assert errors[1, 2] == pytest.approx(float(block_error(series[:, 1, 2], 6)))


@pytest.mark.parametrize(("n_values", "n_blocks"), [(3, 4), (10, 1), (10, 0)])
def test_too_few_values_are_refused(n_values, n_blocks):
    with pytest.raises(InputError, match="too few values"):
        block_error(np.zeros(n_values), n_blocks)


def slopes_of(bend, n_campaigns=400, seed=5):
    """z of slopes from noisy means along a line through 24 Å³ at 500 K, bent or not."""
    rng = np.random.default_rng(seed)
    temperatures = np.linspace(400.0, 600.0, 5)
    away = temperatures - 500.0
    truth = 24.0 * (1 + 1e-4 * away + bend * (away / 100) ** 2)
    errors = np.array([0.01, 0.02, 0.04, 0.02, 0.01])
    found = [
        relative_slope(temperatures, truth + errors * rng.normal(size=5), errors)
        for _ in range(n_campaigns)
    ]
    return np.array([(f.per_k - 1e-4) / f.per_k_err for f in found]), found


def test_the_slope_of_means_is_within_its_error():
    z, found = slopes_of(bend=0.0)
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert 0.75 < z.std() < 1.1  # the error grows by chi², never shrinks
    assert np.mean([f.chi2 for f in found]) == pytest.approx(3.0, rel=0.15)


def test_means_that_follow_no_line_have_a_larger_error():
    straight, bent = (slopes_of(bend)[1][0] for bend in (0.0, 0.02))
    assert bent.chi2 > 30
    assert bent.per_k_err > 3 * straight.per_k_err


@pytest.mark.parametrize(
    ("temperatures", "errors"), [([300.0, 300.0], [0.1, 0.1]), ([300.0, 400.0], [0.1, 0.0])]
)
def test_no_line_is_refused(temperatures, errors):
    with pytest.raises(InputError, match="no line"):
        relative_slope(temperatures, [24.0, 24.5], errors)

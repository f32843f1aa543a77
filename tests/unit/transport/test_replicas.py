"""Pooled runs: the D of all of them, and whether they scatter as their bars say."""

import numpy as np
import pytest

from lycb_flows.schemas import DiffusionEstimate
from lycb_flows.transport.replicas import pool_replicas


def estimate(diffusivity, event, regime="diffusive", error=None):
    return DiffusionEstimate(
        effective_hops=0.0,
        max_msd_ang2=0.0,
        plateau_msd_ang2=0.0,
        regime=regime,
        most_likely_m2_per_s=diffusivity,
        event_m2_per_s=event,
        diffusivity_err_m2_per_s=error,
    )


def counted(rng, expected, n_runs, worth=2e-9, spread=0.0):
    """Runs of 100 and 200 ps that count events of the same worth; their D may differ."""
    times = np.where(np.arange(n_runs) % 2, 200.0, 100.0)
    truth = expected * np.exp(spread * rng.normal(size=n_runs))
    counts = rng.poisson(truth * times / 100.0)
    events = worth / times
    return [estimate(n * e, e) for n, e in zip(counts, events, strict=True)], times


def pooled_of(expected, n_runs=4, n_campaigns=600, **given):
    rng = np.random.default_rng(7)
    return [pool_replicas(*counted(rng, expected, n_runs, **given)) for _ in range(n_campaigns)]


@pytest.mark.parametrize("expected", [1.0, 10.0])
def test_pooled_counts_cover_the_truth_and_scatter_as_chi2(expected):
    truth = expected * 2e-9 / 100.0
    found = pooled_of(expected)
    inside = [f.low_m2_per_s <= truth <= f.high_m2_per_s for f in found]
    assert 0.92 < np.mean(inside) < 0.985
    assert np.mean([f.diffusivity_m2_per_s for f in found]) == pytest.approx(truth, rel=0.05)
    assert np.mean([f.chi2 for f in found if f.chi2 is not None]) == pytest.approx(3.0, rel=0.1)
    low_p = np.mean([f.p_value < 0.05 for f in found if f.p_value is not None])
    assert low_p < 0.09


def test_replicas_that_differ_are_found():
    found = pooled_of(50.0, spread=1.0)
    assert np.mean([f.p_value < 0.01 for f in found]) > 0.9


def test_confined_runs_are_left_out_and_one_run_is_no_pool():
    runs = [estimate(1e-10, 1e-11), estimate(3e-10, 1e-11), estimate(9e-10, 1e-11, "confined")]
    pooled = pool_replicas(runs, [100.0] * 3)
    assert (pooled.n_runs, pooled.diffusivity_m2_per_s) == (2, pytest.approx(2e-10))
    assert pooled.n_events == pytest.approx(40.0)
    assert pool_replicas(runs[1:], [100.0] * 2) is None


def test_a_run_that_is_known_badly_neither_moves_the_pool_nor_scatters():
    runs = [
        estimate(4.6e-9, 1e-12, error=0.07e-9),
        estimate(3.7e-9, 1e-12, error=1.2e-9),
        estimate(4.7e-9, 1e-12, error=0.07e-9),
    ]
    pooled = pool_replicas(runs, [2000.0] * 3)
    assert pooled.diffusivity_m2_per_s == pytest.approx(4.65e-9, rel=2e-3)
    assert pooled.p_value > 0.1
    assert pool_replicas(runs[:1] * 2, [2000.0] * 2).n_events == pytest.approx(9200.0)


def test_runs_without_an_event_give_a_bound():
    pooled = pool_replicas([estimate(0.0, 1e-11)] * 3, [100.0] * 3)
    assert (pooled.diffusivity_m2_per_s, pooled.low_m2_per_s, pooled.chi2) == (0.0, 0.0, None)
    assert 1e-11 / 3 < pooled.high_m2_per_s < 1e-11

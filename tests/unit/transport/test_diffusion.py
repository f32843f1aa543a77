"""Diffusivities, their error bars and bounds, against walkers of known D and other codes."""

import numpy as np
import pytest
from pymatgen.analysis.diffusion.analyzer import DiffusionAnalyzer
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from lycb_flows import schemas
from lycb_flows.config import DiffusionConfig
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.testing import lattice_walkers
from lycb_flows.testing.confinement import boxed
from lycb_flows.testing.walks import Clock, free_walkers, sub_diffusive, vibrating
from lycb_flows.transport import msd as msd_module
from lycb_flows.transport.charge import analyse_charge
from lycb_flows.transport.diffusion import analyse_diffusion, he_relative_error
from lycb_flows.transport.msd import (
    mean_squared_displacement,
    msd_tensor,
    select_lags,
    subtract_drift,
)
from lycb_flows.units import nernst_einstein_ms_per_cm

CONFIG = DiffusionConfig(discard_ps=0)  # walkers are stationary from the start
CUBE = 12.0 * np.eye(3)
N_SEEDS = 20


def with_framework(walkers):
    """The walkers and one framework atom at rest; the mask of the walkers."""
    positions = np.concatenate([walkers, np.zeros_like(walkers[:, :1])], axis=1)
    return positions, np.arange(positions.shape[1]) < walkers.shape[1]


def analyse(walkers, frame_interval_ps, config=CONFIG, lattice=CUBE):
    positions, mobile = with_framework(walkers)
    return analyse_diffusion(positions, frame_interval_ps, mobile, lattice, 500.0, config)


@pytest.mark.parametrize("diffusivity", [1e-9, 1e-10], ids=["many hops", "few hops"])
def test_diffusivity_is_unbiased_and_its_interval_holds(diffusivity):
    """The whole table of regimes is measured by `benchmarks/bench_regimes.py`."""
    estimates = [
        analyse(lattice_walkers(18, diffusivity, 200, 0.5, seed), 0.5).estimate
        for seed in range(N_SEEDS)
    ]
    likely = np.array([e.most_likely_m2_per_s for e in estimates]) / diffusivity
    z = [
        (e.diffusivity_m2_per_s - diffusivity) / e.diffusivity_err_m2_per_s
        for e in estimates
        if e.diffusivity_m2_per_s is not None
    ]
    by_chance = np.sqrt(9e-20 / (6 * 18 * 200e-12 * diffusivity))  # of the number of hops
    assert likely.mean() == pytest.approx(1, abs=4 * by_chance / np.sqrt(N_SEEDS))
    assert likely.std() < 1.5 * by_chance
    assert len(z) > 0.85 * N_SEEDS
    assert 0.7 < np.std(z) < 1.35
    assert np.mean([covers(e, diffusivity) for e in estimates]) > 0.8


def covers(estimate, truth):
    if estimate.regime == "bound":
        return estimate.diffusivity_upper_m2_per_s > truth
    if estimate.regime != "diffusive":
        return False
    return estimate.diffusivity_low_m2_per_s < truth < estimate.diffusivity_high_m2_per_s


def test_half_trapped_ions_widen_the_error_bar():
    mixed = lattice_walkers(18, 2e-9, 400, 0.5, seed=1)
    mixed[:, :9] = lattice_walkers(9, 0.0, 400, 0.5, seed=2)
    mixed[:, 9:] *= np.sqrt(2)
    equal = lattice_walkers(18, 2e-9, 400, 0.5, seed=1)
    trapped, free = analyse(mixed, 0.5).estimate, analyse(equal, 0.5).estimate
    assert trapped.diffusivity_log_err > 1.3 * free.diffusivity_log_err


def test_ions_that_move_in_strings_have_larger_events_and_a_wider_bar():
    rng = np.random.default_rng(0)
    ratios = []
    for seed in range(5):
        leaders = lattice_walkers(6, 1e-9, 400, 0.5, seed, vibration_ang=0.0)
        together = analyse(vibrating(np.repeat(leaders, 3, axis=1), rng), 0.5).estimate
        alone = analyse(lattice_walkers(18, 1e-9, 400, 0.5, seed), 0.5).estimate
        ratios.append(together.event_m2_per_s / alone.event_m2_per_s)
        assert together.diffusivity_log_err > alone.diffusivity_log_err
    assert np.exp(np.mean(np.log(ratios))) == pytest.approx(3, rel=0.4)


def test_ions_that_only_vibrate_give_a_bound_of_three_hops():
    result = analyse(lattice_walkers(72, 0.0, 100, 0.1, seed=0), 0.1)
    estimate = result.estimate
    assert (estimate.regime, estimate.reason) == ("bound", "D is not told from zero")
    assert estimate.diffusivity_m2_per_s is None
    assert result.conductivity_ms_per_cm is None
    assert result.diffusivity_tensor_m2_per_s is None
    assert estimate.plateau_msd_ang2 == pytest.approx(6 * 0.2**2, rel=0.02)
    three_hops = 3.0 * 9e-20 / (6 * 72 * 100e-12)
    assert three_hops < estimate.diffusivity_upper_m2_per_s < 1.5 * three_hops
    assert estimate.event_m2_per_s == pytest.approx(three_hops / 3)
    assert result.conductivity_upper_ms_per_cm == pytest.approx(
        nernst_einstein_ms_per_cm(estimate.diffusivity_upper_m2_per_s, 72 / 12**3, 500.0)
    )


@pytest.mark.parametrize("n_sites", [3, 5])
def test_ions_in_rows_without_a_way_out_are_confined(n_sites):
    clock, rng = Clock(200.0, 0.5), np.random.default_rng(0)
    rows = vibrating(boxed((n_sites, 1, 1), 18, 0.5, clock, rng), rng)
    result = analyse(rows, 0.5)
    assert result.estimate.regime == "confined"
    assert "come back" in result.estimate.reason
    assert result.estimate.diffusivity_m2_per_s is None
    assert result.estimate.diffusivity_upper_m2_per_s is None
    assert result.conductivity_ms_per_cm is None
    assert result.conductivity_upper_ms_per_cm is None
    assert result.estimate.paper_diffusivity_m2_per_s is not None  # OLS does not see it


def test_ageing_and_sub_diffusion_are_named():
    clock, rng = Clock(200.0, 0.5), np.random.default_rng(0)
    course = np.where(np.arange(clock.n_increments) < 200, 0.2, 0.02)
    old = analyse(vibrating(free_walkers(18, course, clock, rng), rng), 0.5).estimate
    assert (old.regime, old.diffusivity_m2_per_s) == ("ageing", None)
    assert {e.name: e.value > e.limit for e in old.evidence}["halves differ"]
    slow = analyse(vibrating(sub_diffusive(18, 0.6, 0.6, clock, rng), rng), 0.5).estimate
    assert slow.regime == "sub-diffusive"
    assert slow.most_likely_m2_per_s > 0


def test_two_ions_are_too_few_to_tell_whether_they_move_independently():
    estimate = analyse(lattice_walkers(2, 1e-9, 200, 0.5, seed=0), 0.5).estimate
    assert estimate.regime == "bound"
    assert "2 mobile ions" in estimate.reason
    assert estimate.diffusivity_upper_m2_per_s > estimate.most_likely_m2_per_s


def test_he_error_is_the_published_formula():
    assert he_relative_error(100.0) == pytest.approx(0.383)


def test_window_is_the_papers():
    long = analyse(lattice_walkers(72, 1.9e-9, 2000, 1.0, seed=5), 1.0).estimate
    assert long.fit_end_ps == 500.0
    assert long.fit_start_ps == 4.0  # 6 D t = 4.3 Å² after 4 ps, and 0.24 Å² of vibration
    assert long.log_slope == pytest.approx(1.0, abs=0.05)
    assert long.diffusivity_err_he_m2_per_s == pytest.approx(
        long.paper_diffusivity_m2_per_s * he_relative_error(72 * long.max_msd_ang2 / 9)
    )
    short = analyse(lattice_walkers(72, 1.9e-9, 200, 1.0, seed=5), 1.0).estimate
    assert short.fit_end_ps == 140.0
    chosen = DiffusionConfig(min_lag_ps=20, max_lag_ps=100, discard_ps=0)
    set_by_hand = analyse(lattice_walkers(72, 1.9e-9, 200, 1.0, seed=5), 1.0, chosen).estimate
    assert (set_by_hand.fit_start_ps, set_by_hand.fit_end_ps) == (20.0, 100.0)


def test_papers_diffusivity_is_the_slope_of_the_msd():
    walkers = lattice_walkers(36, 1.9e-9, 500, 0.5, seed=3)
    found = analyse(walkers, 0.5).estimate
    first, last = (round(t / 0.5) for t in (found.fit_start_ps, found.fit_end_ps))
    msd = mean_squared_displacement(walkers)[first : last + 1]
    slope = np.polyfit(np.arange(first, last + 1) * 0.5, msd, 1)[0]
    assert found.paper_diffusivity_m2_per_s == pytest.approx(slope / 6 * 1e-8, rel=1e-8)


def test_conductivity_carries_the_error_of_d():
    result = analyse(lattice_walkers(18, 1.9e-9, 500, 0.5, seed=0), 0.5)
    d, err = result.estimate.diffusivity_m2_per_s, result.estimate.diffusivity_err_m2_per_s
    by_hand = 18 / (12e-10) ** 3 * 1.602176634e-19**2 * d / (1.380649e-23 * 500) * 10
    assert result.conductivity_ms_per_cm == pytest.approx(by_hand, rel=1e-9)
    assert result.conductivity_err_ms_per_cm / by_hand == pytest.approx(err / d)


def test_result_has_the_transport_documents_fields():
    result = analyse(lattice_walkers(9, 1.9e-9, 200, 0.5, seed=0), 0.5)
    assert set(vars(result)) <= set(schemas.Transport.model_fields)
    document = schemas.Transport(
        key="k", run="r", model="m", system="s", temperature_k=500.0, pressure_bar=1.0,
        mobile_species="Li", healthy=True, **vars(result),
    )  # fmt: skip
    assert document.n_atoms == 10
    assert len(document.lags_ps) == len(document.msd_ang2) == len(document.framework_msd_ang2)


def test_discarded_start_is_as_if_never_run():
    walkers = lattice_walkers(9, 1.9e-9, 300, 0.5, seed=0)
    walkers[:200] *= 5.0
    discarding = analyse(walkers, 0.5, DiffusionConfig(discard_ps=100))
    assert discarding == analyse(walkers[200:], 0.5)
    assert discarding.duration_ps == 200.0


@pytest.mark.parametrize(
    ("n_frames", "n_mobile", "message"),
    [(5, 3, "too few frames"), (50, 0, "no mobile ion"), (50, 4, "no framework")],
)
def test_unusable_input_is_refused(n_frames, n_mobile, message):
    positions = np.random.default_rng(0).normal(size=(n_frames, 4, 3))
    with pytest.raises(InputError, match=message):
        analyse_diffusion(positions, 0.1, np.arange(4) < n_mobile, CUBE, 300.0, CONFIG)


def test_an_estimate_knows_the_confidence_of_its_interval():
    walkers = lattice_walkers(18, 1e-9, 200, 0.5, seed=0)
    positions, mobile = with_framework(walkers)
    for level in (0.95, 0.68):
        config = CONFIG.model_copy(update={"confidence": level})
        tracer = analyse(walkers, 0.5, config).estimate
        found = [tracer, analyse_charge(positions, 0.5, mobile, tracer, config)]
        assert [each.confidence for each in found] == [level, level]
        kept = ["confidence" in each.model_dump(mode="json") for each in found]
        assert kept == [level != 0.95] * 2  # facts of the default are those of before


def test_nan_is_no_position():
    walkers = lattice_walkers(9, 1.9e-9, 20, 0.5, seed=0)
    walkers[7, 3, 1] = np.nan
    with pytest.raises(PhysicsError, match="not finite"):
        analyse(walkers, 0.5)


def test_msd_tensor_equals_the_direct_sum():
    positions = lattice_walkers(30, 1.9e-9, 150, 0.5, seed=4) + 1e3
    tensor = msd_tensor(positions)
    assert tensor.shape == (301, 3, 3)
    for lag in (1, 2, 17, 150, 299, 300):
        moved = positions[lag:] - positions[:-lag]
        direct = np.einsum("tia,tib->ab", moved, moved) / moved[..., 0].size
        np.testing.assert_allclose(tensor[lag], direct, rtol=1e-9, atol=1e-9)


def test_msd_tensor_does_not_depend_on_the_blocks(monkeypatch):
    positions = lattice_walkers(7, 1.9e-9, 100, 0.5, seed=4)
    at_once = msd_tensor(positions)
    monkeypatch.setattr(msd_module, "_FFT_BLOCK", 1000)
    np.testing.assert_allclose(msd_tensor(positions), at_once, rtol=1e-11, atol=1e-11)


def test_msd_agrees_with_pymatgen_drift_included():
    walkers = lattice_walkers(12, 1e-9, 400, 0.1, seed=3)
    rng = np.random.default_rng(1)
    framework = rng.normal(0, 0.1, (len(walkers), 6, 3))
    drift = np.linspace(0, 5, len(walkers))[:, None, None]
    positions = np.concatenate([walkers, framework], axis=1) + drift
    structure = Structure(Lattice.cubic(12), ["Li"] * 12 + ["Y"] * 6, rng.random((18, 3)))
    displacements = (positions - positions[0]).transpose(1, 0, 2)
    oracle = DiffusionAnalyzer(structure, displacements, "Li", 500, 1, 100, smoothed="max")
    lags = (oracle.dt / 100).round().astype(int)
    tensor = msd_tensor(subtract_drift(positions, np.arange(18) >= 12)[:, :12])[lags]
    assert oracle.msd[-1] > 50
    np.testing.assert_allclose(np.trace(tensor, axis1=1, axis2=2), oracle.msd, rtol=1e-8)
    np.testing.assert_allclose(np.einsum("kaa->ka", tensor), oracle.msd_components, rtol=1e-8)


def test_stored_lags_are_log_spaced_and_few():
    lags = select_lags(20_000)
    assert len(lags) <= 200
    assert (lags[0], lags[-1]) == (1, 19_999)
    assert np.all(np.diff(lags) > 0)
    assert select_lags(10).tolist() == list(range(1, 10))


def test_walkers_hop_and_vibrate_as_asked():
    walkers = lattice_walkers(400, 2e-9, 200, 1.0, seed=0)
    assert walkers.shape == (201, 400, 3)
    msd = np.mean(np.sum((walkers[-1] - walkers[0]) ** 2, axis=1))
    assert msd == pytest.approx(6 * 0.2 * 200 + 0.24, rel=5 * np.sqrt(2 / 3 / 400))
    sites = lattice_walkers(400, 2e-9, 200, 1.0, seed=0, vibration_ang=0.0) / 3.0
    np.testing.assert_array_equal(sites, sites.round())
    np.testing.assert_array_equal(walkers, lattice_walkers(400, 2e-9, 200, 1.0, seed=0))
    with pytest.raises(InputError, match="positive"):
        lattice_walkers(0, 2e-9, 200, 1.0, seed=0)


@pytest.mark.parametrize("n_frames", [10, 20, 200])
def test_ions_that_do_not_move_at_all_have_a_bound(n_frames):
    estimate = analyse(np.zeros((n_frames, 5, 3)), 0.1).estimate
    assert estimate.regime == "bound"
    assert estimate.most_likely_m2_per_s < 1e-18
    assert estimate.diffusivity_upper_m2_per_s > 0


def test_a_run_as_short_as_vibration_has_no_value():
    estimate = analyse(lattice_walkers(18, 1e-8, 4, 0.1, seed=0), 0.1).estimate
    assert (estimate.regime, estimate.diffusivity_m2_per_s) == ("bound", None)
    assert "vibration" in estimate.reason

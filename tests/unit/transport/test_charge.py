"""Collective diffusivity and Haven ratio of known walks: alone, in strings, jumping back."""

import numpy as np
import pytest

from lycb_flows.config import DiffusionConfig
from lycb_flows.schemas import DiffusionEstimate
from lycb_flows.testing.walks import (
    Clock,
    back_jumpers,
    free_walkers,
    strings,
    vibrating,
)
from lycb_flows.transport.charge import analyse_charge, estimate_charge
from lycb_flows.transport.diffusion import Walk, analyse_diffusion
from lycb_flows.units import ANG2_PER_PS_M2_PER_S

CLOCK = Clock(duration_ps=200.0, frame_interval_ps=0.5)
D = 0.1 * float(ANG2_PER_PS_M2_PER_S)
N_SEEDS = 16


def tracer_of(diffusivity=D, log_err=0.07):
    """What an estimator says of single ions."""
    return DiffusionEstimate(
        effective_hops=0.0,
        max_msd_ang2=0.0,
        plateau_msd_ang2=0.0,
        regime="diffusive",
        diffusivity_m2_per_s=diffusivity,
        diffusivity_log_err=log_err,
    )


def charge_of(walkers):
    motion, spectrum = Walk(walkers, CLOCK.frame_interval_ps, 3.0).motion
    found = motion.likelihood.diffusivity
    tracer = tracer_of(found * float(ANG2_PER_PS_M2_PER_S), motion.interval(0.95).error / found)
    return estimate_charge(spectrum, motion, tracer)


def independent(rng):
    return free_walkers(18, 0.1, CLOCK, rng)


def strings_of_3(rng):
    return strings(free_walkers(6, 0.1, CLOCK, rng), 3)


def back_jumps(rng):
    return back_jumpers(18, 0.1, 0.6, CLOCK, rng)


def strings_that_jump_back(rng):
    return strings(back_jumpers(6, 0.1, 0.6, CLOCK, rng), 3)


@pytest.mark.parametrize(
    ("walk", "haven", "within", "spread"),
    [
        (independent, 1.0, 0.15, 0.14),
        (strings_of_3, 1 / 3, 0.20, 0.14),
        (back_jumps, 1.0, 0.35, 0.4),
        (strings_that_jump_back, 1 / 3, 0.35, 0.4),
    ],
)
def test_the_haven_ratio_is_that_of_the_walk(walk, haven, within, spread):
    found = []
    for seed in range(N_SEEDS):
        rng = np.random.default_rng(seed)
        found.append(charge_of(vibrating(walk(rng), rng)))
    resolved = [estimate for estimate in found if estimate.resolved]
    assert len(resolved) > 0.9 * N_SEEDS
    ratios = np.array([estimate.haven_ratio for estimate in resolved])
    z = np.log(ratios / haven) / [estimate.haven_ratio_log_err for estimate in resolved]
    assert np.median(ratios) == pytest.approx(haven, rel=within)
    assert np.std(np.log(ratios)) < spread
    assert 0.6 < z.std() < 1.2 * (1 + 2 / np.sqrt(2 * N_SEEDS))
    inside = [e.haven_ratio_low <= haven <= e.haven_ratio_high for e in resolved]
    assert np.mean(inside) > 0.85
    charge_z = [
        np.log(e.diffusivity_m2_per_s * haven / D) / e.diffusivity_log_err for e in resolved
    ]
    assert np.std(charge_z) < 1.2 * (1 + 2 / np.sqrt(2 * N_SEEDS))
    assert all(e.diffusivity_log_err > e.haven_ratio_log_err for e in resolved)


def in_a_framework(walkers, n_framework=12, drift_ang=0.0, seed=3):
    """Positions of ions and of a framework that vibrates; all of them drift."""
    rng = np.random.default_rng(seed)
    framework = rng.uniform(0, 12, (1, n_framework, 3)) + rng.normal(
        0, 0.1, (len(walkers), n_framework, 3)
    )
    positions = np.concatenate([walkers, framework], axis=1)
    positions += np.linspace(0, drift_ang, len(walkers))[:, None, None]
    return positions, np.arange(positions.shape[1]) < walkers.shape[1]


def test_the_collective_displacement_is_that_in_the_framework():
    """A drift moves the sum of 18 ions by 18 times its length, and is no current."""
    config = DiffusionConfig(discard_ps=0.0)
    walkers = independent(np.random.default_rng(2))
    still, drifting = (
        analyse_charge(*_arguments(walkers, drift_ang), tracer_of(), config)
        for drift_ang in (0.0, 40.0)
    )
    assert still.resolved
    assert drifting.haven_ratio == pytest.approx(still.haven_ratio, rel=1e-6)


def _arguments(walkers, drift_ang):
    positions, mobile = in_a_framework(walkers, drift_ang=drift_ang)
    return positions, CLOCK.frame_interval_ps, mobile


def test_the_ratio_rests_on_the_d_of_the_same_trajectory():
    positions, mobile = in_a_framework(strings_of_3(np.random.default_rng(4)))
    config = DiffusionConfig(discard_ps=0.0)
    lattice = 12.0 * np.eye(3)
    tracer = analyse_diffusion(positions, 0.5, mobile, lattice, 600.0, config).estimate
    found = analyse_charge(positions, 0.5, mobile, tracer, config)
    assert found.haven_ratio == pytest.approx(
        tracer.diffusivity_m2_per_s / found.diffusivity_m2_per_s
    )
    assert found.haven_ratio_low < 1 / 3 < found.haven_ratio_high


def test_a_single_ion_carries_its_own_charge():
    rng = np.random.default_rng(0)
    found = charge_of(vibrating(free_walkers(1, 1.0, CLOCK, rng), rng))
    assert (found.resolved, found.haven_ratio_log_err) == (True, 0.0)


def test_motion_along_a_line_has_one_degree_of_freedom():
    """Along a line the sum of the ions is a third as many numbers, so its error is larger."""
    rng = np.random.default_rng(1)
    walkers = vibrating(independent(rng), rng)
    line = walkers * np.array([1.0, 0.0, 0.0])
    errors = [charge_of(x).haven_ratio_log_err for x in (walkers, line)]
    assert errors[1] == pytest.approx(np.sqrt(3) * errors[0], rel=0.35)


@pytest.mark.parametrize("regime", ["confined", "bound", "sub-diffusive", "unmeasured"])
def test_ions_that_do_not_diffuse_have_no_haven_ratio(regime):
    tracer = tracer_of().model_copy(update={"regime": regime})
    positions, mobile = in_a_framework(independent(np.random.default_rng(0)))
    found = analyse_charge(positions, 0.5, mobile, tracer, DiffusionConfig())
    assert not found.resolved
    assert regime in found.reason
    assert found.haven_ratio is None


def test_ions_whose_sum_stays_are_not_resolved():
    """Pairs that move against each other carry no current; no Haven ratio is infinite."""
    rng = np.random.default_rng(5)
    half = free_walkers(9, 0.1, CLOCK, rng)
    found = charge_of(vibrating(np.concatenate([half, -half], axis=1), rng))
    assert not found.resolved
    assert "zero is not excluded" in found.reason

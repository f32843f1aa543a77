"""Barriers and extrapolations against the paper's own numbers and over many seeds."""

import numpy as np
import pytest

from lycb_flows import schemas
from lycb_flows.errors import InputError
from lycb_flows.transport.arrhenius import ArrheniusPoint, fit_arrhenius
from lycb_flows.units import nernst_einstein_ms_per_cm

KT_EV = 8.617333262e-5
LYB_LI_PER_ANG3 = 0.3 / 27.0  # Li3YBr6 at 300 K and 10 kbar: 27.0 Å3 per atom
LOG_D0, E_A = np.log(2e-7), 0.30
PAPER_TEMPERATURES = np.arange(400.0, 751.0, 50.0)


def estimate(diffusivity, log_err=0.05):
    return schemas.DiffusionEstimate(
        diffusivity_m2_per_s=diffusivity,
        diffusivity_log_err=log_err,
        effective_hops=100.0,
        max_msd_ang2=50.0,
        plateau_msd_ang2=0.2,
    )


BOUND = schemas.DiffusionEstimate(
    diffusivity_upper_m2_per_s=1e-12,
    effective_hops=1.0,
    max_msd_ang2=0.5,
    plateau_msd_ang2=0.4,
    reason="no diffusion",
)


def points_on_line(temperatures, rng=None, log_errs=None):
    log_errs = np.full(len(temperatures), 0.05) if log_errs is None else log_errs
    noise = np.zeros(len(temperatures)) if rng is None else rng.normal(0, log_errs)
    log_d = LOG_D0 - E_A / (KT_EV * temperatures) + noise
    return [
        ArrheniusPoint(float(t), estimate(float(d), float(s)))
        for t, d, s in zip(temperatures, np.exp(log_d), log_errs, strict=True)
    ]


def test_printed_conductivity_and_barrier_of_li3ybr6_give_its_diffusivities():
    d300 = 0.58 / nernst_einstein_ms_per_cm(1.0, LYB_LI_PER_ANG3, 300.0)
    assert d300 == pytest.approx(8.4e-13, rel=0.01)
    temperatures = np.array([400.0, 500.0, 600.0])
    line = d300 * np.exp(0.36 / KT_EV * (1 / 300 - 1 / temperatures))
    assert line[1] == pytest.approx(2.2e-10, rel=0.02)
    points = [
        ArrheniusPoint(float(t), estimate(float(d)))
        for t, d in zip(temperatures, line, strict=True)
    ]
    fit = fit_arrhenius(points, 300.0, LYB_LI_PER_ANG3)
    assert fit.activation_energy_ev == pytest.approx(0.36, rel=1e-9)
    assert fit.extrapolated_conductivity_ms_per_cm == pytest.approx(0.58, rel=1e-9)
    assert fit_arrhenius(points, 500.0, LYB_LI_PER_ANG3).extrapolated_diffusivity_m2_per_s == (
        pytest.approx(2.2e-10, rel=0.02)
    )


def test_error_bars_are_calibrated_over_many_seeds():
    rng = np.random.default_rng(0)
    log_errs = np.linspace(0.2, 0.03, len(PAPER_TEMPERATURES))  # colder is noisier
    fits = [
        fit_arrhenius(points_on_line(PAPER_TEMPERATURES, rng, log_errs), 300.0, LYB_LI_PER_ANG3)
        for _ in range(1000)
    ]
    truth = LOG_D0 - E_A / (KT_EV * 300.0)
    z_barrier = [(f.activation_energy_ev - E_A) / f.activation_energy_err_ev for f in fits]
    z_prefactor = [(f.log_prefactor - LOG_D0) / f.log_prefactor_err for f in fits]
    z_300 = [
        (np.log(f.extrapolated_diffusivity_m2_per_s) - truth) / f.extrapolated_log_err for f in fits
    ]
    for z in (z_barrier, z_prefactor, z_300):
        assert np.std(z) == pytest.approx(1.0, abs=0.07)  # three standard errors of a std
        assert abs(np.mean(z)) < 0.1


def test_covariance_makes_the_extrapolation_far_tighter_than_variances_alone():
    fit = fit_arrhenius(points_on_line(PAPER_TEMPERATURES), 300.0, LYB_LI_PER_ANG3)
    (var_d0, cov), (cov_again, var_e) = fit.covariance
    assert cov == pytest.approx(cov_again)
    assert cov / np.sqrt(var_d0 * var_e) > 0.95
    x = 1 / (KT_EV * 300.0)
    assert fit.extrapolated_log_err**2 == pytest.approx(var_d0 - 2 * x * cov + x**2 * var_e)
    assert fit.extrapolated_log_err**2 < 0.2 * (var_d0 + x**2 * var_e)


def test_conductivity_band_is_one_sigma_of_ln_d():
    fit = fit_arrhenius(points_on_line(PAPER_TEMPERATURES), 300.0, LYB_LI_PER_ANG3)
    middle, err = fit.extrapolated_conductivity_ms_per_cm, fit.extrapolated_log_err
    assert middle > 0
    assert err > 0.01
    assert fit.extrapolated_conductivity_low_ms_per_cm == pytest.approx(middle * np.exp(-err))
    assert fit.extrapolated_conductivity_high_ms_per_cm == pytest.approx(middle * np.exp(err))


def test_noisy_points_weigh_less():
    points = points_on_line(PAPER_TEMPERATURES)
    off = points[0].estimate.diffusivity_m2_per_s * 3
    trusted = [ArrheniusPoint(400.0, estimate(off, 0.05)), *points[1:]]
    doubted = [ArrheniusPoint(400.0, estimate(off, 5.0)), *points[1:]]
    assert fit_arrhenius(trusted, 300.0, 0.01).activation_energy_ev < 0.27
    assert fit_arrhenius(doubted, 300.0, 0.01).activation_energy_ev == pytest.approx(E_A, abs=1e-3)


def test_bounds_do_not_enter_the_fit():
    points = points_on_line(PAPER_TEMPERATURES)
    with_bound = fit_arrhenius([ArrheniusPoint(350.0, BOUND), *points], 300.0, 0.01)
    assert with_bound == fit_arrhenius(points, 300.0, 0.01)
    assert with_bound.n_points == 8


def test_fewer_than_three_measured_points_are_not_fitted():
    points = [ArrheniusPoint(350.0, BOUND), *points_on_line(np.array([400.0, 500.0]))]
    fit = fit_arrhenius(points, 300.0, 0.01)
    assert not fit.fitted
    assert fit.reason == "2 measured points, 3 are needed"
    assert fit.activation_energy_ev is None
    assert not fit_arrhenius([], 300.0, 0.01).fitted


def test_one_temperature_has_no_barrier():
    fit = fit_arrhenius(points_on_line(np.array([500.0, 500.0, 500.0])), 300.0, 0.01)
    assert not fit.fitted
    assert "one temperature" in fit.reason


def test_a_diffusivity_without_error_is_refused():
    bare = [ArrheniusPoint(500.0, estimate(1e-10, None))] * 3
    with pytest.raises(InputError, match="no standard error"):
        fit_arrhenius(bare, 300.0, 0.01)


def test_fit_has_the_arrhenius_documents_fields():
    fit = fit_arrhenius(points_on_line(PAPER_TEMPERATURES), 300.0, LYB_LI_PER_ANG3)
    document = schemas.Arrhenius(
        key="k", system="s", pressure_bar=1.0, model="m", transports=(), **vars(fit)
    )
    assert document.activation_energy_ev == pytest.approx(E_A)

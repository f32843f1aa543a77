"""Barriers and extrapolations: the paper's own numbers, many seeds, and what must not be fitted."""

import numpy as np
import pytest

from lycb_flows import schemas
from lycb_flows.transport import arrhenius
from lycb_flows.transport.arrhenius import fit_arrhenius
from lycb_flows.transport.arrhenius_points import ArrheniusPoint
from lycb_flows.units import nernst_einstein_ms_per_cm

KT_EV = 8.617333262e-5
LYB_LI_PER_ANG3 = 0.3 / 27.0  # Li3YBr6 at 300 K and 10 kbar: 27.0 Å3 per atom
LOG_D0, E_A = np.log(2e-7), 0.30
PAPER_TEMPERATURES = np.arange(400.0, 751.0, 50.0)
EVENT = 8.3e-12  # a hop of 3 Å of one of 18 ions in 100 ps


def estimate(d, event, regime="diffusive", **facts):
    measured = d if regime == "diffusive" else None
    values = {
        "regime": regime,
        "most_likely_m2_per_s": d,
        "event_m2_per_s": event,
        "diffusivity_m2_per_s": measured,
        "effective_hops": 100.0,
        "max_msd_ang2": 50.0,
        "plateau_msd_ang2": 0.2,
    }
    return schemas.DiffusionEstimate(**values | facts)


def straight(temperatures):
    return LOG_D0 - E_A / (KT_EV * temperatures)


def kinked(temperatures, cold_ev=0.70, hot_ev=0.22, crossover=405.0):
    barrier = np.where(temperatures < crossover, cold_ev, hot_ev)
    return np.log(1e-10) - barrier / KT_EV * (1 / temperatures - 1 / crossover)


def exact(temperatures, log_d, relative=0.15):
    """Runs without noise whose D are known to a relative error."""
    return [
        ArrheniusPoint(float(t), estimate(float(d), relative**2 * float(d)))
        for t, d in zip(temperatures, np.exp(log_d), strict=True)
    ]


def noisy(temperatures, log_d, rng, relative=0.15):
    """Runs whose D are off by a relative error."""
    return exact(temperatures, log_d + rng.normal(0, relative, len(temperatures)), relative)


def counted(temperatures, log_d, rng):
    """Runs that see so many hops, and know the size of an event within 20 %."""
    points = []
    for t, d in zip(temperatures, np.exp(log_d), strict=True):
        n = rng.poisson(d / EVENT)
        size = EVENT * rng.lognormal(0, 0.2)
        regime = "diffusive" if n > 3 else "bound"
        points.append(ArrheniusPoint(float(t), estimate(n * EVENT, size, regime)))
    return points


@pytest.fixture
def no_band(monkeypatch):
    """Fits without the band of a figure, which takes most of their time."""
    monkeypatch.setattr(arrhenius, "_N_PREDICTIONS", 0)


def inside(fit, log_d, low, high):
    """Whether a true D at 300 K lies between two of the fit's conductivities."""
    true = nernst_einstein_ms_per_cm(float(np.exp(log_d)), 0.01, 300.0)
    return getattr(fit, low) <= true <= getattr(fit, high)


def covers(fits, log_d, name):
    low, high = (f"extrapolated_conductivity_{end}{name}_ms_per_cm" for end in ("low", "high"))
    return np.mean([inside(fit, log_d, low, high) for fit in fits])


def test_printed_conductivity_and_barrier_of_li3ybr6_give_its_diffusivities():
    d300 = 0.58 / nernst_einstein_ms_per_cm(1.0, LYB_LI_PER_ANG3, 300.0)
    assert d300 == pytest.approx(8.4e-13, rel=0.01)
    temperatures = np.array([400.0, 500.0, 600.0])
    line = np.log(d300) + 0.36 / KT_EV * (1 / 300 - 1 / temperatures)
    assert np.exp(line[1]) == pytest.approx(2.2e-10, rel=0.02)
    fit = fit_arrhenius(exact(temperatures, line), 300.0, LYB_LI_PER_ANG3)
    assert fit.activation_energy_ev == pytest.approx(0.36, rel=1e-5)
    assert fit.extrapolated_conductivity_ms_per_cm == pytest.approx(0.58, rel=1e-4)
    at_500 = fit_arrhenius(exact(temperatures, line), 500.0, LYB_LI_PER_ANG3)
    assert at_500.extrapolated_diffusivity_m2_per_s == pytest.approx(2.2e-10, rel=0.02)
    assert at_500.extrapolation_distance_k == 0


@pytest.mark.usefixtures("no_band")
def test_few_hops_neither_bias_the_conductivity_nor_look_precise():
    rng, temperatures = np.random.default_rng(0), np.arange(400.0, 601.0, 50.0)
    log_d = straight(temperatures) - 1.5  # three hops at 400 K
    fits = [fit_arrhenius(counted(temperatures, log_d, rng), 300.0, 0.01) for _ in range(160)]
    fits = [fit for fit in fits if fit.extrapolated_diffusivity_m2_per_s is not None]
    assert len(fits) > 155
    assert sum(fit.n_bounds > 0 for fit in fits) > 80
    true = straight(300.0) - 1.5
    errors = [np.log(fit.extrapolated_diffusivity_m2_per_s) - true for fit in fits]
    assert abs(np.mean(errors)) < max(0.1, 2.6 * np.std(errors) / np.sqrt(len(fits)))
    assert 0.60 - 0.10 < covers(fits, true, "") < 0.76 + 0.10  # 2.6 standard errors of a share
    assert covers(fits, true, "95") > 0.95 - 0.045
    assert np.mean([fit.n_regimes == 2 for fit in fits]) <= 0.05


def test_a_bound_is_fitted_as_what_it_is():
    temperatures = np.arange(400.0, 601.0, 50.0)
    points = exact(temperatures, straight(temperatures))
    still = estimate(0.0, EVENT, "bound")
    with_bound = fit_arrhenius([ArrheniusPoint(330.0, still), *points], 300.0, 0.01)
    without = fit_arrhenius(points, 300.0, 0.01)
    assert (with_bound.n_points, with_bound.n_bounds) == (6, 1)
    assert with_bound.activation_energy_ev > without.activation_energy_ev
    assert with_bound.coldest_temperature_k == 400.0  # a bound is no measured D


def test_a_low_outcome_does_not_look_precise():
    temperatures = np.arange(400.0, 601.0, 50.0)
    log_d = straight(temperatures)
    points = [
        ArrheniusPoint(float(t), estimate(float(d), EVENT))
        for t, d in zip(temperatures, np.exp(log_d), strict=True)
    ]
    low = estimate(float(np.exp(log_d[0])) / 3, EVENT / 50)
    fair = estimate(float(np.exp(log_d[0])) / 3, EVENT)
    one = fit_arrhenius([ArrheniusPoint(400.0, low), *points[1:]], 300.0, 0.01)
    other = fit_arrhenius([ArrheniusPoint(400.0, fair), *points[1:]], 300.0, 0.01)
    assert one.activation_energy_ev == pytest.approx(other.activation_energy_ev)
    assert one.event_m2_per_s == pytest.approx(EVENT)


def test_a_run_that_knows_its_own_diffusivity_badly_has_little_weight():
    points = exact(PAPER_TEMPERATURES, straight(PAPER_TEMPERATURES), relative=0.05)
    off = float(np.exp(straight(650.0))) / 1.5
    bad, good = (
        ArrheniusPoint(650.0, estimate(off, relative**2 * off)) for relative in (0.4, 0.05)
    )
    without, little, full = (
        fit_arrhenius(p, 300.0, 0.01) for p in (points, [*points, bad], [*points, good])
    )
    shift = [abs(f.activation_energy_ev - without.activation_energy_ev) for f in (little, full)]
    assert shift[0] < 0.1 * shift[1]
    assert little.p_value > 0.5
    assert full.p_value < 0.01


def test_a_shorter_run_has_larger_events():
    temperatures = np.arange(400.0, 601.0, 50.0)
    points = [
        ArrheniusPoint(float(t), estimate(float(d), EVENT), 1800.0)
        for t, d in zip(temperatures, np.exp(straight(temperatures)), strict=True)
    ]
    off = 3 * float(np.exp(straight(400.0)))
    short = ArrheniusPoint(400.0, estimate(off, 100 * EVENT), 18.0)
    long = ArrheniusPoint(400.0, estimate(off, EVENT), 1800.0)
    barriers = [
        fit_arrhenius([cold, *points[1:]], 300.0, 0.01).activation_energy_ev
        for cold in (short, long)
    ]
    assert abs(barriers[0] - E_A) < 0.2 * abs(barriers[1] - E_A)


@pytest.mark.usefixtures("no_band")
def test_two_regimes_are_found_and_their_conductivity_is_covered():
    rng, temperatures = np.random.default_rng(1), np.linspace(350.0, 750.0, 9)
    points = [noisy(temperatures, kinked(temperatures), rng) for _ in range(60)]
    fits = [fit_arrhenius(p, 300.0, 0.01) for p in points]
    found = [fit for fit in fits if fit.n_regimes == 2]
    assert len(found) >= 57
    assert covers(fits, kinked(np.array(300.0)), "95") >= 0.88
    barriers = np.mean([(f.activation_energy_ev, f.hot_activation_energy_ev) for f in found], 0)
    assert barriers == pytest.approx([0.70, 0.22], abs=0.06)
    within = [f.crossover_low_k - 10 < 405 < f.crossover_high_k + 10 for f in found]
    assert np.mean(within) > 0.7
    single = [
        fit_arrhenius(noisy(temperatures, straight(temperatures), rng), 300.0, 0.01)
        for _ in range(100)
    ]
    assert np.mean([fit.n_regimes == 2 for fit in single]) <= 0.05


@pytest.mark.usefixtures("no_band")
def test_a_regime_below_the_coldest_run_is_not_seen_but_the_distance_is_told():
    rng = np.random.default_rng(2)
    log_d = kinked(PAPER_TEMPERATURES)
    fits = [fit_arrhenius(noisy(PAPER_TEMPERATURES, log_d, rng), 300.0, 0.01) for _ in range(20)]
    assert np.mean([fit.n_regimes == 2 for fit in fits]) < 0.5
    fit = fits[0]
    assert (fit.coldest_temperature_k, fit.extrapolation_distance_k) == (400.0, 100.0)
    assert fit.extrapolation_distance_per_ev == pytest.approx((1 / 300 - 1 / 400) / KT_EV)
    assert fit.measured_span_per_ev == pytest.approx((1 / 400 - 1 / 750) / KT_EV)


def test_an_extrapolation_longer_than_the_measured_range_is_a_caution():
    temperatures = np.array([600.0, 700.0, 800.0])
    fit = fit_arrhenius(exact(temperatures, straight(temperatures)), 300.0, 0.01)
    assert [c for c in fit.cautions if "further than the measured range" in c]
    near = fit_arrhenius(exact(temperatures, straight(temperatures)), 500.0, 0.01)
    assert not near.cautions


@pytest.mark.usefixtures("no_band")
@pytest.mark.parametrize(
    ("wanted_k", "nearest_k"), [(300.0, 450.0), (450.0, 450.0), (500.0, 500.0), (900.0, 600.0)]
)
def test_the_distance_is_that_to_the_nearest_end_of_what_was_measured(wanted_k, nearest_k):
    temperatures = np.array([450.0, 500.0, 550.0, 600.0])
    still = [ArrheniusPoint(t, estimate(1e-9, 1e-11, "ageing")) for t in (400.0, 700.0)]
    fit = fit_arrhenius([*exact(temperatures, straight(temperatures)), *still], wanted_k, 0.01)
    assert fit.extrapolation_distance_k == abs(wanted_k - nearest_k)
    per_ev = abs(1 / wanted_k - 1 / nearest_k) / KT_EV
    assert fit.extrapolation_distance_per_ev == pytest.approx(per_ev)
    far = [c for c in fit.cautions if "further than the measured range" in c]
    assert bool(far) == (per_ev > fit.measured_span_per_ev)
    between = [c[-12:] for c in fit.cautions if "between the fit and the extrapolation" in c]
    assert between == {300.0: ["400 K ageing"], 900.0: ["700 K ageing"]}.get(wanted_k, [])


def test_scatter_beyond_the_errors_is_a_caution():
    log_d = straight(PAPER_TEMPERATURES) + 0.6 * (-1.0) ** np.arange(8)
    fit = fit_arrhenius(exact(PAPER_TEMPERATURES, log_d), 300.0, 0.01)
    assert fit.p_value < 1e-6
    assert "do not lie on the fit" in fit.cautions[0]
    assert fit.degrees_of_freedom == 8 - 2 * fit.n_regimes


def fits_of_scattered(scatter):
    """Fits to 150 times eight runs, whose errors say 15 %."""
    rng, log_d = np.random.default_rng(7), straight(PAPER_TEMPERATURES)
    shifted = (log_d + rng.normal(0, scatter, len(log_d)) for _ in range(150))
    return [fit_arrhenius(exact(PAPER_TEMPERATURES, each), 300.0, 0.01) for each in shifted]


@pytest.mark.usefixtures("no_band")
def test_runs_that_scatter_as_their_errors_say_widen_none():
    fits = fits_of_scattered(0.15)
    assert np.mean([fit.dispersion > 1 for fit in fits]) <= 0.03
    assert np.mean([fit.n_regimes == 2 for fit in fits]) <= 0.05
    assert covers(fits, straight(300.0), "95") >= 0.90


@pytest.mark.usefixtures("no_band")
def test_runs_that_scatter_beyond_their_errors_widen_them():
    """Two lines would gain 8 in 70 % of these; in 13 % they lie on the runs, with errors as stated.

    With errors as stated, 58 % of the intervals of 95 % would hold the true value.
    """
    fits = fits_of_scattered(0.45)
    assert np.mean([fit.n_regimes == 2 for fit in fits]) <= 0.20
    assert all((fit.dispersion > 1) == (fit.p_value < 0.01) for fit in fits)  # no replicas
    assert np.mean([fit.dispersion > 1 for fit in fits]) >= 0.75
    known = [fit for fit in fits if fit.extrapolated_log_err is not None]
    assert covers(known, straight(300.0), "95") >= 0.83
    true = straight(300.0)
    errors = [np.log(fit.extrapolated_diffusivity_m2_per_s) - true for fit in known]
    assert np.median([fit.extrapolated_log_err for fit in known]) > 0.6 * np.std(errors)


@pytest.mark.usefixtures("no_band")
def test_replicas_that_agree_do_not_hide_that_a_line_misses_them():
    off = straight(PAPER_TEMPERATURES) + 0.3 * (-1.0) ** np.arange(8)
    runs = exact(PAPER_TEMPERATURES, off, relative=0.05)
    single, triple = (fit_arrhenius(runs * n, 300.0, 0.01) for n in (1, 3))
    assert triple.activation_energy_ev == pytest.approx(single.activation_energy_ev)
    assert triple.dispersion == pytest.approx(3 * single.dispersion, rel=1e-3)
    for name in ("activation_energy_err_ev", "extrapolated_log_err"):
        assert getattr(triple, name) == pytest.approx(getattr(single, name), rel=0.02)


@pytest.mark.usefixtures("no_band")
def test_temperatures_off_the_line_are_found_among_replicas_that_agree():
    temperatures = np.array([500.0, 600.0, 700.0, 800.0])
    off = straight(temperatures) + 0.4 * np.array([0.3, -0.3, -0.3, 0.3])
    replicas = [exact(temperatures, off + step, 0.1) for step in (-0.05, 0.02, 0.05, -0.02)]
    fit = fit_arrhenius([run for runs in replicas for run in runs], 300.0, 0.01)
    assert fit.p_value > 0.01
    assert fit.lack_of_fit_p_value < 1e-4
    assert fit.lack_of_fit_degrees_of_freedom == 2
    assert fit.dispersion == pytest.approx(fit.lack_of_fit / 2)
    assert "means of the temperatures do not lie on the fit" in fit.cautions[0]


@pytest.mark.usefixtures("no_band")
def test_a_barrier_that_scatter_hides_says_so():
    log_d = straight(PAPER_TEMPERATURES) + 2.0 * np.array([1, -1, -1, 1, 1, -1, -1, 1])
    fit = fit_arrhenius(exact(PAPER_TEMPERATURES, log_d, 0.05), 300.0, 0.01)
    assert fit.extrapolated_conductivity_ms_per_cm is None
    assert "is not 2 errors above zero; the runs do not lie on the fit" in fit.reason


def test_confined_ions_give_no_fit():
    rng = np.random.default_rng(3)
    points = [
        ArrheniusPoint(float(t), estimate(d, d / 5, "confined", reason="a relaxation of 20 ps"))
        for t, d in zip(PAPER_TEMPERATURES, rng.lognormal(-23, 0.5, 8), strict=True)
    ]
    fit = fit_arrhenius(points, 300.0, 0.01)
    assert not fit.fitted
    assert fit.reason == "0 of 8 runs are diffusive or bounds (8 confined), 3 are needed"
    assert fit.extrapolated_conductivity_ms_per_cm is fit.activation_energy_ev is None
    assert {(run.regime, run.reason) for run in fit.left_out} == {
        ("confined", "a relaxation of 20 ps")
    }


def test_what_does_not_diffuse_stays_out_and_is_named():
    points = exact(PAPER_TEMPERATURES, straight(PAPER_TEMPERATURES))
    ageing = ArrheniusPoint(350.0, estimate(1e-9, 1e-11, "ageing"))
    lost = ArrheniusPoint(800.0, estimate(None, None, None, reason="left physics"))
    fit = fit_arrhenius([ageing, *points, lost], 300.0, 0.01)
    assert fit.activation_energy_ev == pytest.approx(E_A, rel=1e-5)
    assert [(run.temperature_k, run.regime) for run in fit.left_out] == [
        (350.0, "ageing"),
        (800.0, "unmeasured"),
    ]
    assert [c for c in fit.cautions if "350 K ageing" in c]


def test_a_barrier_that_may_be_zero_gives_no_conductivity():
    temperatures = np.array([500.0, 550.0, 600.0])
    for barrier in (0.01, -0.24):
        log_d = np.log(1e-9) - barrier / (KT_EV * temperatures)
        fit = fit_arrhenius(exact(temperatures, log_d), 300.0, 0.01)
        assert fit.fitted
        assert fit.activation_energy_ev == pytest.approx(barrier, rel=1e-3)
        assert "is not 2 errors above zero" in fit.reason
        assert fit.extrapolated_conductivity_ms_per_cm is None
        assert fit.extrapolated_diffusivity_m2_per_s is None
        assert fit.paper_conductivity_ms_per_cm is None


@pytest.mark.parametrize(
    ("temperatures", "reason"),
    [
        ([], "0 of 0 runs"),
        ([400.0, 500.0], "2 of 2 runs are diffusive or bounds, 3 are needed"),
        ([500.0, 500.0, 500.0], "all runs are at one temperature"),
    ],
)
def test_too_few_runs_are_not_fitted(temperatures, reason):
    fit = fit_arrhenius(exact(np.array(temperatures), straight(np.array(temperatures))), 300, 0.01)
    assert not fit.fitted
    assert reason in fit.reason


@pytest.mark.parametrize("n_replicas", [1, 3])
def test_bounds_alone_are_not_fitted(n_replicas):
    bound = estimate(0.0, EVENT, "bound")
    measured = exact(np.array([600.0]), straight(np.array([600.0])))
    points = [*(ArrheniusPoint(t, bound) for t in (400.0, 450.0, 500.0)), *measured]
    fit = fit_arrhenius(points * n_replicas, 300.0, 0.01)
    assert fit.reason == "D was measured at 1 of 4 temperatures, 2 are needed"


def test_the_papers_line_stands_beside_ours():
    points = [
        ArrheniusPoint(
            p.temperature_k,
            p.estimate.model_copy(
                update={
                    "paper_diffusivity_m2_per_s": 1.5 * p.estimate.most_likely_m2_per_s,
                    "diffusivity_err_he_m2_per_s": 0.3 * p.estimate.most_likely_m2_per_s,
                }
            ),
        )
        for p in exact(PAPER_TEMPERATURES, straight(PAPER_TEMPERATURES))
    ]
    fit = fit_arrhenius(points, 300.0, 0.01)
    assert fit.paper_activation_energy_ev == pytest.approx(E_A)
    ratio = fit.paper_conductivity_ms_per_cm / fit.extrapolated_conductivity_ms_per_cm
    assert ratio == pytest.approx(1.5, rel=1e-4)
    assert fit.paper_conductivity_log_err == pytest.approx(
        np.sqrt(np.linalg.inv(_information(0.2))[0, 0])
    )


def _information(relative):
    design = np.stack([np.ones(8), (1 / 300 - 1 / PAPER_TEMPERATURES) / KT_EV], axis=1)
    return design.T @ design / relative**2


def test_errors_are_those_of_the_covariance_and_the_intervals_hold_the_value():
    fit = fit_arrhenius(exact(PAPER_TEMPERATURES, straight(PAPER_TEMPERATURES)), 300.0, 0.01)
    (var_d0, cov), (cov_again, var_e) = fit.covariance
    assert cov == pytest.approx(cov_again)
    assert fit.activation_energy_err_ev == pytest.approx(np.sqrt(var_e))
    x = 1 / (KT_EV * 300.0)
    of_line = np.sqrt(var_d0 - 2 * x * cov + x**2 * var_e)
    assert of_line < fit.extrapolated_log_err < 1.3 * of_line  # a second line has some weight
    values = [
        fit.extrapolated_conductivity_low95_ms_per_cm,
        fit.extrapolated_conductivity_low_ms_per_cm,
        fit.extrapolated_conductivity_ms_per_cm,
        fit.extrapolated_conductivity_high_ms_per_cm,
        fit.extrapolated_conductivity_high95_ms_per_cm,
    ]
    assert values == sorted(values)
    cold = fit.predictions[-1]
    assert cold.temperature_k == pytest.approx(300.0)
    widths = [
        np.log(p.diffusivity_high_m2_per_s / p.diffusivity_low_m2_per_s) for p in fit.predictions
    ]
    assert widths[-1] == max(widths)
    assert cold.diffusivity_m2_per_s == pytest.approx(fit.extrapolated_diffusivity_m2_per_s)


def test_fit_has_the_documents_fields_and_documents_of_version_2_still_open():
    fit = fit_arrhenius(exact(PAPER_TEMPERATURES, straight(PAPER_TEMPERATURES)), 300.0, 0.01)
    document = schemas.Arrhenius(
        key="k", system="s", pressure_bar=1.0, model="m", transports=(), **vars(fit)
    )
    facts = document.facts()
    assert schemas.Arrhenius.from_facts(facts, key="k") == document
    old = {name: facts[name] for name in VERSION_2}
    assert schemas.Arrhenius.from_facts(old, key="k").n_regimes == 1


VERSION_2 = (
    "system", "pressure_bar", "model", "transports", "n_points", "fitted", "reason",
    "activation_energy_ev", "activation_energy_err_ev", "log_prefactor", "log_prefactor_err",
    "covariance", "extrapolation_temperature_k", "extrapolated_diffusivity_m2_per_s",
    "extrapolated_log_err", "extrapolated_conductivity_ms_per_cm",
    "extrapolated_conductivity_low_ms_per_cm", "extrapolated_conductivity_high_ms_per_cm",
)  # fmt: skip

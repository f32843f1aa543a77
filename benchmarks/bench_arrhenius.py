"""Arrhenius fits over many synthetic campaigns, in figures with their own 99 % intervals.

`python benchmarks/bench_arrhenius.py [n_campaigns] [first_seed] [case ...]` (default 240, 0, all;
12 minutes) prints a row for each figure: what it is, its 99 % interval (binomial for a share,
Student's t for a mean), and what is wanted; a row holds when the interval meets the wanted range.
"15 %" are D with errors of 15 %, as in the reference table; the other cases are random walks of 18
ions that go through the whole analysis.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from lycb_flows.config import DiffusionConfig
from lycb_flows.schemas import DiffusionEstimate
from lycb_flows.testing import confinement, walks
from lycb_flows.transport.arrhenius import ArrheniusFit, fit_arrhenius
from lycb_flows.transport.arrhenius_points import ArrheniusPoint
from lycb_flows.transport.diffusion import analyse_diffusion
from lycb_flows.transport.line_choice import MIN_P_VALUE
from lycb_flows.units import BOLTZMANN_EV_PER_K, nernst_einstein_ms_per_cm

N_IONS, DURATION_PS, FRAME_INTERVAL_PS = 18, 100.0, 0.5
LATTICE_ANG = 12.0 * np.eye(3)
DENSITY_PER_ANG3 = N_IONS / 12.0**3
COLD_K, ONE_SIGMA, NINETY_FIVE = 300.0, "", "95"
CROSSOVER_K = 405.0
WARM_K = np.arange(400.0, 601.0, 50.0)
WIDE_K = np.linspace(350.0, 750.0, 9)
PAPER_K = np.arange(400.0, 751.0, 50.0)
LogD = Callable[[np.ndarray], np.ndarray]
Maker = Callable[[np.random.Generator], list[ArrheniusPoint]]


def straight(barrier_ev: float, ang2_per_ps_at_500_k: float) -> LogD:
    """Return ln D in m²/s of a single line."""
    at_500_k = np.log(ang2_per_ps_at_500_k * 1e-8)
    return lambda t: at_500_k - barrier_ev / BOLTZMANN_EV_PER_K * (1 / t - 1 / 500)


def kinked(cold_ev: float, hot_ev: float, ang2_per_ps_at_500_k: float) -> LogD:
    """Return ln D in m²/s of two lines that meet at 405 K."""
    hot = straight(hot_ev, ang2_per_ps_at_500_k)

    def log_d(temperatures_k: np.ndarray) -> np.ndarray:
        below = np.maximum(1 / temperatures_k - 1 / CROSSOVER_K, 0) / BOLTZMANN_EV_PER_K
        return hot(temperatures_k) - (cold_ev - hot_ev) * below

    return log_d


def with_errors(temperatures_k: np.ndarray, log_d: LogD, relative: float = 0.15) -> Maker:
    """Campaigns whose D are off by a relative error that they know."""

    def make(rng: np.random.Generator) -> list[ArrheniusPoint]:
        noise = rng.normal(0, relative, len(temperatures_k))
        return [
            ArrheniusPoint(float(t), _estimate(float(d), relative))
            for t, d in zip(temperatures_k, np.exp(log_d(temperatures_k) + noise), strict=True)
        ]

    return make


def _estimate(diffusivity: float, relative: float) -> DiffusionEstimate:
    return DiffusionEstimate(
        regime="diffusive", most_likely_m2_per_s=diffusivity, diffusivity_m2_per_s=diffusivity,
        event_m2_per_s=relative**2 * diffusivity, effective_hops=1 / relative**2,
        max_msd_ang2=0, plateau_msd_ang2=0,
    )  # fmt: skip


def walkers(length: int) -> Callable[..., np.ndarray]:
    """Ions that walk in strings of a length (1: independent)."""

    def make(ang2_per_ps: float, clock: walks.Clock, rng: np.random.Generator) -> np.ndarray:
        return walks.strings(walks.free_walkers(N_IONS // length, ang2_per_ps, clock, rng), length)

    return make


def rows_of_five(rate: float, clock: walks.Clock, rng: np.random.Generator) -> np.ndarray:
    """Ions in rows of five sites without a way out; the rate of steps is in 1/ps."""
    return confinement.boxed((5, 1, 1), N_IONS, rate, clock, rng)


def walking(
    temperatures_k: np.ndarray,
    log_d: LogD,
    move: Callable[..., np.ndarray],
    hops: float | None = None,
) -> Maker:
    """Campaigns of random walks; with `hops`, each run lasts until so many are expected."""

    def make(rng: np.random.Generator) -> list[ArrheniusPoint]:
        points = []
        for t, d in zip(temperatures_k, np.exp(log_d(temperatures_k)) * 1e8, strict=True):
            duration = DURATION_PS if hops is None else hops * 9 / (6 * float(d) * N_IONS)
            clock = walks.Clock(duration, duration * FRAME_INTERVAL_PS / DURATION_PS)
            ions = walks.vibrating(move(float(d), clock, rng), rng)
            points.append(_analysed(ions, float(t), clock))
        return points

    return make


def _analysed(ions: np.ndarray, temperature_k: float, clock: walks.Clock) -> ArrheniusPoint:
    positions = np.concatenate([ions, np.zeros_like(ions[:, :1])], axis=1)
    mobile = np.arange(N_IONS + 1) < N_IONS
    config = DiffusionConfig()
    result = analyse_diffusion(
        positions, clock.frame_interval_ps, mobile, LATTICE_ANG, temperature_k, config
    )
    return ArrheniusPoint(temperature_k, result.estimate, N_IONS * clock.duration_ps)


# -- figures --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A figure, its 99 % interval, and the wanted range."""

    case: str
    name: str
    value: float
    interval: tuple[float, float]
    wanted: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.interval
        holds = low <= self.wanted[1] and self.wanted[0] <= high
        wanted = f"{self.wanted[0]:g} to {self.wanted[1]:g}"
        return (
            f"{self.case:34} {self.name:30} {self.value:7.3f}  ({low:.3f} to {high:.3f})"
            f"  wanted {wanted:12} {'holds' if holds else 'FAILS'}"
        )


def share(case: str, name: str, found: Sequence[bool], wanted: tuple[float, float]) -> Row:
    """A share of campaigns with its binomial interval (Clopper and Pearson)."""
    n, k = len(found), int(np.sum(found))
    low = float(stats.beta.ppf(0.005, k, n - k + 1)) if k else 0.0
    high = float(stats.beta.ppf(0.995, k + 1, n - k)) if k < n else 1.0
    return Row(case, name, k / n, (low, high), wanted)


def ratio(case: str, fits: Sequence[ArrheniusFit], log_d: LogD) -> Row:
    """The geometric mean of σ over its true value."""
    errors = np.array([np.log(f.extrapolated_diffusivity_m2_per_s or np.nan) for f in fits])
    errors = errors - float(log_d(np.array(COLD_K)))
    reach = float(stats.t.ppf(0.995, len(errors) - 1) * stats.sem(errors))
    middle = float(np.mean(errors))
    ends = float(np.exp(middle - reach)), float(np.exp(middle + reach))
    return Row(case, "σ(300 K) over the truth", float(np.exp(middle)), ends, (0.9, 1.1))


def covered(fits: Sequence[ArrheniusFit], log_d: LogD, name: str) -> list[bool]:
    """Whether the interval of each σ holds the true value."""
    true = nernst_einstein_ms_per_cm(
        float(np.exp(log_d(np.array(COLD_K)))), DENSITY_PER_ANG3, COLD_K
    )
    ends = [f"extrapolated_conductivity_{end}{name}_ms_per_cm" for end in ("low", "high")]
    return [getattr(f, ends[0]) <= true <= getattr(f, ends[1]) for f in fits]


def fits_of(make: Maker, n_campaigns: int, first_seed: int) -> list[ArrheniusFit]:
    """Fits of so many campaigns."""
    return [
        fit_arrhenius(make(np.random.default_rng([12, seed])), COLD_K, DENSITY_PER_ANG3)
        for seed in range(first_seed, first_seed + n_campaigns)
    ]


def two_regimes(fits: Sequence[ArrheniusFit]) -> list[bool]:
    """Whether each fit chose two lines."""
    return [f.crossover_temperature_k is not None for f in fits]


def not_fitting(fits: Sequence[ArrheniusFit]) -> list[bool]:
    """Whether the runs of each fit scatter more than their errors say."""
    return [f.p_value is not None and f.p_value < MIN_P_VALUE for f in fits]


def straight_rows(case: str, make: Maker, log_d: LogD, n: int, seed: int) -> Iterator[Row]:
    """Rows of campaigns on a single line."""
    fits = fits_of(make, n, seed)
    known = [f for f in fits if f.extrapolated_conductivity_ms_per_cm is not None]
    yield share(case, "gives a conductivity", [f in known for f in fits], (0.9, 1))
    yield ratio(case, known, log_d)
    yield share(case, "1σ covers", covered(known, log_d, ONE_SIGMA), (0.60, 0.76))
    yield share(case, "95 % covers", covered(known, log_d, NINETY_FIVE), (0.90, 0.99))
    yield share(case, "two regimes, falsely", two_regimes(fits), (0, 0.05))
    yield share(case, "no fit to be trusted", not_fitting(fits), (0, 0.05))


def kinked_rows(case: str, make: Maker, log_d: LogD, n: int, seed: int) -> Iterator[Row]:
    """Rows of campaigns on two lines."""
    fits = fits_of(make, n, seed)
    known = [f for f in fits if f.extrapolated_conductivity_ms_per_cm is not None]
    yield share(case, "two regimes found", two_regimes(fits), (0.95, 1))
    yield share(case, "95 % covers", covered(known, log_d, NINETY_FIVE), (0.88, 1))


def hidden_rows(case: str, make: Maker, n: int, seed: int) -> Iterator[Row]:
    """Rows of campaigns whose second regime lies below the coldest run."""
    fits = fits_of(make, n, seed)
    told = [
        f.coldest_temperature_k == PAPER_K[0] and f.extrapolation_distance_k == PAPER_K[0] - COLD_K
        for f in fits
    ]
    yield share(case, "two regimes found", two_regimes(fits), (0, 1))
    yield share(case, "coldest run and distance told", told, (1, 1))


def refused_rows(case: str, make: Maker, n: int, seed: int, least: float) -> Iterator[Row]:
    """Rows of campaigns from which no conductivity may follow."""
    fits = fits_of(make, n, seed)
    refused = [f.extrapolated_conductivity_ms_per_cm is None for f in fits]
    yield share(case, "no conductivity", refused, (least, 1))


def groups(n: int, seed: int) -> dict[str, Callable[[str], Iterator[Row]]]:
    """Return what makes the rows of each case."""
    one, slow = straight(0.30, 0.046), straight(0.30, 0.015)
    two, mild = kinked(0.70, 0.22, 0.02), kinked(0.50, 0.30, 0.02)
    flat, hot = straight(0.0, 0.05), np.linspace(500.0, 750.0, 6)
    free, strings = walkers(1), walkers(3)
    boxed = walking(hot, straight(0.12, 0.2), rows_of_five)  # relaxing within 5 to 13 ps
    return {
        "15 %, 0.22/0.70 eV": lambda c: kinked_rows(c, with_errors(WIDE_K, two), two, n, seed),
        "15 %, 0.30/0.50 eV": lambda c: kinked_rows(c, with_errors(WIDE_K, mild), mild, n, seed),
        "15 %, 350-750 K": lambda c: straight_rows(c, with_errors(WIDE_K, one), one, n, seed),
        "15 %, 400-750 K": lambda c: straight_rows(c, with_errors(PAPER_K, one), one, n, seed),
        "15 %, 0.22/0.70 eV, 400-750 K": lambda c: hidden_rows(
            c, with_errors(PAPER_K, two), n, seed
        ),
        "walks": lambda c: straight_rows(c, walking(WARM_K, one, free), one, n, seed),
        "slow walks": lambda c: straight_rows(c, walking(WARM_K, slow, free), slow, n, seed),
        "strings of 3": lambda c: straight_rows(c, walking(WARM_K, one, strings), one, n, seed),
        "60 hops, 0.22/0.70 eV": lambda c: kinked_rows(
            c, walking(WIDE_K, two, free, hops=60), two, n, seed
        ),
        "no barrier": lambda c: refused_rows(c, walking(hot, flat, free), n, seed, 0.95),
        "rows of five sites": lambda c: refused_rows(c, boxed, n, seed, 1.0),
    }


def main(n: int = 240, seed: int = 0, *names: str) -> None:
    """Measure and print."""
    for case, rows in groups(n, seed).items():
        if names and case not in names:
            continue
        start = time.process_time()
        for row in rows(case):
            print(row, flush=True)
        print(f"{'':34} {time.process_time() - start:.0f} s CPU", flush=True)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:3]), *sys.argv[3:])

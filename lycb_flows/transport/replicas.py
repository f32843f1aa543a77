"""Several runs of a condition as one: the pooled D, and whether they scatter as their bars say.

A run of length t that found D has seen about n = D t / w independent events, each of which
contributes w / t to D (`event_m2_per_s` of its estimate is w / t, the variance of D over its
mean). Events are counted, so counts of runs add up, and their scatter is tested as that of counts:

| equation                                            | code                     |
|-----------------------------------------------------|--------------------------|
| D = Σ t_i D_i / Σ t_i, n = D Σ t_i / w              | `pool_replicas`          |
| χ² = Σ t_i (D_i - D)² / (w D), runs less one        | Fisher's dispersion test |
| 95 %: w / Σ t_i times quantiles of Γ(n + 1/2)       | Jeffreys' interval       |

A run whose own error is more than twice that of its events, for a reason of its own such as a
relaxation as slow as the run, counts as one that is so much shorter.

Fisher, Statistical Methods for Research Workers (1925), section 16; Brown, Cai, DasGupta, Statist.
Sci. 16, 101 (2001). As w is found from the same few events as D, a D that came out low would seem
precise: w is the median over the runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, gamma

from lycb_flows.schemas import DiffusionEstimate

POOLED_REGIMES = ("diffusive", "bound")
"""Regimes of runs that count events; in the others D is no property of the crystal."""
MIN_REPLICAS = 2
_OWN_ERROR = 2.0
_TAIL = 0.025
_PRIOR_EVENTS = 0.5


@dataclass(frozen=True)
class PooledDiffusivity:
    """D of several runs of a condition.

    Attributes
    ----------
    n_runs
        Runs that were pooled.
    diffusivity_m2_per_s, low_m2_per_s, high_m2_per_s
        The pooled D and its 95 % interval. Without an event D and the lower end are zero.
    n_events
        Independent events in all runs together.
    chi2
        Squared deviations of the runs' D from the pooled one, in units of their variances.
    p_value
        Probability of a chi² at least as large if the bars are right; None without an event.
    """

    n_runs: int
    diffusivity_m2_per_s: float
    low_m2_per_s: float
    high_m2_per_s: float
    n_events: float
    chi2: float | None
    p_value: float | None


def pool_replicas(
    estimates: Sequence[DiffusionEstimate], durations_ps: Sequence[float]
) -> PooledDiffusivity | None:
    """Return the pooled D of runs of a condition, or None where fewer than two can be pooled.

    Parameters
    ----------
    estimates
        What each run says; those outside `POOLED_REGIMES` are left out.
    durations_ps
        Length of each run.
    """
    usable = [
        (
            estimate.most_likely_m2_per_s,
            estimate.event_m2_per_s,
            duration_ps,
            estimate.diffusivity_err_m2_per_s or 0.0,
        )
        for estimate, duration_ps in zip(estimates, durations_ps, strict=True)
        if estimate.regime in POOLED_REGIMES
        and estimate.most_likely_m2_per_s is not None
        and estimate.event_m2_per_s
    ]
    if len(usable) < MIN_REPLICAS:
        return None
    found, events, times, errors = np.array(usable, dtype=float).T
    worth = float(np.median(events * times))
    of_events = np.sqrt(worth * found / times)
    badly_known = (found > 0) & (errors > _OWN_ERROR * of_events)
    times[badly_known] = worth * found[badly_known] / errors[badly_known] ** 2
    pooled = float(found @ times / times.sum())
    n_events = pooled * float(times.sum()) / worth
    low, high = (
        worth / float(times.sum()) * float(gamma.ppf(tail, n_events + _PRIOR_EVENTS))
        for tail in (_TAIL, 1 - _TAIL)
    )
    scatter = float(times @ (found - pooled) ** 2) / (worth * pooled) if pooled else None
    return PooledDiffusivity(
        n_runs=len(usable),
        diffusivity_m2_per_s=pooled,
        low_m2_per_s=low if pooled else 0.0,
        high_m2_per_s=high,
        n_events=n_events,
        chi2=scatter,
        p_value=None if scatter is None else float(chi2.sf(scatter, len(usable) - 1)),
    )

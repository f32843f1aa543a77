"""What a report shows of several orderings of a crystal: the average of their D, its scatter.

Where disorder is quenched, a crystal holds many arrangements side by side and none of them alone
stands for it. The mean over n orderings weighs all alike, as energies of quenched arrangements do
not; its standard error is the scatter s / sqrt(n), or what the error bars of the n runs leave where
that is larger. An ordering whose D is bounded counts with its most likely D, or the mean would be
one of the fast orderings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from lycb_flows.config import name_of_ordering
from lycb_flows.report import MISSING, Cell, ReportData, Table, ours, scientific, together
from lycb_flows.schemas import FITTED_REGIMES, DiffusionEstimate, Transport

_MIN_ORDERINGS = 2
_ERRORS_OF_95 = 1.645  # of a normal distribution, on one side


@dataclass(frozen=True)
class AveragedDiffusivity:
    """The mean D of several orderings.

    Attributes
    ----------
    n_orderings
        Orderings whose D was measured.
    diffusivity_m2_per_s, error_m2_per_s
        The mean and its standard error.
    low_m2_per_s, high_m2_per_s
        The smallest and the largest D among them.
    """

    n_orderings: int
    diffusivity_m2_per_s: float
    error_m2_per_s: float
    low_m2_per_s: float
    high_m2_per_s: float


def average_orderings(
    values_m2_per_s: Sequence[float], errors_m2_per_s: Sequence[float]
) -> AveragedDiffusivity | None:
    """Return the mean D of several orderings, or None where fewer than two have one.

    Parameters
    ----------
    values_m2_per_s
        D of each ordering.
    errors_m2_per_s
        The standard error of each.
    """
    n = len(values_m2_per_s)
    if n < _MIN_ORDERINGS:
        return None
    values = np.array(values_m2_per_s)
    of_the_bars = sqrt(float(np.square(errors_m2_per_s).sum())) / n
    return AveragedDiffusivity(
        n_orderings=n,
        diffusivity_m2_per_s=float(values.mean()),
        error_m2_per_s=max(float(values.std(ddof=1)) / sqrt(n), of_the_bars),
        low_m2_per_s=float(values.min()),
        high_m2_per_s=float(values.max()),
    )


def ordering_tables(data: ReportData, system: str) -> Iterator[Table]:
    """Yield the average over the orderings of a crystal at every condition.

    Parameters
    ----------
    data
        What the report rests on.
    system
        Name of the crystal; those of its other orderings have no table.
    """
    groups: dict[tuple[float, float], list[Transport]] = {}
    for run in data.measured(Transport):
        if name_of_ordering(run.system) == system:
            groups.setdefault((run.pressure_bar, run.temperature_k), []).append(run)
    rows = [runs for runs in groups.values() if len({run.system for run in runs}) > 1]
    if rows:
        yield Table(
            "Orderings, averaged",
            ("T (K)", "p (bar)", "orderings with D", "mean D (m²/s)", "smallest to largest (m²/s)"),
            tuple(_row(runs) for runs in rows),
            "D of the lowest orderings, each weighed alike; ± the standard error of the mean by "
            "their scatter, or by their own bars where that is larger. Bounded ones count with "
            "their most likely D; those without diffusion are left out, and the mean is then too "
            "large.",
        )


def _row(runs: Sequence[Transport]) -> tuple[Cell, ...]:
    found: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        value, error = _most_likely(run.estimate)
        if value is not None:
            found.setdefault(run.system, []).append((value, error))
    each = [np.array(of_one) for of_one in found.values()]  # replicas of an ordering are one D
    means = [float(rows[:, 0].mean()) for rows in each]
    errors = [sqrt(float(np.square(rows[:, 1]).sum())) / len(rows) for rows in each]
    averaged, first = average_orderings(means, errors), runs[0]
    n_all = len({run.system for run in runs})
    place = (f"{first.temperature_k:g}", f"{first.pressure_bar:g}", f"{len(each)} of {n_all}")
    if averaged is None:
        return ours(first.key, (*place, MISSING, MISSING))
    mean = scientific(averaged.diffusivity_m2_per_s, averaged.error_m2_per_s)
    ends = together((averaged.low_m2_per_s, averaged.high_m2_per_s), " to ")
    return ours(first.key, (*place, mean, ends))


def _most_likely(estimate: DiffusionEstimate) -> tuple[float | None, float]:
    """Return D and its standard error; of a bound the most likely D, and the distance to it."""
    value, bound = estimate.diffusivity_m2_per_s, estimate.diffusivity_upper_m2_per_s
    if value is not None:
        return value, estimate.diffusivity_err_m2_per_s or 0.0
    if estimate.regime not in FITTED_REGIMES or bound is None:
        return None, 0.0
    value = estimate.most_likely_m2_per_s or 0.0
    return value, (bound - value) / _ERRORS_OF_95

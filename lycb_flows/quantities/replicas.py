"""What a report shows of several production runs at a condition: their pooled D, their scatter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from lycb_flows.quantities import place_text
from lycb_flows.report import (
    MISSING,
    Cell,
    ReportData,
    Statement,
    Table,
    number,
    ours,
    probability,
    scientific,
    together,
)
from lycb_flows.schemas import Transport

if TYPE_CHECKING:  # scipy.stats is slow to import, and the status of a campaign does not need it
    from lycb_flows.transport.replicas import PooledDiffusivity

_SUSPICIOUS: Final = 0.01
"""Probability below which replicas are said to scatter more than their bars."""


def replica_tables(data: ReportData, system: str) -> Iterator[Table]:
    """Yield the pooled D of every condition of a system that has several runs.

    Parameters
    ----------
    data
        What the report rests on.
    system
        Name of the system.
    """
    groups = [runs for runs in _groups(data) if runs[0].system == system]
    if groups:
        yield Table(
            "Replicas, pooled",
            (
                "T (K)", "p (bar)", "runs", "D (m²/s)", "95 % interval (m²/s)", "events",
                "χ² (degrees of freedom)", "p",
            ),
            tuple(_row(runs) for runs in groups),
            "D of all runs of a condition together; χ²: their scatter in units of their bars, and "
            f"p, the probability of a larger one. Below {_SUSPICIOUS:g} the bars are too small or "
            "the runs are not of one kind.",
        )  # fmt: skip


def replica_limits(data: ReportData) -> Iterator[Statement]:
    """Yield the conditions whose runs scatter more than their bars allow."""
    for runs in _groups(data):
        pooled = _pool(runs)
        if pooled is not None and pooled.p_value is not None and pooled.p_value < _SUSPICIOUS:
            yield Statement(
                f"{place_text(runs[0])}: D of {pooled.n_runs} replicas scatters more than its bars "
                f"allow (χ² {number(pooled.chi2, 2)}, p {probability(pooled.p_value, 1)}).",
                tuple(run.key for run in runs),
            )


def _groups(data: ReportData) -> list[list[Transport]]:
    """Return the runs of every condition that has several."""
    groups: dict[tuple[str, float, float], list[Transport]] = {}
    for run in data.measured(Transport):
        groups.setdefault((run.system, run.pressure_bar, run.temperature_k), []).append(run)
    return [runs for runs in groups.values() if len(runs) > 1]


def _pool(runs: Sequence[Transport]) -> PooledDiffusivity | None:
    from lycb_flows.transport.replicas import pool_replicas  # noqa: PLC0415

    return pool_replicas([run.estimate for run in runs], [run.duration_ps for run in runs])


def _row(runs: Sequence[Transport]) -> tuple[Cell, ...]:
    first, pooled = runs[0], _pool(runs)
    place = (f"{first.temperature_k:g}", f"{first.pressure_bar:g}")
    if pooled is None:
        return ours(first.key, (*place, f"0 of {len(runs)}", *[MISSING] * 5))
    scatter = f"{number(pooled.chi2, 2)} ({pooled.n_runs - 1})" if pooled.chi2 else MISSING
    texts = (
        *place,
        f"{pooled.n_runs} of {len(runs)}",
        scientific(pooled.diffusivity_m2_per_s),
        together((pooled.low_m2_per_s, pooled.high_m2_per_s), " to "),
        number(pooled.n_events, 2),
        scatter,
        MISSING if pooled.p_value is None else probability(pooled.p_value).removeprefix("= "),
    )
    return ours(first.key, texts)

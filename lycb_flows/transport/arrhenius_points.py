"""The runs of an Arrhenius fit: which of them enter, and as how many events.

| equation                               | code          |
|----------------------------------------|---------------|
| var D = e/w D + r² D², w = ions x time | `pool_events` |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lycb_flows.schemas import FITTED_REGIMES, DiffusionEstimate, LeftOut
from lycb_flows.transport.lines import Array, Counts
from lycb_flows.units import BOLTZMANN_EV_PER_K

_SCATTER_GAIN = 4.0
_OWN_SIZE = 4.0
_LEAST_LOSS = 1e-12


@dataclass(frozen=True)
class ArrheniusPoint:
    """An estimate of D at a temperature.

    Attributes
    ----------
    temperature_k
        Temperature of the run.
    estimate
        Its D, or its bound, or why it has neither.
    ion_ps
        Mobile ions times duration, to compare the events of runs of different lengths.
    """

    temperature_k: float
    estimate: DiffusionEstimate
    ion_ps: float = 1.0


def enters(estimate: DiffusionEstimate) -> bool:
    """Return whether a run has a likelihood of D: it is diffusive, or bounds D from above."""
    return estimate.regime in FITTED_REGIMES and None not in {
        estimate.most_likely_m2_per_s,
        estimate.event_m2_per_s,
    }


def left_out(point: ArrheniusPoint) -> LeftOut:
    """Return a run that does not enter, with the reason."""
    estimate = point.estimate
    return LeftOut(
        temperature_k=point.temperature_k,
        regime=estimate.regime or "unmeasured",
        reason=estimate.reason,
    )


def pool_events(points: Sequence[ArrheniusPoint]) -> Counts:
    """Return the runs as counts, with the event size that all of them have in common.

    A run tells its own event size from the few events that it has, so a D that came out low would
    look precise. The pooled size is the median over the runs, as size times ions times duration;
    where larger D have larger events, a relative scatter r is fitted beside it, by least absolute
    deviations of the logarithm. A run whose own size is more than four times what it has in common
    with the others keeps its own: its D may be known badly for a reason of its own, such as a
    relaxation as slow as the run.

    Parameters
    ----------
    points
        Those that enter.
    """
    d = np.array([p.estimate.most_likely_m2_per_s for p in points], dtype=float)
    events = np.array([_variance_over_mean(p.estimate) for p in points])
    per_event = 1 / np.array([p.ion_ps for p in points])
    per_event = per_event / np.median(per_event)
    event, ratio = _common_size(events, per_event, d)
    common = event * (per_event + ratio * d)
    own = events - event * ratio * d  # the scatter that all have in common is added to it
    sizes = np.where(events > _OWN_SIZE * common, own, event * per_event)
    inverse_kt = 1 / (BOLTZMANN_EV_PER_K * np.array([p.temperature_k for p in points]))
    return Counts(inverse_kt, d, sizes, float(np.sqrt(ratio * event)))


def _variance_over_mean(estimate: DiffusionEstimate) -> float:
    """Return the variance of D over D: that of the number of events and, where known, all of it."""
    event, d = float(estimate.event_m2_per_s or 0.0), float(estimate.most_likely_m2_per_s or 0.0)
    error = estimate.diffusivity_err_m2_per_s
    return event if error is None or d <= 0 else max(event, error**2 / d)


def _common_size(events: Array, per_event: Array, d: Array) -> tuple[float, float]:
    """Return e and r²/e of the event sizes e (w + r²/e D), with r only where it is needed.

    Parameters
    ----------
    events
        Event size of each run in m²/s.
    per_event
        Its share w that follows from the length of the run.
    d
        D of each run in m²/s.
    """
    largest = max(float(d.max()), float(events.max()))
    ratios = np.append(0.0, np.geomspace(1e-3, 1e6, 91) / largest)
    sizes = np.log(events) - np.log(per_event + ratios[:, None] * d)
    pooled = np.median(sizes, axis=1)
    losses = np.abs(sizes - pooled[:, None]).sum(axis=1) + _LEAST_LOSS
    best = int(np.argmin(losses))
    if 2 * len(events) * np.log(losses[0] / losses[best]) < _SCATTER_GAIN:
        best = 0
    return float(np.exp(pooled[best])), float(ratios[best])

"""How many ions are at the sites of an orbit, and how long they stay, with errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lycb_flows.schemas.sites import SiteOrbit
from lycb_flows.transport.density import Floats
from lycb_flows.transport.sites.finding import SiteSet
from lycb_flows.transport.sites.jumps import Stays

N_BLOCKS = 10
MIN_RENEWALS = 10.0
"""Time constants of a number of ions in a run, below which the run remembers its start."""
_BOUND_95 = 2.996
"""-ln 0.05: so many departures are expected at most, at 95 %, where none was seen."""


def time_in_blocks(stays: Stays, chosen: NDArray[np.bool_], n_blocks: int) -> Floats:
    """Return the time of some stays in stretches of equal length, (n_blocks,), in ion-frames.

    Parameters
    ----------
    stays
        What the ions did.
    chosen
        Which of the stays count, (n,).
    n_blocks
        Number of stretches.
    """
    ends = np.linspace(0, stays.n_frames, n_blocks + 1)
    start, end = stays.start[chosen], stays.end[chosen]
    within = np.minimum(end[:, None], ends[1:]) - np.maximum(start[:, None], ends[:-1])
    times: Floats = np.maximum(within, 0.0).sum(axis=0)
    return times


def rate_error(when: Floats, times: Floats, n_frames: int) -> float:
    """Return the relative standard error of a rate: of a number of events over the time they need.

    It is Poisson's or, where it is larger, that of the ratio of counts to times in stretches of
    the run (Cochran, Sampling Techniques, 3rd ed., chapter 6): events that come in bursts, or
    more of them where fewer ions are.

    Parameters
    ----------
    when
        The frames of the events, (n,), of which there must be one.
    times
        The time spent where they can happen, in stretches of equal length, (n_blocks,).
    n_frames
        Length of the run.
    """
    counts, _ = np.histogram(when, len(times), (0, n_frames))
    rest = counts - times * (len(when) / times.sum())
    scatter = float(np.sqrt(len(times) / (len(times) - 1) * (rest**2).sum()))
    return max(float(np.sqrt(len(when))), scatter) / len(when)


def orbits(
    stays: Stays,
    sites: SiteSet,
    frame_ps: float,
    refined: Mapping[str, float],
    n_sites: Mapping[str, int],
) -> tuple[SiteOrbit, ...]:
    """Return occupancies and residence times of each orbit, in the order of its first site.

    Parameters
    ----------
    stays
        What the ions did.
    sites
        The sites of the cell; equal labels are one orbit.
    frame_ps
        Time between frames in ps.
    refined
        The mobile ion's occupancy in the CIF, by label.
    n_sites
        How many sites an orbit has, by label, where it is more than were found.
    """
    counts = Counter(sites.labels) | Counter(n_sites)
    labels = np.array(sites.labels)[stays.site]
    spent = {
        label: time_in_blocks(stays, labels == label, N_BLOCKS)
        for label in dict.fromkeys(sites.labels)
    }
    variances = {
        label: counts[label] * _variance(times.sum() / stays.n_frames / counts[label])
        for label, times in spent.items()
    }
    found = []
    for label, times in spent.items():
        first = sites.labels.index(label)
        shapes = [
            p.shape for p, own in zip(sites.polyhedra, sites.labels, strict=True) if own == label
        ]
        others = sum(variances.values()) - variances[label]
        error = _number_error(stays, labels == label, times, variances[label], others)
        found.append(
            SiteOrbit(
                label=label,
                from_parent=sites.from_parent[first],
                shape=max(dict.fromkeys(shapes), key=shapes.count),
                n_sites=counts[label],
                refined_occupancy=refined.get(label),
                occupancy=float(times.sum() / stays.n_frames / counts[label]),
                occupancy_err=None if error is None else error / counts[label],
                **_residence(stays, labels == label, times, frame_ps),
            )
        )
    return tuple(found)


def _variance(occupancy: float) -> float:
    """Return the variance of the number of ions at a site that holds one at most."""
    return max(0.0, occupancy * (1 - occupancy))


def _residence(
    stays: Stays, here: NDArray[np.bool_], times: Floats, frame_ps: float
) -> dict[str, Any]:
    """Return the mean stay: the time spent over the number of departures, or a bound."""
    jumps = stays.jumps[here[stays.jumps]]
    spent_ps = float(times.sum()) * frame_ps
    if not len(jumps):
        bound = spent_ps / _BOUND_95 if spent_ps else None
        return {"n_departures": 0, "residence_low_ps": bound}
    mean_ps = spent_ps / len(jumps)
    error_ps = mean_ps * rate_error(stays.end[jumps], times, stays.n_frames)
    return {"n_departures": len(jumps), "residence_ps": mean_ps, "residence_err_ps": error_ps}


def _number_error(
    stays: Stays, here: NDArray[np.bool_], times: Floats, own: float, others: float
) -> float | None:
    """Return the standard error of an orbit's mean number of ions; None where the start decides.

    It is that of the means of blocks or, where it is larger, that of a number of ions whose
    variance is v and which K departures renew: v sqrt(2 / K), as its time constant is v T / K.
    Blocks see too little of what changes once in a run. What leaves an orbit goes to the
    others: 1/v = 1/v_own + 1/v_others. A run shorter than ten time constants remembers its start,
    as does every run of ions that have a single orbit.
    """
    jumps = stays.jumps
    renewals = float((here[jumps] != here[jumps + 1]).sum()) / 2
    variance = own * others / (own + others) if own and others else 0.0
    if not renewals or renewals < MIN_RENEWALS * variance:
        return None
    blocks = times * len(times) / stays.n_frames
    scatter = float(blocks.std(ddof=1) / np.sqrt(len(times)))
    return max(scatter, variance * float(np.sqrt(2 / renewals)))

"""How far the replicas of a campaign are, and how their D differ: the page's words on them.

>>> print(replicas_text(store, campaign))
Runs that are here: 32 of replica 1, 32 of replica 2, 0 of replica 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median

from results_claims import State, place
from scipy.special import gammaincc

from lycb_flows.campaign import find_results
from lycb_flows.campaign.submission import submit
from lycb_flows.config import Campaign
from lycb_flows.quantities import find_quantity
from lycb_flows.report import listed, probability
from lycb_flows.schemas import Transport
from lycb_flows.store import ResultStore


def replicas_text(store: ResultStore, campaign: Campaign) -> str:
    """Return how many runs of each replica are measured, and how D differs from the first's.

    Parameters
    ----------
    store
        Holds the transports.
    campaign
        Its number of replicas is the wanted one.
    """
    n_replicas = campaign.measure.replicas or 1
    found = {i: dict[State, Transport]() for i in range(1, n_replicas + 1)}
    for transport in transports(store, campaign):
        found[transport.replica or 1][place(transport)] = transport
    counts = [f"{len(found[i])} of replica {i}" for i in found]
    lines = [f"Runs that are here: {listed(counts)}."]
    lines += [
        differences_text(f"replica {i}", found[1], others)
        for i, others in found.items()
        if i > 1 and others
    ]
    return "\n".join(lines)


def transports(store: ResultStore, campaign: Campaign) -> Iterable[Transport]:
    """Yield what is measured of a campaign's production runs."""
    submission = submit(store, campaign)
    plan = find_results(store, submission.campaign, submission.theory).measurement
    quantity = find_quantity("diffusion")
    for condition in quantity.conditions(plan):
        document = store.find(Transport, quantity.key(plan, condition))
        if document is not None:
            yield document


def differences_text(
    name: str, first: Mapping[State, Transport], others: Mapping[State, Transport]
) -> str:
    """Return how D of a replica differs from the first's where both have one.

    Parameters
    ----------
    name
        Of the replica.
    first, others
        The transports of both replicas.
    """
    pairs = [(first[where].estimate, others[where].estimate) for where in first if where in others]
    pairs = [pair for pair in pairs if None not in {each.diffusivity_log_err for each in pair}]
    if not pairs:
        return f"No condition has D in the first replica and in {name}."
    steps = [math.log(b.diffusivity_m2_per_s / a.diffusivity_m2_per_s) for a, b in pairs]
    chi2 = sum(
        step**2 / (a.diffusivity_log_err**2 + b.diffusivity_log_err**2)
        for step, (a, b) in zip(steps, pairs, strict=True)
    )
    changes = [math.expm1(abs(step)) for step in steps]
    p_value = float(gammaincc(len(pairs) / 2, chi2 / 2))
    return (
        f"D of {name} differs from the first's by a median of {100 * median(changes):.0f} % and at "
        f"most {100 * max(changes):.0f} %; in units of both errors χ² is {chi2:.0f} for "
        f"{len(pairs)} conditions (p {probability(p_value)})."
    )

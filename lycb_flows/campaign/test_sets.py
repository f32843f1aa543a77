"""The runs and orderings of the test sets that a campaign names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lycb_flows.campaign.names import test_set_crystals
from lycb_flows.config import Campaign, RunConfig

Tested = Mapping[str, tuple[str, ...]]
"""Crystal -> keys of its orderings, lowest first."""


def runs_of_set(
    campaign: Campaign, name: str, tested: Tested, model: str, seed: Callable[[str, str], int]
) -> tuple[RunConfig, ...]:
    """Return the runs of a named test set: every crystal at every temperature, strained in turn.

    Parameters
    ----------
    campaign
        Names it.
    name
        Its name.
    tested
        The crystals' orderings; the runs start from the first.
    model
        Key of the model that runs them.
    seed
        Returns the seed of a crystal's run in a role.
    """
    test, md = campaign.learning.test, campaign.md
    runs = []
    for crystal in test_set_crystals(campaign)[name]:
        for i, temperature_k in enumerate((test.sets or {})[name].temperatures_k):
            protocol = md.nvt(temperature_k, ramp=True)
            strain = test.strains[i % len(test.strains)]
            run = RunConfig(
                name=f"{crystal} test {name} {temperature_k:g} K {strain:+.0%}",
                system=crystal,
                start=tested[crystal][0],
                model=model,
                protocol=protocol,
                seed=seed(crystal, f"test {name} {i}"),
                strain=strain,
                steps=protocol.heating_steps + md.steps(test.run_ps),
            )
            runs.append(run)
    return tuple(runs)


def ranked_of_set(campaign: Campaign, name: str, tested: Tested) -> tuple[tuple[str, str], ...]:
    """Return (crystal, key) of the orderings of a named test set, the lowest of each first.

    Parameters
    ----------
    campaign
        Names it.
    name
        Its name.
    tested
        The crystals' orderings.
    """
    n_orderings = (campaign.learning.test.sets or {})[name].orderings or 0
    return tuple(
        (crystal, key)
        for crystal in test_set_crystals(campaign)[name]
        for key in tested[crystal][:n_orderings]
    )


def n_frames_of_set(campaign: Campaign, name: str) -> int:
    """Return how many frames a named test set has at most.

    Parameters
    ----------
    campaign
        Names it.
    name
        Its name.
    """
    config = (campaign.learning.test.sets or {})[name]
    each = config.orderings or config.n_frames * len(config.temperatures_k)
    return each * len(test_set_crystals(campaign)[name])

"""The runs and orderings of the test sets that a campaign names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from lycb_flows.campaign.names import test_set_crystals
from lycb_flows.config import Campaign, RunConfig
from lycb_flows.schemas import Structure
from lycb_flows.store import ResultStore

Tested = Mapping[str, tuple[str, ...]]
"""Crystal -> keys of its orderings, lowest first."""


def initial_runs(
    campaign: Campaign, starts: Mapping[str, str], model: str, seed: Callable[[str, str], int]
) -> tuple[RunConfig, ...]:
    """Return the runs of the initial test set: temperatures and strains in turn, for each system.

    Parameters
    ----------
    campaign
        Its `learning.test` says which.
    starts
        System -> key of its ground-state structure.
    model
        Key of the model that runs them.
    seed
        Returns the seed of a system's run in a role.
    """
    test = campaign.learning.test
    n_runs = max(len(test.temperatures_k), len(test.strains))
    temperatures_k = (test.temperatures_k * n_runs)[:n_runs]
    return tuple(
        run
        for crystal in starts.items()
        for run in strained_runs(campaign, crystal, model, "test", temperatures_k, seed)
    )


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
    temperatures_k = (campaign.learning.test.sets or {})[name].temperatures_k
    crystals = ((each, tested[each][0]) for each in test_set_crystals(campaign)[name])
    return tuple(
        run
        for crystal in crystals
        for run in strained_runs(campaign, crystal, model, f"test {name}", temperatures_k, seed)
    )


def strained_runs(
    campaign: Campaign,
    crystal: tuple[str, str],
    model: str,
    role: str,
    temperatures_k: Sequence[float],
    seed: Callable[[str, str], int],
) -> Iterator[RunConfig]:
    """Yield NVT runs of a crystal, strained in turn as `learning.test.strains` says.

    Parameters
    ----------
    campaign
        Its `learning.test` says how long they are.
    crystal
        Its name, and the key of the structure that they start from.
    model
        Key of the model that runs them.
    role
        What they are for; part of their names and seeds.
    temperatures_k
        Of each run, in K.
    seed
        Returns the seed of a crystal's run in a role.
    """
    test, md = campaign.learning.test, campaign.md
    system, start = crystal
    for i, temperature_k in enumerate(temperatures_k):
        protocol = md.nvt(temperature_k, ramp=True)
        strain = test.strains[i % len(test.strains)]
        yield RunConfig(
            name=f"{system} {role} {temperature_k:g} K {strain:+.0%}",
            system=system,
            start=start,
            model=model,
            protocol=protocol,
            seed=seed(system, f"{role} {i}"),
            strain=strain,
            steps=protocol.heating_steps + md.steps(test.run_ps),
        )


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


def tested_orderings(
    store: ResultStore, own: Sequence[str], parents: Sequence[str]
) -> tuple[str, ...]:
    """Return the orderings of a crystal that test sets take from, lowest first.

    A decoration of its parent's composition is the parent's ground state again, and the only one
    of it: the parent's other orderings follow.

    Parameters
    ----------
    store
        Holds the structures.
    own
        Keys of the crystal's own orderings.
    parents
        Keys of those of its system, which may be itself.
    """
    first, parent = (store.load(Structure, keys[0]) for keys in (own, parents))
    others = parents[1:] if sorted(first.species) == sorted(parent.species) else ()
    return tuple(dict.fromkeys([*own, *others]))


def n_frames_of_set(campaign: Campaign, name: str, tested: Tested) -> int:
    """Return how many frames a named test set has at most.

    Parameters
    ----------
    campaign
        Names it.
    name
        Its name.
    tested
        The crystals' orderings, of which a crystal may have fewer than the set asks for.
    """
    config = (campaign.learning.test.sets or {})[name]
    if config.orderings:
        return len(ranked_of_set(campaign, name, tested))
    return config.n_frames * len(config.temperatures_k) * len(test_set_crystals(campaign)[name])

"""Keys of what a campaign enumerates and ranks, and what decides on its ground states.

A plan of DFT's decision, or the ranking alone, says which structure a campaign continues with.
"""

from __future__ import annotations

from lycb_flows.campaign.ground_states import GroundStatePlan
from lycb_flows.campaign.names import system_names
from lycb_flows.config import Campaign, decorated_name
from lycb_flows.errors import StoreError
from lycb_flows.labels import Theory, engine_of
from lycb_flows.schemas import Enumeration, Model, Parent, Ranking, Structure
from lycb_flows.store import ResultStore


def enumeration_key(store: ResultStore, campaign: Campaign, system: str, x: float | None) -> str:
    """Return the key of a system's orderings or, with x, of its ground state's decorations.

    Parameters
    ----------
    store
        Holds the parent and, for a mixed halide, the ground state.
    campaign
        With keys for its parents and models.
    system
        Name of the system.
    x
        Share of the halide that is mixed in; None for the system itself.

    Raises
    ------
    StoreError
        When the ground state that is to be decorated is not known yet.
    """
    config = next(entry for entry in campaign.systems if entry.name == system)
    if x is None:
        return Enumeration.key_of(store.load(Parent, config.parent), config.enumeration)
    decoration = next(entry for entry in config.decorations if entry.x == x)
    ground_state = find_ground_state(store, campaign, system)
    if ground_state is None:
        raise StoreError("no ground state yet", fix="rank the system first", system=system)
    return Enumeration.key_of(store.load(Structure, ground_state), decoration)


def ranking_key(store: ResultStore, campaign: Campaign, system: str, x: float | None = None) -> str:
    """Return the key of a system's ranking by the model.

    The settings of DFT are left out of it, so that the model's ranking serves every choice of
    them.

    Parameters
    ----------
    store
        Holds the parent and, for a mixed halide, the ground state.
    campaign
        With keys for its parents and models.
    system
        Name of the system.
    x
        Share of the halide that is mixed in; None for the system itself.
    """
    enumeration = enumeration_key(store, campaign, system, x)
    ranking = campaign.ranking.model_copy(update={"dft": None})
    return Ranking.key_of(enumeration, ranking)


def dft_theory(store: ResultStore, campaign: Campaign) -> Theory | None:
    """Return the level of theory at which ground states are decided.

    Parameters
    ----------
    store
        Holds the models that a labeler may name.
    campaign
        With keys for its parents and models.

    Returns
    -------
    Theory or None
        None when the model decides.
    """
    if campaign.ranking.dft is None:
        return None
    labeler = campaign.ranking.dft.labeler
    return engine_of(labeler).theory(labeler, lambda key: store.load(Model, key))


def ground_state_plan(
    store: ResultStore, campaign: Campaign, system: str, x: float | None = None
) -> GroundStatePlan | None:
    """Return how DFT decides on a ranked system.

    Parameters
    ----------
    store
        Holds the parent and, for a mixed halide, the ground state.
    campaign
        With keys for its parents and models.
    system
        Name of the system.
    x
        Share of the halide that is mixed in; None for the system itself.

    Returns
    -------
    GroundStatePlan or None
        None where the model decides.
    """
    dft, theory = campaign.ranking.dft, dft_theory(store, campaign)
    if dft is None or theory is None or (x is not None and not dft.n_decorations):
        return None
    return GroundStatePlan(
        dft=dft,
        theory=theory,
        system=system if x is None else decorated_name(system, x),
        ranking=ranking_key(store, campaign, system, x),
        mixed=x is not None,
    )


def is_decided(store: ResultStore, campaign: Campaign) -> bool:
    """Return whether DFT has decided on all that it is to decide on.

    Parameters
    ----------
    store
        Holds the parents and the decisions.
    campaign
        With keys for its parents and models, and with `ranking.dft`.
    """
    for _, system, x in system_names(campaign):  # a mixed halide is planned from its system's
        plan = ground_state_plan(store, campaign, system, x)
        if plan is not None and plan.decision(store) is None:
            return False
    return True


def find_ground_state(
    store: ResultStore, campaign: Campaign, system: str, x: float | None = None
) -> str | None:
    """Return the key of the structure that the campaign continues with.

    Parameters
    ----------
    store
        Holds the rankings and DFT's decisions.
    campaign
        With keys for its parents and models.
    system
        Name of the system.
    x
        Share of the halide that is mixed in; None for the system itself.

    Returns
    -------
    str or None
        None while it is undecided.
    """
    plan = ground_state_plan(store, campaign, system, x)
    if plan is None:
        ranking = store.find(Ranking, ranking_key(store, campaign, system, x))
        return None if ranking is None else ranking.ground_state
    decision = plan.decision(store)
    return None if decision is None else decision.ground_state

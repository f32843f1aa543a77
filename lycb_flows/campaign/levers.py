"""What people ask for while a campaign runs: one more round, or an end after this one.

It is kept as a note of the store, dated and with the user's name, and `Campaign.decide` takes
it as an argument. The reason of the decision, which the report prints, repeats it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from lycb_flows.campaign.stages import TEST_STAGE, StagePlan
from lycb_flows.config import Campaign, Levers
from lycb_flows.errors import InputError
from lycb_flows.schemas import CampaignRecord, Round
from lycb_flows.store import ResultStore, user_name


def levers_of(store: ResultStore, campaign: Campaign) -> Levers:
    """Return what people have asked for of a campaign.

    Parameters
    ----------
    store
        Has the note.
    campaign
        With keys for its parents and models.
    """
    return Levers.model_validate(store.note(_name(campaign)) or {})


def find_round(store: ResultStore, plan: StagePlan) -> Round | None:
    """Return the Round of a stage, as decided with what people have asked for or before that.

    Parameters
    ----------
    store
        Has the Round and the note.
    plan
        The round.
    """
    keys = plan.round_keys(levers_of(store, plan.campaign))
    present = store.find_present(Round, keys)
    return next((store.load(Round, key) for key in keys if key in present), None)


def extend(store: ResultStore, campaign: Campaign) -> str:
    """Ask for one more round: the next one after a stop, else the last temperature again.

    Parameters
    ----------
    store
        Receives the note.
    campaign
        With keys for its parents and models.

    Returns
    -------
    str
        What the campaign does now, in words.

    Raises
    ------
    InputError
        When the campaign learns nothing.
    """
    levers = levers_of(store, campaign)
    last, stop = _last_round(campaign, levers), levers.stop_after
    if stop is not None and stop < last:
        changed = {"stop_after": stop + 1, "stop_note": _signature()}
        outcome = f"it stops after round {stop + 1} instead of round {stop}"
    else:
        notes = (*levers.more_rounds, _signature())
        changed = {"more_rounds": notes, "stop_after": None, "stop_note": ""}
        outcome = f"{last + 2} rounds, the last at {campaign.learning.temperatures_k[-1]:g} K"
    _write(store, campaign, levers, changed)
    return outcome


def stop_after(
    store: ResultStore, campaign: Campaign, stages: list[StagePlan], index: int | None
) -> str:
    """Ask for an end of the loop after a round; the measurement follows.

    Parameters
    ----------
    store
        Receives the note.
    campaign
        With keys for its parents and models.
    stages
        The stages that were begun, in their order.
    index
        The round; None: the one that is running, or the first.

    Returns
    -------
    str
        What the campaign does now, in words.

    Raises
    ------
    InputError
        When the campaign has no such round, it was decided already what follows it, or a later
        round makes the model that is to measure.
    """
    levers = levers_of(store, campaign)
    last = _last_round(campaign, levers)
    begun = max((plan.index for plan in stages), default=TEST_STAGE)
    index = max(begun, 0) if index is None else index
    if index > last:
        raise InputError(
            "the loop ends before this round", fix=f"give a round up to {last}", round=index
        )
    decided = any(plan.index == index and find_round(store, plan) for plan in stages)
    if index < begun or decided:
        raise InputError(
            "what follows this round is decided already",
            fix=f"give a round from {begun + decided} on",
            round=index,
        )
    rungs = [f"{temperature_k:g}" for temperature_k in campaign.learning.temperatures_k]
    model = campaign.measure.model
    if model in rungs[index + 1 :]:
        raise InputError(
            "a later round makes the model that is to measure",
            fix=f"give a round from {rungs.index(model)} on",
            round=index,
            model=model,
        )
    changed = {"stop_after": index, "stop_note": _signature()}
    _write(store, campaign, levers, changed)
    return f"it stops after round {index} and measures"


def _last_round(campaign: Campaign, levers: Levers) -> int:
    """Return the index of the last round if nobody stops the loop before it."""
    n_rounds = len(campaign.learning.temperatures_k)
    if not n_rounds:
        raise InputError(
            "this campaign has no rounds: nothing is learned",
            fix="take learning.rounds = 0 out of its file and submit it",
            campaign=campaign.name,
        )
    return n_rounds + len(levers.more_rounds) - 1


def _write(
    store: ResultStore, campaign: Campaign, before: Levers, changed: dict[str, object]
) -> None:
    after = Levers.model_validate({**before.model_dump(), **changed})
    store.set_note(_name(campaign), after.model_dump(mode="json"))


def _signature() -> str:
    return f"{user_name()} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"


def _name(campaign: Campaign) -> str:
    return f"levers {CampaignRecord.key_of(campaign)}"

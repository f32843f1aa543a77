"""The installed quantities, and those of them that a campaign measures.

The built-in quantities are listed in `store/kinds.py`; another package adds its own with an
entry point in the group `lycb_flows.quantities`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from pydantic import ValidationError

from lycb_flows.config import Campaign, MeasurementConfig, first_fault
from lycb_flows.errors import InputError
from lycb_flows.quantities.base import Quantity
from lycb_flows.quantities.places import PLACES, places_of
from lycb_flows.store.kinds import QUANTITIES

DEFAULT_QUANTITIES = ("diffusion", "arrhenius")


def find_quantity(name: str) -> Quantity[Any]:
    """Return the quantity of this name.

    Raises
    ------
    InputError
        When no package that is installed here brings it, or its package is broken.
    """
    return cast("Quantity[Any]", QUANTITIES.get(name))


def chosen_quantities(config: MeasurementConfig) -> tuple[Quantity[Any], ...]:
    """Return what a campaign measures, in order: each after those that it needs.

    Raises
    ------
    InputError
        When one of them is not installed.
    """
    return _with_needs([find_quantity(name) for name in _names(config)])


def readable_quantities(config: MeasurementConfig) -> tuple[Quantity[Any], ...]:
    """Return the quantities of a campaign that are installed here, each after those it needs.

    A report or status of results from another installation shows what it can.
    """
    absent = missing_quantities(config)
    return _with_needs([find_quantity(name) for name in _names(config) if name not in absent])


def missing_quantities(config: MeasurementConfig) -> dict[str, str]:
    """Return why some quantities of a campaign cannot be used here.

    Returns
    -------
    dict
        Reason by the quantity's name; empty when all are installed.
    """
    reasons = {}
    for name in _names(config):
        try:
            find_quantity(name)
        except InputError as err:
            reasons[name] = str(err)
    return reasons


def reported_names(config: MeasurementConfig) -> tuple[str, ...]:
    """Return the names of what a campaign measures, in order.

    Quantities that are not installed come last.
    """
    readable = (quantity.name for quantity in readable_quantities(config))
    return (*readable, *missing_quantities(config))


def _names(config: MeasurementConfig) -> tuple[str, ...]:
    return DEFAULT_QUANTITIES if config.quantities is None else tuple(config.quantities)


def _with_needs(quantities: Sequence[Quantity[Any]]) -> tuple[Quantity[Any], ...]:
    found: dict[str, Quantity[Any]] = {}
    chosen = {quantity.name for quantity in quantities}
    for quantity in quantities:
        used = [kind for kind in quantity.uses if kind.name in chosen]
        for needed in _with_needs([kind() for kind in (*quantity.needs, *used)]):
            found.setdefault(needed.name, needed)
        found.setdefault(quantity.name, quantity)
    return tuple(found.values())


def check_quantities(campaign: Campaign) -> None:
    """Refuse quantities that are not installed and options that they do not have.

    Raises
    ------
    InputError
        At the first of them.
    """
    chosen_quantities(campaign.measure)
    for name, given in (campaign.measure.quantities or {}).items():
        quantity = find_quantity(name)
        own = [option for option in given if option != PLACES]
        if quantity.options is None and own:
            raise InputError(
                "this quantity has no options of its own",
                fix=f"write it without options, but for {PLACES}",
                at=f"measure.quantities.{name}",
                found=", ".join(own),
            )
        try:
            _check_places(campaign, quantity)
            quantity.settings(campaign)
        except ValidationError as err:
            fault = first_fault(err)
            known = quantity.options.model_fields if quantity.options else ()
            raise InputError(
                fault.message,
                fix=f"known here: {', '.join((*known, PLACES))}",
                at=".".join(["measure.quantities", name, *fault.place]),
                **fault.found,
            ) from err


def _check_places(campaign: Campaign, quantity: Quantity[Any]) -> None:
    """Refuse places that the campaign does not measure at."""
    measure = campaign.measure
    names = {name for system in campaign.systems for name in system.names}
    if not measure.decorations:
        names = {system.name for system in campaign.systems}
    given = places_of(campaign, quantity.name)
    if given is not None and quantity.scope == "campaign":
        raise InputError(
            "this quantity is measured once in a campaign",
            fix=f"write it without {PLACES}",
            at=f"measure.quantities.{quantity.name}",
        )
    for place in given or ():
        systems, pressures_bar = set(place.systems or ()), set(place.pressures_bar or ())
        unknown = [*sorted(systems - names), *sorted(pressures_bar - {*measure.pressures_bar})]
        if unknown:
            raise InputError(
                "the campaign measures no such system, or not at this pressure",
                fix="name its systems, their decorations and measure.pressures_bar",
                at=f"measure.quantities.{quantity.name}.{PLACES}",
                found=", ".join(map(str, unknown)),
            )

"""The option `places`, which every quantity has: the crystals and pressures it is measured at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import Field, TypeAdapter

from lycb_flows.config import Campaign, PlacesConfig
from lycb_flows.quantities.plan import Condition

PLACES: Final = "places"
_PLACES: Final = TypeAdapter(Annotated[tuple[PlacesConfig, ...], Field(min_length=1)])
Places = tuple[PlacesConfig, ...]


def places_of(campaign: Campaign, quantity: str) -> Places | None:
    """Return the places that a campaign names for a quantity; None for all of them.

    They decide where it is measured. They are no part of what is measured there, nor of a key.

    Parameters
    ----------
    campaign
        Its `measure.quantities` says.
    quantity
        Name of the quantity.
    """
    given = (campaign.measure.quantities or {}).get(quantity, {}).get(PLACES)
    return None if given is None else _PLACES.validate_python(given)


def is_within(place: Condition, limits: Iterable[Places]) -> bool:
    """Return whether a place is among all of several sets of places.

    Parameters
    ----------
    place
        A system at a pressure.
    limits
        The sets.
    """
    system, pressure_bar = place.system or "", place.pressure_bar or 0.0
    return all(any(each.hold(system, pressure_bar) for each in places) for places in limits)

"""Names of what a campaign ranks and measures."""

from __future__ import annotations

from collections.abc import Iterator

from lycb_flows.config import Campaign, decorated_name, ordering_name


def system_names(campaign: Campaign) -> Iterator[tuple[str, str, float | None]]:
    """Yield (name, system, x) of everything that a campaign ranks.

    x is None for the system itself. A mixed halide follows its system, as it needs the system's
    ground state.
    """
    for system in campaign.systems:
        yield system.name, system.name, None
        for decoration in system.decorations:
            yield decorated_name(system.name, decoration.x), system.name, decoration.x


def test_set_crystals(campaign: Campaign) -> dict[str, tuple[str, ...]]:
    """Return the names of the crystals that each named test set is about."""
    names = list(system_names(campaign))
    return {
        each: tuple(
            name
            for name, _, x in names
            if (x is None if config.x is None else x is not None and x in config.x)
        )
        for each, config in (campaign.learning.test.sets or {}).items()
    }


def tested_crystals(campaign: Campaign) -> tuple[str, ...]:
    """Return the names of the crystals that any named test set is about."""
    crystals = (name for names in test_set_crystals(campaign).values() for name in names)
    return tuple(dict.fromkeys(crystals))


def ordering_names(campaign: Campaign, name: str) -> Iterator[tuple[int, str]]:
    """Yield the place by energy and the name of each ordering of a crystal that is measured.

    Parameters
    ----------
    campaign
        Its `measure.orderings` decides.
    name
        Name of the crystal, which is that of its ground state too.
    """
    for place in range(1, (campaign.measure.orderings or 1) + 1):
        yield place, ordering_name(name, place)

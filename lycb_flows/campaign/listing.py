"""How many candidates a campaign will list, as far as that is known before it runs."""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import NamedTuple

from lycb_flows.campaign.rankings import enumeration_key
from lycb_flows.config import Campaign, DecorationConfig, SystemConfig
from lycb_flows.errors import InputError
from lycb_flows.schemas import Enumeration
from lycb_flows.store import ResultStore, load_cell, load_crystal

_SEARCH_S = 60.0


class Listed(NamedTuple):
    """The candidates of a ranking: how many, whether that is a bound, what they are, their cost."""

    n: int
    bound: str
    text: str
    cpu_s: float = 1.0


def listed_orderings(store: ResultStore, campaign: Campaign, system: SystemConfig) -> Listed:
    """Return how many orderings of a system are relaxed.

    Parameters
    ----------
    store
        Holds its parent.
    campaign
        Submitted, so that its parents are keys.
    system
        One of its systems.
    """
    config, ranking = system.enumeration, campaign.ranking
    counts = None if config.is_searched else _counts(store, campaign, system)
    if counts is None:
        from lycb_flows.crystals import N_SEARCHES  # noqa: PLC0415 - takes a while

        searched = 2 * (config.n_search or N_SEARCHES)  # random placements and annealed ones
        what = f"at most {searched:,} candidates of a search"
        if not config.is_searched:
            what = f"too many orderings to count: {searched:,} by a search"
        return Listed(ranking.n_searched_of(by_search=True) or 0, "", what, _SEARCH_S)
    count, raw = counts
    what = f"{count:,} distinct of {raw:,} orderings"
    if count <= config.cap:
        return Listed(count, "", what)
    return Listed(config.n_samples, "at least ", what)


def _counts(store: ResultStore, campaign: Campaign, system: SystemConfig) -> tuple[int, int] | None:
    """Return the numbers of distinct and of all orderings; None where out of reach.

    They are counted where they have not been enumerated yet.
    """
    found = store.find(Enumeration, enumeration_key(store, campaign, system.name, None))
    if found is None:  # the imports take a while
        from lycb_flows.crystals import CountOutOfReachError, count_orderings  # noqa: PLC0415

        crystal = load_crystal(store, system.parent)
        try:
            return count_orderings(crystal, system.enumeration)
        except CountOutOfReachError:
            return None
    if found.count is None or found.raw_count is None:
        return None
    return found.count, found.raw_count


def listed_decorations(
    store: ResultStore, system: SystemConfig, decoration: DecorationConfig
) -> Listed:
    """Return how many decorations of a system's ground state are relaxed at most.

    No more than there are ways to place the species: at an end of a series there is a single one.

    Parameters
    ----------
    store
        Holds the system's parent.
    system
        The system.
    decoration
        One of its decorations.
    """
    from lycb_flows.crystals import count_placements  # noqa: PLC0415 - takes a while

    text = "halide decorations" if decoration.substitute is None else "decorations"
    longest = decoration.cap + decoration.n_samples
    try:
        n = min(longest, count_placements(_ordered_species(store, system), decoration))
    except InputError:  # its atoms are known once it is enumerated
        n = longest
    return Listed(n, "at most " if n > 1 else "", text)


def keeps_composition(
    store: ResultStore, system: SystemConfig, decoration: DecorationConfig
) -> bool:
    """Return whether a decoration has its system's own composition, as x = 0 of a chloride.

    Parameters
    ----------
    store
        Holds the system's parent.
    system
        The system.
    decoration
        One of its decorations.
    """
    from lycb_flows.crystals import decorated_amounts  # noqa: PLC0415 - takes a while

    species = _ordered_species(store, system)
    try:
        return decorated_amounts(species, decoration) == Counter(species)
    except InputError:
        return False


def _ordered_species(store: ResultStore, system: SystemConfig) -> list[str]:
    """Return the species of a system's ordered cell, one for every atom.

    Without a cell of whole numbers, or where others replace them first, there are none yet.
    """
    config = system.enumeration
    given, n_cells = config.composition, prod(config.supercell)
    if config.substitute or given == "nearest":
        return []
    if not isinstance(given, dict):
        cell = load_cell(store, system.parent, config)
        refined = cell.composition.get_el_amt_dict()
        given = {symbol: round(n_atoms * n_cells) for symbol, n_atoms in refined.items()}
    return [symbol for symbol, n_atoms in given.items() for _ in range(n_atoms)]

"""Copies of stores: how two of them differ."""

from __future__ import annotations

from lycb_flows.store.results import ResultStore


def differences(first: ResultStore, second: ResultStore) -> dict[str, list[str]]:
    """Return how two stores differ in their keys and facts.

    Who made a document, where and when, is not compared.

    Parameters
    ----------
    first, second
        The stores.

    Returns
    -------
    dict
        Keys only in the first, only in the second, and of differing facts.
    """
    facts, other_facts = first.all_facts(), second.all_facts()
    shared = facts.keys() & other_facts.keys()
    return {
        "only in the first": sorted(facts.keys() - other_facts.keys()),
        "only in the second": sorted(other_facts.keys() - facts.keys()),
        "different facts": sorted(key for key in shared if facts[key] != other_facts[key]),
    }

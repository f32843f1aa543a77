"""Normal subgroups of a permutation group, whose orbits are coloured whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lycb_flows.crystals.enumeration.colourings import Colourings, Ints, Tally, orbits

MAX_GROUP = 768
"""Beyond this order the normal subgroups are not searched (time grows with its square)."""


def symmetric_subgroup(
    problem: Colourings, series: tuple[tuple[int, ...], ...]
) -> tuple[int, ...] | None:
    """Return the largest normal subgroup, not the trivial one, whose orbits can make the counts.

    A subgroup that can make all counts of the series is preferred, so that the strata of the
    series belong together.

    Parameters
    ----------
    problem
        The colouring problem.
    series
        Counts of the other members of the series.

    Returns
    -------
    tuple of int or None
        Rows of the group; None when there is no such subgroup.
    """
    if len(problem.permutations) > MAX_GROUP:
        return None
    for wanted in ({problem.counts, *series}, {problem.counts}):
        for subgroup in normal_subgroups(problem.permutations)[:-1]:
            whole = problem.contracted(orbits(problem.permutations[list(subgroup)]))
            if all(Tally(replace(whole, counts=counts)).total for counts in wanted):
                return subgroup
    return None


def normal_subgroups(permutations: Ints) -> list[tuple[int, ...]]:
    """Return the normal subgroups of a group (g, n), as row numbers, the largest first.

    They are the joins of the normal closures of single elements.
    """
    index = {row.tobytes(): i for i, row in enumerate(permutations)}
    table = np.array([[index[row.tobytes()] for row in p[permutations]] for p in permutations])
    everyone = np.arange(len(permutations))
    inverse = np.argsort(permutations, axis=1)
    inverse = np.array([index[row.tobytes()] for row in inverse])
    identity = index[np.arange(permutations.shape[1]).tobytes()]

    def generated(elements: Ints) -> tuple[int, ...]:
        found = np.unique(np.append(elements, identity))
        while True:
            grown = np.unique(table[np.ix_(found, found)])
            if len(grown) == len(found):
                return tuple(found.tolist())
            found = grown

    normal = {generated(table[table[everyone, x], inverse]) for x in everyone}
    new = normal
    while new:
        joins = {generated(np.array(a + b)) for a in normal for b in new}
        new = joins - normal
        normal = normal | new
    return sorted(normal | {(identity,)}, key=lambda rows: (-len(rows), rows))

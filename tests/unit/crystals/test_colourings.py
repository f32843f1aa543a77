"""Counting and listing of colourings against brute force and known numbers."""

import itertools
import math

import numpy as np
import pytest
from scipy.sparse import csr_array

from lycb_flows.crystals.enumeration.colourings import Colourings, Tally, count_distinct
from lycb_flows.crystals.enumeration.listing import list_all
from lycb_flows.crystals.enumeration.subgroups import normal_subgroups
from lycb_flows.errors import LycbError


def random_problem(rng):
    """Two sublattices, some options, a random group and conflicts that respect it."""
    n_sites, n_colours = int(rng.integers(4, 8)), 4
    half = int(rng.integers(2, n_sites - 1))
    move = np.arange(n_sites)
    generators = []
    for _ in range(int(rng.integers(1, 3))):
        move = np.concatenate([rng.permutation(half), half + rng.permutation(n_sites - half)])
        generators.append(tuple(move.tolist()))
    group = {tuple(range(n_sites))}
    while True:
        grown = group | {tuple(g[i] for i in p) for p in group for g in generators}
        if grown == group:
            break
        group = grown
    permutations = np.array(sorted(group))
    allowed = np.zeros((n_sites, n_colours), dtype=bool)
    shared = rng.random() < 0.5  # a species on both sublattices
    allowed[:half, [0, 1]] = True
    allowed[half:, [0 if shared else 2, 2, 3]] = True
    colours = np.array([rng.choice(np.flatnonzero(row)) for row in allowed])
    conflicts = np.zeros((n_sites, n_colours, n_sites, n_colours))
    for _ in range(int(rng.integers(0, 3))):
        a, b = rng.choice(n_sites, 2, replace=False)
        c, d = rng.choice(np.flatnonzero(allowed[a])), rng.choice(np.flatnonzero(allowed[b]))
        conflicts[permutations[:, a], c, permutations[:, b], d] = 1
        conflicts[permutations[:, b], d, permutations[:, a], c] = 1
    return Colourings(
        allowed=allowed,
        counts=tuple(np.bincount(colours, minlength=n_colours).tolist()),
        permutations=permutations,
        conflicts=csr_array(conflicts.reshape(n_sites * n_colours, -1)),
        weights=np.ones(n_sites, dtype=np.int64),
    )


def brute_force(problem):
    options = [np.flatnonzero(row).tolist() for row in problem.allowed]
    clashes = problem.clashes()
    every = {
        colours
        for colours in itertools.product(*options)
        if tuple(np.bincount(colours, minlength=4).tolist()) == problem.counts
        and not any(colours[a] == c and colours[b] == d for a, c, b, d in clashes)
    }
    classes = {
        frozenset(tuple(np.array(colours)[p].tolist()) for p in problem.permutations)
        for colours in every
    }
    return every, classes


def test_random_groups_agree_with_brute_force():
    rng = np.random.default_rng(7)
    with_conflicts = 0
    for _ in range(60):
        problem = random_problem(rng)
        every, classes = brute_force(problem)
        assert count_distinct(problem) == (len(classes), len(every))
        tally = Tally(problem)
        ranked = {tuple(tally.colours(rank).tolist()) for rank in range(tally.total)}
        assert ranked == every
        if every:
            found = list_all(problem, (len(classes), len(every)))
            assert sorted(m.multiplicity for m in found.members) == sorted(map(len, classes))
            with_conflicts += problem.conflicts.nnz > 0
    assert with_conflicts > 10


def test_listing_that_misses_the_exact_count_raises():
    problem = random_problem(np.random.default_rng(0))
    count, raw_count = count_distinct(problem)
    assert raw_count > 0
    with pytest.raises(LycbError, match="do not add up"):
        list_all(problem, (count + 1, raw_count))


def test_masks_beyond_64_bits_give_the_necklaces():
    turns = np.array([np.roll(np.arange(70), k) for k in range(70)])
    problem = Colourings(
        allowed=np.ones((70, 2), dtype=bool),
        counts=(3, 67),
        permutations=turns,
        conflicts=csr_array((140, 140)),
        weights=np.ones(70, dtype=np.int64),
    )
    exact = count_distinct(problem)
    assert exact == (math.comb(70, 3) // 70, math.comb(70, 3))
    assert len(list_all(problem, exact).members) == 782


def test_normal_subgroups_of_the_symmetric_group_of_four():
    group = np.array(list(itertools.permutations(range(4))))
    assert [len(rows) for rows in normal_subgroups(group)] == [24, 12, 4, 1]

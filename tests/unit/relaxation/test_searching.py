"""A search among orderings finds the minimum of a landscape that is known, with few relaxations."""

from itertools import combinations

import numpy as np
import pytest

from lycb_flows.relaxation.searching import Landscape, search_orderings

N_SITES, N_ATOMS = 12, 4


def name_of(sites):
    return "".join("1" if i in sites else "0" for i in range(N_SITES))


class Pairs:
    """Atoms with random interactions: 495 orderings, and static energies that are a guide."""

    def __init__(self, seed, noise_ev):
        rng = np.random.default_rng(seed)
        pair = rng.normal(size=(N_SITES, N_SITES))
        chosen = list(combinations(range(N_SITES), N_ATOMS))
        self.relaxed_ev = {
            name_of(sites): sum(pair[i, j] for i, j in combinations(sites, 2)) for sites in chosen
        }
        self.static_ev = {
            name: energy + noise_ev * rng.normal() for name, energy in self.relaxed_ev.items()
        }
        self.asked = []

    def neighbours(self, mask):
        held = [i for i, bit in enumerate(mask) if bit == "1"]
        free = [i for i, bit in enumerate(mask) if bit == "0"]
        return [name_of({*held, j} - {i}) for i in held for j in free]

    def relax(self, masks):
        self.asked += masks
        return np.array([self.relaxed_ev[mask] for mask in masks])

    def landscape(self):
        def static(masks):
            return np.array([self.static_ev[mask] for mask in masks])

        return Landscape(static, self.relax, self.neighbours)


def found_by(pairs, listed, n_relaxed, seed):
    found = search_orderings(listed, pairs.landscape(), n_relaxed, seed)
    assert list(found) == pairs.asked
    assert len(found) == len(set(found)) <= n_relaxed
    return found


def test_the_minimum_is_found_from_a_few_orderings_where_a_sieve_alone_misses_it():
    hits = sieved = 0
    for seed in range(20):
        pairs = Pairs(seed, noise_ev=1.5)
        best = min(pairs.relaxed_ev, key=pairs.relaxed_ev.get)
        rng = np.random.default_rng(seed)
        listed = [str(name) for name in rng.choice(list(pairs.relaxed_ev), 100, replace=False)]
        hits += best in found_by(pairs, listed, 100, seed)
        sieved += best in sorted(listed, key=pairs.static_ev.get)[:100]
    assert sieved < 10
    assert hits >= 18


def test_swaps_reach_every_ordering_and_then_it_ends():
    pairs = Pairs(0, noise_ev=0.5)
    found = found_by(pairs, list(pairs.relaxed_ev)[:1], 10_000, seed=0)
    assert found == {name: pairs.relaxed_ev[name] for name in found}
    assert len(found) == len(pairs.relaxed_ev)


def test_a_seed_repeats_a_search_and_another_changes_it():
    listed = list(Pairs(0, 1.0).relaxed_ev)
    runs = [list(found_by(Pairs(0, 1.0), listed, 60, seed)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert runs[0][:30] == runs[2][:30]  # the sieve knows no chance


def test_what_flies_apart_is_no_parent():
    pairs = Pairs(0, 1.0)
    pairs.relaxed_ev = dict.fromkeys(pairs.relaxed_ev, np.inf)
    found = found_by(pairs, list(pairs.relaxed_ev), 40, seed=0)
    assert len(found) == 20
    assert min(found.values()) == pytest.approx(np.inf)

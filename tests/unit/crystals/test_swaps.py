"""Swaps of placements against all placements of a small problem, one by one."""

from itertools import product

import numpy as np
import pytest
from places import CIFS
from scipy.sparse import csr_array

from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals import choose, enumerate_orderings, load_parent
from lycb_flows.crystals.enumeration.colourings import Colourings
from lycb_flows.crystals.enumeration.search import search
from lycb_flows.crystals.enumeration.swaps import PENALTY_EV, Swaps
from lycb_flows.errors import InputError

N_SITES, N_COLOURS = 8, 5


class Case:
    """Two sublattices with random energies and forbidden pairs, and every placement."""

    def __init__(self, first_holds, counts):
        rng = np.random.default_rng(0)
        allowed = np.zeros((N_SITES, N_COLOURS), dtype=bool)
        allowed[:5, first_holds] = True
        allowed[5:, [2, 4]] = True
        n_slots = N_SITES * N_COLOURS
        sites = np.arange(n_slots) // N_COLOURS
        pair = rng.normal(size=(n_slots, n_slots))
        self.pair_ev = np.where(sites[:, None] == sites, 0.0, pair + pair.T)
        self.own_ev = rng.normal(size=n_slots)
        clash = np.zeros((n_slots, n_slots))
        for one, other in (((0, 0), (1, 0)), ((0, 0), (5, 2)), ((3, 1), (3, 0))):
            a, b = (site * N_COLOURS + colour for site, colour in (one, other))
            clash[a, b] = clash[b, a] = 1.0
        order = np.arange(N_SITES)[None]
        weights = np.ones(N_SITES, dtype=np.int64)
        self.problem = Colourings(allowed, counts, order, csr_array(clash), weights)
        every = product(*[np.flatnonzero(row) for row in allowed])
        fits = [p for p in every if tuple(np.bincount(p, minlength=N_COLOURS)) == counts]
        self.placements = np.array(fits)
        held = np.arange(N_SITES) * N_COLOURS + self.placements
        clash[sites[:, None] == sites] = 0.0  # a site's own images
        self.n_clashes = [clash[np.ix_(h, h)].sum() / 2 for h in held]
        between = [self.pair_ev[np.ix_(h, h)].sum() / 2 + self.own_ev[h].sum() for h in held]
        self.energies_ev = np.array(between) + PENALTY_EV * np.array(self.n_clashes)

    def swaps(self):
        return Swaps(self.problem, self.pair_ev, self.own_ev)


ATOMS_AND_VACANCIES = Case([0, 1], (2, 3, 1, 0, 2))
THREE_COLOURS = Case([0, 1, 3], (2, 2, 1, 1, 2))


@pytest.mark.parametrize("case", [ATOMS_AND_VACANCIES, THREE_COLOURS])
def test_energies_and_forbidden_pairs_are_those_of_the_slots(case):
    swaps = case.swaps()
    assert swaps.energies_ev(case.placements) == pytest.approx(case.energies_ev)
    assert swaps.n_clashes(case.placements).tolist() == case.n_clashes
    assert max(case.n_clashes) > 0


def test_atoms_and_vacancies_are_sampled_by_boltzmanns_weights():
    case, kt_ev, rng = ATOMS_AND_VACANCIES, 1.5, np.random.default_rng(1)
    start = np.repeat(case.placements[:1], 20_000, axis=0)
    ends = case.swaps().annealed(start, rng, np.full(150, kt_ev))
    met = (ends[:, None] == case.placements).all(axis=2).sum(axis=0)
    weights = np.exp((case.energies_ev.min() - case.energies_ev) / kt_ev)
    expected = len(ends) * weights / weights.sum()
    likely = expected > 10
    squares = (met - expected)[likely] ** 2 / expected[likely]
    assert squares.sum() < 2 * likely.sum()  # chi squared; one each
    assert met.sum() == len(ends)


@pytest.mark.parametrize("case", [ATOMS_AND_VACANCIES, THREE_COLOURS])
def test_tempered_copies_meet_the_lowest_placement_and_keep_the_counts(case):
    rng, swaps = np.random.default_rng(2), case.swaps()
    start = case.placements[rng.integers(len(case.placements), size=12)]
    ends = swaps.tempered(start, rng, np.geomspace(0.1, 3.0, 6), 150)
    assert swaps.energies_ev(ends) == pytest.approx(case.energies_ev.min())
    assert all(tuple(np.bincount(end, minlength=N_COLOURS)) == case.problem.counts for end in ends)


def test_a_seed_repeats_a_search():
    case = THREE_COLOURS
    runs = [search(case.problem, (case.pair_ev, case.own_ev), 6, seed) for seed in (1, 1, 2)]
    assert (runs[0].random == runs[1].random).all()
    assert (runs[0].annealed == runs[1].annealed).all()
    assert not np.array_equal(runs[0].random, runs[2].random)


def test_too_many_slots_are_refused():
    allowed = np.ones((2_100, 2), dtype=bool)
    many = Colourings(
        allowed,
        (1_000, 1_100),
        np.arange(2_100)[None],
        csr_array((4_200, 4_200)),
        np.ones(2_100, dtype=np.int64),
    )
    with pytest.raises(InputError, match="too many sites to search"):
        Swaps(many).energies_ev(np.zeros((1, 2_100), dtype=np.int64))


def test_search_of_a_crystal_without_free_sites_gives_it():
    crystal = load_parent(str(CIFS / "Na3PS4.cif"))
    config = choose(crystal, EnumerationConfig()).config.model_copy(update={"n_search": 3})
    found = enumerate_orderings(crystal, config)
    assert [member.multiplicity for member in found.members] == [1]
    assert found.n_atoms == 16

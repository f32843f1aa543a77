"""Candidates without a count: random placement under the rules, then ordering of charges.

Every search starts from a random placement of the composition, removes forbidden pairs by
swaps, and then anneals the Ewald energy of formal charges by swaps that keep the rules
(Metropolis et al., J. Chem. Phys. 21, 1087 (1953); Kirkpatrick et al., Science 220, 671
(1983)). The share of independent searches that end at the same lowest energy says how much
the minimum can be trusted: it is a statement on the search, no proof.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure
from scipy.optimize import linear_sum_assignment

from lycb_flows.crystals.enumeration.colourings import Colourings, Ints
from lycb_flows.crystals.enumeration.sites import VACANCY, Floats, SiteModel
from lycb_flows.errors import InputError

N_SEARCHES = 24
"""Independent searches when none are asked for."""

Progress = Callable[[int, int], None]

_PENALTY_EV = 1_000.0  # of a forbidden pair; above every difference of electrostatic energies
_HOTTEST_EV, _COLDEST_EV = 3.0, 0.03
_SWEEPS = 100
_FEWEST_TRIALS, _MOST_TRIALS = 4_000, 40_000
_MOST_SLOTS = 4_000
_MOST_EWALD_SITES = 700
_TIE_EV = 1e-3
_REPAIR_TRIES = 4
_FAILURES = 3


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found.

    Attributes
    ----------
    random
        Colours (m, n) of placements under the rules, uniform starts.
    annealed
        Colours (k, n), the lowest energy first.
    energies_ev
        Ewald energy of each annealed placement, (k,); NaN without charges.
    n_agreeing
        Independent searches that ended at the lowest energy.
    """

    random: NDArray[np.int16]
    annealed: NDArray[np.int16]
    energies_ev: Floats
    n_agreeing: int


class Swaps:
    """A colouring problem as energies of its (site, colour) slots, changed by swaps of two sites.

    Parameters
    ----------
    problem
        The colouring problem; its nodes are single sites.
    pair_ev
        Interaction of each two slots, (n*c, n*c), None: forbidden pairs alone.
    own_ev
        Energy of each slot by itself, (n*c,).
    """

    def __init__(
        self, problem: Colourings, pair_ev: Floats | None = None, own_ev: Floats | None = None
    ) -> None:
        n_sites, self.n_colours = problem.allowed.shape
        n_slots = n_sites * self.n_colours
        if n_slots > _MOST_SLOTS:
            raise InputError(
                "too many sites to search",
                fix="use a smaller supercell",
                found=n_slots,
                most=_MOST_SLOTS,
            )
        clash = np.zeros((n_slots, n_slots))
        if problem.conflicts.nnz:
            clash = (problem.conflicts.toarray() != 0).astype(float)
            blocks = np.arange(n_slots) // self.n_colours  # a site's images are no neighbours here
            clash[blocks[:, None] == blocks[None]] = 0.0
        self.clash = clash
        self.pair_ev = _PENALTY_EV * clash + (0.0 if pair_ev is None else pair_ev)
        self.own_ev = np.zeros(n_slots) if own_ev is None else own_ev
        self.allowed = problem.allowed
        self.counts = problem.counts

    def start(self, rng: np.random.Generator) -> Ints:
        """Return random colours (n,) that are allowed and have the counts.

        Raises
        ------
        InputError
            When the sites cannot take the counts.
        """
        wanted = np.repeat(np.arange(self.n_colours), self.counts)
        cost = rng.random((len(self.allowed), len(wanted)))
        cost[~self.allowed[:, wanted]] = 1e6
        sites, slots = linear_sum_assignment(cost)
        if cost[sites, slots].max(initial=0.0) > 1:
            raise InputError(
                "the composition does not fit the sites that are left",
                fix="lower min_occupancy, or change allowed_species",
            )
        colours = np.empty(len(self.allowed), dtype=np.int64)
        colours[sites] = wanted[slots]
        return colours

    def energy_ev(self, colours: Ints) -> float:
        """Return the energy of a placement, forbidden pairs included."""
        slots = np.arange(len(colours)) * self.n_colours + colours
        return float(self.own_ev[slots].sum() + 0.5 * self.pair_ev[np.ix_(slots, slots)].sum())

    def n_clashes(self, colours: Ints) -> int:
        """Return the number of forbidden pairs in a placement."""
        slots = np.arange(len(colours)) * self.n_colours + colours
        return round(float(self.clash[np.ix_(slots, slots)].sum()) / 2)

    def annealed(self, colours: Ints, rng: np.random.Generator, temperatures_ev: Floats) -> Ints:
        """Return a placement after a swap is tried at each temperature.

        Parameters
        ----------
        colours
            Where it starts, (n,).
        rng
            Source of the swaps.
        temperatures_ev
            kT of each trial.
        """
        n, c = len(colours), self.n_colours
        pair, colours = self.pair_ev, colours.copy()
        field = self.own_ev + pair[:, np.arange(n) * c + colours].sum(axis=1)
        for k in range(0, len(temperatures_ev), n):
            here = temperatures_ev[k : k + n]
            sites = rng.integers(n, size=(len(here), 2)).tolist()
            thresholds = (-here * np.log(1.0 - rng.random(len(here)))).tolist()
            for (i, j), threshold in zip(sites, thresholds, strict=True):
                a, b = int(colours[i]), int(colours[j])
                if a == b or not (self.allowed[i, b] and self.allowed[j, a]):
                    continue
                ia, ib, ja, jb = i * c + a, i * c + b, j * c + a, j * c + b
                change = field[ib] - field[ia] + field[ja] - field[jb]
                change += pair[ia, jb] + pair[ib, ja] - pair[ib, jb] - pair[ja, ia]
                if change <= threshold:
                    colours[i], colours[j] = b, a
                    field += pair[:, ib] + pair[:, ja] - pair[:, ia] - pair[:, jb]
        return colours


def _settled(swaps: Swaps, rng: np.random.Generator, n_trials: int) -> Ints | None:
    """Return a random placement without forbidden pairs, None when the tries do not find one."""
    colours = swaps.start(rng)
    for _ in range(_REPAIR_TRIES):
        if not swaps.n_clashes(colours):
            return colours
        cooling = np.geomspace(0.5, 0.05, n_trials) * _PENALTY_EV
        colours = swaps.annealed(colours, rng, cooling)
        colours = swaps.annealed(colours, rng, np.full(n_trials // 4, 1e-3))
    return colours if not swaps.n_clashes(colours) else None


def has_placement(problem: Colourings, seed: int) -> bool:
    """Return whether a placement without forbidden pairs is found in a few tries.

    Parameters
    ----------
    problem
        The colouring problem.
    seed
        Seed of the tries.
    """
    if not problem.conflicts.nnz:
        return True
    n_trials = int(np.clip(_SWEEPS * len(problem.allowed), _FEWEST_TRIALS, _MOST_TRIALS))
    return _settled(Swaps(problem), np.random.default_rng([seed, 0]), n_trials) is not None


def search(
    problem: Colourings,
    energies: tuple[Floats, Floats] | None,
    n_searches: int,
    seed: int,
    progress: Progress | None = None,
) -> Found:
    """Return random placements under the rules, and those that annealing makes of them.

    Parameters
    ----------
    problem
        The colouring problem.
    energies
        Of slot pairs and of slots in eV, from `slot_energies_ev`; None: rules alone.
    n_searches
        Independent searches.
    seed
        Seed of all.
    progress
        Is told how many searches of how many are done.

    Raises
    ------
    InputError
        When no placement without forbidden pairs was found.
    """
    rules = Swaps(problem)
    charged = Swaps(problem, *energies) if energies is not None else None
    n_trials = int(np.clip(_SWEEPS * len(problem.allowed), _FEWEST_TRIALS, _MOST_TRIALS))
    starts, ends = list[Ints](), list[Ints]()
    for k in range(n_searches):
        rng = np.random.default_rng([seed, k])
        start = _settled(rules, rng, n_trials)
        if start is None and k + 1 == _FAILURES and not starts:
            break
        if start is not None:
            starts.append(start)
            if charged is not None:
                cooling = np.geomspace(_HOTTEST_EV, _COLDEST_EV, n_trials)
                ends.append(charged.annealed(start, rng, cooling))
        if progress is not None:
            progress(k + 1, n_searches)
    if not starts:
        raise InputError(
            "no ordering satisfies the forbidden pairs",
            fix="lower min_distance_ang of a forbidden pair, or raise min_occupancy",
        )
    return _found(rules, charged, starts, ends)


def _found(rules: Swaps, charged: Swaps | None, starts: list[Ints], ends: list[Ints]) -> Found:
    ends = [colours for colours in ends if not rules.n_clashes(colours)]
    energies = np.array([charged.energy_ev(e) for e in ends]) if charged else np.array([])
    order = np.argsort(energies, kind="stable")
    n_sites = len(rules.allowed)
    return Found(
        random=np.array(starts, dtype=np.int16),
        annealed=np.array([ends[k] for k in order], dtype=np.int16).reshape(-1, n_sites),
        energies_ev=energies[order],
        n_agreeing=int((energies < energies.min() + _TIE_EV).sum()) if len(energies) else 0,
    )


def slot_energies_ev(
    model: SiteModel, problem: Colourings, charges: Mapping[str, float]
) -> tuple[Floats, Floats] | None:
    """Return the Ewald interactions of slots (n*c, n*c) and the energy of each alone (n*c,).

    Parameters
    ----------
    model
        The supercell with its fixed and free sites.
    problem
        The colouring problem of the free sites.
    charges
        Oxidation state of each species.

    Returns
    -------
    tuple or None
        None where all free species of a site have one charge, or the cell is too large.
    """
    values = np.array([charges.get(s, 0.0) if s != VACANCY else 0.0 for s in model.colours])
    if len(model.frac_coords) > _MOST_EWALD_SITES or not _differ(problem, values):
        return None
    matrix = _ewald_matrix_ev(model)
    is_fixed = np.ones(len(model.fixed), dtype=bool)
    is_fixed[model.free] = False
    fixed_charge = np.where(is_fixed, values[model.fixed], 0.0)
    outer = 2.0 * matrix[model.free] @ fixed_charge
    inner = matrix[np.ix_(model.free, model.free)]
    own = np.outer(np.diag(inner), values**2) + np.outer(outer, values)
    inner = inner - np.diag(np.diag(inner))
    pairs = np.asarray(2.0 * np.kron(inner, np.outer(values, values)), dtype=np.float64)
    return pairs, np.asarray(own.ravel(), dtype=np.float64)


def _differ(problem: Colourings, values: Floats) -> bool:
    high = np.where(problem.allowed, values, -np.inf).max(axis=1, initial=-np.inf)
    low = np.where(problem.allowed, values, np.inf).min(axis=1, initial=np.inf)
    return bool((high > low).any())


def _ewald_matrix_ev(model: SiteModel) -> Floats:
    """Return the matrix M of E = q M q for unit charges on all sites, in eV."""
    cell = Structure(Lattice(model.lattice_ang), ["H"] * len(model.frac_coords), model.frac_coords)
    cell.add_oxidation_state_by_site([1.0] * len(cell))
    matrix = np.array(EwaldSummation(cell, acc_factor=6.0).total_energy_matrix)
    symmetric: Floats = (matrix + matrix.T) / 2
    return symmetric

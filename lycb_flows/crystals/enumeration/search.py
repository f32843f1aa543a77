"""Candidates without a count: random placement under the rules, then ordering of charges.

Every search starts from a random placement of the composition, loses its forbidden pairs by
swaps, and then looks for the lowest Ewald energy of formal charges by parallel tempering
(`swaps`). The share of independent searches that end at the same lowest energy says how much
the minimum can be trusted: it is a statement on the search, no proof.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from lycb_flows.crystals.enumeration.colourings import Bools, Colourings, Ints
from lycb_flows.crystals.enumeration.listing import Masks, Member
from lycb_flows.crystals.enumeration.quasi_random import TIE, PairShells
from lycb_flows.crystals.enumeration.sites import VACANCY, Floats, SiteModel
from lycb_flows.crystals.enumeration.swaps import PENALTY_EV, Swaps
from lycb_flows.errors import InputError

N_SEARCHES = 24
"""Independent searches when none are asked for."""

Progress = Callable[[int, int], None]

_LADDER_EV = np.geomspace(0.1, 3.0, 6)
_SWEEPS = 60
_FEWEST_STEPS = 1_000
_MOST_WORK = 15_000_000  # steps times searches times sites, some 10 s
_SETTLING = 0.2  # share of the steps in which random placements lose their forbidden pairs
_AT_ONCE = 24  # searches that take their steps together
_MOST_EWALD_SITES = 700
_TIE_EV = 1e-3
_REPAIR_TRIES = 4
_TRIED = 4  # placements that are tried to see whether there is one


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
    errors
        Distance of each quasi-random arrangement from random mixing, (k,); empty without any.
    """

    random: NDArray[np.int16]
    annealed: NDArray[np.int16]
    energies_ev: Floats
    n_agreeing: int
    errors: Floats


def _n_steps(problem: Colourings, n_searches: int) -> int:
    n_sites = max(len(problem.allowed), 1)
    most = _MOST_WORK // (n_sites * min(n_searches, _AT_ONCE))
    return int(max(_FEWEST_STEPS, min(_SWEEPS * n_sites, most)))


def _settled(
    swaps: Swaps,
    rng: np.random.Generator,
    n_searches: int,
    n_steps: int,
    n_tries: int = _REPAIR_TRIES,
) -> Ints:
    """Return random placements (k, n) without forbidden pairs; those that keep one are left out."""
    colours = np.array([swaps.start(rng) for _ in range(n_searches)])
    n_steps = max(int(_SETTLING * n_steps), _FEWEST_STEPS // 2)
    for _ in range(n_tries):
        clashing = swaps.n_clashes(colours) > 0
        if not clashing.any():
            break
        cooling = np.geomspace(0.5, 0.02, n_steps) * PENALTY_EV
        colours[clashing] = swaps.annealed(colours[clashing], rng, cooling)
    settled: Ints = colours[swaps.n_clashes(colours) == 0]
    return settled


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
    rng, n_steps = np.random.default_rng([seed, 0]), _n_steps(problem, _TRIED)
    return bool(len(_settled(Swaps(problem), rng, _TRIED, n_steps, n_tries=1)))


def search(
    problem: Colourings,
    energies: tuple[Floats, Floats] | None,
    n_searches: int,
    seed: int,
    progress: Progress | None = None,
    shells: PairShells | None = None,
) -> Found:
    """Return random placements under the rules, and those that annealing makes of them.

    With shells of pairs, their sites are ordered quasi-randomly first and then left alone.

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
    shells
        Of the sites that are ordered quasi-randomly.

    Raises
    ------
    InputError
        When no placement without forbidden pairs was found.
    """
    rules, charged = Swaps(problem), _charged(problem, energies, shells)
    n_steps = _n_steps(problem, n_searches)
    charged_from = 0.0 if shells is None else 0.5 if charged is not None else 1.0
    starts, ends, errors = list[Ints](), list[Ints](), list[float]()
    for first in range(0, n_searches, _AT_ONCE):
        rng = np.random.default_rng([seed, first])
        n_now = min(_AT_ONCE, n_searches - first)
        placed = _settled(rules, rng, n_now, n_steps)
        if not len(placed):
            break
        if shells is not None:
            tell = _part_of(progress, (first, n_now, n_searches), (0.0, charged_from))
            placed, reached = shells.annealed(placed, rng, tell)
            errors.extend(reached.tolist())
        starts.extend(placed)
        if charged is not None:
            tell = _part_of(progress, (first, n_now, n_searches), (charged_from, 1.0))
            ends.extend(charged.tempered(placed, rng, _LADDER_EV, n_steps, tell))
    if progress is not None:
        progress(n_searches, n_searches)
    if not starts:
        raise InputError(
            "no ordering satisfies the forbidden pairs",
            fix="lower min_distance_ang of a forbidden pair, or raise min_occupancy",
        )
    if shells is not None:
        near = np.flatnonzero(shells.errors(np.array(starts)) < min(errors) + TIE).tolist()
        starts, ends = [starts[k] for k in near], [ends[k] for k in near if ends]
    return replace(_found(rules, charged, starts, ends), errors=np.array(errors))


def _charged(
    problem: Colourings, energies: tuple[Floats, Floats] | None, shells: PairShells | None
) -> Swaps | None:
    """Return what the energy may swap; None where it has no say."""
    frozen = None if shells is None else shells.frozen
    if energies is None or (frozen is not None and frozen.all()):
        return None
    return Swaps(problem, *energies, frozen)


def _part_of(
    progress: Progress | None, batch: tuple[int, int, int], part: tuple[float, float]
) -> Callable[[float], None] | None:
    """Return what turns the share of a part of searches that go together into their number."""
    if progress is None:
        return None
    (first, n_now, n_searches), (start, end) = batch, part
    return lambda share: progress(int(first + n_now * (start + (end - start) * share)), n_searches)


def _found(rules: Swaps, charged: Swaps | None, starts: list[Ints], ends: list[Ints]) -> Found:
    n_sites = len(rules.allowed)
    annealed = np.array(ends, dtype=np.int64).reshape(len(ends), n_sites)
    annealed = annealed[rules.n_clashes(annealed) == 0]
    energies = charged.energies_ev(annealed) if charged else np.array([])
    order = np.argsort(energies, kind="stable")
    return Found(
        random=np.array(starts, dtype=np.int16),
        annealed=annealed[order].astype(np.int16),
        energies_ev=energies[order],
        n_agreeing=int((energies < energies.min() + _TIE_EV).sum()) if len(energies) else 0,
        errors=np.array([]),
    )


def neighbours(masks: Masks, mask: str, frozen: Bools | None = None) -> tuple[Member, ...]:
    """Return the distinct placements that a swap of two sites makes of one, under the rules.

    Parameters
    ----------
    masks
        Of the colouring problem.
    mask
        The placement.
    frozen
        Sites that do not swap, (n,); None: all do.
    """
    problem, colours = masks.problem, masks.decode(mask)
    first, second = np.triu_indices(len(colours), 1)
    a, b = colours[first], colours[second]
    can = (a != b) & problem.allowed[first, b] & problem.allowed[second, a]
    if frozen is not None:
        can &= ~(frozen[first] | frozen[second])
    first, second, rows = first[can], second[can], np.arange(int(can.sum()))
    swapped = np.tile(colours, (len(rows), 1))
    swapped[rows, first], swapped[rows, second] = b[can], a[can]
    swapped = swapped[Swaps(problem).n_clashes(swapped) == 0]
    if not len(swapped):
        return ()
    found = masks.members(masks.smallest(masks.encode(swapped)), "neighbour")
    return tuple(member for member in found if member.mask != mask)


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

"""Colourings as energies of slots, changed by swaps of two sites; many placements at once.

A step takes a random site and draws its swap among all sites by their Boltzmann weights, staying
included (heat bath: Creutz, Phys. Rev. D 21, 2308 (1980); for sites of atoms and vacancies that
is exact Gibbs sampling). Copies at several temperatures exchange them (Hukushima and Nemoto,
J. Phys. Soc. Jpn. 65, 1604 (1996)), so that one that is stuck is replaced.

Only sites of one sublattice (those that species link) can swap. All copies take a step in the
same one, so that a step is a few operations on arrays; `_Block` keeps what a swap costs beside
the energies around, for each two sites and colours of a sublattice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from lycb_flows.crystals.enumeration.colourings import Bools, Colourings, Ints
from lycb_flows.crystals.enumeration.sites import Floats
from lycb_flows.errors import InputError

PENALTY_EV = 1_000.0
"""Of a forbidden pair: above every difference of electrostatic energies."""

_MOST_SLOTS = 4_000
_EXCHANGE_EVERY = 10
_LOWER_EV = 1e-9
_QUENCH, _COLD_EV = 5, 1e-3  # steps per site, and kT, at the end


@dataclass(frozen=True, eq=False)
class _Block:
    """A sublattice: m sites and k colours, as the slots `start` to `start + k * m` of all.

    Attributes
    ----------
    sites, colours
        Numbers of the sites (m,) and of the colours (k,) in the problem.
    start
        Its first slot; slots run over the sites, then over the colours.
    exchange_ev
        (m * k, k * m): what the pair itself adds when site i of colour a swaps with site j of
        colour b, at [i * k + a, b * m + j]; infinite where it cannot.
    """

    sites: Ints
    colours: Ints
    start: int
    exchange_ev: Floats

    @property
    def slots(self) -> slice:
        return slice(self.start, self.start + len(self.sites) * len(self.colours))


@dataclass(eq=False)
class _Copies:
    """Placements while they change.

    Attributes
    ----------
    held
        Of each block (r, m): the slots that are held, from the block's first.
    field_ev
        (r, s): the energy of each slot in what stands around it.
    """

    held: list[Ints]
    field_ev: Floats

    def exchange(self, first: Ints, second: Ints) -> None:
        for part in (*self.held, self.field_ev):
            part[first], part[second] = part[second], part[first]


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
    frozen
        Sites that keep what they hold, (n,); None: no site.
    """

    def __init__(
        self,
        problem: Colourings,
        pair_ev: Floats | None = None,
        own_ev: Floats | None = None,
        frozen: Bools | None = None,
    ) -> None:
        self.frozen = np.zeros(len(problem.allowed), dtype=bool) if frozen is None else frozen
        self.allowed, self.counts = problem.allowed, problem.counts
        self.n_colours = len(problem.counts)
        self.clash = _without_images(problem)
        self._given = pair_ev, own_ev

    # -- placements ----------------------------------------------------------------------

    def start(self, rng: np.random.Generator) -> Ints:
        """Return random colours (n,) that are allowed and have the counts.

        Raises
        ------
        InputError
            When the sites cannot take the counts.
        """
        from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - slow to start

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

    def energies_ev(self, colours: Ints) -> Floats:
        """Return the energies (r,) of placements (r, n), forbidden pairs included."""
        copies = self._copies(colours)
        return self._energies_ev(copies)

    def n_clashes(self, colours: Ints) -> Ints:
        """Return the numbers (r,) of forbidden pairs in placements (r, n)."""
        slots = np.arange(len(self.allowed)) * self.n_colours + colours
        rows = np.repeat(np.arange(len(colours)), colours.shape[1])
        held = csr_array(
            (np.ones(slots.size), (rows, slots.ravel())), shape=(len(colours), self.allowed.size)
        )
        both = (held @ self.clash).multiply(held).sum(axis=1)
        return np.asarray(np.rint(both / 2), dtype=np.int64)

    # -- steps -----------------------------------------------------------------------------

    def annealed(self, colours: Ints, rng: np.random.Generator, temperatures_ev: Floats) -> Ints:
        """Return placements after a swap is drawn for each at each temperature.

        Parameters
        ----------
        colours
            Where they start, (r, n).
        rng
            Source of the swaps.
        temperatures_ev
            kT of each step.
        """
        copies = self._copies(colours)
        for block, kt_ev in zip(self._drawn(rng, len(temperatures_ev)), temperatures_ev):  # noqa: B905 - one each
            self._swap(copies, block, np.full((len(colours), 1), kt_ev), rng)
        return self._colours(copies)

    def tempered(
        self,
        colours: Ints,
        rng: np.random.Generator,
        ladder_ev: Floats,
        n_steps: int,
        progress: Callable[[float], None] | None = None,
    ) -> Ints:
        """Return the lowest placements that copies at several temperatures meet, (r, n).

        Parameters
        ----------
        colours
            Where they start, (r, n).
        rng
            Source of the swaps.
        ladder_ev
            kT of each copy.
        n_steps
            Steps of each copy.
        progress
            Is told the share of the steps, now and then.
        """
        lowest, lowest_ev = colours.copy(), np.full(len(colours), np.inf)
        copies = self._copies(np.repeat(colours, len(ladder_ev), axis=0))
        kt_ev = np.tile(ladder_ev, len(colours))[:, None]
        for step, block in enumerate(self._drawn(rng, n_steps)):
            self._swap(copies, block, kt_ev, rng)
            if step % _EXCHANGE_EVERY:
                continue
            energy_ev = self._energies_ev(copies).reshape(len(colours), -1)
            best = energy_ev.argmin(axis=1)
            found = np.flatnonzero(energy_ev.min(axis=1) < lowest_ev - _LOWER_EV)
            if len(found):
                lowest[found] = self._colours(copies, found * len(ladder_ev) + best[found])
                lowest_ev[found] = energy_ev[found, best[found]]
            copies.exchange(*_exchanged(energy_ev, ladder_ev, step // _EXCHANGE_EVERY % 2, rng))
            if progress is not None:
                progress(step / n_steps)
        quench = np.full(_QUENCH * colours.shape[1], _COLD_EV)
        return self.annealed(lowest, rng, quench)

    def _drawn(self, rng: np.random.Generator, n_steps: int) -> list[int]:
        """Return the block of each step, in proportion to their sites."""
        sizes = np.array([(~self.frozen[block.sites]).sum() for block in self._blocks])
        if not sizes.any():
            return []
        drawn: list[int] = rng.choice(len(sizes), size=n_steps, p=sizes / sizes.sum()).tolist()
        return drawn

    def _swap(self, copies: _Copies, number: int, kt_ev: Floats, rng: np.random.Generator) -> None:
        """Swap a site of each placement with one drawn by its weight, in place."""
        block, held = self._blocks[number], copies.held[number]
        m, k, rows = len(block.sites), len(block.colours), np.arange(len(held))
        sites = rng.integers(m, size=len(rows))
        own, colours = held[rows, sites] // m, held // m
        field = copies.field_ev[:, block.slots].reshape(len(rows), k, m)
        change = block.exchange_ev.take((sites * k + own)[:, None] * (k * m) + held)
        change += field[rows, :, sites].take(rows[:, None] * k + colours)
        change += field[rows, own]
        change -= copies.field_ev.take(
            rows[:, None] * copies.field_ev.shape[1] + block.start + held
        )
        others = _chosen(change / kt_ev, 1.0 - rng.random(len(rows)))
        now = np.flatnonzero(others != sites)
        i, j = sites[now], others[now]
        a, b = own[now] * m, colours[now, j] * m
        pair, first = self._pair_ev, block.start
        step = pair[first + b + i]
        step += pair[first + a + j]
        step -= pair[first + a + i]
        step -= pair[first + b + j]
        copies.field_ev[now] += step
        held[now, i], held[now, j] = b + i, a + j

    # -- energies as slots of the blocks ---------------------------------------------------

    @cached_property
    def _blocks(self) -> list[_Block]:
        pair, blocks, start = self._all_pairs_ev, list[_Block](), 0
        for sites in _sublattices(self.allowed, self.frozen):
            colours = np.flatnonzero(self.allowed[sites].any(axis=0))
            cost = _exchange_ev(pair, sites, colours, self.allowed)
            blocks.append(_Block(sites, colours, start, cost))
            start += len(sites) * len(colours)
        return blocks

    @cached_property
    def _order(self) -> Ints:
        """The (site, colour) of each slot as site * c + colour, (s,)."""
        parts = [
            (block.colours[:, None] + self.n_colours * block.sites[None]).ravel()
            for block in self._blocks
        ]
        return np.concatenate([*parts, np.array([], dtype=np.int64)])

    @cached_property
    def _all_pairs_ev(self) -> Floats:
        n_slots = self.allowed.size
        if n_slots > _MOST_SLOTS:
            raise InputError(
                "too many sites to search",
                fix="use a smaller supercell",
                found=n_slots,
                most=_MOST_SLOTS,
            )
        pair_ev: Floats = PENALTY_EV * self.clash.toarray()
        return pair_ev if self._given[0] is None else pair_ev + self._given[0]

    @cached_property
    def _pair_ev(self) -> Floats:
        return np.ascontiguousarray(self._all_pairs_ev[np.ix_(self._order, self._order)])

    @cached_property
    def _own_ev(self) -> Floats:
        own_ev = self._given[1]
        return np.zeros(len(self._order)) if own_ev is None else own_ev[self._order]

    def _copies(self, colours: Ints) -> _Copies:
        held, field = list[Ints](), np.tile(self._own_ev, (len(colours), 1))
        for block in self._blocks:
            place = np.zeros(self.n_colours, dtype=np.int64)
            place[block.colours] = np.arange(len(block.colours)) * len(block.sites)
            held.append(place[colours[:, block.sites]] + np.arange(len(block.sites)))
            around = [self._pair_ev[block.start + slots].sum(axis=0) for slots in held[-1]]
            field += np.array(around)
        return _Copies(held, field)

    def _colours(self, copies: _Copies, rows: Ints | slice = slice(None)) -> Ints:
        found = np.zeros((len(copies.field_ev[rows]), len(self.allowed)), dtype=np.int64)
        for block, held in zip(self._blocks, copies.held, strict=True):
            found[:, block.sites] = block.colours[held[rows] // len(block.sites)]
        return found

    def _energies_ev(self, copies: _Copies) -> Floats:
        energy = np.zeros(len(copies.field_ev))
        for block, held in zip(self._blocks, copies.held, strict=True):
            slots = block.start + held
            around = np.take_along_axis(copies.field_ev, slots, 1) + self._own_ev[slots]
            energy += 0.5 * around.sum(axis=1)
        return energy


def _without_images(problem: Colourings) -> csr_array:
    """Return the forbidden pairs as ones; a site's own images are no neighbours here."""
    first, second = problem.conflicts.nonzero()
    apart = first // len(problem.counts) != second // len(problem.counts)
    places = (first[apart], second[apart])
    return csr_array((np.ones(len(places[0])), places), shape=(problem.allowed.size,) * 2)


def _sublattices(allowed: Bools, frozen: Bools) -> list[Ints]:
    """Return the sites of each set that colours link, frozen sites apart."""
    share = csr_array(allowed.astype(float))
    n_parts, part = connected_components(share @ share.T, directed=False)
    sets = (
        np.flatnonzero((part == k) & kept) for k in range(n_parts) for kept in (~frozen, frozen)
    )
    return [sites for sites in sets if len(sites)]


def _exchange_ev(pair_ev: Floats, sites: Ints, colours: Ints, allowed: Bools) -> Floats:
    """Return what a pair itself adds when it swaps, as `_Block` keeps it."""
    m, k, c = len(sites), len(colours), allowed.shape[1]
    slots = (sites[:, None] * c + colours).ravel()
    pair = pair_ev[np.ix_(slots, slots)].reshape(m, k, m, k).transpose(0, 1, 3, 2)  # i, a, b, j
    same = np.einsum("iaaj->iaj", pair)
    found = pair + pair.transpose(0, 2, 1, 3) - same[:, :, None] - same[:, None]
    holds = allowed[np.ix_(sites, colours)]
    can = holds[:, :, None] & holds[:, None]  # site, a, b
    found[~(can[..., None] & can.transpose(1, 2, 0)[None])] = np.inf
    found[:, np.arange(k), np.arange(k)] = np.inf  # the same colour: nothing swaps
    for i in range(m):
        found[i, np.arange(k), np.arange(k), i] = 0.0  # but a site may stay
    return np.ascontiguousarray(found.reshape(m * k, k * m))


def _chosen(costs: Floats, uniform: NDArray[np.float64]) -> Ints:
    """Return a column (r,) for each row of costs in kT, drawn by the weights exp(-cost)."""
    costs -= costs.min(axis=1, keepdims=True)
    np.exp(np.negative(costs, out=costs), out=costs)
    reached = np.cumsum(costs, axis=1, out=costs)
    below: NDArray[np.bool_] = reached < (uniform * reached[:, -1])[:, None]
    return np.asarray(below.sum(axis=1), dtype=np.int64)


def _exchanged(energy_ev: Floats, ladder_ev: Floats, parity: int, rng: np.random.Generator) -> Ints:
    """Return the copies (2, m) that exchange their temperatures with a neighbour's."""
    lower = np.arange(parity, len(ladder_ev) - 1, 2)
    gain = (1 / ladder_ev[lower] - 1 / ladder_ev[lower + 1]) * (
        energy_ev[:, lower] - energy_ev[:, lower + 1]
    )
    search, place = np.nonzero(np.log(1.0 - rng.random(gain.shape)) < gain)
    first = search * len(ladder_ev) + lower[place]
    return np.array([first, first + 1])

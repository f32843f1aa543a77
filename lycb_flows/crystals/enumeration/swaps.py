"""Colourings as energies of slots, changed by swaps of two sites; many placements at once.

A step takes a random site and draws its swap among all sites by their Boltzmann weights, staying
included (heat bath: Creutz, Phys. Rev. D 21, 2308 (1980); for sites of atoms and vacancies that
is exact Gibbs sampling). Copies at several temperatures exchange them (Hukushima and Nemoto,
J. Phys. Soc. Jpn. 65, 1604 (1996)), so that one that is stuck is replaced.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import linear_sum_assignment

from lycb_flows.crystals.enumeration.colourings import Colourings, Ints
from lycb_flows.crystals.enumeration.sites import Floats
from lycb_flows.errors import InputError

PENALTY_EV = 1_000.0
"""Of a forbidden pair: above every difference of electrostatic energies."""

_MOST_SLOTS = 4_000
_EXCHANGE_EVERY = 10
_LOWER_EV = 1e-9
_QUENCH, _COLD_EV = 5, 1e-3  # steps per site, and kT, at the end


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
        self.pair_ev = PENALTY_EV * clash + (0.0 if pair_ev is None else pair_ev)
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

    def energies_ev(self, colours: Ints) -> Floats:
        """Return the energies (r,) of placements (r, n), forbidden pairs included."""
        held = self._slots(colours)
        found = [0.5 * self.pair_ev[np.ix_(h, h)].sum() + self.own_ev[h].sum() for h in held]
        return np.array(found)

    def n_clashes(self, colours: Ints) -> Ints:
        """Return the numbers (r,) of forbidden pairs in placements (r, n)."""
        found = [self.clash[np.ix_(h, h)].sum() / 2 for h in self._slots(colours)]
        return np.rint(found).astype(np.int64)

    def _slots(self, colours: Ints) -> Ints:
        slots: Ints = np.arange(len(self.allowed)) * self.n_colours + colours
        return slots

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
        colours, field = colours.copy(), self._field_ev(colours)
        for kt_ev in temperatures_ev:
            self._swap(colours, field, np.full((len(colours), 1), kt_ev), rng)
        return colours

    def tempered(
        self,
        colours: Ints,
        rng: np.random.Generator,
        ladder_ev: Floats,
        n_steps: int,
        progress: Callable[[int], None] | None = None,
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
            Is told the number of steps, now and then.
        """
        lowest, lowest_ev = colours.copy(), np.full(len(colours), np.inf)
        copies = np.repeat(colours, len(ladder_ev), axis=0)
        kt_ev, field = np.tile(ladder_ev, len(colours))[:, None], self._field_ev(copies)
        for step in range(n_steps):
            self._swap(copies, field, kt_ev, rng)
            if step % _EXCHANGE_EVERY:
                continue
            held = self._slots(copies)
            energy = np.take_along_axis(field, held, 1) + self.own_ev[held]
            energy_ev = 0.5 * energy.sum(axis=1).reshape(len(colours), -1)
            best = energy_ev.argmin(axis=1)
            found = np.flatnonzero(energy_ev.min(axis=1) < lowest_ev - _LOWER_EV)
            lowest[found] = copies[found * len(ladder_ev) + best[found]]
            lowest_ev[found] = energy_ev[found, best[found]]
            pairs = _exchanged(energy_ev, ladder_ev, step // _EXCHANGE_EVERY % 2, rng)
            copies[pairs], field[pairs] = copies[pairs[::-1]], field[pairs[::-1]]
            if progress is not None:
                progress(step)
        quench = np.full(_QUENCH * colours.shape[1], _COLD_EV)
        return self.annealed(lowest, rng, quench)

    def _field_ev(self, colours: Ints) -> Floats:
        """Return the energy of each slot in what stands around it, (r, n*c)."""
        held = self._slots(colours)
        around: Floats = np.array([self.pair_ev[:, slots].sum(axis=1) for slots in held])
        return around + self.own_ev

    def _swap(self, colours: Ints, field: Floats, kt_ev: Floats, rng: np.random.Generator) -> None:
        """Swap a site of each placement with one drawn by its weight, in place."""
        pair, c, rows = self.pair_ev, self.n_colours, np.arange(len(colours))
        sites = rng.integers(colours.shape[1], size=len(colours))
        own, here, base = (
            colours[rows, sites, None],
            sites[:, None],
            np.arange(colours.shape[1]) * c,
        )
        before, there = here * c + own, base + colours  # slots that are held
        after, moved = here * c + colours, base + own  # and those that would be
        change = np.take_along_axis(field, after, 1) - np.take_along_axis(field, before, 1)
        change += np.take_along_axis(field, moved, 1) - np.take_along_axis(field, there, 1)
        change += pair[before, there] + pair[after, moved] - pair[after, there]
        change -= pair[before, moved]
        can = (colours != own) & self.allowed[here, colours] & self.allowed.T[own[:, 0]]
        can[rows, sites] = True
        uniform = rng.random(colours.shape, dtype=np.float32) * (1 - 2e-7) + 1e-7
        score = -np.log(-np.log(uniform)) - change / kt_ev  # Gumbel's maximum draws by weight
        others = np.where(can, score, -np.inf).argmax(axis=1)
        now = np.flatnonzero(others != sites)
        i, j = sites[now], others[now]
        a, b = colours[now, i], colours[now, j]
        field[now] += pair[i * c + b] + pair[j * c + a] - pair[i * c + a] - pair[j * c + b]
        colours[now, i], colours[now, j] = b, a


def _exchanged(energy_ev: Floats, ladder_ev: Floats, parity: int, rng: np.random.Generator) -> Ints:
    """Return the copies (2, m) that exchange their temperatures with a neighbour's."""
    lower = np.arange(parity, len(ladder_ev) - 1, 2)
    gain = (1 / ladder_ev[lower] - 1 / ladder_ev[lower + 1]) * (
        energy_ev[:, lower] - energy_ev[:, lower + 1]
    )
    search, place = np.nonzero(np.log(1.0 - rng.random(gain.shape)) < gain)
    first = search * len(ladder_ev) + lower[place]
    return np.array([first, first + 1])

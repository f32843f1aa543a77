"""Special quasi-random orderings: pairs as near to random mixing as a cell allows.

Of each shell of pairs of sites, the share that two species hold is compared with the product of
their concentrations on these sites, which is that of random mixing (Zunger et al., Phys. Rev.
Lett. 65, 353 (1990)). Swaps of two sites are annealed towards the smallest sum of squares (van de
Walle et al., Calphad 42, 13 (2013)); how many sites a species has on each crystallographic site
is fixed before. ours: nearer shells weigh more, by the inverse cube of their distance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from ase.neighborlist import primitive_neighbor_list
from numpy.typing import NDArray

from lycb_flows.crystals.enumeration.colourings import Bools, Colourings, Ints
from lycb_flows.crystals.enumeration.occupancies import DisorderedCell
from lycb_flows.crystals.enumeration.sites import Floats
from lycb_flows.crystals.enumeration.swaps import Swaps
from lycb_flows.errors import InputError

CUTOFF_ANG = 8.0
"""Pairs up to this distance are compared when the config names none."""

TIE = 1e-9
_SHELL_ANG = 0.05  # distances that differ by less are one shell
_EDGE_ANG = 1e-3  # a pair exactly at the cutoff is inside
_WEIGHT_POWER = 3
_STEPS_PER_SITE, _FEWEST_STEPS, _MOST_STEPS = 200, 2_000, 20_000
_HOT, _COLD = 0.1, 1e-4  # temperature, of the first errors' mean
_MATCHED = 1e-6
_TOLD_EVERY = 100


@dataclass(frozen=True)
class ShellMatch:
    """How near the pairs of a shell are to random mixing.

    Attributes
    ----------
    sites
        Labels of the two crystallographic sites.
    distance_ang
        Of the pairs.
    n_pairs
        In the cell, each once.
    deviation
        Largest difference between the share of pairs that two species hold and random mixing.
    """

    sites: str
    distance_ang: float
    n_pairs: int
    deviation: float


@dataclass(frozen=True, eq=False)
class PairShells:
    """The pairs of sites that are ordered quasi-randomly, by crystallographic sites and distance.

    Attributes
    ----------
    problem
        The colouring problem.
    sites
        Its sites that are ordered, (m,).
    classes
        What is told apart of each colour, (c,): named species, and all others as one.
    names
        Labels of each shell's sites.
    distances_ang
        Of each shell, (o,).
    images
        How many images of site j are in the shell of site i, (o, m, m).
    wanted
        Share of pairs that two classes hold under random mixing, (o, k, k).
    """

    problem: Colourings
    sites: Ints
    classes: Ints
    names: tuple[str, ...]
    distances_ang: Floats
    images: Floats
    wanted: Floats

    @classmethod
    def of(cls, cell: DisorderedCell, species: tuple[str, ...], cutoff_ang: float) -> PairShells:
        """Return the pair shells of the sites that may hold some species.

        Parameters
        ----------
        cell
            The supercell, with the mixing of these species kept on each crystallographic site.
        species
            What is ordered quasi-randomly.
        cutoff_ang
            Longest pair.

        Raises
        ------
        InputError
            When the species share no site, or no pair of sites is near enough.
        """
        problem, model = cell.problem, cell.model
        named = np.isin(model.colours, species)
        sites = np.flatnonzero(problem.allowed[:, named].any(axis=1))
        if not len(sites):
            raise InputError(
                "nothing to order quasi-randomly",
                fix="name species that share a site, or a site with vacancies",
                found=", ".join(species),
            )
        classes = np.where(named, np.cumsum(named) - 1, named.sum())
        shares = _shares(problem, sites, cell.kinds, classes)
        parts = list(_shells(cell, sites, cutoff_ang))
        if not parts:
            raise InputError(
                "no pair of sites to compare with random mixing",
                fix="raise sqs_cutoff_ang",
                cutoff_ang=cutoff_ang,
            )
        random = [np.outer(shares[first], shares[second]) for (first, second), _, _ in parts]
        return cls(
            problem=problem,
            sites=sites,
            classes=classes,
            names=tuple(
                "-".join(dict.fromkeys(cell.kind_labels[kind] for kind in pair))
                for pair, _, _ in parts
            ),
            distances_ang=np.array([distance for _, distance, _ in parts]),
            images=np.array([table for _, _, table in parts]),
            wanted=np.array([(share + share.T) / 2 for share in random]),
        )

    @property
    def frozen(self) -> Bools:
        """Which sites of the problem are ordered here, and by nothing else, (n,)."""
        found = np.zeros(len(self.problem.allowed), dtype=bool)
        found[self.sites] = True
        return found

    def errors(self, colours: NDArray[np.integer]) -> Floats:
        """Return the distances from random mixing, weighted sums of squares (r,).

        Parameters
        ----------
        colours
            Placements (r, n).
        """
        return self.errors_of(self.counts_of(self.held_of(colours)))

    def matches(self, colours: NDArray[np.integer]) -> tuple[ShellMatch, ...]:
        """Return how near each shell is to random mixing, the nearest shell first.

        Parameters
        ----------
        colours
            A placement (n,).
        """
        n_pairs = self.images.sum(axis=(1, 2))
        counts = self.counts_of(self.held_of(colours[None]))[0]
        off = np.abs(counts / n_pairs[:, None, None] - self.wanted).max(axis=(1, 2))
        found = [
            ShellMatch(name, round(float(d), 3), round(n / 2), round(float(o), 6))
            for name, d, n, o in zip(self.names, self.distances_ang, n_pairs, off, strict=True)
        ]
        return tuple(sorted(found, key=lambda shell: (shell.distance_ang, shell.sites)))

    def annealed(
        self,
        colours: Ints,
        rng: np.random.Generator,
        progress: Callable[[float], None] | None = None,
    ) -> tuple[Ints, Floats]:
        """Return the placements (r, n) nearest to random mixing, and the error of each search.

        Only what ties with the best is returned, repeated to r rows.

        Parameters
        ----------
        colours
            Placements without forbidden pairs, (r, n).
        rng
            Source of the swaps.
        progress
            Is told the share of the steps, now and then.
        """
        walk = _Walk(self, colours)
        first, second = self._exchanges()
        if len(first):
            n_steps = min(max(_FEWEST_STEPS, _STEPS_PER_SITE * len(self.sites)), _MOST_STEPS)
            heat = max(float(walk.error.mean()), TIE)
            for step, temperature in enumerate(np.geomspace(_HOT, _COLD, n_steps) * heat):
                drawn = rng.integers(len(first), size=len(colours))
                walk.swap(first[drawn], second[drawn], temperature, rng)
                if progress is not None and step % _TOLD_EVERY == 0:
                    progress(step / n_steps)
        tied = np.flatnonzero(walk.lowest < walk.lowest.min() + TIE)
        return walk.best[tied[np.arange(len(colours)) % len(tied)]], walk.lowest

    # -- pieces ------------------------------------------------------------------------------

    def held_of(self, colours: NDArray[np.integer]) -> Floats:
        """Return the classes that the ordered sites hold, (r, m, k), as ones.

        Parameters
        ----------
        colours
            Placements (r, n).
        """
        return np.asarray(np.eye(self.wanted.shape[1])[self.classes[colours[:, self.sites]]])

    def counts_of(self, held: Floats) -> Floats:
        """Return how many pairs of each shell two classes hold, (r, o, k, k).

        Parameters
        ----------
        held
            From `held_of`.
        """
        around = np.einsum("oij,rjb->roib", self.images, held, optimize=True)
        return np.asarray(np.einsum("ria,roib->roab", held, around, optimize=True))

    def errors_of(self, counts: Floats) -> Floats:
        """Return the distances from random mixing, weighted sums of squares (r,).

        Parameters
        ----------
        counts
            From `counts_of`.
        """
        n_pairs = self.images.sum(axis=(1, 2))[:, None, None]
        weights = (self.distances_ang.min() / self.distances_ang) ** _WEIGHT_POWER
        squares = ((counts / n_pairs - self.wanted) ** 2).sum(axis=(2, 3))
        return np.asarray(squares @ weights)

    def _exchanges(self) -> tuple[Ints, Ints]:
        """Return the pairs of ordered sites that can have two colours in common, each (p,)."""
        allowed = self.problem.allowed[self.sites].astype(int)
        first, second = np.triu_indices(len(self.sites), 1)
        can = (allowed @ allowed.T)[first, second] > 1
        return first[can], second[can]


class _Walk:
    """Placements (r, n) while their ordered sites swap."""

    def __init__(self, shells: PairShells, colours: Ints) -> None:
        self.shells, self.colours = shells, colours.copy()
        self.rules = Swaps(shells.problem) if shells.problem.conflicts.nnz else None
        self.held = shells.held_of(colours)
        self.counts = shells.counts_of(self.held)
        self.error = shells.errors_of(self.counts)
        self.best, self.lowest = colours.copy(), self.error.copy()
        self._rows = np.arange(len(colours))

    def swap(self, i: Ints, j: Ints, temperature: float, rng: np.random.Generator) -> None:
        """Swap two ordered sites of each placement where the error lets it (Metropolis)."""
        shells, rows = self.shells, self._rows
        sites, allowed = (shells.sites[i], shells.sites[j]), shells.problem.allowed
        a, b = self.colours[rows, sites[0]], self.colours[rows, sites[1]]
        change = self._change(i, j, shells.classes[a], shells.classes[b])
        error = shells.errors_of(self.counts + change)
        taken = (a != b) & allowed[sites[0], b] & allowed[sites[1], a]
        taken &= np.log(1.0 - rng.random(len(rows))) < (self.error - error) / temperature
        tried = self.colours.copy()
        tried[rows, sites[0]], tried[rows, sites[1]] = b, a
        if self.rules is not None and taken.any():
            taken[taken] = self.rules.n_clashes(tried[taken]) == 0
        self.colours[taken], self.error[taken] = tried[taken], error[taken]
        self.counts[taken] += change[taken]
        now = rows[taken]
        swapped = self.held[now, j[taken]], self.held[now, i[taken]]
        self.held[now, i[taken]], self.held[now, j[taken]] = swapped
        better = self.error < self.lowest - TIE
        self.best[better], self.lowest[better] = self.colours[better], self.error[better]

    def _change(self, i: Ints, j: Ints, a: Ints, b: Ints) -> Floats:
        """Return how the pairs (r, o, k, k) change when site i of class a swaps with j of b."""
        images, rows = self.shells.images, self._rows
        around = np.einsum("orm,rmk->rok", images[:, i] - images[:, j], self.held, optimize=True)
        between = (images[:, i, i] - 2 * images[:, i, j] + images[:, j, j]).T
        step = np.zeros((len(rows), self.held.shape[2]))
        step[rows, b] += 1.0
        step[rows, a] -= 1.0
        one_way = around[..., :, None] * step[:, None, None, :]
        both = step[:, :, None] * step[:, None, :]
        found = one_way + one_way.swapaxes(2, 3) + between[..., None, None] * both[:, None]
        return np.asarray(found)


def matched_to_ang(matches: tuple[ShellMatch, ...]) -> float | None:
    """Return the distance up to which all shells are as in random mixing; None: not even the first.

    Parameters
    ----------
    matches
        Shells, the nearest first.
    """
    found = None
    for shell in matches:
        if shell.deviation > _MATCHED:
            break
        found = shell.distance_ang
    return found


def _shares(problem: Colourings, sites: Ints, kinds: Ints, classes: Ints) -> dict[int, Floats]:
    """Return the concentration of each class on the ordered sites of each kind, (k,)."""
    found = {}
    for kind in np.unique(kinds[sites]).tolist():
        own = sites[kinds[sites] == kind]
        shares = np.zeros(classes.max() + 1)
        may = problem.allowed[own].any(axis=0)
        for colour in np.flatnonzero(may & (classes < classes.max())).tolist():
            shares[classes[colour]] += problem.counts[colour] / len(own)
        shares[-1] = 1.0 - shares[:-1].sum()
        found[kind] = shares
    return found


def _shells(
    cell: DisorderedCell, sites: Ints, cutoff_ang: float
) -> Iterator[tuple[tuple[int, int], float, Floats]]:
    """Yield the kinds of a shell's sites, its distance, and its images (m, m)."""
    model = cell.model
    i, j, distance_ang = primitive_neighbor_list(
        "ijd",
        (True, True, True),
        model.lattice_ang,
        model.frac_coords[model.free[sites]] @ model.lattice_ang,
        cutoff_ang + _EDGE_ANG,
    )
    kinds = np.sort(np.array([cell.kinds[sites[i]], cell.kinds[sites[j]]]), axis=0)
    for first, second in np.unique(kinds, axis=1).T.tolist():
        among = np.flatnonzero((kinds[0] == first) & (kinds[1] == second))
        order = among[np.argsort(distance_ang[among], kind="stable")]
        cuts = np.flatnonzero(np.diff(distance_ang[order]) > _SHELL_ANG) + 1
        for part in np.split(order, cuts):
            table = np.zeros((len(sites),) * 2)
            np.add.at(table, (i[part], j[part]), 1.0)
            yield (first, second), float(distance_ang[part].mean()), table

"""A search among orderings: some are relaxed, chosen by static energies and by swaps.

Half of the relaxations go to the orderings of a list that are lowest before relaxation. The
rest are an annealing (Kirkpatrick et al., Science 220, 671 (1983)): relaxed orderings are drawn by
their Boltzmann weights at a falling temperature, swaps of two sites are made of each, and the
one that is lowest before relaxation is relaxed next. Static energies cost a fiftieth of a
relaxation, and their order is nearly that of relaxed ones (rank correlation 0.85 in Li3YBr6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]

BATCH = 8
"""Orderings that are relaxed side by side between two choices."""

_SIEVED = 0.5
_MOST_STATIC = 20_000
_N_SWAPS = 24
_HOTTEST_EV, _COLDEST_EV = 0.5, 0.05  # kT, of the whole cell


@dataclass(frozen=True)
class Landscape:
    """Orderings, by their masks, as a search sees them.

    Attributes
    ----------
    static_ev
        Returns the energy of each ordering's cell before relaxation.
    relaxed_ev
        Relaxes orderings and returns the energy of each cell; infinite for one that flies apart.
    neighbours
        Returns the orderings that a swap of two sites makes of one.
    """

    static_ev: Callable[[Sequence[str]], Floats]
    relaxed_ev: Callable[[Sequence[str]], Floats]
    neighbours: Callable[[str], Sequence[str]]


def search_orderings(
    listed: Sequence[str],
    landscape: Landscape,
    n_relaxed: int,
    seed: int,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Return the energies in eV of the orderings that were relaxed, in the order of their choice.

    Parameters
    ----------
    listed
        Masks of orderings to begin with; of more than 20,000 a random part.
    landscape
        Energies and swaps.
    n_relaxed
        Orderings that may be relaxed.
    seed
        Seed of all that is random.
    progress
        Is told how many are relaxed of how many.
    """
    rng = np.random.default_rng(seed)
    walk = _Walk(landscape, n_relaxed, rng, progress)
    masks = list(listed)
    if len(masks) > _MOST_STATIC:
        masks = [masks[i] for i in rng.choice(len(masks), _MOST_STATIC, replace=False)]
    for mask, energy in zip(masks, landscape.static_ev(masks), strict=True):
        walk.static_ev[mask] = float(energy)
    by_energy = sorted(masks, key=walk.static_ev.__getitem__)
    n_sieved = max(BATCH, round(_SIEVED * n_relaxed))
    for first in range(0, n_sieved, BATCH):
        walk.relax(by_energy[first : min(first + BATCH, n_sieved)])
    while len(walk.relaxed_ev) < n_relaxed:
        chosen = walk.children()
        if not chosen:
            break
        walk.relax(chosen)
    return walk.relaxed_ev


class _Walk:
    """What a search knows, and how it chooses."""

    def __init__(
        self,
        landscape: Landscape,
        n_relaxed: int,
        rng: np.random.Generator,
        progress: Progress | None,
    ) -> None:
        self.landscape, self.n_relaxed = landscape, n_relaxed
        self.rng, self.progress = rng, progress
        self.static_ev: dict[str, float] = {}
        self.relaxed_ev: dict[str, float] = {}
        self._neighbours: dict[str, list[str]] = {}

    def relax(self, masks: Sequence[str]) -> None:
        """Relax orderings, at most as many as are left."""
        masks = list(masks)[: self.n_relaxed - len(self.relaxed_ev)]
        if masks:
            energies = self.landscape.relaxed_ev(masks).tolist()
            self.relaxed_ev |= dict(zip(masks, energies, strict=True))
        if self.progress is not None:
            self.progress(len(self.relaxed_ev), self.n_relaxed)

    def children(self) -> list[str]:
        """Return what to relax next: of some swaps of each parent the lowest before relaxation."""
        families = [self._swaps_of(parent) for parent in self._parents()]
        unknown = [m for m in dict.fromkeys(chain(*families)) if m not in self.static_ev]
        if unknown:
            energies = self.landscape.static_ev(unknown).tolist()
            self.static_ev |= dict(zip(unknown, energies, strict=True))
        chosen: dict[str, None] = {}
        for family in families:
            fresh = [mask for mask in family if mask not in chosen]
            if fresh:
                chosen[min(fresh, key=self.static_ev.__getitem__)] = None
        return list(chosen)

    def _parents(self) -> list[str]:
        """Return relaxed orderings that have swaps left, drawn by their weights."""
        open_ones = [m for m, e in self.relaxed_ev.items() if np.isfinite(e) and self._left(m)]
        if not open_ones:
            return []
        energies = np.array([self.relaxed_ev[mask] for mask in open_ones])
        share = min(len(self.relaxed_ev) / self.n_relaxed, 1.0)
        kt_ev = _HOTTEST_EV * (_COLDEST_EV / _HOTTEST_EV) ** share
        weights = np.exp(-(energies - energies.min()) / kt_ev)
        drawn = self.rng.choice(open_ones, BATCH, p=weights / weights.sum())
        return [str(mask) for mask in drawn]

    def _left(self, mask: str) -> list[str]:
        """Return the swaps of an ordering that are not relaxed yet."""
        if mask not in self._neighbours:
            self._neighbours[mask] = list(self.landscape.neighbours(mask))
        left = [other for other in self._neighbours[mask] if other not in self.relaxed_ev]
        self._neighbours[mask] = left
        return left

    def _swaps_of(self, parent: str) -> list[str]:
        left = self._left(parent)
        n = min(_N_SWAPS, len(left))
        return [left[i] for i in self.rng.choice(len(left), n, replace=False)]

"""Whole numbers of atoms for a supercell: the refined composition, or the nearest neutral one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, product

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from lycb_flows.crystals.charges import guessed_charges
from lycb_flows.crystals.distances import summed_shares
from lycb_flows.errors import InputError

OCCUPANCY_TOLERANCE = 1e-3 + 1e-9
"""A refined occupancy has three digits; per site. The rest lets 0.999 and 0.501 hold as floats."""

Shares = Sequence[Mapping[str, float]]

_TWO_DIGITS = 5e-3 + 1e-9
_NEUTRAL = 1e-6
_MOST_CHARGE = 0.04
"""Charge per atom up to which a refined composition counts as neutral, its rest as rounding."""
_WINDOW = 3  # atoms on either side of the refined number
_MOST_TRIED = 8_000
_KEPT = 8


@dataclass(frozen=True)
class ChosenComposition:
    """Atoms of each species in a supercell, and how far they are from the refined ones.

    Attributes
    ----------
    atoms
        Species -> number.
    deviation
        Species -> (chosen - refined) atoms per site that may hold it.
    relative
        Species -> (chosen - refined) over the refined number.
    charges
        Oxidation state of each species.
    refined_charge
        That of the refined composition, in e per atom.
    """

    atoms: Mapping[str, int]
    deviation: Mapping[str, float]
    relative: Mapping[str, float]
    charges: Mapping[str, float]
    refined_charge: float = 0.0

    @property
    def is_charged(self) -> bool:
        """Whether it carries a charge."""
        return abs(self.charge) > _NEUTRAL

    @property
    def is_refined_neutral(self) -> bool:
        """Whether the charge of the refined composition may be its rounding."""
        return abs(self.refined_charge) <= _MOST_CHARGE

    @property
    def charge(self) -> float:
        """The charge of the supercell in e."""
        return _charge(self.atoms, self.charges)

    @property
    def worst(self) -> float:
        """The largest relative change of a species."""
        return max((abs(value) for value in self.relative.values()), default=0.0)


def refined_composition(shares: Shares, n_cells: int, supercell: str) -> dict[str, int]:
    """Return the atoms of each species in a supercell: the refined formula, an exact multiple.

    Parameters
    ----------
    shares
        Element -> occupancy of each site of the cell.
    n_cells
        Cells in the supercell.
    supercell
        What messages call it.

    Raises
    ------
    InputError
        When the refined sums, within their own precision, are whole numbers only in
        another supercell.
    """
    per_cell = _fractions(shares, OCCUPANCY_TOLERANCE)
    multiple = _multiple(per_cell)
    if n_cells % multiple:
        rough = _multiple(_fractions(shares, _TWO_DIGITS))
        nearest = "--auto, or composition: nearest"
        if rough < multiple:
            nearest += f" ({rough} unit cells fit what two digits can say)"
        sums = summed_shares(shares)
        raise InputError(
            "the composition cannot be made commensurate with this supercell",
            fix=f"use a multiple of {multiple} unit cells, {nearest}, "
            "or refine the occupancies in the CIF",
            supercell=supercell,
            found=" ".join(f"{s}{n:.6g}" for s, n in sorted(sums.items())),
        )
    return {s: int(n * n_cells) for s, n in per_cell.items()}


def _multiple(per_cell: Mapping[str, Fraction]) -> int:
    return math.lcm(*(n.denominator for n in per_cell.values()))


def _fractions(shares: Shares, tolerance: float) -> dict[str, Fraction]:
    n_sites = Counter(species for site in shares for species in site)
    return {s: _simplest(n, tolerance * n_sites[s]) for s, n in summed_shares(shares).items()}


def _simplest(value: float, tolerance: float) -> Fraction:
    """Return the positive fraction of smallest denominator within the tolerance of a value."""
    denominator = 1
    while True:
        numerator = round(value * denominator)
        if numerator and abs(value - numerator / denominator) <= tolerance:
            return Fraction(numerator, denominator)
        denominator += 1


@dataclass(frozen=True)
class _Sublattice:
    """Species that share sites, and how many atoms of them the sites can hold."""

    species: tuple[str, ...]
    fewest: int
    most: int

    def holds(self, atoms: Mapping[str, int]) -> bool:
        return self.fewest <= sum(atoms[s] for s in self.species) <= self.most


def nearest_compositions(
    shares: Shares,
    n_cells: int,
    charges: Mapping[str, float] | None,
    traces: Collection[str] = (),
) -> list[ChosenComposition]:
    """Return compositions near the refined one, the neutral and nearest first.

    Where the refined one is far from neutral (atoms that the file lacks), one species makes up
    for its charge as far as the sites allow.

    Parameters
    ----------
    shares
        Element -> occupancy of each site of the cell.
    n_cells
        Cells in the supercell.
    charges
        Oxidation states; those that are not given are guessed, and none counts if it is empty.
    traces
        Species that may be left out.
    """
    sums, n_sites = summed_shares(shares), Counter(s for site in shares for s in site)
    charges = {} if charges == {} else guessed_charges(sums, charges)
    refined = {s: n * n_cells for s, n in sums.items()}
    lattices = _sublattices(shares, n_cells)
    exact = _exact(shares, n_cells)
    refined_charge = _charge(sums, charges) / sum(sums.values())
    least = {s: 0 if s in traces else 1 for s in refined}
    tried = _candidates(refined, least, charges, fixed=_fixed(shares))
    chosen = [
        ChosenComposition(
            atoms=atoms,
            deviation={s: (n - refined[s]) / (n_cells * n_sites[s]) for s, n in atoms.items()},
            relative={s: n / refined[s] - 1 for s, n in atoms.items()},
            charges=charges,
            refined_charge=refined_charge,
        )
        for atoms in [*([exact] if exact else []), *tried]
        if all(lattice.holds(atoms) for lattice in lattices)
    ]
    order = sorted(chosen, key=lambda c: (round(abs(c.charge), 6), c.atoms != exact, _distance(c)))
    return order[:_KEPT]


def _exact(shares: Shares, n_cells: int) -> dict[str, int] | None:
    n_sites, sums = Counter(s for site in shares for s in site), summed_shares(shares)
    atoms = {s: round(n * n_cells) for s, n in sums.items()}
    fits = all(
        n and abs(sums[s] - n / n_cells) <= OCCUPANCY_TOLERANCE * n_sites[s]
        for s, n in atoms.items()
    )
    return atoms if fits else None


def _distance(chosen: ChosenComposition) -> float:
    """Return the sum of squares of the relative changes, each at least that of its sites."""
    return sum(chosen.relative[s] ** 2 + chosen.deviation[s] ** 2 for s in chosen.atoms)


def _charge(atoms: Mapping[str, float], charges: Mapping[str, float]) -> float:
    return sum(charges.get(s, 0.0) * n for s, n in atoms.items())


def _fixed(shares: Shares) -> set[str]:
    """Return the species of which every site holds nothing else and is full."""
    held = {s: [site for site in shares if s in site] for s in {s for site in shares for s in site}}
    return {
        s
        for s, sites in held.items()
        if all(len(site) == 1 and site[s] >= 1 - OCCUPANCY_TOLERANCE for site in sites)
    }


def _candidates(
    refined: Mapping[str, float],
    least: Mapping[str, int],
    charges: Mapping[str, float],
    *,
    fixed: Collection[str],
) -> list[dict[str, int]]:
    """Return whole numbers around the refined ones; one species balances what is not neutral."""
    spans = {
        s: range(round(n), round(n) + 1) if s in fixed else _span(n, least[s])
        for s, n in sorted(refined.items())
    }
    every, carried = [spans], _charge(refined, charges)
    if abs(carried) > _MOST_CHARGE * sum(refined.values()):
        balancing = [s for s in spans if charges.get(s) and s not in fixed]
        every += [
            spans | {s: _span(refined[s] - carried / charges[s], least[s])} for s in balancing
        ]
    found = dict.fromkeys(ns for each in every for ns in _near(list(each.values())))
    return [dict(zip(spans, ns, strict=True)) for ns in found]


def _span(number: float, fewest: int) -> range:
    return range(max(fewest, math.floor(number) - _WINDOW + 1), math.floor(number) + _WINDOW + 1)


def _near(spans: Sequence[range]) -> list[tuple[int, ...]]:
    while math.prod(map(len, spans)) > _MOST_TRIED:
        longest = max(range(len(spans)), key=lambda k: len(spans[k]))
        span = spans[longest]
        spans = [*spans[:longest], range(span.start + 1, span.stop), *spans[longest + 1 :]]
    return list(islice(product(*spans), _MOST_TRIED))


def _sublattices(shares: Shares, n_cells: int) -> list[_Sublattice]:
    species = sorted({s for site in shares for s in site})
    holds = np.array([[s in site for s in species] for site in shares])
    link = csr_array(holds.astype(float))
    _, group = connected_components(link.T @ link, directed=False)
    found = []
    for number in dict.fromkeys(group.tolist()):
        inside = np.flatnonzero(holds[:, group == number].any(axis=1)).tolist()
        full = sum(sum(shares[i].values()) >= 1 - OCCUPANCY_TOLERANCE for i in inside)
        names = tuple(s for s, g in zip(species, group, strict=True) if g == number)
        found.append(_Sublattice(names, full * n_cells, len(inside) * n_cells))
    return found

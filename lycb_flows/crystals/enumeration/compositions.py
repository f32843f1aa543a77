"""Whole numbers of atoms for a supercell: the refined composition, or the nearest neutral one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from heapq import nsmallest
from operator import itemgetter

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from lycb_flows.crystals.charges import guessed_charges
from lycb_flows.crystals.distances import summed_shares
from lycb_flows.errors import InputError

OCCUPANCY_TOLERANCE = 1e-3 + 1e-9
"""A refined occupancy has three digits; per site. The rest lets 0.999 and 0.501 hold as floats."""

Shares = Sequence[Mapping[str, float]]
_Distant = tuple[float, dict[str, int]]  # atoms, and the sum of squares of their relative changes

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
    exact = _exact(shares, n_cells, lattices)
    refined_charge = _charge(sums, charges) / sum(sums.values())
    least = {s: 0 if s in traces else 1 for s in refined}
    tried = _candidates(refined, least, charges, fixed=_fixed(shares), lattices=lattices)
    chosen = [
        ChosenComposition(
            atoms=atoms,
            deviation={s: (n - refined[s]) / (n_cells * n_sites[s]) for s, n in atoms.items()},
            relative={s: n / refined[s] - 1 for s, n in atoms.items()},
            charges=charges,
            refined_charge=refined_charge,
        )
        for atoms in [*([exact] if exact else []), *tried]
    ]
    order = sorted(chosen, key=lambda c: (round(abs(c.charge), 6), c.atoms != exact, _distance(c)))
    return order[:_KEPT]


def _exact(shares: Shares, n_cells: int, lattices: Sequence[_Sublattice]) -> dict[str, int] | None:
    n_sites, sums = Counter(s for site in shares for s in site), summed_shares(shares)
    atoms = {s: round(n * n_cells) for s, n in sums.items()}
    fits = all(
        n and abs(sums[s] - n / n_cells) <= OCCUPANCY_TOLERANCE * n_sites[s]
        for s, n in atoms.items()
    )
    return atoms if fits and all(lattice.holds(atoms) for lattice in lattices) else None


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
    lattices: Sequence[_Sublattice],
) -> list[dict[str, int]]:
    """Return whole numbers around the refined ones; one species balances what is not neutral."""
    spans = {s: range(round(n), round(n) + 1) for s, n in refined.items() if s in fixed}
    every, carried = [refined], _charge(refined, charges)
    if abs(carried) > _MOST_CHARGE * sum(refined.values()):
        balancing = [s for s in sorted(refined) if charges.get(s) and s not in fixed]
        every += [{**refined, s: refined[s] - carried / charges[s]} for s in balancing]
    found = dict[tuple[int, ...], None]()
    for centres in every:
        numbers = {
            s: [
                (((n - centre) / refined[s]) ** 2, {s: n})
                for n in spans.get(s, _span(centre, least[s]))
            ]
            for s, centre in centres.items()
        }
        near = _near(numbers, lattices)
        found |= dict.fromkeys(sorted(tuple(atoms[s] for s in sorted(refined)) for atoms in near))
    return [dict(zip(sorted(refined), ns, strict=True)) for ns in found]


def _span(number: float, fewest: int) -> range:
    return range(max(fewest, math.floor(number) - _WINDOW + 1), math.floor(number) + _WINDOW + 1)


def _near(
    numbers: Mapping[str, list[_Distant]], lattices: Sequence[_Sublattice]
) -> Iterator[dict[str, int]]:
    """Yield the atoms nearest to the refined ones that each sublattice can hold."""
    found: list[_Distant] = [(0.0, {})]
    for lattice in lattices:
        inside: list[_Distant] = [(0.0, {})]
        for species in lattice.species:
            inside = _nearest_sums(inside, sorted(numbers[species], key=itemgetter(0)))
        found = _nearest_sums(found, [each for each in inside if lattice.holds(each[1])])
    return (atoms for _, atoms in found)


def _nearest_sums(first: Sequence[_Distant], second: Sequence[_Distant]) -> list[_Distant]:
    """Return atoms of both with the smallest sums of distances; both and the result ascend."""
    # the first i and the second j come after (i + 1)(j + 1) - 1 pairs that are as near or nearer
    pairs = (
        (near + far, atoms | more)
        for i, (near, atoms) in enumerate(first)
        for far, more in second[: _MOST_TRIED // (i + 1)]
    )
    return nsmallest(_MOST_TRIED, pairs, key=itemgetter(0))


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

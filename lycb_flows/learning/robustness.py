"""A card of what a model does where it has no labels: short pairs, strained cells, other elements.

Fine-tuning on one material may lose the repulsion at short distances and everything else that a
foundation model had learned. Nothing here is compared with DFT: the first two parts ask whether
energies rise as they must, the third how far forces moved from those of a reference, which is the
model before the training.

>>> card = robustness_card(child, crystals, reference=parent)
>>> card.wall_ang["Li-Cl"], card.lengths_that_hold, card.force_change_ev_per_ang
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pymatgen.core.periodic_table import Element

from lycb_flows.crystals import canonical_structure, to_ase
from lycb_flows.errors import InputError
from lycb_flows.learning.labelled import LabelledStructure
from lycb_flows.potentials import Potential
from lycb_flows.schemas import Structure

NEAREST_ANG = 0.8
"""Where the scans of pairs end."""
_STEP_ANG = 0.1
_LENGTHS = np.round(np.arange(0.8, 1.2001, 0.02), 2)
_RATTLE_ANG, _STRAIN = 0.05, 0.06
_N_OTHERS = 6
_REPLAY = 1  # the card's crystals have another stream of random numbers
_LAST_ROW = 6  # heavier elements are radioactive

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Robustness:
    """The card of a model.

    Attributes
    ----------
    wall_ang
        By pair of elements: the smallest distance down to which the energy rises with every step as
        two neighbours of a crystal approach each other; `NEAREST_ANG` is the end of the scan.
    lengths_that_hold
        Smallest and largest factor of all cell edges between which the energy rises with every
        step away from its minimum; 0.8 and 1.2 are the ends of the scan.
    force_change_ev_per_ang
        Mean of |F - F_reference| over components, on crystals of other elements; None without a
        reference, or for a model that does not know these elements.
    other_forces_ev_per_ang
        Mean of |F_reference| there.
    """

    wall_ang: dict[str, float]
    lengths_that_hold: tuple[float, float]
    force_change_ev_per_ang: float | None
    other_forces_ev_per_ang: float | None


def robustness_card(
    potential: Potential, crystals: Sequence[Structure], reference: Potential | None = None
) -> Robustness:
    """Return the card of a model.

    Parameters
    ----------
    potential
        The model.
    crystals
        Crystals near their minima; each pair of elements is taken from the first that has it, and
        each length has to hold in all of them.
    reference
        The model before its training.

    Raises
    ------
    InputError
        Without crystals.
    PhysicsError
        When an energy is not finite.
    """
    if not crystals:
        raise InputError("no crystal to look at", fix="give at least one")
    cells = [to_ase(crystal) for crystal in crystals]
    lengths = np.array([_lengths_that_hold(potential, atoms) for atoms in cells])
    change, size = _change_elsewhere(potential, crystals, reference)
    return Robustness(
        wall_ang={
            pair: _wall_ang(potential, atoms, *members)
            for pair, (atoms, members) in _pairs(cells).items()
        },
        lengths_that_hold=(float(lengths[:, 0].max()), float(lengths[:, 1].min())),
        force_change_ev_per_ang=change,
        other_forces_ev_per_ang=size,
    )


def other_chemistries(crystals: Sequence[Structure], n_each: int, seed: int = 0) -> list[Structure]:
    """Return crystals with elements of the same groups in place of their own.

    Cells are scaled by the mean atomic radius, strained by up to 6 % and rattled by 0.05 Å.

    Parameters
    ----------
    crystals
        The crystals.
    n_each
        How many are made of each.
    seed
        Of elements, strains and displacements.
    """
    rng = np.random.default_rng(seed)
    return [_swapped(to_ase(crystal), rng) for crystal in crystals for _ in range(n_each)]


def replayed(
    parent: Potential, labelled: Sequence[LabelledStructure], share: float, seed: int
) -> list[LabelledStructure]:
    """Return other chemistries with the parent's own predictions as labels.

    Training on them beside the labels keeps the child near its parent there.

    Parameters
    ----------
    parent
        The model that is trained, its reference energies shifted.
    labelled
        The labels of the training.
    share
        How many are made, per label.
    seed
        Of crystals, elements, strains and displacements.
    """
    rng = np.random.default_rng((_REPLAY, seed))
    chosen = rng.choice(len(labelled), size=round(share * len(labelled)))
    crystals = [labelled[place].structure for place in chosen]
    made = other_chemistries(crystals, 1, seed=int(rng.integers(2**31)))
    points = parent.predict(made)
    return [
        LabelledStructure(structure=structure, system="replay", **vars(point))
        for structure, point in zip(made, points, strict=True)
    ]


def _swapped(atoms: Atoms, rng: np.random.Generator) -> Structure:
    symbols = sorted(set(atoms.get_chemical_symbols()))
    swaps = {symbol: str(rng.choice(_relatives(symbol))) for symbol in symbols}
    swapped = atoms.copy()
    swapped.set_chemical_symbols([swaps[symbol] for symbol in atoms.get_chemical_symbols()])
    strain = np.eye(3) + rng.uniform(-_STRAIN, _STRAIN, (3, 3)) * np.eye(3)
    scale = _mean_radius_ang(swapped) / _mean_radius_ang(atoms)
    swapped.set_cell(scale * atoms.cell.array @ strain, scale_atoms=True)
    swapped.positions += rng.normal(0, _RATTLE_ANG, swapped.positions.shape)
    return canonical_structure(swapped)


def _mean_radius_ang(atoms: Atoms) -> float:
    return float(np.mean([Element(symbol).atomic_radius for symbol in atoms.symbols]))


def _relatives(symbol: str) -> list[str]:
    """Return the other elements of an element's group that have an atomic radius."""
    own = Element(symbol)
    return [
        other.symbol
        for other in Element
        if other.group == own.group
        and other is not own
        and 1 < other.row <= _LAST_ROW
        and other.atomic_radius
    ] or [symbol]


def _change_elsewhere(
    potential: Potential, crystals: Sequence[Structure], reference: Potential | None
) -> tuple[float | None, float | None]:
    if reference is None:
        return None, None
    others = other_chemistries(crystals, _N_OTHERS)
    try:
        found, known = (
            np.concatenate([point.forces_ev_per_ang for point in each.predict(others)])
            for each in (potential, reference)
        )
    except InputError:  # a student knows the elements of its labels alone
        return None, None
    return float(np.abs(found - known).mean()), float(np.abs(known).mean())


def _lengths_that_hold(potential: Potential, atoms: Atoms) -> tuple[float, float]:
    cells = []
    for length in _LENGTHS:
        scaled = atoms.copy()
        scaled.set_cell(length * atoms.cell.array, scale_atoms=True)
        cells.append(scaled)
    energies = _energies_ev(potential, cells)
    lowest = int(np.argmin(energies))
    smallest = lowest - _n_rising(energies[lowest::-1])
    largest = lowest + _n_rising(energies[lowest:])
    return float(_LENGTHS[smallest]), float(_LENGTHS[largest])


def _wall_ang(potential: Potential, atoms: Atoms, i: int, j: int) -> float:
    """Return the distance down to which the energy rises as two atoms approach each other."""
    vector = atoms.get_distance(i, j, mic=True, vector=True)
    start = float(np.linalg.norm(vector))
    distances = np.append(np.arange(start, NEAREST_ANG, -_STEP_ANG), NEAREST_ANG)
    moved = []
    for distance in distances:
        closer = atoms.copy()
        shift = 0.5 * (1 - distance / start) * vector
        closer.positions[i] += shift
        closer.positions[j] -= shift
        moved.append(closer)
    energies = _energies_ev(potential, moved)
    lowest = int(np.argmin(energies[: 1 + len(energies) // 2]))  # the pair may be stretched
    return float(distances[lowest + _n_rising(energies[lowest:])])


def _pairs(cells: Sequence[Atoms]) -> dict[str, tuple[Atoms, tuple[int, int]]]:
    """Return the nearest two atoms of each pair of elements, with their crystal."""
    found: dict[str, tuple[Atoms, tuple[int, int]]] = {}
    for atoms in cells:
        symbols = atoms.get_chemical_symbols()
        distances = atoms.get_all_distances(mic=True)
        np.fill_diagonal(distances, np.inf)
        nearest: dict[str, tuple[float, tuple[int, int]]] = {}
        for i, j in zip(*np.triu_indices(len(atoms), 1), strict=True):
            pair = "-".join(sorted((symbols[i], symbols[j])))
            if pair not in found and distances[i, j] < nearest.get(pair, (np.inf,))[0]:
                nearest[pair] = (float(distances[i, j]), (int(i), int(j)))
        found |= {pair: (atoms, members) for pair, (_, members) in nearest.items()}
    return found


def _energies_ev(potential: Potential, cells: Sequence[Atoms]) -> Array:
    points = potential.predict([canonical_structure(atoms) for atoms in cells])
    return np.array([point.energy_ev for point in points])


def _n_rising(energies: Array) -> int:
    """Return how many steps from the first value on go up."""
    falls = np.flatnonzero(np.diff(energies) <= 0)
    return int(falls[0]) if len(falls) else len(energies) - 1

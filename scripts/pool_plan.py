"""What the pool of DFT labels holds: every run of MD, in the order in which it is labelled.

    scripts/pool_plan.py FOLDER

counts the labels in FOLDER/*.extxyz by system and split, beside the plan, and by temperature.
Nothing here computes. A run is known by its name, which also makes its seed, so runs can be added
without moving the seeds of others. Labels that test come from runs and seeds of their own.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MAX_STRAIN = 0.04
Lattice = Literal["C2/m", "P-3m1", "P-3c1"]
Split = Literal["train", "validation", "test"]
TestSet = Literal["", "near-ground-state", "parents", "mixed"]
# temperature in K, mean strain, spread of the strain's other components
Condition = tuple[float, float, float]

TRAINING: tuple[Condition, ...] = (
    (800.0, 0.02, 0.01),
    (200.0, -0.03, 0.01),
    (500.0, 0.03, 0.01),
    (700.0, -0.02, 0.02),
    (400.0, -0.04, 0.0),
    (300.0, 0.04, 0.0),
)
COLD_AND_HOT: tuple[Condition, ...] = ((100.0, 0.01, 0.02), (800.0, -0.03, 0.01))
VALIDATION: tuple[Condition, ...] = ((600.0, -0.01, 0.01), (350.0, 0.02, 0.0))
TEST_STRAINS = (0.0, 0.02, -0.02)
NEAR_GROUND_STATE: tuple[Condition, ...] = ((0.0, 0.0, 0.0),)


@dataclass(frozen=True)
class Cell:
    """A relaxed ordering of Li3YCl(6-x)Br(x).

    Attributes
    ----------
    lattice
        The parent whose sites it fills; P-3c1 is one ordering of P-3m1 in 60 atoms.
    n_atoms
        In the cell; ten are one formula unit.
    x
        Bromine atoms per formula unit.
    rank
        Its place among the candidates of this lattice, size and x by energy, from 0.
    """

    lattice: Lattice
    n_atoms: int
    x: float
    rank: int = 0

    @property
    def system(self) -> str:
        """The formula and the lattice, e.g. 'Li3YCl3Br3 C2/m'."""
        counts = {"Cl": 6 - self.x, "Br": self.x}
        halides = "".join(f"{symbol}{n:g}" for symbol, n in counts.items() if n)
        return f"Li3Y{halides} {self.lattice}"


@dataclass(frozen=True)
class Run:
    """A run of MD in a fixed, strained cell, or at 0 K the relaxed cell itself."""

    cell: Cell
    split: Split
    test_set: TestSet
    condition: Condition
    n_frames: int = 1

    @property
    def temperature_k(self) -> float:
        """The thermostat's temperature; 0 where nothing moves."""
        return self.condition[0]

    @property
    def name(self) -> str:
        """All that the run is made from, without spaces."""
        temperature_k, strain, spread = self.condition
        cell = self.cell
        return (
            f"{cell.lattice}:{cell.n_atoms}:x={cell.x:g}:rank={cell.rank}:{self.split}:"
            f"{temperature_k:g}K:{strain:+g}:{spread:g}"
        )

    @property
    def seed(self) -> int:
        """The seed of the velocities and of the strain."""
        return int(hashlib.sha256(self.name.encode()).hexdigest()[:7], 16)

    @property
    def strain(self) -> NDArray[np.float64]:
        """The symmetric strain (3, 3): its mean as stated, the rest drawn by the seed.

        No principal strain is beyond `MAX_STRAIN`.
        """
        _, mean, spread = self.condition
        drawn = np.random.default_rng(self.seed).uniform(-spread, spread, (3, 3))
        rest = (drawn + drawn.T) / 2
        rest -= np.eye(3) * np.trace(rest) / 3
        largest = np.abs(np.linalg.eigvalsh(rest)).max()
        if largest > MAX_STRAIN - abs(mean):
            rest *= (MAX_STRAIN - abs(mean)) / largest
        return mean * np.eye(3) + rest


def pool_plan() -> list[Run]:
    """Return all runs in the order in which they are labelled.

    The cheap cells that teach most come first. Within each part all kinds of runs come in turn,
    so that a pool which ends early has training, validation and test labels of what it has.
    """
    parts = (
        _parents_in_10_atoms(),
        _mixed_halides(),
        _bromide_in_20_atoms(),
        _chloride_in_30_atoms(),
        _chloride_in_60_atoms(),
    )
    return [run for part in parts for run in _in_turn(part)]


Groups = Iterator[list[Run]]


def _parents_in_10_atoms() -> Groups:
    for x, step_k in ((6, 50), (0, 100)):
        cells = _cells("C2/m", 10, x, ranks=(0, 1))
        yield _each(cells, "train", TRAINING, n_frames=2)
        yield _each(cells, "validation", VALIDATION)
        yield _cycled(cells, "parents", range(300, 701, step_k))


def _mixed_halides() -> Groups:
    """Test cells have other ranks than those that train."""
    for x in range(7):
        cells = _cells("C2/m", 10, x, ranks=(0, 1))
        yield _each(cells, "test", NEAR_GROUND_STATE, test_set="near-ground-state")
    yield _each(_cells("C2/m", 10, 3, ranks=(2, 7, 13)), "train", TRAINING)
    yield _each(_cells("C2/m", 10, 3, ranks=(10,)), "validation", VALIDATION)
    yield _cycled(_cells("C2/m", 10, 3, ranks=(0, 5, 16)), "mixed", range(300, 701, 50))
    for x in (1.5, 4.5):  # three of twelve halides: 20 atoms are the smallest cell
        yield _each(_cells("C2/m", 20, x, ranks=(20, 80)), "train", TRAINING)
        yield _each(_cells("C2/m", 20, x, ranks=(50,)), "validation", VALIDATION)
        tests = _cells("C2/m", 20, x, ranks=(0, 35, 100))
        yield _cycled(tests, "mixed", (300, 400, 450, 500, 600, 700))


def _bromide_in_20_atoms() -> Groups:
    cells = _cells("C2/m", 20, 6, ranks=(0, 1))
    yield _each(cells, "train", TRAINING)
    yield _each(_cells("C2/m", 20, 6, ranks=(2,)), "validation", VALIDATION)
    yield _cycled(_cells("C2/m", 20, 6, ranks=(3,)), "parents", (300, 600))


def _chloride_in_30_atoms() -> Groups:
    yield _each(_cells("P-3m1", 30, 0, ranks=(0, 1, 2)), "train", TRAINING)
    yield _each(_cells("P-3m1", 30, 0, ranks=(4,)), "validation", VALIDATION)
    yield _cycled(_cells("P-3m1", 30, 0, ranks=(0, 3)), "parents", range(300, 701, 50))
    for x in (0, 3, 6):
        near = _cells("P-3m1", 30, x, ranks=(0, 1))
        yield _each(near, "test", NEAR_GROUND_STATE, test_set="near-ground-state")
    for x in (3, 6):
        yield _each(_cells("P-3m1", 30, x, ranks=(2,)), "train", COLD_AND_HOT)


def _chloride_in_60_atoms() -> Groups:
    cells = _cells("P-3c1", 60, 0, ranks=(0,))
    yield _each(cells, "train", (*TRAINING, *COLD_AND_HOT))
    yield _each(cells, "validation", VALIDATION)
    yield _cycled(cells, "parents", (400, 600))


def _cells(lattice: Lattice, n_atoms: int, x: float, *, ranks: Iterable[int]) -> list[Cell]:
    return [Cell(lattice, n_atoms, x, rank) for rank in ranks]


def _each(
    cells: Sequence[Cell],
    split: Split,
    conditions: Iterable[Condition],
    *,
    n_frames: int = 1,
    test_set: TestSet = "",
) -> list[Run]:
    """Return a run of every cell at every condition."""
    pairs = product(conditions, cells)
    return [Run(cell, split, test_set, condition, n_frames) for condition, cell in pairs]


def _cycled(cells: Sequence[Cell], test_set: TestSet, temperatures_k: Iterable[float]) -> list[Run]:
    """Return a test run per temperature, the cells and strains in turn."""
    return [
        Run(
            cells[i % len(cells)],
            "test",
            test_set,
            (float(temperature_k), TEST_STRAINS[i % len(TEST_STRAINS)], 0.0),
        )
        for i, temperature_k in enumerate(temperatures_k)
    ]


def _in_turn(groups: Iterable[list[Run]]) -> list[Run]:
    """Return the runs of all groups, each group spread evenly over the whole."""
    places = [((i + 0.5) / len(group), run) for group in groups for i, run in enumerate(group)]
    return [run for _, run in sorted(places, key=lambda place: place[0])]


# -- what is there --------------------------------------------------------------------------------

# system, number of atoms, split, test set
Kind = tuple[str, int, str, str]
_FACT = re.compile(r'\b(system|split|test_set|temperature_k)=(?:"([^"]*)"|(\S+))')


def status(folder: Path, plan: Iterable[Run]) -> str:
    """Return a table of the labels there and planned, by system and split."""
    there = Counter(kind for kind, _ in _labels_in(folder))
    planned: Counter[Kind] = Counter()
    for run in plan:
        planned[run.cell.system, run.cell.n_atoms, run.split, run.test_set] += run.n_frames
    rows = ["system              atoms  split       test set           labels  planned"]
    rows += [
        f"{kind[0]:20}{kind[1]:>5}  {kind[2]:12}{kind[3]:19}{there[kind]:6}{planned[kind]:9}"
        for kind in sorted(there | planned)
    ]
    tests = sum(n for kind, n in there.items() if kind[2] == "test")
    return "\n".join([*rows, f"{there.total()} labels, {tests} of them test"])


def by_temperature(folder: Path) -> str:
    """Return a Markdown table of the labels there: those that train or validate / those that test.

    Relaxed cells without MD are at 0 K.
    """
    counts: dict[tuple[str, int], dict[float, list[int]]] = {}
    for (system, n_atoms, split, _), temperature_k in _labels_in(folder):
        of_cell = counts.setdefault((system, n_atoms), {})
        of_cell.setdefault(temperature_k, [0, 0])[split == "test"] += 1
    temperatures_k = sorted({each for of_cell in counts.values() for each in of_cell})
    rows = [f"| system | atoms | {' | '.join(f'{each:g} K' for each in temperatures_k)} |"]
    rows.append("|---" * (2 + len(temperatures_k)) + "|")
    for (system, n_atoms), of_cell in sorted(counts.items()):
        pairs = (of_cell.get(each) for each in temperatures_k)
        cells = ("" if pair is None else f"{pair[0]}/{pair[1]}" for pair in pairs)
        rows.append(f"| {system} | {n_atoms} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _labels_in(folder: Path) -> Iterator[tuple[Kind, float]]:
    """Yield the kind and the temperature of each frame of a folder.

    The lines are read here, for ASE takes seconds to import.
    """
    for path in sorted(folder.glob("*.extxyz")):
        lines = path.read_text().splitlines()
        at = 0
        while at < len(lines):
            found = _FACT.findall(lines[at + 1])
            facts = {name: quoted or plain for name, quoted, plain in found}
            n_atoms = int(lines[at])
            kind = (facts["system"], n_atoms, facts["split"], facts.get("test_set", ""))
            yield kind, float(facts["temperature_k"])
            at += n_atoms + 2


if __name__ == "__main__":
    print(status(Path(sys.argv[1]), pool_plan()), by_temperature(Path(sys.argv[1])), sep="\n\n")

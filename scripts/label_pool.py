"""A pool of real DFT labels, made one by one: GPAW at the level `paper-pool`.

    scripts/label_pool.py FOLDER

Walks `pool_plan.pool_plan()`: relaxes the cell of each run by CHGNet, runs short MD in the strained
cell, labels its frames and adds each label to FOLDER/pool.extxyz as soon as it is made. What stands
in any FOLDER/*.extxyz is not computed again: a frame is known by its run and number, so another
machine, whose MD differs in the last digits, goes on where this one stopped; or by its crystal.
A frame that gets no label is named and tried again by the next call. `scripts/pool.sh` starts it
in the background; `scripts/pool_plan.py FOLDER` counts what is there.
"""

from __future__ import annotations

import functools
import io
import resource
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from dft_frames import RELAXATION, frames_of_run, monoclinic_orderings
from pool_plan import Cell, Run, pool_plan

import lycb_flows as lf
from lycb_flows.config import DecorationConfig, EnumerationConfig, GpawLabeler
from lycb_flows.crystals.relaxed import Relaxed
from lycb_flows.crystals.structures import canonical_structure, structure_from_arrays
from lycb_flows.errors import LabelError, PhysicsError
from lycb_flows.labels.foreign.reading import read_extxyz
from lycb_flows.labels.foreign.stated_level import level_of_fingerprint
from lycb_flows.labels.foreign.writing import labelled_atoms
from lycb_flows.labels.gpaw.labeler import Gpaw
from lycb_flows.labels.theory import Theory
from lycb_flows.machine.files import write_durably
from lycb_flows.potentials.potential import Potential
from lycb_flows.relaxation.by_model import relax_many
from lycb_flows.schemas import Label, Structure

POOL = "pool.extxyz"
LEVEL = "paper-pool"
# the P-3c1 ordering that is lowest after relaxation, LYC0 of the paper
LYC0 = 2807
N_DECORATED = 2
DECORATIONS = {"cap": 200, "n_samples": 30}
HALIDES = ("Cl", "Br")
ENDS = {0.0: "Cl", 6.0: "Br"}


class Cells:
    """The relaxed cells of the plan; the candidates of each kind are relaxed when first asked for.

    Parameters
    ----------
    potential
        What relaxes and ranks them.
    """

    def __init__(self, potential: Potential) -> None:
        self._potential = potential
        self.candidates = functools.cache(self._candidates)

    def relaxed(self, cell: Cell) -> Structure:
        """Return the relaxed ordering of a cell of the plan.

        Raises
        ------
        PhysicsError
            When fewer candidates than its rank could be relaxed.
        """
        found = self.candidates(cell.lattice, cell.n_atoms, float(cell.x))
        if cell.rank >= len(found):
            raise PhysicsError(
                "too few relaxed candidates", fix="change the plan", cell=cell, found=len(found)
            )
        return found[cell.rank].structure

    def _candidates(self, lattice: str, n_atoms: int, x: float) -> list[Relaxed]:
        """Return all candidates of one kind by energy; mixed ones decorate the two best ends."""
        if x in ENDS:
            starts = [_filled(one, ENDS[x]) for one in _orderings(lattice, n_atoms)]
        else:
            own_end = 6.0 if lattice == "C2/m" else 0.0
            best = self.candidates(lattice, n_atoms, own_end)[:N_DECORATED]
            starts = [one for end in best for one in _decorations(end.structure, x)]
        outcomes = relax_many(starts, self._potential, RELAXATION)
        relaxed = [one for one in outcomes if isinstance(one, Relaxed) and one.converged]
        return sorted(relaxed, key=lambda one: one.energy_ev_per_atom)


def _orderings(lattice: str, n_atoms: int) -> list[Structure]:
    """Return the orderings of a lattice as refined."""
    if lattice == "C2/m":
        return [canonical_structure(one) for _, one in monoclinic_orderings(n_atoms)]
    layers = 1 if lattice == "P-3m1" else 2
    listing = lf.enumerate_orderings(
        lf.load_parent("Li3YCl6"), EnumerationConfig(supercell=(1, 1, layers))
    )
    indices = range(listing.count) if lattice == "P-3m1" else (LYC0,)
    return [listing.structure(i) for i in indices]


def _filled(structure: Structure, halide: str) -> Structure:
    species = [halide if symbol in HALIDES else symbol for symbol in structure.species]
    return structure_from_arrays(structure.lattice_ang, species, structure.frac_coords)


def _decorations(structure: Structure, x: float) -> list[Structure]:
    listing = lf.enumerate_decorations(structure, DecorationConfig(x=x, **DECORATIONS))
    return [listing.structure(i) for i in range(len(listing.members))]


# -- frames ---------------------------------------------------------------------------------------


def frames_of(run: Run, relaxed: Structure, potential: Potential) -> list[Structure]:
    """Return the frames of a run; at 0 K the relaxed cell itself.

    Parameters
    ----------
    run
        Of the plan.
    relaxed
        Its cell, not yet strained.
    potential
        What moves the atoms.
    """
    lattice = np.array(relaxed.lattice_ang) @ (np.eye(3) + run.strain)
    start = structure_from_arrays(lattice, list(relaxed.species), relaxed.frac_coords)
    if not run.temperature_k:
        return [start]
    return frames_of_run(start, potential, run.temperature_k, run.n_frames, run.seed)


class Pool:
    """The labels of a folder and the file that new ones join.

    Parameters
    ----------
    folder
        With extended XYZ files of ours.
    theory
        What new labels are made at; labels of other levels count where it admits them.
    """

    def __init__(self, folder: Path, theory: Theory) -> None:
        self.path = folder / POOL
        self._theory = theory
        self._slots: set[tuple[str, int]] = set()
        self._crystals: set[str] = set()
        for path in sorted(folder.glob("*.extxyz")):
            for _, found in read_extxyz(path):
                if isinstance(found, LabelError):
                    raise found
                self._know(found.structure, found.notes)

    def _know(self, structure: Structure, notes: Mapping[str, Any]) -> None:
        first, second, third = (int(n) for n in np.ravel(notes["kpoint_mesh"]))
        mesh = (first, second, third)
        own = level_of_fingerprint(str(notes["theory"]), str(notes["theory_name"])).theory
        if own is not None and self._theory.admits(own, structure.lattice_ang, mesh):
            self._crystals.add(structure.key)
            if "run" in notes:
                self._slots.add((str(notes["run"]), int(notes["frame"])))

    def __len__(self) -> int:
        return len(self._crystals)

    def missing(self, run: Run) -> list[int]:
        """Return the numbers of a run's frames that have no label."""
        return [i for i in range(run.n_frames) if (run.name, i) not in self._slots]

    def has(self, structure: Structure) -> bool:
        """Return whether a crystal has a label."""
        return structure.key in self._crystals

    def add(self, structure: Structure, label: Label, run: Run, frame: int, cpu_s: float) -> None:
        """Add a label to the file, which is whole before and after."""
        atoms = labelled_atoms(structure, label)
        atoms.info |= _facts(run, frame) | {"cpu_s": round(cpu_s, 1)}
        append_frame(self.path, atoms)
        self._crystals.add(structure.key)
        self._slots.add((run.name, frame))


def append_frame(path: Path, atoms: Atoms) -> None:
    """Add a frame to an extended XYZ file, which is whole before and after."""
    text = io.StringIO()
    ase.io.write(text, atoms, format="extxyz")
    before = path.read_bytes() if path.exists() else b""
    write_durably(path, before + text.getvalue().encode())


def _facts(run: Run, frame: int) -> dict[str, Any]:
    strain = run.strain
    voigt = [strain[i, j] for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]
    return {
        "split": run.split,
        **({"test_set": run.test_set} if run.test_set else {}),
        "system": run.cell.system,
        "x": float(run.cell.x),
        "rank": run.cell.rank,
        "temperature_k": run.temperature_k,
        "strain": float(np.trace(strain) / 3),
        "strain_voigt": np.round(voigt, 6),
        "run": run.name,
        "seed": run.seed,
        "frame": frame,
    }


# -- labels ---------------------------------------------------------------------------------------


def make_labels(pool: Pool, plan: Iterable[Run], engine: Gpaw, potential: Potential) -> None:
    """Label what is missing, in the plan's order; a failure is printed and passed over."""
    cells = Cells(potential)
    for run in plan:
        missing = pool.missing(run)
        if not missing:
            continue
        try:
            frames = frames_of(run, cells.relaxed(run.cell), potential)
        except PhysicsError as err:
            print(f"{run.name} has no frames: {err}", flush=True)
            continue
        for i in missing:
            if i < len(frames) and not pool.has(frames[i]):
                _label(pool, run, i, frames[i], engine)


def _label(pool: Pool, run: Run, i: int, structure: Structure, engine: Gpaw) -> None:
    begin_s = _cpu_s()
    try:
        label = engine.label(structure)
    except LabelError as err:
        print(f"{run.name} frame {i} failed: {err}", flush=True)
        return
    pool.add(structure, label, run, i, _cpu_s() - begin_s)
    energy_ev = label.energy_ev / len(structure.species)
    force = np.abs(label.forces_ev_per_ang).max()
    print(
        f"{len(pool)} {run.name} frame {i}: {energy_ev:.4f} eV/atom, largest force {force:.2f} "
        f"eV/Å, mesh {label.kpoint_mesh}, {_cpu_s() - begin_s:.0f} CPU s",
        flush=True,
    )


def _cpu_s() -> float:
    """Return the CPU seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Label what the folder lacks."""
    folder, plan = Path(sys.argv[1]), pool_plan()
    engine = Gpaw(GpawLabeler(theory=LEVEL))
    pool = Pool(folder, engine.theory)
    print(f"{len(pool)} labels are there, {sum(run.n_frames for run in plan)} planned", flush=True)
    make_labels(pool, plan, engine, lf.load_model("chgnet-0.3.0"))


if __name__ == "__main__":
    main()

"""Real DFT labels of a few small cells, and what CHGNet learns from them.

    scripts/dft_frames.py FOLDER

Relaxes small cells with CHGNet: the 10-atom orderings of Li3YBr6 (C2/m), the same with chlorine,
and the lowest 30-atom ordering of Li3YCl6 (P-3m1). Runs short MD from 100 to 600 K at several
volumes, labels frames by GPAW at `paper-static`, and fine-tunes. Test frames come from runs of
their own. Labels are kept in FOLDER/store as they are made: run again, it goes on. Writes
FOLDER/li3ybr6_pbe.extxyz, FOLDER/li3ycl6_pbe.extxyz and FOLDER/errors.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
from pymatgen.core.structure import Structure as PymatgenStructure

import lycb_flows as lf
from lycb_flows.config import (
    EnumerationConfig,
    GpawLabeler,
    MDConfig,
    RelaxationConfig,
    SelectionConfig,
    TrainingConfig,
)
from lycb_flows.crystals.structures import canonical_structure, structure_from_arrays, to_pymatgen
from lycb_flows.errors import LycbError
from lycb_flows.labels.foreign.writing import labelled_atoms
from lycb_flows.labels.gpaw.labeler import Gpaw
from lycb_flows.learning.labelled import LabelledStructure, model_errors
from lycb_flows.learning.training import fine_tune, shift_reference
from lycb_flows.potentials.potential import Potential
from lycb_flows.schemas import Label, Structure
from lycb_flows.store import ResultStore, open_store

HALIDES = ("Br", "Cl")
N_ATOMS = 10
# (temperature in K, isotropic strain, frames) of each cell's runs, by what they are for
Runs = dict[str, tuple[tuple[float, float, int], ...]]
RUNS: Runs = {
    "train": ((100.0, 0.0, 2), (300.0, -0.02, 3), (600.0, 0.01, 3)),
    "validation": ((450.0, 0.0, 2),),
    "test": ((300.0, 0.01, 2), (600.0, -0.01, 2)),
}
FEW_RUNS: Runs = {"train": ((600.0, 0.01, 2),), "validation": (), "test": ((450.0, -0.01, 1),)}
DURATION_PS = 2.0
RELAXATION = RelaxationConfig(fmax_ev_per_ang=0.02)


@dataclass(frozen=True)
class Cell:
    """A relaxed ordering and the runs from it."""

    system: str
    ordering: int
    structure: Structure
    runs: Runs
    seed: int


@dataclass(frozen=True)
class Frame:
    """A frame and where it comes from."""

    structure: Structure
    split: str
    cell: Cell
    temperature_k: float
    strain: float


def monoclinic_orderings(n_atoms: int) -> Iterator[tuple[int, PymatgenStructure]]:
    """Yield the orderings of Li3YBr6 whose primitive cell has so many atoms, as refined."""
    listing = lf.enumerate_orderings(
        lf.load_parent("Li3YBr6"), EnumerationConfig(supercell=(1, 1, 1))
    )
    for i in range(listing.count):
        primitive = to_pymatgen(listing.structure(i)).get_primitive_structure()
        if len(primitive) == n_atoms:
            yield i, primitive


def monoclinic_cells(potential: Potential) -> Iterator[Cell]:
    """Yield the 10-atom orderings of Li3YBr6, relaxed, and the same of Li3YCl6."""
    for halide, first_seed in zip(HALIDES, (0, 1000), strict=True):
        for i, primitive in monoclinic_orderings(N_ATOMS):
            primitive.replace_species({"Br": halide})
            relaxed = lf.relax(canonical_structure(primitive), potential, RELAXATION).structure
            yield Cell(f"Li3Y{halide}6 C2/m", i, relaxed, RUNS, first_seed + 100 * i)


def trigonal_cell(potential: Potential) -> Cell:
    """Of the 30-atom orderings of Li3YCl6 the lowest as refined, relaxed."""
    listing = lf.enumerate_orderings(
        lf.load_parent("Li3YCl6"), EnumerationConfig(supercell=(1, 1, 1))
    )
    predicted = potential.predict([listing.structure(i) for i in range(listing.count)])
    lowest = int(np.argmin([one.energy_ev for one in predicted]))
    relaxed = lf.relax(listing.structure(lowest), potential, RELAXATION).structure
    return Cell("Li3YCl6 P-3m1", lowest, relaxed, FEW_RUNS, 2000)


def frames_of_run(
    start: Structure, potential: Potential, temperature_k: float, n_frames: int, seed: int
) -> list[Structure]:
    """Return the most different frames of a short run in a fixed cell."""
    trajectory = lf.run_md(
        start,
        potential,
        MDConfig(heating_ps=0.5, time_step_fs=2.0).nvt(temperature_k, ramp=True),
        duration_ps=DURATION_PS,
        seed=seed,
    )
    return lf.select_frames(trajectory, SelectionConfig(n_frames=n_frames, thinning_fs=100.0))


def sampled_frames(cell: Cell, potential: Potential) -> Iterator[Frame]:
    """Frames of short runs, the most different ones of each."""
    for split, runs in cell.runs.items():
        for seed, (temperature_k, strain, n_frames) in enumerate(runs):
            lattice = np.array(cell.structure.lattice_ang) * (1 + strain)
            start = structure_from_arrays(
                lattice, list(cell.structure.species), cell.structure.frac_coords
            )
            run_seed = cell.seed + 10 * list(RUNS).index(split) + seed
            for structure in frames_of_run(start, potential, temperature_k, n_frames, run_seed):
                yield Frame(structure, split, cell, temperature_k, strain)


def labelled_frames(store: ResultStore, frames: list[Frame]) -> Iterator[tuple[Frame, Label]]:
    """The frames with their labels, looked up first; one that fails is left out and named."""
    engine = Gpaw(GpawLabeler(theory="paper-static"))
    for i, frame in enumerate(frames):
        key = Label.key_of(frame.structure.key, engine.theory.fingerprint)
        store.insert_all([frame.structure])
        try:
            label = store.once(
                Label, key, lambda frame=frame: engine.label(frame.structure), f"frame {i}"
            )
        except LycbError as err:
            print(f"{i + 1}/{len(frames)} failed: {err}", flush=True)
            continue
        print(f"{i + 1}/{len(frames)} {frame.split} {label.made.wall_s:.0f} s", flush=True)
        yield frame, label


def write_frames(pairs: list[tuple[Frame, Label]], path: Path) -> None:
    """Energies in eV, forces in eV/Å, stress in eV/Å^3 (tension positive)."""
    images = []
    for frame, label in pairs:
        atoms = labelled_atoms(frame.structure, label)
        atoms.info |= {
            "split": frame.split,
            **({"test_set": "parents"} if frame.split == "test" else {}),
            "system": frame.cell.system,
            "ordering": frame.cell.ordering,
            "temperature_k": frame.temperature_k,
            "strain": frame.strain,
        }
        images.append(atoms)
    ase.io.write(path, images, format="extxyz")


def errors_table(potential: Potential, pairs: list[tuple[Frame, Label]]) -> str:
    """Errors on the test frames before, after the reference shift alone, and after training."""
    sets = {
        split: [
            LabelledStructure(
                structure=frame.structure,
                energy_ev=label.energy_ev,
                forces_ev_per_ang=np.array(label.forces_ev_per_ang),
                stress_gpa=np.array(label.stress_gpa),
                key=label.key,
            )
            for frame, label in pairs
            if frame.split == split
        ]
        for split in RUNS
    }
    shifted, _ = shift_reference(potential, sets["train"], raw_pbe=True, ridge_ev_per_atom=1.0)
    trained = fine_tune(
        potential, sets["train"], sets["validation"], TrainingConfig(), raw_pbe=True
    )
    models = {
        "CHGNet 0.3.0": potential,
        "after the reference shift": shifted,
        f"after training (epoch {trained.best_epoch})": potential.with_weights(trained.weights),
    }
    lines = [
        "| model | test frames of | energy, meV/atom | forces, meV/Å | stress, GPa | force slope |",
        "|---|---|---|---|---|---|",
    ]
    of_halide = {
        halide: [one for one in sets["test"] if halide in one.structure.species]
        for halide in HALIDES
    }
    for name, model in models.items():
        for halide, test in of_halide.items():
            errors = model_errors(test, model.predict([one.structure for one in test]))
            lines.append(
                f"| {name} | Li3Y{halide}6 | {1e3 * errors.energy_mae_ev_per_atom:.1f} "
                f"| {1e3 * errors.force_mae_ev_per_ang:.0f} | {errors.stress_mae_gpa:.3f} "
                f"| {errors.force_slope:.2f} |"
            )
    counts = ", ".join(f"{len(labels)} {split}" for split, labels in sets.items())
    return "\n".join([*lines, "", f"Frames: {counts}."])


def main() -> None:
    """Frames, labels, data set, table."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    store, potential = open_store(folder / "store"), lf.load_model("chgnet-0.3.0")
    cells = [*monoclinic_cells(potential), trigonal_cell(potential)]
    frames = [frame for cell in cells for frame in sampled_frames(cell, potential)]
    print(f"{len(frames)} frames", flush=True)
    pairs = list(labelled_frames(store, frames))
    for halide in HALIDES:
        those = [pair for pair in pairs if halide in pair[0].structure.species]
        write_frames(those, folder / f"li3y{halide.lower()}6_pbe.extxyz")
    table = errors_table(potential, pairs)
    (folder / "errors.md").write_text(table + "\n")
    print(table)


if __name__ == "__main__":
    main()

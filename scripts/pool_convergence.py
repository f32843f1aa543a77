"""How far the pool's level of theory is from a larger basis and from denser k-points.

    scripts/pool_convergence.py FOLDER/pool.extxyz [--frames 3] [--cutoff-ev 520]
    scripts/pool_convergence.py FOLDER/li3ycl6_pbe.extxyz --denser

Takes frames of the file, of different systems and sizes where it has them, and labels each again:
with a higher cutoff, and with one more k-point along each axis. --denser takes the frames that have
more k-points than the level gives their cells, and labels them at the level. Prints the largest
change of forces and stress and the change of the energy per atom, which for the cutoff is nearly
the same for all frames of one composition and then cancels in the reference shift.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lycb_flows.config import GpawLabeler
from lycb_flows.labels import Theory, checked_numbers, read_extxyz
from lycb_flows.labels.foreign.reading import ForeignLabel
from lycb_flows.labels.gpaw.labeler import Gpaw

LEVEL = "paper-pool"


def different_frames(path: Path, n_frames: int) -> list[ForeignLabel]:
    """Return one moving frame of each kind of crystal, the smallest first, up to a number.

    Parameters
    ----------
    path
        Extended XYZ of the pool.
    n_frames
        How many.
    """
    kinds: dict[tuple[int, str], ForeignLabel] = {}
    for _, label in read_extxyz(path):
        if isinstance(label, ForeignLabel) and label.notes["temperature_k"]:
            kind = (len(label.structure.species), str(label.notes["system"]))
            kinds.setdefault(kind, label)
    return [label for _, label in sorted(kinds.items())][:n_frames]


def denser_frames(path: Path, level: Theory, n_frames: int) -> list[ForeignLabel]:
    """Return the first frames with another mesh than the level gives their cells.

    Parameters
    ----------
    path
        Extended XYZ of labels.
    level
        The level.
    n_frames
        How many.
    """
    found = [label for _, label in read_extxyz(path) if isinstance(label, ForeignLabel)]
    return [
        label
        for label in found
        if level.kpoints is not None
        and tuple(label.notes["kpoint_mesh"]) != level.kpoints.mesh_for(label.structure.lattice_ang)
    ][:n_frames]


def variants(theory: Theory, cutoff_ev: float, mesh: Iterable[int]) -> dict[str, Theory]:
    """Return the level with a higher cutoff, and with a denser mesh whatever the cell.

    Parameters
    ----------
    theory
        The level.
    cutoff_ev
        The higher cutoff.
    mesh
        The frame's own.
    """
    denser = [int(n) + 1 for n in mesh]
    rule = {"rule": "grid", "mesh": denser, "heights_ang": [0.1, 1000.0]}
    fields: dict[str, Any] = theory.model_dump(mode="json")
    return {
        f"{cutoff_ev:g} eV": theory.model_copy(update={"cutoff_ev": cutoff_ev}),
        "x".join(map(str, denser)): Theory.model_validate(fields | {"kpoints": rule}),
    }


def main() -> None:
    """Print a row per frame and variant."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--cutoff-ev", type=float, default=520.0)
    parser.add_argument("--denser", action="store_true")
    wanted = parser.parse_args()
    engine = Gpaw(GpawLabeler(theory=LEVEL))
    level = engine.theory
    print("| frame | atoms | against | meV/atom | largest meV/Å | largest MPa |")
    print("|---|---|---|---|---|---|")
    if wanted.denser:
        for label in denser_frames(wanted.labels, level, wanted.frames):
            compare(label, engine, {LEVEL: level})
        return
    for label in different_frames(wanted.labels, wanted.frames):
        compare(label, engine, variants(level, wanted.cutoff_ev, label.notes["kpoint_mesh"]))


def compare(label: ForeignLabel, engine: Gpaw, levels: Mapping[str, Theory]) -> None:
    """Label a frame again at each level, and print how far that is from its label."""
    forces, stress_gpa = checked_numbers(label.structure, label.answer, counted_from_atoms=False)
    n_atoms = len(label.structure.species)
    for name, theory in levels.items():
        engine.theory = theory
        found = engine.label(label.structure)
        row = (
            label.notes.get("run", label.notes["system"]),
            n_atoms,
            name,
            f"{1e3 * (found.energy_ev - label.answer.energy_ev) / n_atoms:+.3f}",
            f"{1e3 * np.abs(np.array(found.forces_ev_per_ang) - forces).max():.2f}",
            f"{1e3 * np.abs(np.array(found.stress_gpa) - stress_gpa).max():.2f}",
        )
        print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()

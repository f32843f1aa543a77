"""How far the pool's level of theory is from a larger basis and from denser k-points.

    scripts/pool_convergence.py FOLDER/pool.extxyz [--frames 3] [--cutoff-ev 520]

Takes frames of the file, of different systems and sizes where it has them, and labels each again:
with a higher cutoff, and with one more k-point along each axis. Prints the largest change of forces
and stress and the change of the energy per atom, which for the cutoff is nearly the same for all
frames of one composition and then cancels in the reference shift.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
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
    wanted = parser.parse_args()
    engine = Gpaw(GpawLabeler(theory=LEVEL))
    level = engine.theory
    print("| frame | atoms | against | meV/atom | largest meV/Å | largest MPa |")
    print("|---|---|---|---|---|---|")
    for label in different_frames(wanted.labels, wanted.frames):
        forces, stress_gpa = checked_numbers(
            label.structure, label.answer, counted_from_atoms=False
        )
        n_atoms = len(label.structure.species)
        for name, theory in variants(level, wanted.cutoff_ev, label.notes["kpoint_mesh"]).items():
            engine.theory = theory
            found = engine.label(label.structure)
            energy = 1e3 * (found.energy_ev - label.answer.energy_ev) / n_atoms
            force = 1e3 * np.abs(np.array(found.forces_ev_per_ang) - forces).max()
            stress = 1e3 * np.abs(np.array(found.stress_gpa) - stress_gpa).max()
            row = (
                label.notes["run"],
                n_atoms,
                name,
                f"{energy:+.3f}",
                f"{force:.2f}",
                f"{stress:.2f}",
            )
            print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()

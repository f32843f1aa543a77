"""Trajectories in the formats of other programs, written frame by frame.

| file | format | positions |
|---|---|---|
| `*.extxyz`, `*.xyz` | extended XYZ | unwrapped |
| `*.traj` | ASE's own | unwrapped |
| `*.lammpstrj`, `*.dump` | LAMMPS dump, box and columns `xu yu zu` in LAMMPS' frame | unwrapped |
| `XDATCAR*` | VASP 5, cell in every frame | wrapped, as the format has it |

Unwrapped positions are `Trajectory.unwrapped_ang`: their differences are displacements, even
in a cell that changes. An ion that has left its cell is then elsewhere than in the structure, for
the cell that it left has changed; wrapped positions are the structure.

LAMMPS' frame has a along x and b in the xy plane. Where their directions change, as in triclinic
NpT runs, it turns, and differences of `xu yu zu` contain the turn, as in LAMMPS' own dumps: they
are displacements seen from the box. Those of `*.extxyz` and `*.traj` are free of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_extxyz
from ase.io.trajectory import TrajectoryWriter
from ase.io.vasp import write_vasp_xdatcar

from lycb_flows.errors import InputError
from lycb_flows.md.trajectory import Trajectory

_XYZ = (".extxyz", ".xyz")
_LAMMPS = (".lammpstrj", ".dump")


def export_trajectory(trajectory: Trajectory, path: Path) -> None:
    """Write all frames in the format that the file's name asks for.

    Parameters
    ----------
    trajectory
        The frames.
    path
        File to write; see the table above.

    Raises
    ------
    InputError
        When no format has such a name.
    """
    if path.name.startswith("XDATCAR"):
        with path.open("w") as file:
            write_vasp_xdatcar(file, _structures(trajectory))
    elif path.suffix in _XYZ:
        with path.open("w") as file:
            for atoms in to_frames(trajectory):
                write_extxyz(file, [atoms])
    elif path.suffix == ".traj":
        with TrajectoryWriter(path) as writer:
            for atoms in to_frames(trajectory):
                writer.write(atoms)
    elif path.suffix in _LAMMPS:
        with path.open("w") as file:
            for atoms in to_frames(_in_lammps_frame(trajectory)):
                _write_dump_frame(file, atoms)
    else:
        formats = ", ".join(("XDATCAR", ".traj", *_XYZ, *_LAMMPS))
        raise InputError("unknown trajectory format", fix=f"use {formats}", found=path.name)


def to_frames(trajectory: Trajectory) -> Iterator[Atoms]:
    """Yield each frame as Atoms at its unwrapped positions.

    The atoms carry the energy in eV; `info` has step, time, temperature and stress.
    """
    for i, positions in enumerate(trajectory.unwrapped_ang()):
        atoms = Atoms(
            trajectory.species, positions=positions, cell=trajectory.cells_ang[i], pbc=True
        )
        atoms.calc = SinglePointCalculator(atoms, energy=trajectory.potential_energy_ev[i])
        atoms.info = {
            "step": int(trajectory.steps[i]),
            "time_ps": float(trajectory.times_ps[i]),
            "temperature_k": float(trajectory.temperature_k[i]),
            "stress_with_kinetic_part_gpa": trajectory.stress_gpa[i],
        }
        yield atoms


def _structures(trajectory: Trajectory) -> Iterator[Atoms]:
    for atoms, frac_coords in zip(to_frames(trajectory), trajectory.frac_coords, strict=True):
        atoms.set_scaled_positions(frac_coords.astype(float))
        yield atoms


def _in_lammps_frame(trajectory: Trajectory) -> Trajectory:
    """Return the trajectory with every cell turned as LAMMPS has it: a lower triangle."""
    cells_ang = np.array([Prism(cell).cell for cell in trajectory.cells_ang])
    return replace(trajectory, cells_ang=cells_ang)


def _write_dump_frame(file: TextIO, atoms: Atoms) -> None:
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = atoms.cell.array
    bounds = (
        (min(0, xy, xz, xy + xz), lx + max(0, xy, xz, xy + xz), xy),
        (min(0, yz), ly + max(0, yz), xz),
        (0, lz, yz),
    )
    lines = [
        f"ITEM: TIMESTEP\n{atoms.info['step']}",
        f"ITEM: NUMBER OF ATOMS\n{len(atoms)}",
        "ITEM: BOX BOUNDS xy xz yz pp pp pp",
        *(f"{low:.10g} {high:.10g} {tilt:.10g}" for low, high, tilt in bounds),
        "ITEM: ATOMS id type element xu yu zu",
    ]
    kinds = {symbol: i for i, symbol in enumerate(dict.fromkeys(atoms.symbols), start=1)}
    rows = zip(atoms.symbols, atoms.positions, strict=True)
    for i, (symbol, (x, y, z)) in enumerate(rows, start=1):
        lines.append(f"{i} {kinds[symbol]} {symbol} {x:.8f} {y:.8f} {z:.8f}")
    file.write("\n".join(lines) + "\n")

"""CPU time of a student's whole MD step against the compiled CHGNet's, one thread, in one run.

    OMP_NUM_THREADS=1 python benchmarks/student_steps.py STUDENT.txt CRYSTAL.cif [--rounds 100]

The crystal is repeated to about 60 and 480 atoms and kept at 600 K with 2 fs. Calls are short; the
smallest CPU time of the thread is given, because on a shared machine wall time is the others'. A
call of the student goes on from the last one; CHGNet's cost is the difference of a long and a
short call.
"""

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_masses
from ase.io import read

from lycb_flows.bench.dynamics import our_md
from lycb_flows.bench.subjects import MODEL, potential_named
from lycb_flows.config import MDConfig
from lycb_flows.md import Replica, begin_motion, make_dynamics, thermal_momenta
from lycb_flows.potentials import NepPotential

TEMPERATURE_K = 600.0
CHGNET_STEPS = (2, 8)


def repeated(atoms: Atoms, n: int) -> Atoms:
    """Return the crystal repeated until it has n atoms, the shortest axis first."""
    while 2 * len(atoms) <= n:
        repeat = [1, 1, 1]
        repeat[int(atoms.cell.lengths().argmin())] = 2
        atoms = atoms.repeat(repeat)
    return atoms


def dynamics_of(atoms: Atoms, student: NepPotential, ensemble: str):
    """Return the dynamics of one replica; half of the heat goes into the lattice."""
    config = MDConfig(time_step_fs=2.0)
    protocol = config.nvt(TEMPERATURE_K, ramp=False)
    if ensemble == "npt":
        protocol = config.npt(TEMPERATURE_K, 1.0)
    masses = atomic_masses[atoms.numbers]
    momenta = thermal_momenta(masses, 2 * TEMPERATURE_K, np.random.default_rng(0))
    motion = begin_motion(atoms.numbers, atoms.positions, atoms.cell.array, momenta)
    dynamics = make_dynamics([Replica(atoms.numbers, motion, protocol, atoms.cell.array)], student)
    dynamics.set_phase(np.ones(1, bool))
    return dynamics


class NoLimits:
    """Limits that every replica keeps."""

    heat_factors = volume_factors = jumps_ev_per_atom = grades = np.full(1, np.inf)
    volumes_ang3, energies_ev_per_atom = np.ones(1), np.zeros(1)


def cpu_s(work, n: int) -> float:
    """Return the CPU time of this thread for some work."""
    began = time.thread_time()
    work(n)
    return time.thread_time() - began


def chgnet_us(atoms: Atoms) -> float:
    """Return what a step of CHGNet costs per atom, in µs of CPU time."""
    advance = our_md(atoms, potential_named(MODEL))
    advance(1)
    few, many = CHGNET_STEPS
    short_s, long_s = (min(cpu_s(advance, n) for _ in range(5)) for n in CHGNET_STEPS)
    return 1e6 * (long_s - short_s) / (many - few) / len(atoms)


def main() -> None:
    """Print a line for each size and ensemble, then CHGNet's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student")
    parser.add_argument("crystal")
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    student = NepPotential.from_text(Path(options.student).read_text())
    crystals = [repeated(read(options.crystal), n) for n in (60, 480)]
    found = {}
    for atoms, ensemble in itertools.product(crystals, ("nvt", "npt")):
        dynamics = dynamics_of(atoms, student, ensemble)

        def advance(n: int, dynamics=dynamics) -> None:
            taken = dynamics.advance(np.full((n, 1), TEMPERATURE_K), NoLimits())
            if not (taken == n).all():
                raise SystemExit("the student left physics")

        advance(100)
        n = max(4800 // len(atoms), 16)
        found[len(atoms), ensemble] = [cpu_s(advance, n) / n for _ in range(options.rounds)]
    for (n_atoms, ensemble), seconds in found.items():
        us = 1e6 * np.array(seconds) / n_atoms
        print(f"{n_atoms} atoms {ensemble}: {us.min():.2f} µs per atom, median {np.median(us):.2f}")
    for atoms in crystals:
        us = chgnet_us(atoms)
        ratio = us / (1e6 * min(found[len(atoms), "nvt"]) / len(atoms))
        print(f"{len(atoms)} atoms CHGNet nvt: {us:.0f} µs per atom, {ratio:.0f} times the student")


if __name__ == "__main__":
    main()

"""CPU time of a student's whole MD step against the compiled CHGNet's, one thread, in one run.

    OMP_NUM_THREADS=1 python benchmarks/student_steps.py STUDENT.txt CRYSTAL.cif [--rounds 100] \
        [--calorine PYTHON]

The crystal is repeated to about 60 and 480 atoms and kept at 600 K with 2 fs. Calls are short; the
smallest CPU time of the thread is given, because on a shared machine wall time is the others'. A
call of the student goes on from the last one; CHGNet's cost is the difference of a long and a
short call. With an interpreter that has calorine (GPL-3, in a process of its own), its CPU code
takes steps of ASE's Verlet with the same file. Last, two replicas on two threads against one on
one, by the smallest wall time.
"""

import argparse
import itertools
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_masses
from ase.io import read, write

from lycb_flows.bench.dynamics import our_md
from lycb_flows.bench.subjects import MODEL, potential_named
from lycb_flows.config import MDConfig
from lycb_flows.md import Replica, begin_motion, make_dynamics, thermal_momenta
from lycb_flows.potentials import NepPotential

TEMPERATURE_K = 600.0
CHGNET_STEPS = (2, 8)
CALORINE = """
import sys, time
from ase import units
from ase.io import read
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from calorine.calculators import CPUNEP
atoms = read(sys.argv[2])
atoms.calc = CPUNEP(sys.argv[1])
MaxwellBoltzmannDistribution(atoms, temperature_K=600)
dynamics = VelocityVerlet(atoms, 2 * units.fs)
dynamics.run(5)
times = []
for _ in range(10):
    began = time.process_time()
    dynamics.run(10)
    times.append((time.process_time() - began) / 10)
print(1e6 * min(times) / len(atoms))
"""


def repeated(atoms: Atoms, n: int) -> Atoms:
    """Return the crystal repeated until it has n atoms, the shortest axis first."""
    while 2 * len(atoms) <= n:
        repeat = [1, 1, 1]
        repeat[int(atoms.cell.lengths().argmin())] = 2
        atoms = atoms.repeat(repeat)
    return atoms


def dynamics_of(atoms: Atoms, student: NepPotential, ensemble: str, n_replicas: int = 1):
    """Return the dynamics of replicas; half of the heat goes into the lattice."""
    config = MDConfig(time_step_fs=2.0)
    protocol = config.nvt(TEMPERATURE_K, ramp=False)
    if ensemble == "npt":
        protocol = config.npt(TEMPERATURE_K, 1.0)
    masses = atomic_masses[atoms.numbers]
    momenta = thermal_momenta(masses, 2 * TEMPERATURE_K, np.random.default_rng(0))
    motion = begin_motion(atoms.numbers, atoms.positions, atoms.cell.array, momenta)
    replica = Replica(atoms.numbers, motion, protocol, atoms.cell.array)
    dynamics = make_dynamics([replica] * n_replicas, student)
    dynamics.set_phase(np.ones(n_replicas, bool))
    return dynamics


class NoLimits:
    """Limits that every replica keeps."""

    def __init__(self, n_replicas: int = 1) -> None:
        unlimited = np.full(n_replicas, np.inf)
        self.heat_factors = self.volume_factors = self.jumps_ev_per_atom = self.grades = unlimited
        self.volumes_ang3, self.energies_ev_per_atom = np.ones(n_replicas), np.zeros(n_replicas)


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


def calorine_us(python: str, student: str, atoms: Atoms) -> float:
    """Return what a step with calorine's CPU code costs per atom, in µs of CPU time."""
    with tempfile.TemporaryDirectory() as folder:
        crystal = Path(folder) / "crystal.extxyz"
        write(crystal, atoms)
        command = [python, "-c", CALORINE, str(Path(student).resolve()), str(crystal)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)  # noqa: S603 - the user's interpreter
    return float(done.stdout)


def gain_of_two_threads(atoms: Atoms, student: NepPotential, rounds: int) -> float:
    """Return how many times as many steps per second two replicas take on two threads."""
    rates = {}
    for n in (1, 2):
        torch.set_num_threads(n)
        dynamics = dynamics_of(atoms, student, "nvt", n)
        targets_k, seconds = np.full((50, n), TEMPERATURE_K), []
        for _ in range(rounds):
            began = time.perf_counter()
            dynamics.advance(targets_k, NoLimits(n))
            seconds.append(time.perf_counter() - began)
        rates[n] = n / min(seconds)
    return rates[2] / rates[1]


def compare(atoms: Atoms, ours_us: float, options: argparse.Namespace) -> None:
    """Print what a step costs with CHGNet and, if it is at hand, with calorine."""
    others = {"CHGNet nvt": chgnet_us(atoms)}
    if options.calorine:
        others["calorine"] = calorine_us(options.calorine, options.student, atoms)
    for name, us in others.items():
        ratio = us / ours_us
        print(f"{len(atoms)} atoms {name}: {us:.0f} µs per atom, {ratio:.0f} times the student")


def main() -> None:
    """Print a line for each size and ensemble, then CHGNet's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student")
    parser.add_argument("crystal")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--calorine", help="interpreter that has calorine")
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
        ours_us = 1e6 * min(found[len(atoms), "nvt"]) / len(atoms)
        compare(atoms, ours_us, options)
    for atoms in crystals:
        gain = gain_of_two_threads(atoms, student, options.rounds)
        print(f"{len(atoms)} atoms: two replicas on two threads {gain:.2f} times one on one")


if __name__ == "__main__":
    main()

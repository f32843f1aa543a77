"""Steps of a student (NEP4) in native code against our compiled CHGNet, one thread.

The weights are random and weak: a step costs the same whatever it computes, and at 600 K the
atoms move as fast as in a crystal, so lists are made as often or oftener.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.data import atomic_masses

from lycb_flows.bench.comparison import Comparison, alternate, threaded
from lycb_flows.bench.dynamics import our_md
from lycb_flows.bench.subjects import MODEL, potential_named, rattled_cell
from lycb_flows.config import MDConfig
from lycb_flows.md import (
    BoolArray,
    Dynamics,
    FloatArray,
    Replica,
    begin_motion,
    make_dynamics,
    thermal_momenta,
)
from lycb_flows.potentials import NepPotential, NepShape, NepWeights

_TEMPERATURE_K = 600.0
_US = 1e6


def compare_student() -> list[Comparison]:
    """Compare steps of 60 and of 480 atoms, list and integrator included.

    Returns
    -------
    list of Comparison
        NVT against CHGNet, NpT against NVT, two replicas on two threads against one on one.
    """
    lines = []
    for repeat, steps, of_chgnet in (((1, 1, 2), 400, 10), ((4, 2, 2), 60, 3)):
        atoms = rattled_cell(0, repeat)
        seconds = alternate(
            {
                ("nvt", 1): threaded(1, _steps(atoms, "nvt"), steps),
                ("npt", 1): threaded(1, _steps(atoms, "npt"), steps),
                ("two", 2): threaded(2, _steps(atoms, "nvt", 2), steps),
                ("chgnet", 1): threaded(1, our_md(atoms, potential_named(MODEL)), of_chgnet),
            },
            rounds=9,
        )
        nvt_s, npt_s = seconds["nvt", 1] / steps, seconds["npt", 1] / steps
        two_s = seconds["two", 2] / (2 * steps)
        per_atom = _US / len(atoms)
        lines += [
            Comparison(
                name=f"student, NVT step, {len(atoms)} atoms",
                reference="compiled CHGNet, one thread each",
                ours_s=nvt_s,
                reference_s=seconds["chgnet", 1] / of_chgnet,
                note=f"{nvt_s * per_atom:.2f} µs per atom",
            ),
            Comparison(
                name=f"student, NpT step, {len(atoms)} atoms",
                reference="its NVT step",
                ours_s=npt_s,
                reference_s=nvt_s,
                note=f"{npt_s * per_atom:.2f} µs per atom",
            ),
            Comparison(
                name=f"student, two replicas of {len(atoms)} atoms on two threads, per step",
                reference="one on one",
                ours_s=two_s,
                reference_s=nvt_s,
            ),
        ]
    return lines


def _steps(atoms: Atoms, ensemble: str, replicas: int = 1) -> Callable[[int], None]:
    """Return what takes a number of steps, each call from the same start, which it counts."""
    config = MDConfig(time_step_fs=2.0)
    protocol = config.nvt(_TEMPERATURE_K, ramp=False)
    if ensemble == "npt":
        protocol = config.npt(_TEMPERATURE_K, 4e3)  # what an ideal gas of this density has
    masses = atomic_masses[atoms.numbers]
    momenta = thermal_momenta(masses, _TEMPERATURE_K, np.random.default_rng(0))
    cell_ang = atoms.cell.array
    motion = begin_motion(atoms.numbers, atoms.positions, cell_ang, momenta)
    replica = Replica(atoms.numbers, motion, protocol, cell_ang)
    student, limits = random_student(atoms), _NoLimits(replicas)

    def advance(n_steps: int) -> None:
        dynamics = make_dynamics([replica] * replicas, student)
        dynamics.set_phase(np.ones(replicas, bool))
        taken = dynamics.advance(np.full((n_steps, replicas), _TEMPERATURE_K), limits)
        if not (taken == n_steps).all():
            raise AssertionError(taken)

    return advance


class _NoLimits:
    def __init__(self, replicas: int) -> None:
        endless = np.full(replicas, np.inf)
        self.heat_factors = self.volume_factors = self.jumps_ev_per_atom = endless
        self.volumes_ang3, self.energies_ev_per_atom = np.ones(replicas), np.zeros(replicas)
        self.grades = np.full(replicas, np.inf)

    def are_kept(self, now: Dynamics, targets_k: FloatArray) -> BoolArray:
        del targets_k
        kept: BoolArray = now.are_numbers
        return kept


def random_student(atoms: Atoms) -> NepPotential:
    """Return a student of default size with random, weak weights for the elements of a crystal."""
    shape, rng = (
        NepShape(tuple(sorted(set(atoms.get_chemical_symbols())))),
        np.random.default_rng(0),
    )
    s, n, d = len(shape.species), shape.neurons, shape.descriptors
    weights = NepWeights(
        first=0.1 * rng.normal(size=(s, n, d)),
        biases=rng.normal(size=(s, n)),
        second=0.05 * rng.normal(size=(s, n)),
        constants_ev=np.zeros(s),
        radial=0.3 * rng.normal(size=(shape.n_radial, shape.k_radial, s, s)),
        angular=0.3 * rng.normal(size=(shape.n_angular, shape.k_angular, s, s)),
        scales=np.ones(d),
    )
    return NepPotential(shape, weights)

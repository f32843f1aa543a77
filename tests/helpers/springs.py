"""Crystals of springs: the cheap potentials of the MD tests."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

from lycb_flows.config import HealthConfig, MDProtocol
from lycb_flows.crystals.structures import canonical_structure, to_ase
from lycb_flows.errors import PhysicsError
from lycb_flows.md.protocol import RunAhead, run_batch, run_segments, start_run
from lycb_flows.md.trajectory import Trajectory, join, read_trajectory
from lycb_flows.potentials.evaluator import BatchPrediction
from lycb_flows.units import EV_PER_ANG3_GPA

STIFFNESS_EV_PER_ANG2 = 3.0
QUARTIC_EV_PER_ANG4 = 200.0
BOND_ANG = 2.55


class Springs(Calculator):
    """An fcc crystal of springs between nearest neighbours, for ever the same ones.

    Bulk modulus (2 sqrt(2) / 3) k / r0; no neighbour list, so no memory but its topology.
    """

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, start: Atoms, break_after: int | None = None, damage: float = np.nan):
        super().__init__()
        i, j, self.images = neighbor_list("ijS", start, 1.2 * BOND_ANG)
        keep = (i < j) | ((i == j) & (self.images @ [9, 3, 1] > 0))
        self.i, self.j, self.images = i[keep], j[keep], self.images[keep]
        self.break_after, self.damage, self.calls = break_after, damage, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        cell, r = self.atoms.cell.array, self.atoms.positions
        bonds = r[self.j] - r[self.i] + self.images @ cell
        lengths = np.linalg.norm(bonds, axis=1)
        stretch = lengths - BOND_ANG
        pulls = (STIFFNESS_EV_PER_ANG2 * stretch / lengths)[:, None] * bonds
        forces = np.zeros_like(r)
        np.add.at(forces, self.i, pulls)
        np.add.at(forces, self.j, -pulls)
        self.calls += 1
        if self.break_after is not None and self.calls > self.break_after:
            forces = forces * self.damage
        stress = bonds.T @ pulls / abs(np.linalg.det(cell))
        self.results = {
            "energy": 0.5 * STIFFNESS_EV_PER_ANG2 * float((stretch**2).sum()),
            "free_energy": 0.5 * STIFFNESS_EV_PER_ANG2 * float((stretch**2).sum()),
            "forces": forces,
            "stress": full_3x3_to_voigt_6_stress(stress),
        }


class Crystal:
    """Four lines of potential: springs for crystals of one or more shapes, told by their size."""

    kind = Springs

    def __init__(self, *structures, **trouble):
        self.crystals = {len(s.species): to_ase(s) for s in structures}
        self.trouble = trouble

    def evaluator(self, numbers):
        evaluator = AseEvaluator(numbers, lambda: None)
        for atoms in evaluator.crystals:
            atoms.calc = self.kind(self.crystals[len(atoms)], **self.trouble)
        return evaluator


class ManyCrystals:
    """As `Crystal`, for any number of equal crystals in one go, with a quartic term.

    The springs share their heat: a harmonic crystal would keep it in its modes.
    """

    def __init__(self, structure, quartic_ev_per_ang4=QUARTIC_EV_PER_ANG4):
        self.quartic_ev_per_ang4 = quartic_ev_per_ang4
        springs = Springs(to_ase(structure))
        self.i, self.j = torch.tensor(springs.i), torch.tensor(springs.j)
        self.images = torch.tensor(springs.images, dtype=torch.float64)

    def evaluator(self, numbers):
        m, n = len(numbers), len(numbers[0])

        def evaluate(positions, cells):
            r = positions.view(m, n, 3)
            bonds = r[:, self.j] - r[:, self.i] + self.images @ cells
            lengths = bonds.norm(dim=2)
            stretch = lengths - BOND_ANG
            quartic_ev_per_ang4 = self.quartic_ev_per_ang4
            slopes = STIFFNESS_EV_PER_ANG2 * stretch + 4 * quartic_ev_per_ang4 * stretch**3
            pulls = (slopes / lengths)[:, :, None] * bonds
            forces = torch.zeros_like(r).index_add_(1, self.i, pulls)
            forces = forces.index_add_(1, self.j, -pulls).reshape(-1, 3)
            energies = 0.5 * STIFFNESS_EV_PER_ANG2 * stretch**2 + quartic_ev_per_ang4 * stretch**4
            virials = bonds.transpose(1, 2) @ pulls
            stresses = virials / torch.linalg.det(cells).abs()[:, None, None] * EV_PER_ANG3_GPA
            return BatchPrediction(energies.sum(1), forces, stresses)

        return evaluate


def fcc(repeat: int = 2):
    """4 repeat^3 atoms at rest length."""
    return canonical_structure(bulk("Cu", a=BOND_ANG * 2**0.5, cubic=True).repeat(repeat))


def protocol(ensemble: str = "nvt", **changes) -> MDProtocol:
    npt = {"pressure_bar": 1.0, "barostat_damping_ps": 0.2, "cell_shape": "triclinic"}
    fields = {
        "temperature_k": 300.0,
        "time_step_fs": 2.0,
        "thermostat_damping_ps": 0.1,
        "start_temperature_k": 300.0,
        "heating_steps": 0,
        "equilibration_steps": 0,
        "sample_interval_steps": 5,
        "segment_steps": 1000,
        "average_fraction": 0.8,
        "health": HealthConfig(),
    } | (npt if ensemble == "npt" else {})
    return MDProtocol.model_validate({"ensemble": ensemble, **fields, **changes})


def run(structure, how: MDProtocol, n_steps: int, seed: int = 0, **rest):
    potential = rest.pop("potential", None) or Crystal(structure)
    return list(run_segments(structure, potential, how, seed=seed, n_steps=n_steps, **rest))


def run_side_by_side(structure, protocols, n_steps: int, potential, seed: int = 0):
    """The segments of one run per protocol, in their order; a step of all costs little more."""
    starts = [start_run(structure, potential, how, seed) for how in protocols]
    runs = [RunAhead(start, how, n_steps) for start, how in zip(starts, protocols, strict=True)]
    segments = [[] for _ in runs]
    for place, segment in run_batch(runs, potential, batch_size=len(runs)):
        segments[place].append(segment)
    return segments


def frames_of(segments) -> Trajectory:
    return join([read_trajectory(segment.trajectory) for segment in segments])


def mean_and_error(series, n_blocks: int = 10):
    blocks = np.array([block.mean() for block in np.array_split(np.asarray(series), n_blocks)])
    return blocks.mean(), blocks.std(ddof=1) / n_blocks**0.5


class AseEvaluator:
    """Any ASE calculators behind the interface, crystal by crystal.

    Parameters
    ----------
    numbers
        Atomic numbers of each crystal.
    make_calculator
        Called once per crystal.
    """

    def __init__(self, numbers, make_calculator):
        self.crystals = [Atoms(numbers=one, pbc=True) for one in numbers]
        for atoms in self.crystals:
            atoms.calc = make_calculator()

    def __call__(self, positions_ang, cells_ang):
        """One call of each calculator."""
        parts = positions_ang.cpu().split([len(atoms) for atoms in self.crystals])
        said = [
            _evaluate(atoms, positions.numpy(), cell)
            for atoms, positions, cell in zip(
                self.crystals, parts, cells_ang.cpu().numpy(), strict=True
            )
        ]
        energies, forces, stresses = zip(*said, strict=True)
        like = positions_ang
        return BatchPrediction(
            like.new_tensor(np.array(energies)),
            like.new_tensor(np.concatenate(forces)),
            like.new_tensor(np.array(stresses)),
        )


def _evaluate(atoms, positions, cell):
    """Energy, forces, stress; asked at once, for ASE compares all atoms before each answer."""
    atoms.set_cell(cell)
    atoms.positions[:] = positions
    try:
        atoms.calc.calculate(atoms, ["energy", "forces", "stress"], all_changes)
    except PhysicsError:
        return float("nan"), np.full((len(atoms), 3), np.nan), np.full((3, 3), np.nan)
    results = atoms.calc.results
    stress = voigt_6_to_full_3x3_stress(results["stress"]) * EV_PER_ANG3_GPA
    return results["energy"], results["forces"], stress

"""A toy potential of Li, Y, Cl and Br: fast, differentiable, and no model of anything real.

It lets the whole loop run in seconds: a chloride or bromide crystal holds together and its
lithium rattles, but its numbers mean nothing. Every pair of atoms i, j at distance r has

    phi(r) = B exp((R_i + R_j - r) / rho) + s q_i q_j k erfc(alpha r) / r
             - w_i w_j C / (r^6 + d^6)

shifted so that energy and force vanish at the cutoff (the damped shifted-force Coulomb sum,
Fennell and Gezelter, J. Chem. Phys. 2006, 124, 234104), plus a reference energy per atom.

| symbol | weight or constant |
|---|---|
| R_i | `radii_ang` |
| rho | `softness_ang` |
| s | `charge_scale` |
| C | `dispersion_ev_ang6` |
| q_i | formal charges |
| w_i | 0 for cations; Br- is more polarisable than Cl- |
| B, alpha, d | constants |
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers
from pymatgen.optimization.neighbors import find_points_in_spheres
from scipy import constants
from torch import Tensor, nn

from lycb_flows.errors import InputError
from lycb_flows.potentials.trainable import BatchOutput, Trainable
from lycb_flows.units import EV_PER_ANG3_GPA

CHARGES = {"Li": 1.0, "Y": 3.0, "Cl": -1.0, "Br": -1.0}
CUTOFF_ANG = 6.0
_DISPERSION_WEIGHTS = {"Li": 0.0, "Y": 0.0, "Cl": 1.0, "Br": 1.5}
_DISPERSION_CORE_ANG = 2.5
_REPULSION_EV = 0.25
_DAMPING_PER_ANG = 0.2
_GAUSS_PER_ANG = 2 * _DAMPING_PER_ANG / math.sqrt(math.pi)
_COULOMB_EV_ANG = constants.e / (4 * math.pi * constants.epsilon_0 * constants.angstrom)

_N_REFERENCE = 94  # as CHGNet's
_INDEX = np.full(_N_REFERENCE + 1, -1)
for _i, _symbol in enumerate(CHARGES):
    _INDEX[atomic_numbers[_symbol]] = _i
_KINDS = np.arange(len(CHARGES) ** 2)
_CUTOFFS_ANG = np.full(len(_KINDS), CUTOFF_ANG)
_PERIODIC = np.ones(3, dtype=np.int64)
_TOLERANCE_ANG = 1e-8


@dataclass(frozen=True)
class ToyWeights:
    """A set of weights by name; per element Li, Y, Cl, Br where there are four."""

    radii_ang: tuple[float, float, float, float]
    softness_ang: float
    charge_scale: float
    dispersion_ev_ang6: float
    reference_energies_ev: tuple[float, float, float, float]

    def potential(self) -> ToyPotential:
        """Return the toy with these weights."""
        toy = ToyPotential({})
        with torch.no_grad():
            for parameter, value in (
                (toy.module.radii_ang, self.radii_ang),
                (toy.module.softness_ang, self.softness_ang),
                (toy.module.charge_scale, self.charge_scale),
                (toy.module.dispersion_ev_ang6, self.dispersion_ev_ang6),
            ):
                parameter.copy_(torch.tensor(value, dtype=torch.float64))
        return toy.shifted(dict(zip(CHARGES, self.reference_energies_ev, strict=True)))


# Found by hand: orderings of Li3YCl6 and Li3YBr6 relax (to within 20 % of the refined volume),
# their frameworks stand 800 K, and the teacher differs enough to be worth learning.
_SOFT = ToyWeights((0.90, 1.00, 1.50, 1.60), 0.33, 0.50, 200.0, (0.0, 0.0, 0.0, 0.0))
_TEACHER = ToyWeights((0.96, 1.05, 1.47, 1.57), 0.33, 0.50, 200.0, (-1.9, -6.4, -1.8, -1.6))
TOYS = {"toy-soft": _SOFT, "toy-teacher": _TEACHER}


@dataclass(frozen=True)
class ToyGraph:
    """Ordered pairs of n atoms within the cutoff; each pair appears twice.

    Attributes
    ----------
    elements
        Index of each atom's element, shape (n,).
    centres
        First atom of each pair, shape (pairs,).
    vectors_ang
        Vector from the first atom to the second, shape (pairs, 3).
    distances_ang
        Their lengths, followed by the cutoff for every kind of pair, shape (pairs + kinds,).
    kinds
        Index of the two elements that meet, shape (pairs + kinds,).
    volume_ang3
        Volume of the cell.
    """

    elements: Tensor
    centres: Tensor
    vectors_ang: Tensor
    distances_ang: Tensor
    kinds: Tensor
    volume_ang3: float


class ToyModule(nn.Module):
    """The weights of the toy, in float64; all are 1 until they are loaded."""

    charge_products: Tensor
    dispersion_products: Tensor
    element_rows: Tensor

    def __init__(self) -> None:
        super().__init__()
        n_elements = len(CHARGES)
        self.radii_ang = nn.Parameter(torch.ones(n_elements, dtype=torch.float64))
        self.softness_ang = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.charge_scale = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.dispersion_ev_ang6 = nn.Parameter(torch.ones((), dtype=torch.float64))
        reference = torch.zeros(_N_REFERENCE, dtype=torch.float64)
        self.reference_energies_ev = nn.Parameter(reference, requires_grad=False)
        charges = torch.tensor(list(CHARGES.values()), dtype=torch.float64)
        products = _COULOMB_EV_ANG * torch.outer(charges, charges).flatten()
        weights = torch.tensor(list(_DISPERSION_WEIGHTS.values()), dtype=torch.float64)
        rows = torch.tensor([atomic_numbers[symbol] - 1 for symbol in CHARGES])
        self.register_buffer("charge_products", products, persistent=False)
        dispersions = torch.outer(weights, weights).flatten()
        self.register_buffer("dispersion_products", dispersions, persistent=False)
        self.register_buffer("element_rows", rows, persistent=False)

    def pair(self, r_ang: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
        """Return the unshifted energy phi of pairs in eV and its derivative in eV/Å.

        Parameters
        ----------
        r_ang
            Distances, shape (pairs,).
        kinds
            Index of the two elements of each pair, shape (pairs,).
        """
        contacts = (self.radii_ang[:, None] + self.radii_ang).flatten()[kinds]
        repulsion = _REPULSION_EV * torch.exp((contacts - r_ang) / self.softness_ang)
        charge = (self.charge_scale * self.charge_products)[kinds]
        scaled = _DAMPING_PER_ANG * r_ang
        damped = torch.erfc(scaled) / r_ang
        gauss = _GAUSS_PER_ANG * torch.exp(-(scaled**2))
        attraction = (self.dispersion_ev_ang6 * self.dispersion_products)[kinds]
        r5 = r_ang**5
        denominator = r5 * r_ang + _DISPERSION_CORE_ANG**6
        energy = repulsion + charge * damped - attraction / denominator
        slope = -repulsion / self.softness_ang - charge * (damped + gauss) / r_ang
        return energy, slope + 6 * attraction * r5 / denominator**2

    def forward(self, graph: ToyGraph) -> tuple[Tensor, Tensor, Tensor]:
        """Return energy, forces and stress of one crystal.

        Returns
        -------
        tuple of Tensor
            Energy () in eV, forces (n, 3) in eV/Å, stress (3, 3) in eV/Å^3.
        """
        n_pairs = len(graph.centres)
        r_ang, kinds = graph.distances_ang[:n_pairs], graph.kinds[:n_pairs]
        energies_ev, slopes = self.pair(graph.distances_ang, graph.kinds)
        cut_slopes = slopes[n_pairs:][kinds]
        slopes = slopes[:n_pairs] - cut_slopes
        cut_energies_ev = energies_ev[n_pairs:][kinds] + cut_slopes * (r_ang - CUTOFF_ANG)
        energy_ev = 0.5 * (energies_ev[:n_pairs] - cut_energies_ev).sum()
        pulls = graph.vectors_ang * (slopes / r_ang)[:, None]
        forces = pulls.new_zeros((len(graph.elements), 3)).index_add(0, graph.centres, pulls)
        stress = graph.vectors_ang.T @ pulls * (0.5 / graph.volume_ang3)
        references_ev = self.reference_energies_ev[self.element_rows[graph.elements]]
        return energy_ev + references_ev.sum(), forces, stress


class ToyPotential(Trainable):
    """The toy behind the interface of a real potential."""

    module: ToyModule

    def __init__(self, architecture_args: Mapping[str, Any]) -> None:
        super().__init__(ToyModule(**architecture_args), architecture_args)

    def graph(self, atoms: Atoms) -> ToyGraph:
        """Return the pairs within the cutoff, periodic in all directions."""
        elements = _INDEX[np.minimum(atoms.numbers, _N_REFERENCE)]
        if elements.min() < 0:
            raise InputError(
                "the toy potential knows only Li, Y, Cl and Br",
                fix="use a CHGNet model",
                found=atoms.get_chemical_formula(),
            )
        positions = np.ascontiguousarray(atoms.positions)
        cell = np.ascontiguousarray(atoms.cell.array)
        centres, neighbours, images, distances = find_points_in_spheres(
            positions, positions, r=CUTOFF_ANG, pbc=_PERIODIC, lattice=cell, tol=_TOLERANCE_ANG
        )
        others = (centres != neighbours) | (distances > _TOLERANCE_ANG)  # not the atom itself
        centres, neighbours, images = centres[others], neighbours[others], images[others]
        kinds = elements[centres] * len(CHARGES) + elements[neighbours]
        return ToyGraph(
            elements=torch.from_numpy(elements),
            centres=torch.from_numpy(centres),
            vectors_ang=torch.from_numpy(
                positions[neighbours] + images @ cell - positions[centres]
            ),
            distances_ang=torch.from_numpy(np.append(distances[others], _CUTOFFS_ANG)),
            kinds=torch.from_numpy(np.append(kinds, _KINDS)),
            volume_ang3=abs(float(np.linalg.det(cell))),
        )

    def forward(self, graphs: Sequence[ToyGraph], *, create_graph: bool) -> BatchOutput:
        """Return closed forms throughout, so that training needs first derivatives only."""
        with torch.set_grad_enabled(create_graph):
            parts = [self.module(graph) for graph in graphs]
            energies = [energy / len(forces) for energy, forces, _ in parts]
            return BatchOutput(
                energies_ev_per_atom=torch.stack(energies),
                forces_ev_per_ang=torch.cat([forces for _, forces, _ in parts]),
                stresses_gpa=torch.stack([stress for *_, stress in parts]) * EV_PER_ANG3_GPA,
            )

    @property
    def reference_energies_ev(self) -> Tensor:
        """The module's reference energies, zero in a new module."""
        return self.module.reference_energies_ev

    def trainable_parameters(self, freeze_level: int) -> list[nn.Parameter]:
        """Return radii and reference energies; the others are too stiff to be trained."""
        del freeze_level
        return [self.module.radii_ang, self.module.reference_energies_ev]

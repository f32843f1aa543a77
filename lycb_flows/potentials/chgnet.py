"""CHGNet behind our interface: chgnet's own layers, our neighbours, first derivatives only.

The pretrained model as published (Deng et al., Nat. Mach. Intell. 2023, 5, 1031) and any
fine-tuned one. The energy depends on the atoms through the bond vectors v_b alone, so one
derivative g_b = dE/dv_b gives both

    F_i = sum_b [g_b (i is b's centre) - g_b (i is b's neighbour)]
    stress = 1/V sum_b v_b (outer) g_b

with v_b from centre to neighbour. `CHGNet.predict_structure` differentiates twice (by
positions and by strain) and always keeps the graph of second derivatives.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from ase import Atoms
from chgnet.model.composition_model import AtomRef
from chgnet.model.model import BatchedGraph, CHGNet
from numpy.typing import NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres
from torch import Tensor, nn

from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.potentials.potential import BatchOutput, Potential
from lycb_flows.units import EV_PER_ANG3_GPA

_PERIODIC = np.ones(3, dtype=np.int64)
_TOLERANCE_ANG = 1e-8  # chgnet's, for the neighbour search

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class CHGNetGraph:
    """One crystal as CHGNet sees it: bonds below 6 Å, angles between bonds below 3 Å.

    Every bond is listed once; the messages travel both ways (directed edges, sorted by
    centre).

    Attributes
    ----------
    numbers
        Atomic numbers, shape (atoms,).
    bond_vectors_ang
        From the bond's centre to its neighbour, shape (bonds, 3).
    bonds
        Centre and neighbour, shape (bonds, 2).
    edges
        Receiving atom and sending atom, shape (2 bonds, 2).
    edge_bonds
        The bond of each edge, shape (2 bonds,).
    angles
        Atom, first bond, second bond; shape (angles, 3).
    angle_signs
        -1 where exactly one of the two bonds points towards the atom, shape (angles, 1).
    volume_ang3
        Of the cell.
    """

    numbers: Tensor
    bond_vectors_ang: Tensor
    bonds: Tensor
    edges: Tensor
    edge_bonds: Tensor
    angles: Tensor
    angle_signs: Tensor
    volume_ang3: float


class CHGNetPotential(Potential):
    """A CHGNet; float32, as its weights."""

    architecture = "chgnet"

    module: CHGNet

    def __init__(self, architecture_args: Mapping[str, Any]) -> None:
        reference = AtomRef(is_intensive=True)
        with contextlib.redirect_stdout(io.StringIO()):  # CHGNet prints its size
            module = CHGNet(**architecture_args, composition_model=reference)
        if not module.is_intensive:
            raise InputError("this CHGNet predicts total energies", fix="use an intensive one")
        super().__init__(module.eval(), architecture_args)

    def graph(self, atoms: Atoms) -> CHGNetGraph:
        """Bonds and angles of one crystal."""
        cutoffs = self.module.graph_converter
        lattice = np.ascontiguousarray(atoms.cell.array)
        positions = np.ascontiguousarray(atoms.get_scaled_positions(wrap=True) @ lattice)
        bonds, images, distances = _half_pairs(positions, lattice, cutoffs.atom_graph_cutoff)
        n_isolated = len(atoms) - len(np.unique(bonds))
        if n_isolated:
            raise PhysicsError(
                "atoms without a neighbour, which CHGNet cannot describe",
                fix="check the structure",
                isolated=n_isolated,
                cutoff_ang=cutoffs.atom_graph_cutoff,
                formula=atoms.get_chemical_formula(),
            )
        edges = np.concatenate([bonds, bonds[:, ::-1]])
        edge_bonds = np.tile(np.arange(len(bonds)), 2)
        edge_signs = np.repeat([1.0, -1.0], len(bonds))
        order = np.argsort(edges[:, 0], kind="stable")
        edges, edge_bonds, edge_signs = edges[order], edge_bonds[order], edge_signs[order]
        short = np.flatnonzero(distances[edge_bonds] < cutoffs.bond_graph_cutoff)
        first, second = (short[index] for index in _pairs_within_groups(edges[short, 0]))
        angles = np.stack([edges[first, 0], edge_bonds[first], edge_bonds[second]], axis=1)
        vectors = positions[bonds[:, 1]] + images @ lattice - positions[bonds[:, 0]]
        return CHGNetGraph(
            numbers=_integers(atoms.numbers),
            bond_vectors_ang=torch.tensor(vectors, dtype=torch.float32),
            bonds=_integers(bonds),
            edges=_integers(edges),
            edge_bonds=_integers(edge_bonds),
            angles=_integers(angles),
            angle_signs=torch.tensor(edge_signs[first] * edge_signs[second])[:, None].float(),
            volume_ang3=abs(float(np.linalg.det(lattice))),
        )

    def forward(self, graphs: Sequence[CHGNetGraph], *, create_graph: bool) -> BatchOutput:
        """One pass of chgnet's layers over the batch, one derivative."""
        batch = _Batch(graphs, self.reference_energies_ev.device)
        vectors = batch.bond_vectors_ang.detach().requires_grad_()
        energies = self._energies_per_atom(batch, vectors)
        total = (energies * batch.n_atoms).sum()
        (gradients,) = torch.autograd.grad(total, vectors, create_graph=create_graph)
        forces = gradients.new_zeros((len(batch.numbers), 3))
        forces = forces.index_add(0, batch.bonds[:, 0], gradients)
        forces = forces.index_add(0, batch.bonds[:, 1], -gradients)
        virials = batch.bond_vectors_ang[:, :, None] * gradients[:, None, :]
        stresses = gradients.new_zeros((len(graphs), 3, 3))
        stresses = stresses.index_add(0, batch.bond_owners, virials) / batch.volumes_ang3
        energies = energies + self._references_per_atom(batch)
        return BatchOutput(
            energies_ev_per_atom=energies if create_graph else energies.detach(),
            forces_ev_per_ang=forces,
            stresses_gpa=stresses * EV_PER_ANG3_GPA,
        )

    @property
    def reference_energies_ev(self) -> Tensor:
        """The weights of chgnet's composition model (AtomRef)."""
        reference = cast("AtomRef", self.module.composition_model)
        return reference.fc.weight[0]

    def trainable_parameters(self, freeze_level: int) -> list[nn.Parameter]:
        """All but AtomRef; from 1 on without embeddings and bases, then block by block."""
        module, n_blocks = self.module, max(freeze_level - 1, 0)
        frozen: list[nn.Module] = [module.composition_model]
        if freeze_level > 0:
            frozen += [module.atom_embedding, module.bond_embedding, module.angle_embedding]
            frozen += [module.bond_basis_expansion, module.angle_basis_expansion]
        for layers in (module.atom_conv_layers, module.bond_conv_layers, module.angle_layers):
            frozen += layers[:n_blocks]
        fixed = {id(parameter) for part in frozen for parameter in part.parameters()}
        return [parameter for parameter in module.parameters() if id(parameter) not in fixed]

    def _energies_per_atom(self, batch: _Batch, vectors: Tensor) -> Tensor:
        """Energies in eV per atom without references, shape (m,)."""
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        directions = vectors / lengths[:, None]
        bases = self.module.bond_basis_expansion
        angle_bases = torch.tensor([])
        if len(batch.angles):
            angle_bases = self.module.angle_basis_expansion(
                directions.index_select(0, batch.angles[:, 1]) * batch.angle_signs,
                directions.index_select(0, batch.angles[:, 2]),
            )
        graph = BatchedGraph(
            atomic_numbers=batch.numbers,
            bond_bases_ag=bases.rbf_expansion_ag(lengths),
            bond_bases_bg=bases.rbf_expansion_bg(lengths),
            angle_bases=angle_bases,
            batched_atom_graph=batch.edges,
            batched_bond_graph=batch.angles,
            atom_owners=batch.atom_owners,
            directed2undirected=batch.edge_bonds,
            atom_positions=(),  # these three serve only the derivatives taken above
            strains=(),
            volumes=(),
        )
        # the public forward builds its own graph of second derivatives
        energies: Tensor = self.module._compute(graph)["e"]  # noqa: SLF001
        return energies

    def _references_per_atom(self, batch: _Batch) -> Tensor:
        per_atom = self.reference_energies_ev.index_select(0, batch.numbers - 1)
        sums = per_atom.new_zeros(len(batch.n_atoms)).index_add(0, batch.atom_owners, per_atom)
        return sums / batch.n_atoms


class _Batch:
    """Graphs side by side: atoms and bonds are numbered through."""

    def __init__(self, graphs: Sequence[CHGNetGraph], device: torch.device) -> None:
        n_atoms = torch.tensor([len(graph.numbers) for graph in graphs])
        n_bonds = torch.tensor([len(graph.bonds) for graph in graphs])
        atoms_before = (torch.cumsum(n_atoms, 0) - n_atoms).tolist()
        bonds_before = (torch.cumsum(n_bonds, 0) - n_bonds).tolist()
        offsets = list(zip(graphs, atoms_before, bonds_before, strict=True))

        def joined(parts: Iterable[Tensor]) -> Tensor:
            return torch.cat(list(parts)).to(device)

        self.n_atoms = n_atoms.to(device)
        self.numbers = joined(graph.numbers for graph in graphs)
        self.bond_vectors_ang = joined(graph.bond_vectors_ang for graph in graphs)
        self.bonds = joined(graph.bonds + atoms for graph, atoms, _ in offsets)
        self.edges = joined(graph.edges + atoms for graph, atoms, _ in offsets)
        self.edge_bonds = joined(graph.edge_bonds + bonds for graph, _, bonds in offsets)
        self.angles = joined(
            graph.angles + torch.tensor([atoms, bonds, bonds]) for graph, atoms, bonds in offsets
        )
        self.angle_signs = joined(graph.angle_signs for graph in graphs)
        self.atom_owners = torch.repeat_interleave(n_atoms).to(device)
        self.bond_owners = torch.repeat_interleave(n_bonds).to(device)
        volumes = torch.tensor([graph.volume_ang3 for graph in graphs])
        self.volumes_ang3 = volumes[:, None, None].to(device)


def _half_pairs(
    positions: NDArray[np.float64], lattice: NDArray[np.float64], cutoff_ang: float
) -> tuple[Integers, NDArray[np.float64], NDArray[np.float64]]:
    """Each periodic pair once: (pairs, 2), the neighbour's image (pairs, 3), distances."""
    centres, neighbours, images, distances = find_points_in_spheres(
        positions, positions, r=cutoff_ang, pbc=_PERIODIC, lattice=lattice, tol=_TOLERANCE_ANG
    )
    x, y, z = images.T
    forwards = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
    kept = (centres < neighbours) | ((centres == neighbours) & forwards)
    return np.stack([centres, neighbours], axis=1)[kept], images[kept], distances[kept]


def _pairs_within_groups(groups: Integers) -> tuple[Integers, Integers]:
    """All ordered pairs of different members of equal, sorted groups, as two index arrays."""
    _, starts, inverse, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    repeats = sizes[inverse]
    first = np.repeat(np.arange(len(groups)), repeats)
    within = np.arange(len(first)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    second = starts[inverse[first]] + within
    different = first != second
    return first[different], second[different]


def _integers(values: NDArray[Any]) -> Tensor:
    return torch.tensor(np.ascontiguousarray(values), dtype=torch.int64)

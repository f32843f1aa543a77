"""CHGNet behind our interface: the published weights, in layers that cost less.

The model is chgnet's (Deng et al., Nat. Mach. Intell. 2023, 5, 1031), pretrained or fine-tuned,
and `CHGNet` itself holds the weights. What is computed from them is the same, arranged anew:

- the first layer of each gated MLP acts on a concatenation, W [a, b, c] = W_a a + W_b b + W_c c:
  it is taken per atom and per bond, then gathered and added;
- only bonds below the bond graph's cutoff (3 Å) have features that change; the others' part of
  a first layer is one matrix on the radial basis;
- the energy depends on the atoms through the bond vectors v_b alone, so one derivative
  g_b = dE/dv_b gives both

    F_i = sum_b [g_b (i is b's centre) - g_b (i is b's neighbour)]
    stress = 1/V sum_b v_b (outer) g_b

  with v_b from centre to neighbour. `CHGNet.predict_structure` differentiates by positions and
  by strain and always keeps the graph of second derivatives.

On a CPU with a C++ compiler, inference runs in chgnet.cpp (`compiled`); training, other devices
and other precisions run here.
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from ase import Atoms
from chgnet.model.composition_model import AtomRef
from chgnet.model.model import CHGNet
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lycb_flows.crystals import to_ase
from lycb_flows.errors import InputError
from lycb_flows.potentials import compiled
from lycb_flows.potentials.chgnet_graph import CHGNetGraph, build_graph, join_graphs
from lycb_flows.potentials.evaluator import (
    BatchPrediction,
    Evaluator,
    Numbers,
    lost_crystals,
    mark_lost,
    require_known,
)
from lycb_flows.potentials.graph import SkinList, find_pairs, join_pairs
from lycb_flows.potentials.trainable import BatchOutput, Trainable
from lycb_flows.schemas import Structure
from lycb_flows.units import EV_PER_ANG3_GPA

_COSINE_SCALE = 1 - 1e-6  # chgnet's guard of the arc cosine
_ELEMENTS = range(1, 95)  # rows of its embedding and of AtomRef

SKIN_ANG = 0.15
"""Bonds and angles within the skin are computed in vain, 8 % more of a step at 0.4; a graph costs
a tenth of a step."""

_ONE_REDIRECTION = threading.Lock()  # two that overlap would end with the output of neither

Layer = Any  # of chgnet: torch types every attribute of a module as Tensor or Module


@dataclass(frozen=True)
class SiteDetails:
    """What CHGNet predicts for the sites of one crystal.

    Attributes
    ----------
    energies_ev
        References included, shape (atoms,); their sum is the energy.
    magnetic_moments_mu_b
        Absolute values, shape (atoms,).
    features
        Before the last convolution, shape (atoms, 64).
    """

    energies_ev: NDArray[np.float64]
    magnetic_moments_mu_b: NDArray[np.float64]
    features: NDArray[np.float64]


class CHGNetPotential(Trainable):
    """A CHGNet; float32, as its weights."""

    module: CHGNet

    def __init__(self, architecture_args: Mapping[str, Any]) -> None:
        reference = AtomRef(is_intensive=True)
        with _ONE_REDIRECTION, contextlib.redirect_stdout(io.StringIO()):  # CHGNet prints its size
            module = CHGNet(**architecture_args, composition_model=reference)
        if not module.is_intensive:
            raise InputError("this CHGNet predicts total energies", fix="use an intensive one")
        if not compiled.supports(module):
            raise InputError(
                "a CHGNet with other layers than the published ones",
                fix="use 64 features, layer norms or none, and an MLP before the pooling",
            )
        super().__init__(module.eval(), architecture_args)

    def graph(self, atoms: Atoms) -> CHGNetGraph:
        """Return bonds and angles of one crystal, no longer than the cutoffs."""
        require_known(atoms.numbers, _ELEMENTS)
        cutoffs = self.module.graph_converter
        reach_ang = cutoffs.atom_graph_cutoff
        pairs = join_pairs([find_pairs(atoms.positions, atoms.cell.array, reach_ang)], [len(atoms)])
        return build_graph(
            pairs,
            [atoms.numbers],
            pairs.vectors_ang(atoms.positions, atoms.cell.array[None]),
            volumes_ang3=np.abs(np.linalg.det(atoms.cell.array[None])),
            bond_reach_ang=cutoffs.bond_graph_cutoff,
            device=self.reference_energies_ev.device,
        )

    def forward(self, graphs: Sequence[CHGNetGraph], *, create_graph: bool) -> BatchOutput:
        """Return one pass of the layers over the batch and its derivative."""
        graph = join_graphs(graphs, self.reference_energies_ev.device)
        sizes = torch.tensor(graph.sizes, device=graph.numbers.device)
        vectors = graph.bond_vectors_ang.detach().requires_grad_()
        site_energies, _ = self.site_energies(graph, vectors)
        (gradients,) = torch.autograd.grad(site_energies.sum(), vectors, create_graph=create_graph)
        forces = gradients.new_zeros((len(graph.numbers), 3))
        forces = forces.index_add(0, graph.bonds[:, 0], gradients)
        forces = forces.index_add(0, graph.bonds[:, 1], -gradients)
        virials = (graph.bond_vectors_ang[:, :, None] * gradients[:, None, :]).flatten(1)
        stresses = gradients.new_zeros((len(sizes), 9))
        stresses = stresses.index_add(0, graph.owners[graph.bonds[:, 0]], virials)
        per_atom = (site_energies + self._references_ev(graph)).double()
        energies = per_atom.new_zeros(len(sizes)).index_add(0, graph.owners, per_atom)
        return BatchOutput(
            energies_ev_per_atom=(energies if create_graph else energies.detach()) / sizes,
            forces_ev_per_ang=forces,
            stresses_gpa=(stresses * EV_PER_ANG3_GPA / graph.volumes_ang3[:, None]).unflatten(
                1, (3, 3)
            ),
        )

    def evaluator(self, numbers: Sequence[Numbers]) -> Evaluator:
        """Return the compiled evaluator where there is a compiler, else the layers in torch."""
        require_known(np.concatenate(list(numbers)), _ELEMENTS)
        references = self.reference_energies_ev
        library = compiled.load_library()
        on_cpu = references.device.type == "cpu" and references.dtype == torch.float32
        if library is not None and on_cpu:
            return compiled.CompiledEvaluator(library, self.module, numbers, references)
        return TorchEvaluator(self, numbers)

    @property
    def reference_energies_ev(self) -> Tensor:
        """The weights of chgnet's composition model (AtomRef)."""
        reference = cast("AtomRef", self.module.composition_model)
        return reference.fc.weight[0]

    def trainable_parameters(self, freeze_level: int) -> list[nn.Parameter]:
        """Return the weights that train, never AtomRef's.

        From level 1 on embeddings and bases are fixed, then one block more per level.
        """
        module, n_blocks = self.module, max(freeze_level - 1, 0)
        frozen: list[nn.Module] = [module.composition_model]
        if freeze_level > 0:
            frozen += [module.atom_embedding, module.bond_embedding, module.angle_embedding]
            frozen += [module.bond_basis_expansion, module.angle_basis_expansion]
        for layers in (module.atom_conv_layers, module.bond_conv_layers, module.angle_layers):
            frozen += layers[:n_blocks]
        fixed = {id(parameter) for part in frozen for parameter in part.parameters()}
        return [parameter for parameter in module.parameters() if id(parameter) not in fixed]

    def details(self, structure: Structure) -> SiteDetails:
        """Return site energies, magnetic moments and features of one crystal."""
        graph = join_graphs([self.graph(to_ase(structure))], self.reference_energies_ev.device)
        with torch.no_grad():
            energies, features = self.site_energies(graph, graph.bond_vectors_ang)
            energies = energies + self._references_ev(graph)
            moments = self.module.site_wise(features).abs().squeeze(1)
        return SiteDetails(*(part.cpu().double().numpy() for part in (energies, moments, features)))

    # -- layers ------------------------------------------------------------------------

    def site_energies(self, graph: CHGNetGraph, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies without references (atoms,), and the features of `SiteDetails`.

        Parameters
        ----------
        graph
            From `graph` or `join_graphs`.
        vectors
            The graph's bond vectors, or copies to differentiate by.
        """
        module: Layer = self.module
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        short_lengths = lengths.index_select(0, graph.short_bonds)
        basis, basis_bg = self._radial_bases(lengths, short_lengths)
        weights = module.bond_weights_ag(basis).index_select(0, graph.edge_bonds)
        weights_bg = module.bond_weights_bg(basis_bg)
        scale = weights_bg.index_select(0, graph.angles[:, 1])
        scale = scale * weights_bg.index_select(0, graph.angles[:, 2])
        atoms = module.atom_embedding(graph.numbers - 1)
        bonds = module.bond_embedding(basis.index_select(0, graph.short_bonds))
        angles = self._first_angles(graph, vectors, lengths)
        biased = _Biased(module, graph, short_lengths)
        features = atoms
        for index, layer in enumerate(module.atom_conv_layers):
            parts = biased.bond_parts(index, basis, bonds)
            features, atoms = atoms, _convolve_atoms(layer, atoms, parts, weights, graph)
            if index < len(module.bond_conv_layers):
                bond_layer = module.bond_conv_layers[index]
                messages = _bond_messages(bond_layer, atoms, bonds, angles, graph) * scale
                total = torch.zeros_like(bonds).index_add(0, graph.angles[:, 1], messages)
                bonds = biased.out(bond_layer, total) + bonds
            if index < len(module.bond_conv_layers) - 1:  # nothing reads the last angles
                gated = module.angle_layers[index].twoBody_bond
                angles = angles + _gate(gated, *_angle_first(gated, 1, atoms, bonds, angles, graph))
        normed = atoms if module.readout_norm is None else module.readout_norm(atoms)
        return module.mlp(normed).squeeze(1), features

    def _radial_bases(self, lengths: Tensor, short_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bases of both graphs' bonds, in the precision of the weights."""
        bases: Layer = self.module.bond_basis_expansion
        expanded = (bases.rbf_expansion_ag(lengths), bases.rbf_expansion_bg(short_lengths))
        basis, basis_bg = (part.to(self.reference_energies_ev.dtype) for part in expanded)
        return basis, basis_bg

    def _first_angles(self, graph: CHGNetGraph, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Return embedded angles, shape (angles, 64)."""
        directions = (vectors / lengths[:, None]).index_select(0, graph.short_bonds)
        first = directions.index_select(0, graph.angles[:, 1]) * graph.angle_signs
        cosines = (first * directions.index_select(0, graph.angles[:, 2])).sum(1)
        angles = torch.acos(cosines * _COSINE_SCALE).to(self.reference_energies_ev.dtype)
        module: Layer = self.module
        basis = module.angle_basis_expansion.fourier_expansion(angles)
        embedded: Tensor = module.angle_embedding(basis)
        return embedded

    def _references_ev(self, graph: CHGNetGraph) -> Tensor:
        return self.reference_energies_ev.index_select(0, graph.numbers - 1)


class _Biased:
    """Bond features and their out biases, which only the 0.2.0 weights have.

    There, chgnet leaves the bonds of a crystal without any angle as they are, and adds the
    bias to every other bond, however long.
    """

    def __init__(self, module: Layer, graph: CHGNetGraph, short_lengths: Tensor) -> None:
        self.module, self.graph = module, graph
        self.has_bias = module.bond_conv_layers[0].mlp_out.layers[1].bias is not None
        if self.has_bias:
            below = short_lengths < module.graph_converter.bond_graph_cutoff
            angles = below[graph.angles[:, 1]] & below[graph.angles[:, 2]]
            crystals = torch.zeros(len(graph.sizes), device=below.device)
            crystals = crystals.index_add(0, graph.owners[graph.angles[:, 0]], angles.to(crystals))
            owners = graph.owners.index_select(0, graph.bonds[:, 0])
            self.applies = (crystals > 0).float().index_select(0, owners)[:, None]

    def out(self, layer: Layer, total: Tensor) -> Tensor:
        """Return the layer's output map of short bonds."""
        linear = layer.mlp_out.layers[1]
        mapped: Tensor = total @ linear.weight.T
        if self.has_bias:
            mapped = mapped + linear.bias * self.applies.index_select(0, self.graph.short_bonds)
        return mapped

    def bond_parts(self, index: int, basis: Tensor, bonds: Tensor) -> Tensor:
        """Return every bond's part of an atom layer's first layer, shape (bonds, 128)."""
        maps = _first_maps(self.module.atom_conv_layers[index].twoBody_atom, 0, 3)[1]
        parts: Tensor = basis @ (self.module.bond_embedding.weight.T @ maps)
        if index == 0:
            return parts
        if self.has_bias:
            layers = self.module.bond_conv_layers[:index]
            offset = torch.stack([layer.mlp_out.layers[1].bias for layer in layers]).sum(0)
            parts = parts + self.applies * (offset @ maps)
        updated: Tensor = parts.index_copy(0, self.graph.short_bonds, bonds @ maps)
        return updated


def _first_maps(gated: Layer, index: int, n_parts: int) -> tuple[Tensor, ...]:
    """Return the parts (64, 128) of the first layer, core and gate side by side."""
    maps = (gated.mlp_core.layers[index].weight.T, gated.mlp_gate.layers[index].weight.T)
    return torch.cat(maps, dim=1).chunk(n_parts)


def _first_bias(gated: Layer, index: int) -> Tensor:
    return torch.cat([gated.mlp_core.layers[index].bias, gated.mlp_gate.layers[index].bias])


def _convolve_atoms(
    layer: Layer, atoms: Tensor, bond_parts: Tensor, weights: Tensor, graph: CHGNetGraph
) -> Tensor:
    gated = layer.twoBody_atom
    centre, _, neighbour = _first_maps(gated, 0, 3)
    pre = (
        (atoms @ centre + _first_bias(gated, 0)).index_select(0, graph.edges[:, 0])
        + (atoms @ neighbour).index_select(0, graph.edges[:, 1])
        + bond_parts.index_select(0, graph.edge_bonds)
    )
    messages = _second(gated, pre) * weights
    total = torch.zeros_like(atoms).index_add(0, graph.edges[:, 0], messages)
    mapped: Tensor = layer.mlp_out(total)
    return mapped + atoms


def _bond_messages(
    layer: Layer, atoms: Tensor, bonds: Tensor, angles: Tensor, graph: CHGNetGraph
) -> Tensor:
    gated = layer.twoBody_bond
    return _second(gated, torch.cat(_angle_first(gated, 0, atoms, bonds, angles, graph), dim=1))


def _angle_first(
    gated: Layer,
    index: int,
    atoms: Tensor,
    bonds: Tensor,
    angles: Tensor,
    graph: CHGNetGraph,
) -> tuple[Tensor, ...]:
    """Return core and gate (angles, 64) of the first layer on (bond, bond, angle, atom)."""
    first, second, angle, atom = _first_maps(gated, index, 4)
    pre = (
        (bonds @ first).index_select(0, graph.angles[:, 1])
        + (bonds @ second).index_select(0, graph.angles[:, 2])
        + (atoms @ atom + _first_bias(gated, index)).index_select(0, graph.angles[:, 0])
    )
    return torch.addmm(pre, angles, angle).chunk(2, dim=1)


def _second(gated: Layer, pre: Tensor) -> Tensor:
    core, gate = functional.silu(pre).chunk(2, dim=1)
    return _gate(gated, gated.mlp_core.layers[3](core), gated.mlp_gate.layers[3](gate))


def _gate(gated: Layer, core: Tensor, gate: Tensor) -> Tensor:
    if gated.bn1 is not None:
        core, gate = gated.bn1(core), gated.bn2(gate)
    return functional.silu(core) * torch.sigmoid(gate)


class TorchEvaluator:
    """`Evaluator` by the layers in torch, on the potential's device.

    The graph has a skin: bonds and angles beyond the cutoffs weigh exactly nothing.
    """

    def __init__(self, potential: CHGNetPotential, numbers: Sequence[Numbers]) -> None:
        self.potential, self.numbers = potential, list(numbers)
        self.cutoffs = potential.module.graph_converter
        sizes = [len(each) for each in numbers]
        self.skin_list = SkinList(sizes, float(self.cutoffs.atom_graph_cutoff), SKIN_ANG)
        self._graph: CHGNetGraph | None = None

    def __call__(self, positions_ang: Tensor, cells_ang: Tensor) -> BatchPrediction:
        """Evaluate by one pass of the layers."""
        positions, cells = positions_ang.cpu().numpy(), cells_ang.cpu().numpy()
        if self.skin_list.update(positions, cells) or self._graph is None:
            self._graph = self._build(positions, cells)
        graph = replace(
            self._graph,
            bond_vectors_ang=self._bond_vectors(self._graph, positions_ang, cells_ang),
            volumes_ang3=torch.linalg.det(cells_ang).abs(),
        )
        output = self.potential.forward([graph], create_graph=False)
        sizes = torch.tensor(graph.sizes, device=positions_ang.device)
        return mark_lost(
            BatchPrediction(
                output.energies_ev_per_atom.double() * sizes,
                output.forces_ev_per_ang.double(),
                output.stresses_gpa.double(),
            ),
            lost_crystals(positions, cells, self.skin_list.owners),
            self.skin_list.owners,
        )

    def _build(self, positions: NDArray[np.float64], cells: NDArray[np.float64]) -> CHGNetGraph:
        pairs = self.skin_list.pairs
        graph = build_graph(
            pairs,
            self.numbers,
            pairs.vectors_ang(positions, cells[self.skin_list.owners[pairs.ends[:, 0]]]),
            volumes_ang3=np.ones(len(cells)),
            bond_reach_ang=float(self.cutoffs.bond_graph_cutoff) + SKIN_ANG,
            device=self.potential.reference_energies_ev.device,
        )
        self._shifts = torch.from_numpy(pairs.images.astype(float)).to(graph.numbers.device)
        return graph

    def _bond_vectors(self, graph: CHGNetGraph, positions_ang: Tensor, cells_ang: Tensor) -> Tensor:
        i, j = graph.bonds.T
        cells = cells_ang.index_select(0, graph.owners.index_select(0, i))
        shifts = torch.einsum("bi,bij->bj", self._shifts, cells)
        return positions_ang.index_select(0, j) - positions_ang.index_select(0, i) + shifts

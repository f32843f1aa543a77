"""SevenNet behind our interface: its own layers on our neighbour lists.

The layers are those of `sevenn` (Park et al., J. Chem. Theory Comput. 2024, 20, 4857), up to the
energies of atoms. Their sum E depends on the atoms through the vectors v_ij of pairs within the
cutoff, each in both directions, so that one derivative g_ij = dE/dv_ij gives

    F_i = sum_j g_ij - sum_j g_ji,    stress = 1/V sum_ij v_ij (outer) g_ij
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor, nn

from lycb_flows.potentials.evaluator import (
    BatchPrediction,
    Evaluator,
    Numbers,
    lost_crystals,
    mark_lost,
    require_known,
)
from lycb_flows.potentials.graph import Floats, Pairs, SkinList, find_pairs, join_pairs
from lycb_flows.potentials.trainable import BatchOutput, Trainable
from lycb_flows.units import EV_PER_ANG3_GPA

with warnings.catch_warnings():  # torch announces the end of its scripts, which e3nn makes none of
    warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
    import sevenn._const
    import sevenn._keys as keys
    from sevenn.model_build import build_E3_equivariant_model
    from sevenn.nn.sequential import AtomGraphSequential
    from sevenn.scripts.backward_compatibility import patch_old_config, patch_state_dict_if_old

SKIN_ANG = 0.4
"""Pairs in the skin are left out of a pass, so that a wide one costs no more than the search."""
_N_ELEMENTS = 118
_ATOMS_PER_PASS = {"cpu": 100, "cuda": 2000}
"""An atom takes about 10 MB in the layers of SevenNet-0, 25 in those of l3i5."""
_REFERENCES = "references_ev"
_CONSTANT = "._tensor_constant"


@dataclass(frozen=True)
class SevenNetGraph:
    """Pairs within the cutoff of m crystals with n atoms altogether, each in both directions.

    Attributes
    ----------
    numbers
        Atomic numbers, shape (n,).
    owners
        The crystal of each atom, shape (n,).
    edges
        Centre and neighbour, shape (2, edges).
    vectors_ang
        From centre to neighbour, float64, shape (edges, 3).
    volumes_ang3
        Shape (m,), float64.
    """

    numbers: Tensor
    owners: Tensor
    edges: Tensor
    vectors_ang: Tensor
    volumes_ang3: Tensor


class SevenNetModule(nn.Module):
    """SevenNet's layers up to the energies of atoms, and reference energies that we add.

    Parameters
    ----------
    settings
        What the layers are built from, as `sevennet_checkpoint` reads it.
    """

    references_ev: Tensor

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.settings = _complete(settings)
        self.layers: AtomGraphSequential = build_E3_equivariant_model(dict(self.settings))
        self.layers.delete_module_by_key("force_output")
        self.layers.eval_modal_map = False
        self.register_buffer(_REFERENCES, torch.zeros(_N_ELEMENTS, dtype=torch.float64))

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - torch's
        """Load a state of this module, or that of a checkpoint, whose order may be an older one."""
        if _REFERENCES not in state_dict:
            state = patch_state_dict_if_old(dict(state_dict), self.settings, self.layers)
            state_dict = {f"layers.{name}": tensor for name, tensor in state.items()}
            state_dict[_REFERENCES] = self.references_ev
        constants = {k: v for k, v in super().state_dict().items() if _CONSTANT in k}
        state_dict = {**constants, **state_dict}
        return super().load_state_dict(state_dict, *args, **kwargs)

    def state_dict(  # type: ignore[override]  # torch's own signatures are overloaded
        self,
        *args: Any,  # noqa: ANN401 - torch's
        **kwargs: Any,  # noqa: ANN401 - torch's
    ) -> dict[str, Any]:
        """Return the state without the constants that torch names when it copies a module."""
        state = super().state_dict(*args, **kwargs)
        return {name: tensor for name, tensor in state.items() if _CONSTANT not in name}

    def forward(self, graph: SevenNetGraph, vectors_ang: Tensor) -> Tensor:
        """Return the energies of atoms without our references, shape (n,).

        Parameters
        ----------
        graph
            The pairs.
        vectors_ang
            Their vectors, to differentiate by.
        """
        data = {
            keys.ATOMIC_NUMBERS: graph.numbers,
            keys.EDGE_IDX: graph.edges,
            keys.EDGE_VEC: vectors_ang,
            keys.BATCH: graph.owners,
        }
        if modal := self.settings.get("modal"):
            index = self.settings[keys.MODAL_MAP][modal]
            data[keys.MODAL_TYPE] = torch.full_like(graph.volumes_ang3, index, dtype=torch.int64)
        energies: Tensor = self.layers(data)[keys.ATOMIC_ENERGY]
        return energies.squeeze(1)


def _complete(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with those that a checkpoint leaves out."""
    config = patch_old_config({key: _copied(value) for key, value in settings.items()})
    config[keys.TYPE_MAP] = {int(z): int(i) for z, i in config[keys.TYPE_MAP].items()}
    n_types, n_modals = len(config[keys.TYPE_MAP]), len(config.get(keys.MODAL_MAP) or {})
    for key, of_modals in ((keys.SHIFT, "shift"), (keys.SCALE, "scale")):  # weights, loaded later
        wide = config.get(f"use_modal_wise_{of_modals}", False)
        config[key] = [[0.0] * n_types] * n_modals if wide else [0.0] * n_types
    return {**sevenn._const.model_defaults(config), **config}  # noqa: SLF001 - its only place


def _copied(value: Any) -> Any:  # noqa: ANN401 - a setting
    return dict(value) if isinstance(value, Mapping) else value


class SevenNetPotential(Trainable):
    """A SevenNet; float32, as its weights."""

    module: SevenNetModule

    def __init__(self, architecture_args: Mapping[str, Any]) -> None:
        super().__init__(SevenNetModule(architecture_args).eval(), architecture_args)
        self.cutoff_ang = float(self.module.settings[keys.CUTOFF])

    @property
    def reference_energies_ev(self) -> Tensor:
        """Energies that we add to those of the layers; zero in a published model."""
        return self.module.references_ev

    def graph(self, atoms: Atoms) -> SevenNetGraph:
        """Return the pairs of one crystal within the cutoff."""
        part = find_pairs(atoms.positions, atoms.cell.array, self.cutoff_ang)
        pairs = join_pairs([part], [len(atoms)])
        return self.graph_of(
            [atoms.numbers], pairs, np.asarray(atoms.positions), atoms.cell.array[None]
        )

    def graph_of(
        self, numbers: Sequence[Numbers], pairs: Pairs, positions_ang: Floats, cells_ang: Floats
    ) -> SevenNetGraph:
        """Return the pairs of some crystals that lie within the cutoff.

        Parameters
        ----------
        numbers
            Atomic numbers of each crystal.
        pairs
            Pairs that hold all of them.
        positions_ang
            Shape (n, 3), all crystals side by side.
        cells_ang
            Shape (m, 3, 3).

        Raises
        ------
        InputError
            When the model does not know an element.
        """
        all_numbers = np.concatenate(numbers).astype(np.int64)
        require_known(all_numbers, self.module.settings[keys.TYPE_MAP])
        owners = np.repeat(np.arange(len(numbers)), [len(each) for each in numbers])
        vectors = pairs.vectors_ang(positions_ang, cells_ang[owners[pairs.ends[:, 0]]])
        near = np.einsum("pi,pi->p", vectors, vectors) < self.cutoff_ang**2
        ends, vectors = pairs.ends[near].astype(np.int64).T, vectors[near]
        arrays = (
            all_numbers,
            owners,
            np.concatenate([ends, ends[::-1]], axis=1),
            np.concatenate([vectors, -vectors]),
            np.abs(np.linalg.det(cells_ang)),
        )
        return SevenNetGraph(*(torch.from_numpy(array).to(self.device) for array in arrays))

    def forward(self, graphs: Sequence[SevenNetGraph], *, create_graph: bool) -> BatchOutput:
        """Return one pass of the layers over the batch and its derivative."""
        graph = _joined(graphs)
        weights_dtype = next(self.module.layers.parameters()).dtype
        vectors = graph.vectors_ang.detach().to(weights_dtype).requires_grad_()
        site_energies = self.module(graph, vectors)
        (gradients,) = torch.autograd.grad(site_energies.sum(), vectors, create_graph=create_graph)
        forces = gradients.new_zeros((len(graph.numbers), 3))
        forces = forces.index_add(0, graph.edges[0], gradients)
        forces = forces.index_add(0, graph.edges[1], -gradients)
        virials = (vectors[:, :, None] * gradients[:, None, :]).flatten(1).double()
        stresses = virials.new_zeros((len(graph.volumes_ang3), 9))
        stresses = stresses.index_add(0, graph.owners[graph.edges[0]], virials)
        references = self.reference_energies_ev.index_select(0, graph.numbers - 1)
        energies = graph.volumes_ang3.new_zeros(len(graph.volumes_ang3))
        energies = energies.index_add(0, graph.owners, site_energies.double() + references)
        stresses = stresses * EV_PER_ANG3_GPA / graph.volumes_ang3[:, None]
        per_atom = energies / torch.bincount(graph.owners, minlength=len(energies))
        outputs = (per_atom, forces.double(), stresses.unflatten(1, (3, 3)))
        return BatchOutput(*(part if create_graph else part.detach() for part in outputs))

    def evaluator(self, numbers: Sequence[Numbers]) -> Evaluator:
        """Return an evaluator that takes as many crystals to a pass as memory allows.

        Parameters
        ----------
        numbers
            Atomic numbers of each crystal, one array each.
        """
        return SevenNetEvaluator(self, numbers)

    def trainable_parameters(self, freeze_level: int) -> list[nn.Parameter]:
        """Return the weights that train, never the scale and the shift of energies.

        From level 1 on the embeddings are fixed, then one interaction block more per level.
        """
        frozen = ["rescale_atomic_energy"]
        if freeze_level > 0:
            frozen += ["edge_embedding", "onehot_to_feature_x"]
        frozen += [f"{block}_" for block in range(freeze_level - 1)]
        return [
            parameter
            for name, parameter in self.module.layers.named_parameters()
            if not name.startswith(tuple(frozen)) and "denominator" not in name
        ]


def _joined(graphs: Sequence[SevenNetGraph]) -> SevenNetGraph:
    """Return the graphs as one."""
    if len(graphs) == 1:
        return graphs[0]
    atoms = np.cumsum([0, *(len(graph.numbers) for graph in graphs)]).tolist()
    crystals = np.cumsum([0, *(len(graph.volumes_ang3) for graph in graphs)]).tolist()
    return SevenNetGraph(
        torch.cat([graph.numbers for graph in graphs]),
        torch.cat([g.owners + start for g, start in zip(graphs, crystals, strict=False)]),
        torch.cat([g.edges + start for g, start in zip(graphs, atoms, strict=False)], dim=1),
        torch.cat([graph.vectors_ang for graph in graphs]),
        torch.cat([graph.volumes_ang3 for graph in graphs]),
    )


class SevenNetEvaluator:
    """`Evaluator` by passes of the layers over a few crystals each."""

    def __init__(self, potential: SevenNetPotential, numbers: Sequence[Numbers]) -> None:
        self.sizes = [len(each) for each in numbers]
        self.owners = np.repeat(np.arange(len(numbers)), self.sizes)
        starts = np.cumsum([0, *self.sizes]).tolist()
        self.passes = [
            _Pass(potential, list(numbers[a:b]), slice(a, b), slice(starts[a], starts[b]))
            for a, b in _passes(self.sizes, potential.device.type)
        ]

    def __call__(self, positions_ang: Tensor, cells_ang: Tensor) -> BatchPrediction:
        """Evaluate pass by pass."""
        positions, cells = positions_ang.cpu().numpy(), cells_ang.cpu().numpy()
        lost = lost_crystals(positions, cells, self.owners)
        outputs = [
            part.output(positions[part.atoms], cells[part.crystals], lost[part.crystals])
            for part in self.passes
        ]
        per_atom_ev = torch.cat([output.energies_ev_per_atom for output in outputs])
        prediction = BatchPrediction(
            per_atom_ev * torch.tensor(self.sizes, device=per_atom_ev.device),
            torch.cat([output.forces_ev_per_ang for output in outputs]),
            torch.cat([output.stresses_gpa for output in outputs]),
        )
        return mark_lost(prediction, lost, self.owners)


class _Pass:
    """Some crystals that go through the layers together, and their list of pairs."""

    def __init__(
        self,
        potential: SevenNetPotential,
        numbers: list[Numbers],
        crystals: slice,
        atoms: slice,
    ) -> None:
        self.potential, self.numbers = potential, numbers
        self.crystals, self.atoms = crystals, atoms
        self.list = SkinList([len(each) for each in numbers], potential.cutoff_ang, SKIN_ANG)

    def output(
        self, positions_ang: Floats, cells_ang: Floats, lost: NDArray[np.bool_]
    ) -> BatchOutput:
        """Return the output; a lost crystal has no pairs, and numbers that mean nothing."""
        positions = np.where(lost[self.list.owners, None], np.nan, positions_ang)
        self.list.update(positions, cells_ang)
        graph = self.potential.graph_of(
            self.numbers,
            self.list.pairs,
            np.nan_to_num(positions),
            np.where(lost[:, None, None], np.eye(3), cells_ang),
        )
        return self.potential.forward([graph], create_graph=False)


def _passes(sizes: Sequence[int], device: str) -> list[tuple[int, int]]:
    """Return first and last crystal of every pass."""
    limit, bounds, n_atoms = _ATOMS_PER_PASS.get(device, 2000), [0], 0
    for index, size in enumerate(sizes):
        if n_atoms and n_atoms + size > limit:
            bounds.append(index)
            n_atoms = 0
        n_atoms += size
    return list(zip(bounds, [*bounds[1:], len(sizes)], strict=True))

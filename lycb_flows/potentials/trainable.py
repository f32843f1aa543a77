"""Potentials that can be trained: their output is differentiable in the weights of a torch module.

An architecture that trains implements four things: `graph` (neighbours of one crystal),
`forward` (differentiable), the elements' reference energies, and which weights train.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar, cast

import numpy as np
import safetensors
import safetensors.torch
import torch
from ase import Atoms
from ase.data import atomic_numbers
from torch import Tensor, nn

from lycb_flows.errors import InputError, first_line
from lycb_flows.potentials.evaluator import BatchPrediction, Evaluator, Numbers, lost_crystals
from lycb_flows.potentials.potential import Potential
from lycb_flows.schemas import Model

T = TypeVar("T", bound="Trainable")


@dataclass(frozen=True)
class BatchOutput:
    """Tensors (float64) of m crystals with n atoms altogether, in the order given.

    Attributes
    ----------
    energies_ev_per_atom
        Shape (m,).
    forces_ev_per_ang
        Shape (n, 3).
    stresses_gpa
        Shape (m, 3, 3); tension positive.
    """

    energies_ev_per_atom: Tensor
    forces_ev_per_ang: Tensor
    stresses_gpa: Tensor


class Trainable(Potential):
    """A potential with weights that can be saved, shifted and trained.

    Parameters
    ----------
    module
        The torch module that holds the weights.
    architecture_args
        Plain data that rebuild the module.
    """

    def __init__(self, module: nn.Module, architecture_args: Mapping[str, Any]) -> None:
        self.module = module
        self.architecture_args = dict(architecture_args)

    @property
    def device(self) -> torch.device:
        """The torch device of the weights."""
        return self.reference_energies_ev.device

    @abstractmethod
    def graph(self, atoms: Atoms) -> Any:  # noqa: ANN401 - each architecture has its own graph
        """Return the neighbours of one crystal, in the form that `forward` takes.

        No gradient is in it.

        Raises
        ------
        PhysicsError
            When the crystal cannot be described, e.g. an atom without neighbours.
        """

    @abstractmethod
    def forward(self, graphs: Sequence[Any], *, create_graph: bool) -> BatchOutput:
        """Return energies, forces and stresses of a batch.

        Parameters
        ----------
        graphs
            From `graph`.
        create_graph
            Keep what is needed to differentiate the output with respect to the weights;
            otherwise the output is detached.
        """

    @property
    @abstractmethod
    def reference_energies_ev(self) -> Tensor:
        """The energies added per atom of an element, shape (elements,), by atomic number - 1."""

    @abstractmethod
    def trainable_parameters(self, freeze_level: int) -> list[nn.Parameter]:
        """Return the weights that train.

        Parameters
        ----------
        freeze_level
            0 to 4; higher levels keep more weights fixed.
        """

    def evaluator(self, numbers: Sequence[Numbers]) -> Evaluator:
        """Return an evaluator that makes one graph and one pass per crystal and call.

        Parameters
        ----------
        numbers
            Atomic numbers of each crystal, one array each.
        """
        return GraphEvaluator(self, numbers)

    def weights_bytes(self) -> bytes:
        """Return the weights as safetensors; equal weights give equal bytes."""
        tensors = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in sorted(self.module.state_dict().items())
        }
        return bytes(safetensors.torch.save(tensors))

    def copy(self) -> Self:
        """Return a potential with weights of its own."""
        return copy.deepcopy(self)

    def with_weights(self, weights: bytes) -> Self:
        """Return a copy with other weights.

        Parameters
        ----------
        weights
            The module's state in safetensors, as `weights_bytes` returns it.
        """
        child = self.copy()
        child.module.load_state_dict(safetensors.torch.load(weights))
        return child

    def shifted(self, shift_ev: Mapping[str, float]) -> Self:
        """Return a copy with shifted reference energies.

        Parameters
        ----------
        shift_ev
            Energy that is added per atom of each element, in eV.
        """
        child = self.copy()
        with torch.no_grad():
            for symbol, energy_ev in shift_ev.items():
                child.reference_energies_ev[atomic_numbers[symbol] - 1] += energy_ev
        return child

    def untrained(self, seed: int) -> Self:
        """Return a copy whose layers have new random weights; the reference energies stay.

        Parameters
        ----------
        seed
            Of the weights, which torch draws as it does in new layers.

        Raises
        ------
        InputError
            When no part of the module draws its weights.
        """
        child = self.copy()
        reference_ev = child.reference_energies_ev.detach().clone()
        parts = child.module.modules()
        drawn = [part.reset_parameters for part in parts if hasattr(part, "reset_parameters")]
        if not drawn:
            raise InputError(
                "this model has no layers that draw new weights",
                fix="train it further instead of from scratch",
                model=type(self).__name__,
            )
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            for draw in drawn:
                cast("Callable[[], None]", draw)()
            child.reference_energies_ev.copy_(reference_ev)
        return child


def require_trainable(potential: Potential, name: str = "") -> Trainable:
    """Return the potential as one that can be trained.

    Parameters
    ----------
    potential
        Any potential.
    name
        Its model's name, for the error; by default its class's.

    Raises
    ------
    InputError
        When it only predicts.
    """
    if isinstance(potential, Trainable):
        return potential
    raise InputError(
        "this model cannot be trained; it can rank, run MD, label and measure",
        fix="let another model learn, e.g. chgnet-0.3.0",
        model=name or type(potential).__name__,
    )


def load_trainable(
    make: Callable[[Mapping[str, Any]], T], model: Model, weights: bytes, device: str
) -> T:
    """Return the potential of a model's document and its weights in safetensors.

    Parameters
    ----------
    make
        Makes a potential from the document's `architecture_args`.
    model
        The document.
    weights
        The module's state.
    device
        Name of a torch device.

    Raises
    ------
    InputError
        When the weights do not fit the document.
    """
    try:
        potential = make(model.architecture_args)
        potential.module.load_state_dict(safetensors.torch.load(weights))
    except (RuntimeError, TypeError, ValueError, safetensors.SafetensorError) as err:
        raise InputError(
            "the weights do not fit the model's card",
            fix="export the model again",
            model=model.name,
            reason=first_line(err),
        ) from err
    potential.module.to(device)
    return potential


class GraphEvaluator:
    """An architecture's `graph` and `forward` as an `Evaluator`, crystal by crystal."""

    def __init__(self, potential: Trainable, numbers: Sequence[Numbers]) -> None:
        self.potential = potential
        self.crystals = [Atoms(numbers=each, pbc=True) for each in numbers]
        self.owners = np.repeat(np.arange(len(numbers)), [len(each) for each in numbers])

    def __call__(self, positions_ang: Tensor, cells_ang: Tensor) -> BatchPrediction:
        """Evaluate with one graph and one pass per crystal, and none of a crystal that is lost."""
        positions, cells = positions_ang.cpu().numpy(), cells_ang.cpu().numpy()
        lost = lost_crystals(positions, cells, self.owners)
        shapes = ((len(cells),), positions.shape, cells.shape)
        blank = torch.tensor(torch.nan, dtype=torch.float64, device=self.potential.device)
        found = BatchPrediction(*(blank.repeat(shape) for shape in shapes))
        for index in np.flatnonzero(~lost):
            atoms, rows = self.crystals[index], self.owners == index
            atoms.set_cell(cells[index])
            atoms.positions[:] = positions[rows]
            output = self.potential.forward([self.potential.graph(atoms)], create_graph=False)
            found.energies_ev[index] = output.energies_ev_per_atom[0].double() * len(atoms)
            found.forces_ev_per_ang[rows] = output.forces_ev_per_ang.double()
            found.stresses_gpa[index] = output.stresses_gpa[0].double()
        return found

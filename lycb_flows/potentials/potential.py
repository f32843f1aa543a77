"""The interface of every potential: structures in; energy, forces and stress out.

Relaxation, MD, labels and training know nothing else. An architecture implements four
things: `graph` (neighbours of one crystal), `forward` (differentiable), the elements'
reference energies, and which weights train.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import numpy as np
import safetensors.torch
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray
from torch import Tensor, nn

from lycb_flows import schemas
from lycb_flows.crystals.structures import to_ase
from lycb_flows.potentials.evaluator import (
    Evaluation,
    Evaluator,
    Numbers,
    Prediction,
    lost_crystals,
    mark_lost,
)
from lycb_flows.units import EV_PER_ANG3_GPA

Array = NDArray[np.float64]
_ATOMS_PER_BATCH = 2000


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


class Potential(ABC):
    """A potential with weights that can be saved, shifted and trained.

    Parameters
    ----------
    module
        The torch module that holds the weights.
    architecture_args
        Plain data that rebuild the module.
    """

    architecture: ClassVar[str]

    def __init__(self, module: nn.Module, architecture_args: Mapping[str, Any]) -> None:
        self.module = module
        self.architecture_args = dict(architecture_args)

    @abstractmethod
    def graph(self, atoms: Atoms) -> Any:  # noqa: ANN401 - each architecture has its own graph
        """The neighbours of one crystal, in the form that `forward` takes; no gradient in it.

        Raises
        ------
        PhysicsError
            When the crystal cannot be described, e.g. an atom without neighbours.
        """

    @abstractmethod
    def forward(self, graphs: Sequence[Any], *, create_graph: bool) -> BatchOutput:
        """Energies, forces and stresses of a batch.

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
        """The weights added per atom of an element, shape (elements,), by atomic number - 1."""

    @abstractmethod
    def trainable_parameters(self, freeze_level: int) -> list[nn.Parameter]:
        """The weights that train; higher levels (0 to 4) keep more of them fixed."""

    def evaluator(self, numbers: Sequence[Numbers]) -> Evaluator:
        """An evaluator of crystals with these atomic numbers, one array each."""
        return GraphEvaluator(self, numbers)

    def predict(self, structures: Sequence[schemas.Structure]) -> list[Prediction]:
        """The predictions for some structures.

        Raises
        ------
        PhysicsError
            When one of them is not finite.
        """
        return [
            prediction
            for batch in _batches([to_ase(structure) for structure in structures])
            for prediction in self._predict(batch)
        ]

    def predict_atoms(self, atoms: Atoms) -> Prediction:
        """The prediction for one crystal.

        Raises
        ------
        PhysicsError
            When it is not finite.
        """
        (prediction,) = self._predict([atoms])
        return prediction

    def _predict(self, crystals: Sequence[Atoms]) -> list[Prediction]:
        device = self.reference_energies_ev.device
        evaluate = self.evaluator([atoms.numbers for atoms in crystals])
        positions = np.concatenate([atoms.positions for atoms in crystals])
        cells = np.array([atoms.cell.array for atoms in crystals])
        return evaluate(
            torch.from_numpy(positions).to(device), torch.from_numpy(cells).to(device)
        ).predictions([len(atoms) for atoms in crystals])

    def calculator(self) -> PotentialCalculator:
        """The potential as an ASE calculator."""
        return PotentialCalculator(self)

    def weights_bytes(self) -> bytes:
        """The weights as safetensors; equal weights give equal bytes."""
        tensors = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in sorted(self.module.state_dict().items())
        }
        return bytes(safetensors.torch.save(tensors))

    def copy(self) -> Self:
        """A potential with weights of its own."""
        return copy.deepcopy(self)

    def with_weights(self, weights: bytes) -> Self:
        """A copy with other weights, given as safetensors."""
        child = self.copy()
        child.module.load_state_dict(safetensors.torch.load(weights))
        return child

    def shifted(self, shift_ev: Mapping[str, float]) -> Self:
        """A copy whose energy is higher by this much per atom of each element."""
        child = self.copy()
        with torch.no_grad():
            for symbol, energy_ev in shift_ev.items():
                child.reference_energies_ev[atomic_numbers[symbol] - 1] += energy_ev
        return child


class GraphEvaluator:
    """An architecture's `graph` and `forward` as an `Evaluator`, crystal by crystal."""

    def __init__(self, potential: Potential, numbers: Sequence[Numbers]) -> None:
        self.potential = potential
        self.crystals = [Atoms(numbers=one, pbc=True) for one in numbers]
        self.sizes = [len(atoms) for atoms in self.crystals]
        self.owners = np.repeat(np.arange(len(self.sizes)), self.sizes)

    def __call__(self, positions_ang: Tensor, cells_ang: Tensor) -> Evaluation:
        """One graph and one pass per crystal."""
        parts, cells = positions_ang.cpu().numpy(), cells_ang.cpu().numpy()
        lost = lost_crystals(parts, cells, self.owners)
        outputs = []
        for index, atoms in enumerate(self.crystals):
            atoms.set_cell(np.eye(3) if lost[index] else cells[index])
            atoms.positions[:] = 0 if lost[index] else parts[self.owners == index]
            graph = self.potential.graph(atoms)
            outputs.append(self.potential.forward([graph], create_graph=False))
        energies = torch.cat([one.energies_ev_per_atom for one in outputs]).double()
        evaluation = Evaluation(
            energies * torch.tensor(self.sizes, device=energies.device),
            torch.cat([one.forces_ev_per_ang for one in outputs]).double(),
            torch.cat([one.stresses_gpa for one in outputs]).double(),
        )
        return mark_lost(evaluation, lost, self.owners)


class PotentialCalculator(Calculator):
    """A `Potential` for ASE: energies in eV, stress in eV/Å^3 (Voigt order).

    >>> atoms.calc = load_model("chgnet-0.3.0").calculator()
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - ASE

    def __init__(self, potential: Potential) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # ASE is half annotated
        self.potential = potential
        self._evaluator: Evaluator | None = None
        self._numbers = np.empty(0, int)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """All properties at once; they cost one evaluation.

        Raises
        ------
        PhysicsError
            When the prediction is not finite.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        now = cast("Atoms", self.atoms)
        if self._evaluator is None or not np.array_equal(now.numbers, self._numbers):
            self._evaluator = self.potential.evaluator([now.numbers])
            self._numbers = now.numbers.copy()
        like = self.potential.reference_energies_ev
        said = self._evaluator(
            torch.from_numpy(now.positions).to(like.device),
            torch.from_numpy(now.cell.array[None].copy()).to(like.device),
        )
        (prediction,) = said.predictions([len(now)])
        stress_ev_per_ang3 = prediction.stress_gpa / EV_PER_ANG3_GPA
        self.results = {
            "energy": prediction.energy_ev,
            "free_energy": prediction.energy_ev,
            "forces": prediction.forces_ev_per_ang,
            "stress": full_3x3_to_voigt_6_stress(stress_ev_per_ang3),
        }


def _batches(crystals: Sequence[Atoms]) -> Iterator[list[Atoms]]:
    """The crystals in order, in batches of a memory that any machine has."""
    batch: list[Atoms] = []
    for atoms in crystals:
        if batch and sum(map(len, batch)) + len(atoms) > _ATOMS_PER_BATCH:
            yield batch
            batch = []
        batch.append(atoms)
    if batch:
        yield batch

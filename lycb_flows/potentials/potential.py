"""The interface of every potential: structures in; energy, forces and stress out.

Relaxation, MD, labels and training know nothing else. An architecture implements four
things: `graph` (neighbours of one crystal), `forward` (differentiable), the elements'
reference energies, and which weights train.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
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
from lycb_flows.errors import PhysicsError
from lycb_flows.potentials.evaluator import AseEvaluator, Evaluator, Numbers
from lycb_flows.structures import to_ase
from lycb_flows.units import EV_PER_ANG3_GPA

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """What a potential says about one structure.

    Attributes
    ----------
    energy_ev
        Total energy.
    forces_ev_per_ang
        Shape (n_atoms, 3).
    stress_gpa
        Shape (3, 3); tension positive, ASE's sign.
    """

    energy_ev: float
    forces_ev_per_ang: Array
    stress_gpa: Array


@dataclass(frozen=True)
class BatchOutput:
    """Tensors of m crystals with n atoms altogether, in the order given.

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

    def predict_atoms(self, atoms: Atoms) -> Prediction:
        """The prediction for one crystal.

        Raises
        ------
        PhysicsError
            When the crystal cannot be described or the prediction is not finite.
        """
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
            raise PhysicsError("positions or cell are not finite", fix="the run has exploded")
        return self.predict_graph(self.graph(atoms))

    def predict_graph(self, graph: Any) -> Prediction:  # noqa: ANN401 - see `graph`
        """The prediction for one graph.

        Raises
        ------
        PhysicsError
            When it is not finite.
        """
        output = self.forward([graph], create_graph=False)
        forces = _array(output.forces_ev_per_ang)
        prediction = Prediction(
            energy_ev=float(output.energies_ev_per_atom[0]) * len(forces),
            forces_ev_per_ang=forces,
            stress_gpa=_array(output.stresses_gpa[0]),
        )
        values = (prediction.energy_ev, prediction.forces_ev_per_ang, prediction.stress_gpa)
        if not all(np.isfinite(value).all() for value in values):
            raise PhysicsError(
                "the potential's prediction is not finite", fix="look for overlapping atoms"
            )
        return prediction

    def predict(self, structures: Sequence[schemas.Structure]) -> list[Prediction]:
        """The predictions for some structures.

        One by one: a batch would save little on a CPU, and a prediction may not depend
        on its neighbours in a batch.
        """
        return [self.predict_atoms(to_ase(structure)) for structure in structures]

    def evaluator(self, numbers: Sequence[Numbers]) -> Evaluator:
        """An evaluator of crystals with these atomic numbers, one array each."""
        return AseEvaluator(numbers, self.calculator)

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


class PotentialCalculator(Calculator):
    """A `Potential` for ASE: energies in eV, stress in eV/Å^3 (Voigt order)."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - ASE

    def __init__(self, potential: Potential) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # ASE is half annotated
        self.potential = potential

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """All properties at once; they cost one evaluation."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        prediction = self.potential.predict_atoms(cast("Atoms", self.atoms))
        stress_ev_per_ang3 = prediction.stress_gpa / EV_PER_ANG3_GPA
        self.results = {
            "energy": prediction.energy_ev,
            "free_energy": prediction.energy_ev,
            "forces": prediction.forces_ev_per_ang,
            "stress": full_3x3_to_voigt_6_stress(stress_ev_per_ang3),
        }


def _array(tensor: Tensor) -> Array:
    return tensor.cpu().numpy().astype(np.float64)

"""The interface of every potential: structures in; energy, forces and stress out.

Relaxation, MD, labels and evaluation need no more than this. What can also be trained is a
`Trainable` (trainable.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from lycb_flows.crystals import check_crystal, to_ase
from lycb_flows.potentials.evaluator import Evaluator, Numbers, SinglePoint
from lycb_flows.schemas import Structure
from lycb_flows.units import EV_PER_ANG3_GPA

_ATOMS_PER_BATCH = 2000


class Potential(ABC):
    """A potential that predicts.

    A subclass writes `evaluator` and, where it does not run on the CPU, `device`.
    """

    @property
    def device(self) -> torch.device:
        """The torch device of positions, cells and predictions."""
        return torch.device("cpu")

    @abstractmethod
    def evaluator(self, numbers: Sequence[Numbers]) -> Evaluator:
        """Return an evaluator of some crystals, to be called again and again as they move.

        Parameters
        ----------
        numbers
            Atomic numbers of each crystal, one array each.
        """

    def predict(self, structures: Sequence[Structure]) -> list[SinglePoint]:
        """Return the predictions for some structures.

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

    def predict_atoms(self, atoms: Atoms) -> SinglePoint:
        """Return the prediction for one crystal.

        Raises
        ------
        InputError
            When it is no crystal: without atoms or cell, or open in some direction.
        PhysicsError
            When it is not finite.
        """
        check_crystal(atoms)
        (prediction,) = self._predict([atoms])
        return prediction

    def _predict(self, crystals: Sequence[Atoms]) -> list[SinglePoint]:
        evaluate = self.evaluator([atoms.numbers for atoms in crystals])
        positions = np.concatenate([atoms.positions for atoms in crystals])
        cells = np.array([atoms.cell.array for atoms in crystals])
        return evaluate(
            torch.from_numpy(positions).to(self.device), torch.from_numpy(cells).to(self.device)
        ).predictions([len(atoms) for atoms in crystals])

    def calculator(self) -> PotentialCalculator:
        """Return the potential as an ASE calculator.

        Returns
        -------
        PotentialCalculator
            It computes energy, forces and stress; the potential is shared, not copied.
        """
        return PotentialCalculator(self)


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
        """Compute all properties at once; they cost one evaluation.

        Parameters
        ----------
        atoms
            The crystal; None for the last one.
        properties, system_changes
            Arguments of ASE's interface; all properties are computed at any change.

        Raises
        ------
        InputError
            When it is no crystal: without atoms or cell, or open in some direction.
        PhysicsError
            When the prediction is not finite.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        now = cast("Atoms", self.atoms)
        check_crystal(now)
        if self._evaluator is None or not np.array_equal(now.numbers, self._numbers):
            self._evaluator = self.potential.evaluator([now.numbers])
            self._numbers = now.numbers.copy()
        device = self.potential.device
        (prediction,) = self._evaluator(
            torch.from_numpy(now.positions).to(device),
            torch.from_numpy(now.cell.array[None].copy()).to(device),
        ).predictions([len(now)])
        stress_ev_per_ang3 = prediction.stress_gpa / EV_PER_ANG3_GPA
        self.results = {
            "energy": prediction.energy_ev,
            "free_energy": prediction.energy_ev,
            "forces": prediction.forces_ev_per_ang,
            "stress": full_3x3_to_voigt_6_stress(stress_ev_per_ang3),
        }


def _batches(crystals: Sequence[Atoms]) -> Iterator[list[Atoms]]:
    """Yield the crystals in order, in batches of a memory that any machine has."""
    batch: list[Atoms] = []
    for atoms in crystals:
        if batch and sum(map(len, batch)) + len(atoms) > _ATOMS_PER_BATCH:
            yield batch
            batch = []
        batch.append(atoms)
    if batch:
        yield batch

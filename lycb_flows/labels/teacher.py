"""Labels by another potential: the whole loop without DFT, reported as a rehearsal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lycb_flows.config import TeacherLabeler
from lycb_flows.labels.engine import Engine, FindModel, ForceCall, Machine, Models
from lycb_flows.labels.theory import Theory, teacher_theory
from lycb_flows.schemas import Label, Model, Structure

if TYPE_CHECKING:
    from lycb_flows.potentials.potential import Potential


class TeacherEngine(Engine[TeacherLabeler]):
    """The engine of labels by a potential, whose model is checked when a campaign is submitted."""

    config = TeacherLabeler

    def theory(self, config: TeacherLabeler, find_model: FindModel) -> Theory:
        """Return the level of theory that is made of the model's weights."""
        return teacher_theory(find_model(config.model))

    def open(self, config: TeacherLabeler, machine: Machine, models: Models) -> Teacher:
        """Return the potential with its weights as a labeler."""
        del machine
        return Teacher(models.find(config.model), models.open(config.model))

    def cost_s(
        self, config: TeacherLabeler, theory: Theory, lattice_ang: NDArray[np.float64],
        n_atoms: int, force_call_s: ForceCall,
    ) -> float | None:  # fmt: skip
        """Return the cost of one force call, None for a model of unknown speed."""
        del theory, lattice_ang
        per_atom_s = force_call_s(config.model)
        return None if per_atom_s is None else n_atoms * per_atom_s

    def is_dft(self, code: str) -> bool | None:
        """Return False for teachers."""
        return False if code == "teacher" else None


class Teacher:
    """A potential as a labeler.

    Parameters
    ----------
    model
        The document of its model.
    potential
        The potential with the model's weights.
    """

    def __init__(self, model: Model, potential: Potential) -> None:
        self.theory = teacher_theory(model)
        self._model, self._potential = model, potential

    def label(self, structure: Structure) -> Label:
        """Return the label of a structure.

        Raises
        ------
        PhysicsError
            When the potential's prediction is not finite.
        """
        (prediction,) = self._potential.predict([structure])
        return Label(
            key=Label.key_of(structure.key, self.theory.fingerprint),
            parents=(structure.key, self._model.key),
            structure=structure.key,
            theory=self.theory.fingerprint,
            theory_name=self.theory.name,
            energy_ev=prediction.energy_ev,
            forces_ev_per_ang=tuple(map(tuple, prediction.forces_ev_per_ang.tolist())),
            stress_gpa=tuple(map(tuple, np.asarray(prediction.stress_gpa).tolist())),
            converged=True,
            warnings=("label by a teacher potential, not by DFT",),
        )

"""Labels by another potential: the whole loop without DFT, and named as such."""

from __future__ import annotations

import numpy as np

from lycb_flows import schemas
from lycb_flows.labels.theory import teacher_theory
from lycb_flows.potentials.potential import Potential


class Teacher:
    """A potential that labels.

    Parameters
    ----------
    model
        Its document.
    potential
        Its weights at work.
    """

    def __init__(self, model: schemas.Model, potential: Potential) -> None:
        self.theory = teacher_theory(model)
        self._model, self._potential = model, potential

    def label(self, structure: schemas.Structure) -> schemas.Label:
        """The label of a structure.

        Raises
        ------
        PhysicsError
            When the potential has no finite answer.
        """
        (prediction,) = self._potential.predict([structure])
        return schemas.Label(
            key=schemas.Label.key_of(structure.key, self.theory.fingerprint),
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

"""Errors of a model on labels, overall and per system, with every prediction.

>>> result = evaluate(potential, labelled)
>>> result.overall.force_mae_ev_per_ang
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lycb_flows.learning.labelled import LabelledStructure, model_errors
from lycb_flows.potentials.potential import Potential
from lycb_flows.schemas import ModelErrors

__all__ = ["EvaluationResult", "LabelledStructure", "evaluate"]


@dataclass(frozen=True)
class EvaluationResult:
    """Errors of a model on labels.

    Attributes
    ----------
    predictions
        Label key -> system, and energy, forces and stress as predicted and as labelled;
        plain data.
    """

    overall: ModelErrors
    by_system: dict[str, ModelErrors]
    predictions: dict[str, dict[str, Any]]


def evaluate(potential: Potential, labelled: Sequence[LabelledStructure]) -> EvaluationResult:
    """Return the errors of a potential on labels.

    Stress errors are over all nine components (`model_errors` defines every number).

    Parameters
    ----------
    potential
        The potential.
    labelled
        Structures with their labels.

    Raises
    ------
    InputError
        Without labels.
    PhysicsError
        When the potential has no finite prediction for a structure.
    """
    predictions = potential.predict([label.structure for label in labelled])
    overall = model_errors(labelled, predictions)
    by_system = {}
    for system in sorted({label.system for label in labelled}):
        members = [i for i, label in enumerate(labelled) if label.system == system]
        by_system[system] = model_errors(
            [labelled[i] for i in members], [predictions[i] for i in members]
        )
    rows = {
        label.key: {
            "system": label.system,
            "energy_ev": point.energy_ev,
            "label_energy_ev": label.energy_ev,
            "forces_ev_per_ang": point.forces_ev_per_ang.tolist(),
            "label_forces_ev_per_ang": label.forces_ev_per_ang.tolist(),
            "stress_gpa": point.stress_gpa.tolist(),
            "label_stress_gpa": label.stress_gpa.tolist(),
        }
        for label, point in zip(labelled, predictions, strict=True)
    }
    return EvaluationResult(overall, by_system, rows)

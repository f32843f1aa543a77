"""Models that this project trained: beside the weights their card, training and licences."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

from lycb_flows.potentials.architecture import ModelSource
from lycb_flows.schemas import ModelErrors

FOLDER = resources.files(__name__)


@dataclass(frozen=True)
class ShippedTraining:
    """What a model of this folder was made from, and what is known of it.

    Attributes
    ----------
    parent
        Name of the model whose weights the training started from.
    theories
        Levels of theory of its labels.
    n_training, n_validation
        Labels that trained, and those that chose the epoch.
    errors
        On the test labels, by test set, and on all of them.
    robustness
        What it does where it has no labels: the fields of `lycb_flows.learning.Robustness`, the
        model before the training being the reference.
    """

    parent: str
    theories: tuple[str, ...]
    n_training: int
    n_validation: int
    errors: dict[str, ModelErrors]
    robustness: dict[str, Any]


def shipped_training(name: str) -> ShippedTraining | None:
    """Return the card of a model of this folder.

    Parameters
    ----------
    name
        Of the model.

    Returns
    -------
    ShippedTraining or None
        None for a model that this package does not ship.
    """
    file = FOLDER / f"{name}.training.json"
    if not file.is_file():
        return None
    card = json.loads(file.read_text())
    after = card["errors"]["after"].items()
    return ShippedTraining(
        parent=card["parent"]["name"],
        theories=tuple(card["theories"]),
        n_training=len(card["labels"]["training"]),
        n_validation=len(card["labels"]["validation"]),
        errors={name: ModelErrors.model_validate(errors) for name, errors in after},
        robustness=card["robustness"],
    )


def is_ours(name: str) -> bool:
    """Return whether a model of this name is one of this folder, trained by this project.

    Parameters
    ----------
    name
        Of a model, whose stored source, "pretrained", does not tell.
    """
    return (FOLDER / f"{name}.safetensors").is_file()


def shipped_model(name: str) -> ModelSource:
    """Return a model of this folder.

    Parameters
    ----------
    name
        That of its files.
    """
    card = json.loads((FOLDER / f"{name}.json").read_text())
    return ModelSource.of_weights(
        (FOLDER / f"{name}.safetensors").read_bytes(),
        name=name,
        architecture=card["architecture"],
        architecture_args=card["architecture_args"],
        source="pretrained",
    )

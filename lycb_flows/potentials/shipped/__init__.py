"""Models that this project trained: beside the weights their card, training and licences."""

from __future__ import annotations

import json
from importlib import resources

from lycb_flows.potentials.architecture import ModelSource

FOLDER = resources.files(__name__)


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

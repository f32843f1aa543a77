"""Models by name or file: a card, weights that cannot carry code, and the potential they make.

| name | what |
|---|---|
| `chgnet-0.3.0`, `chgnet-0.2.0`, `chgnet-r2scan` | pretrained weights from chgnet's wheel |
| `toy-soft`, `toy-teacher` | the toy with two sets of weights |
| a path | `.safetensors` with its `.json` card beside it, or a CHGNet `.pth.tar` |

>>> source = find_model("toy-soft")
>>> potential = load_potential(source.model, source.weights)
"""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from lycb_flows import schemas
from lycb_flows.errors import InputError
from lycb_flows.potentials.chgnet import CHGNetPotential
from lycb_flows.potentials.evaluator import Prediction
from lycb_flows.potentials.names import CHGNET_FOLDERS, MODEL_NAMES
from lycb_flows.potentials.potential import Potential, PotentialCalculator
from lycb_flows.potentials.toy import TOYS, ToyPotential
from lycb_flows.schemas import blob_of

__all__ = [
    "MODEL_NAMES",
    "WEIGHTS_MEDIA_TYPE",
    "ModelSource",
    "Potential",
    "PotentialCalculator",
    "Prediction",
    "find_model",
    "load_potential",
    "write_model",
]

WEIGHTS_MEDIA_TYPE = "application/vnd.safetensors"
_SAFETENSORS = ".safetensors"
_CHECKPOINT = ".pth.tar"
_ARCHITECTURES: dict[str, Callable[[Mapping[str, Any]], Potential]] = {
    "chgnet": CHGNetPotential,
    "toy": ToyPotential,
}


@dataclass(frozen=True)
class ModelSource:
    """A model's document and the bytes of its weights (safetensors)."""

    model: schemas.Model
    weights: bytes


def find_model(name_or_path: str) -> ModelSource:
    """The model of a name or a file.

    Raises
    ------
    InputError
        When there is none, or the file is not a model that can be loaded without
        running code from it.
    """
    if name_or_path in CHGNET_FOLDERS:
        folder = resources.files("chgnet") / "pretrained" / CHGNET_FOLDERS[name_or_path]
        (path,) = [item for item in folder.iterdir() if item.name.endswith(_CHECKPOINT)]
        with resources.as_file(path) as file:
            return _from_checkpoint(name_or_path, file, "pretrained")
    if name_or_path in TOYS:
        weights = TOYS[name_or_path].potential().weights_bytes()
        return _imported(name_or_path, "toy", {}, weights, "pretrained")
    path = Path(name_or_path)
    if not path.is_file():
        raise InputError(
            "no such model",
            fix=f"give one of {', '.join(MODEL_NAMES)}, or the path of a model file",
            found=name_or_path,
        )
    if path.name.endswith(_CHECKPOINT):
        source = _from_checkpoint(path.name.removesuffix(_CHECKPOINT), path, "file")
    elif path.suffix == _SAFETENSORS:
        source = _from_safetensors(path)
    else:
        raise InputError(
            "not a model file", fix=f"give a {_SAFETENSORS} or {_CHECKPOINT} file", found=path.name
        )
    load_potential(source.model, source.weights)  # now, rather than in a job
    return source


def load_potential(model: schemas.Model, weights: bytes, device: str = "cpu") -> Potential:
    """The potential that a card and its weights describe.

    Raises
    ------
    InputError
        When the weights do not fit the card.
    """
    if model.architecture not in _ARCHITECTURES:
        raise InputError(
            "unknown architecture",
            fix=f"one of {', '.join(_ARCHITECTURES)}",
            model=model.name,
            found=model.architecture,
        )
    try:
        potential = _ARCHITECTURES[model.architecture](model.architecture_args)
        potential.module.load_state_dict(safetensors.torch.load(weights))
    except (RuntimeError, TypeError, ValueError, safetensors.SafetensorError) as err:
        raise InputError(
            "the weights do not fit the model's card",
            fix="export the model again",
            model=model.name,
            reason=_first_line(err),
        ) from err
    potential.module.to(device)
    return potential


def write_model(model: schemas.Model, weights: bytes, path: Path) -> None:
    """Weights at `path` (.safetensors) and the card beside it, as `find_model` reads them."""
    if path.suffix != _SAFETENSORS:
        raise InputError("not a weights file", fix=f"end it in {_SAFETENSORS}", found=path.name)
    path.write_bytes(weights)
    path.with_suffix(".json").write_text(json.dumps(model.facts(), indent=2, sort_keys=True) + "\n")


def _from_safetensors(path: Path) -> ModelSource:
    card_path = path.with_suffix(".json")
    try:
        card = json.loads(card_path.read_text())
        architecture, args = card["architecture"], dict(card["architecture_args"])
    except (OSError, KeyError, TypeError, ValueError) as err:
        raise InputError(
            "a weights file needs its card beside it",
            fix="JSON with architecture and architecture_args",
            card=card_path.name,
            reason=_first_line(err),
        ) from err
    return _imported(path.stem, architecture, args, path.read_bytes(), "file")


def _from_checkpoint(name: str, path: Path, source: str) -> ModelSource:
    """A CHGNet checkpoint as chgnet's trainer writes it; code in the pickle does not run."""
    try:
        with warnings.catch_warnings():  # of other pickle protocols, which load or are refused
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
        state, args = content["model"]["state_dict"], dict(content["model"]["model_args"])
        weights = safetensors.torch.save({key: state[key].contiguous() for key in sorted(state)})
    except (
        pickle.UnpicklingError, zipfile.BadZipFile, EOFError, RuntimeError, OSError, LookupError,
        TypeError, ValueError, AttributeError,
    ) as err:  # fmt: skip
        raise InputError(
            "not a CHGNet checkpoint that loads as weights only",
            fix="save it with chgnet's trainer; a pickle with code is refused",
            file=path.name,
            reason=_first_line(err),
        ) from err
    args = {
        key: value for key, value in args.items() if key not in {"composition_model", "version"}
    }
    args["mlp_out_bias"] = any(key.endswith(".mlp_out.layers.1.bias") for key in state)
    return _imported(name, "chgnet", args, bytes(weights), source)


def _imported(
    name: str, architecture: str, args: Mapping[str, Any], weights: bytes, source: str
) -> ModelSource:
    blob = blob_of(weights, WEIGHTS_MEDIA_TYPE)
    key = schemas.Model.imported_key_of(architecture, args, blob)
    model = schemas.Model(
        key=key,
        name=name,
        architecture=architecture,
        architecture_args=dict(args),
        weights=blob,
        source=source,
    )
    return ModelSource(model, weights)


def _first_line(err: BaseException) -> str:
    lines = str(err).strip().splitlines()
    return lines[0] if lines else type(err).__name__

"""Models by name or file: a card, weights that cannot hold code, and the potential they make.

| name | meaning |
|---|---|
| a name, e.g. `chgnet-0.3.0` | a model that an architecture ships (`model_names`) |
| a path | weights with a `.json` card beside them, or a file of an architecture's own format |

>>> source = find_model("toy-soft")
>>> potential = load_potential(source.model, source.weights)
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from lycb_flows.errors import InputError, first_line
from lycb_flows.potentials.architecture import (
    ARCHITECTURES,
    SAFETENSORS_MEDIA_TYPE,
    Architecture,
    ModelSource,
    model_names,
)
from lycb_flows.schemas import Model

if TYPE_CHECKING:
    from lycb_flows.potentials.potential import Potential

_SAFETENSORS = ".safetensors"
_OTHER_MEDIA_TYPE = "application/octet-stream"
_SHIPPED: dict[tuple[int, str], ModelSource] = {}


def find_model(name_or_path: str) -> ModelSource:
    """Return the model of a name or a file.

    Raises
    ------
    InputError
        When there is none, or the file is not a model that can be loaded without
        running code from it.
    """
    architectures = ARCHITECTURES.usable()
    owners = [name for name, kind in architectures.items() if name_or_path in kind.model_names]
    if len(owners) > 1:
        raise InputError(
            "several architectures have a model of this name",
            fix="uninstall the package of all but one of them",
            name=name_or_path,
            architectures=" and ".join(owners),
        )
    if owners and (shipped := _named(architectures[owners[0]], name_or_path)) is not None:
        return shipped
    for architecture in architectures.values():
        source = architecture.find_model(name_or_path)
        if source is not None:
            return _loadable(source)
    return _loadable(_from_card(Path(name_or_path)))


def _named(architecture: Architecture, name: str) -> ModelSource | None:
    """Return a model of an architecture's package, which is read once: 0.2 s and more."""
    place = (id(architecture), name)  # the registry keeps its members, so ids stay
    if place not in _SHIPPED and (source := architecture.find_model(name)) is not None:
        _SHIPPED[place] = source
    return _SHIPPED.get(place)


def load_potential(model: Model, weights: bytes, device: str = "cpu") -> Potential:
    """Return the potential that a model's document and weights describe.

    Parameters
    ----------
    model
        From a store or `find_model`.
    weights
        The content of the model's blob.
    device
        Name of a torch device.

    Raises
    ------
    InputError
        When the architecture is not installed, or the weights do not fit the document.
    """
    return ARCHITECTURES.get(model.architecture).load(model, weights, device)


def check_trainable(source: ModelSource) -> None:
    """Check that a model can be trained, by making its potential.

    Raises
    ------
    InputError
        When it only predicts, or does not load.
    """
    from lycb_flows.potentials.trainable import require_trainable  # noqa: PLC0415 - torch: seconds

    require_trainable(load_potential(source.model, source.weights), source.model.name)


def write_model(model: Model, weights: bytes, path: Path) -> None:
    """Write weights to `path` and the card beside them, as `find_model` reads them.

    Parameters
    ----------
    model
        Becomes the card.
    weights
        The content of the model's blob.
    path
        File of the weights; ends in .safetensors where they are in this format.

    Raises
    ------
    InputError
        When the file's name does not fit the format of the weights.
    """
    is_safetensors = model.weights.media_type == SAFETENSORS_MEDIA_TYPE
    if is_safetensors and path.suffix != _SAFETENSORS:
        raise InputError("not a weights file", fix=f"end it in {_SAFETENSORS}", found=path.name)
    if not is_safetensors and path.suffix in {_SAFETENSORS, ".json", ""}:
        raise InputError(
            "not a weights file", fix=f"end it in neither {_SAFETENSORS} nor .json", found=path.name
        )
    path.write_bytes(weights)
    path.with_suffix(".json").write_text(json.dumps(model.facts(), indent=2, sort_keys=True) + "\n")


def _loadable(source: ModelSource) -> ModelSource:
    """Return the source once it has been loaded, so that an error comes now and not in a job."""
    load_potential(source.model, source.weights)
    return source


def _from_card(path: Path) -> ModelSource:
    card_path = path.with_suffix(".json")
    if not path.is_file() or path == card_path:
        raise _no_such_model(str(path))
    if path.suffix != _SAFETENSORS and not card_path.is_file():
        suffixes = [end for kind in ARCHITECTURES.usable().values() for end in kind.file_suffixes]
        raise InputError(
            "not a model file",
            fix=f"give a file that ends in {' or '.join([_SAFETENSORS, *suffixes])}, "
            "or weights with their .json card beside them",
            found=path.name,
        )
    try:
        card = json.loads(card_path.read_text())
        architecture, args = card["architecture"], dict(card["architecture_args"])
        media_type = dict(card.get("weights") or {}).get("media_type") or _media_type(path)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as err:
        raise InputError(
            "a weights file needs its card beside it",
            fix="JSON with architecture and architecture_args",
            card=card_path.name,
            reason=first_line(err),
        ) from err
    return ModelSource.of_weights(
        path.read_bytes(),
        name=path.stem,
        architecture=architecture,
        architecture_args=args,
        source="file",
        media_type=media_type,
    )


def _media_type(path: Path) -> str:
    return SAFETENSORS_MEDIA_TYPE if path.suffix == _SAFETENSORS else _OTHER_MEDIA_TYPE


def _no_such_model(name: str) -> InputError:
    broken = ARCHITECTURES.broken()
    facts = {"plug-ins that do not load": ", ".join(broken)} if broken else {}
    fix = f"give one of {', '.join(model_names())}, or the path of a model file"
    if near := difflib.get_close_matches(Path(name).name, model_names(), n=1):
        name, fix = Path(name).name, f"did you mean {near[0]}?"
    return InputError("no such model: neither a known one nor a file", fix=fix, found=name, **facts)

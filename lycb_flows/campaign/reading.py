"""Reading of a campaign's file, and what is wrong in it first."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from lycb_flows.campaign.inputs import names_of_models, with_inputs
from lycb_flows.config import Campaign, LabelerConfig, first_fault, parse_yaml
from lycb_flows.crystals import BINARY_NAMES, PARENT_NAMES
from lycb_flows.errors import InputError
from lycb_flows.potentials import absolute_model, model_names
from lycb_flows.quantities import check_quantities


def read_campaign(path: Path) -> Campaign:
    """Return the campaign of a YAML file.

    Paths in it are relative to the file.

    Raises
    ------
    InputError
        At the first thing that is wrong.
    """
    if path.suffix.lower() == ".cif":
        raise InputError(
            "a crystal, not a campaign", fix=f"`lycb init {path.name}` makes one of it", file=path
        )
    try:
        content = parse_yaml(path.read_text())
    except OSError as err:
        raise InputError(
            "cannot read the campaign", fix="give a YAML file or a submitted name", file=path
        ) from err
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise InputError("unusable YAML", fix="mend it there", file=path, reason=err) from err
    if not isinstance(content, dict):
        raise InputError(
            "no campaign is in this file", fix="see `lycb init`", file=path, found=content
        )
    campaign = validated(content, str(path))
    check_quantities(campaign)
    return _with_absolute_paths(campaign, path.parent)


def validated(content: object, source: str) -> Campaign:
    """Return the campaign of plain data.

    Parameters
    ----------
    content
        What a file holds.
    source
        Name of the file, for errors.

    Raises
    ------
    InputError
        At the first thing that is wrong.
    """
    try:
        return Campaign.model_validate(content)
    except ValidationError as err:
        raise _first_error(source, content, err) from err


def _first_error(source: str, content: object, error: ValidationError) -> InputError:
    first = error.errors()[0]
    fault = first_fault(error)
    place = ".".join(fault.place) or "the whole file"
    if first["type"] != "extra_forbidden":
        return InputError(fault.message, fix="mend it there", file=source, at=place, **fault.found)
    known = _fields_at(first["loc"][:-1], content)
    near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
    fix = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    return InputError("unknown field", fix=fix if known else "take it out", file=source, at=place)


# -- the fields that a place in a file may have ---------------------------------------------------


def _fields_at(place: tuple[int | str, ...], content: Any) -> list[str]:  # noqa: ANN401 - of a file
    """Return the fields of the settings at a place of a campaign's content; [] if none are."""
    annotation: object = Campaign
    for step in place:
        annotation, content = _inside(annotation, step, content), _part(content, step)
    config = _config_of(annotation, content)
    return [] if config is None else list(config.model_fields)


def _part(content: Any, step: int | str) -> Any:  # noqa: ANN401 - of a file
    """Return what stands there; None where the settings have been read in another form."""
    try:
        return content[step]
    except (LookupError, TypeError):
        return None


def _inside(annotation: object, step: int | str, content: object) -> object:
    """Return the annotation of a field, or of what a list or mapping holds."""
    config = _config_of(annotation, content)
    if config is not None:
        field = config.model_fields.get(str(step))
        return None if field is None else field.annotation
    for kind in _kinds(annotation):
        if get_origin(kind) is dict:
            return get_args(kind)[1]
        if get_origin(kind) in {list, tuple}:
            return get_args(kind)[0]
    return None


def _config_of(annotation: object, content: object) -> type[BaseModel] | None:
    """Return the class of settings that an annotation names, outside of lists and mappings."""
    for kind in _kinds(annotation):
        if isinstance(kind, type) and issubclass(kind, LabelerConfig):
            return kind.class_of(content if isinstance(content, Mapping) else {})
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _kinds(annotation: object) -> list[object]:
    """Return the alternatives of an annotation: of a union, say, or of what may be None."""
    if get_origin(annotation) in {None, dict, list, tuple}:
        return [annotation]
    return [kind for part in get_args(annotation) for kind in _kinds(part)]


# -- paths ---------------------------------------------------------------------------------------


def _with_absolute_paths(campaign: Campaign, folder: Path) -> Campaign:
    def absolute(name: str, known: Collection[str]) -> str:
        return name if name in known else str((folder / name).resolve())

    names = model_names()
    return with_inputs(
        campaign,
        parents=[absolute(system.parent, PARENT_NAMES) for system in campaign.systems],
        models={
            name: name if name in names else absolute_model(name, folder)
            for name in names_of_models(campaign)
        },
        anchors={
            name: absolute(path, BINARY_NAMES)
            for name, path in campaign.ranking.own_anchors.items()
        },
    )

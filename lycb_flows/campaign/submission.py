"""Submission: a YAML file is checked, and becomes a campaign whose inputs are in the store."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from lycb_flows.campaign.admission import named_imports
from lycb_flows.campaign.anchors import load_anchors
from lycb_flows.campaign.mobile import with_facts
from lycb_flows.config import (
    LABELERS,
    STATED_THEORY,
    Campaign,
    LabelerConfig,
    first_fault,
    parse_yaml,
)
from lycb_flows.crystals import (
    BINARY_NAMES,
    PARENT_NAMES,
    DisorderedCrystal,
    check_elements,
    check_size,
    load_parent,
)
from lycb_flows.errors import InputError, InstallationError
from lycb_flows.labels import Theory, engine_of
from lycb_flows.machine.settings import load_settings
from lycb_flows.potentials import absolute_model, check_trainable, find_model, model_names
from lycb_flows.quantities import check_quantities, chosen_quantities
from lycb_flows.schemas import CampaignRecord, Model, Parent, Structure
from lycb_flows.store import ResultStore, user_name


@dataclass(frozen=True)
class Submission:
    """A campaign whose parents and models are keys, and its level of theory.

    Attributes
    ----------
    campaign
        As workers read it.
    theory
        The level of theory of its labels.
    record
        The document that keeps it, under the name it was submitted with.
    """

    campaign: Campaign
    theory: Theory
    record: CampaignRecord


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
    campaign = _validated(content, str(path))
    check_quantities(campaign)
    return _with_absolute_paths(campaign, path.parent)


def _validated(content: object, source: str) -> Campaign:
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
    return InputError(
        "unknown field",
        fix=f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}",
        file=source,
        at=place,
    )


def _fields_at(place: Iterable[Any], content: Any) -> list[str]:  # noqa: ANN401 - of a YAML file
    """Return the fields of the nested config at this place of a campaign's content."""
    config: type[BaseModel] = Campaign
    for step in place:
        content = content[step]
        if isinstance(step, int):
            continue
        annotation = config.model_fields[step].annotation
        (config,) = _configs((annotation, *getattr(annotation, "__args__", ())))
        if issubclass(config, LabelerConfig):
            config = config.class_of(content)
    return list(config.model_fields)


def _configs(annotations: Iterable[object]) -> list[type[BaseModel]]:
    return [a for a in annotations if isinstance(a, type) and issubclass(a, BaseModel)]


def _with_absolute_paths(campaign: Campaign, folder: Path) -> Campaign:
    def absolute(name: str, known: Collection[str]) -> str:
        return name if name in known else str((folder / name).resolve())

    names = model_names()
    return _replaced(
        campaign,
        parents=[absolute(system.parent, PARENT_NAMES) for system in campaign.systems],
        models={
            name: name if name in names else absolute_model(name, folder)
            for name in _model_names(campaign)
        },
        anchors={name: absolute(path, BINARY_NAMES) for name, path in _anchors(campaign).items()},
    )


def _anchors(campaign: Campaign) -> dict[str, str]:
    """Return the competing phases that are files, by name."""
    dft = campaign.ranking.dft
    return dft.anchors if dft is not None and isinstance(dft.anchors, dict) else {}


def find_submission(store: ResultStore, name_or_path: str, *, to_run: bool = True) -> Submission:
    """Return a campaign by its file, or by the name under which it was submitted last.

    Parameters
    ----------
    store
        Holds the campaigns submitted so far, and receives one that comes from a file.
    name_or_path
        A file is read and submitted, also when a campaign has the same name.
    to_run
        Whether what labels must be installed here, as it need not be to plan.

    Raises
    ------
    InputError
        When there is neither, or the file is wrong.
    """
    records = list(store.find_all(CampaignRecord, name=name_or_path))
    if Path(name_or_path).is_file() or not records:
        return submit(store, read_campaign(Path(name_or_path)), to_run=to_run)
    return reopen(store, max(records, key=lambda record: record.made.ended_at))


def reopen(store: ResultStore, record: CampaignRecord) -> Submission:
    """Return a submitted campaign from its record.

    Its files are not read again, as they may lie on another machine.

    Parameters
    ----------
    store
        Holds the campaign's models.
    record
        The document that keeps it.
    """
    if not record.resolved:  # written before records kept the keys of inputs
        return submit(store, _validated(yaml.safe_load(record.text), f"{record.name}, submitted"))
    campaign = _validated(json.loads(record.resolved), f"{record.name}, as submitted")
    return Submission(campaign, _theory(store, campaign), record)


def _theory(store: ResultStore, resolved: Campaign) -> Theory:
    return _level(store, resolved.labels.labeler)


def _level(store: ResultStore, labeler: LabelerConfig) -> Theory:
    return engine_of(labeler).theory(labeler, lambda key: store.load(Model, key))


def submit(store: ResultStore, campaign: Campaign, *, to_run: bool = True) -> Submission:
    """Put a campaign's parents and models into the store, and refer to them by key.

    Parameters
    ----------
    store
        Receives the inputs and the campaign's record.
    campaign
        With names or paths of parents and models.
    to_run
        Whether what labels must be installed here, as it need not be to plan.

    Returns
    -------
    Submission
        The same for a campaign that was submitted before.

    Raises
    ------
    InputError
        When a parent, a model or a set of imported labels cannot be used, the model that
        learns cannot be trained, or what labels or a quantity to be measured is not installed.
    """
    check_quantities(campaign)
    quantities = chosen_quantities(campaign.measure)
    sources = {name: find_model(name) for name in _model_names(campaign)}
    for name in campaign.learning.candidates or (campaign.learning.model,):
        check_trainable(sources[name])
    parents, models = [], dict[str, Model]()
    anchors = load_anchors(_anchors(campaign))
    campaign, crystals = _with_crystals(campaign)
    for system, crystal in zip(campaign.systems, crystals, strict=True):
        for quantity in quantities:
            quantity.check(campaign, system.name, _elements(crystal))
        store.blobs.put(crystal.cif, "chemical/x-cif")
        parents.append(crystal.document())
    elements = _labelled_elements(campaign, crystals, anchors.values())
    _check_labelers(campaign, elements, to_run=to_run)
    for name in _model_names(campaign):
        source = sources[name]
        store.blobs.put(source.weights, source.model.weights.media_type)
        models[name] = source.model
    inputs: list[Parent | Model | Structure] = [*parents, *models.values(), *anchors.values()]
    store.insert_all(inputs)
    resolved = _replaced(
        campaign,
        parents=[parent.key for parent in parents],
        models={name: model.key for name, model in models.items()},
        anchors={name: structure.key for name, structure in anchors.items()},
    )
    theory = _theory(store, resolved)
    imported = named_imports(
        store, campaign.labels.imported or (), theory, allow_unknown=campaign.labels.allow_unknown
    )
    if imported:
        resolved = _with_imports(resolved, imported)
    record = CampaignRecord(
        key=CampaignRecord.key_of(resolved),
        parents=tuple(dict.fromkeys([*(document.key for document in inputs), *imported])),
        name=campaign.name,
        text=yaml.safe_dump(campaign.model_dump(mode="json"), sort_keys=False),
        resolved=_as_json(store, resolved),
    )
    _keep(store, record)
    return Submission(resolved, theory, record)


def _keep(store: ResultStore, record: CampaignRecord) -> None:
    """Store a campaign's record and who owns it, unless it was submitted before."""
    if store.find(CampaignRecord, record.key) is None:
        with store.attempt(CampaignRecord, record.key) as made:
            owned = made().model_copy(update={"owner": user_name()})
            store.insert(record.model_copy(update={"made": owned}), made.attempt)


def _with_crystals(campaign: Campaign) -> tuple[Campaign, list[DisorderedCrystal]]:
    """Return the campaign with what its crystals answer, and the crystals."""
    crystals = [load_parent(system.parent) for system in campaign.systems]
    for system, crystal in zip(campaign.systems, crystals, strict=True):
        check_elements(crystal, system.enumeration)
        check_size(crystal, system.enumeration, campaign.repeat_of(system.name))
    return with_facts(campaign, crystals), crystals


def _as_json(store: ResultStore, resolved: Campaign) -> str:
    """Return the campaign as JSON.

    The level of a labeler from another package is written into it, to be known without that
    package.
    """
    text, plugins = resolved.model_dump_json(), LABELERS.plugins()
    if not any(labeler.type in plugins for labeler in _labelers(resolved)):
        return text
    data = json.loads(text)
    sections = [data["labels"], data["ranking"]["dft"]]
    for labeler, section in zip(_labelers(resolved), sections, strict=False):
        if labeler.type in plugins:
            theory = _level(store, labeler)
            section["labeler"][STATED_THEORY] = theory.model_dump(mode="json")
    return json.dumps(data)


def _with_imports(campaign: Campaign, imported: tuple[str, ...]) -> Campaign:
    labels = campaign.labels.model_copy(update={"imported": imported})
    return campaign.model_copy(update={"labels": labels})


def _labelled_elements(
    campaign: Campaign, crystals: Iterable[DisorderedCrystal], anchors: Iterable[Structure]
) -> set[str]:
    """Return the elements of all that may be labelled."""
    found = {element for structure in anchors for element in structure.species}
    for system, crystal in zip(campaign.systems, crystals, strict=True):
        found |= _elements(crystal) | system.enumeration.brought
        found |= {e for decoration in system.decorations for e in decoration.elements}
    return found


def _elements(crystal: DisorderedCrystal) -> set[str]:
    return {element.symbol for element in crystal.structure.composition.elements}


def _check_labelers(campaign: Campaign, elements: set[str], *, to_run: bool) -> None:
    """Refuse labelers that cannot label; to plan, they need not be installed here."""
    for labeler in _labelers(campaign):
        try:
            engine_of(labeler).check(labeler, elements, load_settings().machine)
        except InstallationError:
            if to_run:
                raise


def _labelers(campaign: Campaign) -> list[LabelerConfig]:
    """Return the labelers of frames and, if there is one, of candidates."""
    dft = campaign.ranking.dft
    return [campaign.labels.labeler, *([dft.labeler] if dft is not None else [])]


def _model_names(campaign: Campaign) -> list[str]:
    """Return the models for ranking, learning, teaching, labelers and quantities, each once."""
    named = [name for labeler in _labelers(campaign) for name in labeler.models()]
    student = campaign.measure.student
    if student is not None and student.teacher is not None:
        named.append(student.teacher)
    for quantity in chosen_quantities(campaign.measure):
        named += quantity.models(campaign)
    learning = campaign.learning
    models = [campaign.ranking.model, learning.model, *(learning.candidates or ()), *named]
    return list(dict.fromkeys(models))


def _replaced(
    campaign: Campaign,
    parents: list[str],
    models: Mapping[str, str],
    anchors: Mapping[str, str],
) -> Campaign:
    """Return the campaign with other names for its parents, models and competing phases.

    What the file leaves open stays open: its crystals answer it.
    """
    data = campaign.model_dump(exclude_unset=True)
    for system, parent in zip(data["systems"], parents, strict=True):
        system["parent"] = parent
    for name in ("ranking", "learning"):
        section = data.setdefault(name, {})
        section["model"] = models[getattr(campaign, name).model]
    if campaign.learning.candidates is not None:
        found = [models[name] for name in campaign.learning.candidates]
        data["learning"] |= {"model": found, "candidates": None}
    labeler = campaign.labels.labeler.with_models(models)
    data["labels"] = data.get("labels", {}) | {"labeler": labeler}
    if campaign.ranking.dft is not None:
        data["ranking"]["dft"]["labeler"] = campaign.ranking.dft.labeler.with_models(models)
    if anchors:
        data["ranking"]["dft"]["anchors"] = dict(anchors)
    student = campaign.measure.student
    if student is not None and student.teacher is not None:
        data["measure"]["student"]["teacher"] = models[student.teacher]
    for quantity in chosen_quantities(campaign.measure):
        if names := quantity.models(campaign):
            options = data["measure"]["quantities"][quantity.name]
            options["models"] = [models[name] for name in names]
    return Campaign.model_validate(data)

"""From a YAML file to a campaign that workers can run: checked, its inputs in the store."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from lycb_flows.campaign.admission import named_imports
from lycb_flows.config import AnyLabeler, Campaign, TeacherLabeler
from lycb_flows.crystals.structures import PARENT_NAMES, DisorderedCrystal, load_parent
from lycb_flows.errors import InputError
from lycb_flows.labels.choice import check_labeler, theory_of
from lycb_flows.labels.theory import Theory
from lycb_flows.machine.settings import load_settings
from lycb_flows.potentials.names import MODEL_NAMES
from lycb_flows.quantities.registry import check_quantities, chosen_quantities
from lycb_flows.schemas import CampaignRecord, Model, Parent
from lycb_flows.store import ResultStore


@dataclass(frozen=True)
class Submission:
    """A campaign whose parents and models are keys, and its level of theory."""

    campaign: Campaign
    theory: Theory
    record: CampaignRecord


def read_campaign(path: Path) -> Campaign:
    """The campaign of a YAML file; paths in it are relative to the file.

    Raises
    ------
    InputError
        At the first thing that is wrong.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as err:
        raise InputError(
            "cannot read the campaign", fix="give a YAML file or a submitted name", file=path
        ) from err
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise InputError("not a YAML file", fix="mend it there", file=path, reason=err) from err
    return _with_absolute_paths(_validated(content, str(path)), path.parent)


def _validated(content: object, source: str) -> Campaign:
    try:
        return Campaign.model_validate(content)
    except ValidationError as err:
        raise _first_error(source, err) from err


def _first_error(source: str, error: ValidationError) -> InputError:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"])) or "the whole file"
    if first["type"] != "extra_forbidden":
        return InputError(
            first["msg"].removeprefix("Value error, "),
            fix="mend it there",
            file=source,
            at=place,
            found=str(first["input"])[:80],
        )
    known = _fields_at(Campaign, first["loc"][:-1])
    near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
    return InputError(
        "unknown field",
        fix=f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}",
        file=source,
        at=place,
    )


def _fields_at(model: type[BaseModel], place: Iterable[Any]) -> list[str]:
    """The fields of the nested config at this place of an error."""
    candidates: list[object] = [model]
    for step in place:
        if isinstance(step, int):
            continue
        model = _models(candidates)[0]
        if step in model.model_fields:
            annotation = model.model_fields[step].annotation
            candidates = [annotation, *getattr(annotation, "__args__", ())]
        else:  # the tag of one of several configs
            candidates = [c for c in _models(candidates) if _has_tag(c, step)]
    return list(_models(candidates)[0].model_fields)


def _models(annotations: Iterable[object]) -> list[type[BaseModel]]:
    return [one for one in annotations if isinstance(one, type) and issubclass(one, BaseModel)]


def _has_tag(candidate: type[BaseModel], tag: str) -> bool:
    kind = candidate.model_fields.get("type")
    return kind is not None and kind.default == tag


def _with_absolute_paths(campaign: Campaign, folder: Path) -> Campaign:
    def absolute(name: str, known: tuple[str, ...]) -> str:
        return name if name in known else str((folder / name).resolve())

    return _replaced(
        campaign,
        parents=[absolute(system.parent, PARENT_NAMES) for system in campaign.systems],
        models=[absolute(name, MODEL_NAMES) for name in _model_names(campaign)],
    )


def find_submission(store: ResultStore, name_or_path: str) -> Submission:
    """A campaign by its file, or by the name under which it was submitted last.

    Raises
    ------
    InputError
        When there is neither.
    """
    records = list(store.find_all(CampaignRecord, name=name_or_path))
    if Path(name_or_path).is_file() or not records:
        return submit(store, read_campaign(Path(name_or_path)))
    return reopen(store, max(records, key=lambda record: record.made.ended_at))


def reopen(store: ResultStore, record: CampaignRecord) -> Submission:
    """A submitted campaign; its files are not read again, they may be on another machine."""
    if not record.resolved:  # of a store before 0.3
        return submit(store, _validated(yaml.safe_load(record.text), f"{record.name}, submitted"))
    campaign = _validated(json.loads(record.resolved), f"{record.name}, as submitted")
    return Submission(campaign, _theory(store, campaign), record)


def _theory(store: ResultStore, resolved: Campaign) -> Theory:
    return theory_of(resolved.labels.labeler, lambda key: store.load(Model, key))


def submit(store: ResultStore, campaign: Campaign) -> Submission:
    """Put the campaign's parents and models into the store and name them by key.

    Raises
    ------
    InputError
        When a parent, a model or a set of imported labels cannot be used, or what labels or
        a quantity to be measured is not installed.
    """
    from lycb_flows.potentials.models import find_model  # noqa: PLC0415 - torch: seconds

    check_quantities(campaign)
    quantities = chosen_quantities(campaign.measure)
    parents, models, elements = [], [], set[str]()
    for system in campaign.systems:
        crystal = load_parent(system.parent)
        elements |= _elements(crystal)
        elements |= {"Cl", "Br"} if system.decorations else set()
        for quantity in quantities:
            quantity.check(campaign, system.name, _elements(crystal))
        store.blobs.put(crystal.cif, "chemical/x-cif")
        parents.append(crystal.document())
    for labeler in _labelers(campaign):
        check_labeler(labeler, elements, load_settings().machine)
    for name in _model_names(campaign):
        source = find_model(name)
        store.blobs.put(source.weights, source.model.weights.media_type)
        models.append(source.model)
    inputs: list[Parent | Model] = [*parents, *models]
    store.insert_all(inputs)
    resolved = _replaced(
        campaign,
        parents=[parent.key for parent in parents],
        models=[model.key for model in models],
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
        resolved=resolved.model_dump_json(),
    )
    store.once(CampaignRecord, record.key, lambda: record, claim=False)
    return Submission(resolved, theory, record)


def _with_imports(campaign: Campaign, imported: tuple[str, ...]) -> Campaign:
    labels = campaign.labels.model_copy(update={"imported": imported})
    return campaign.model_copy(update={"labels": labels})


def _elements(crystal: DisorderedCrystal) -> set[str]:
    return {element.symbol for element in crystal.structure.composition.elements}


def _labelers(campaign: Campaign) -> list[AnyLabeler]:
    """Who labels frames and, if anybody does, who relaxes candidates."""
    dft = campaign.ranking.dft
    return [campaign.labels.labeler, *([dft.labeler] if dft is not None else [])]


def _model_names(campaign: Campaign) -> list[str]:
    """Ranking's, learning's and, where potentials label, the teachers'."""
    teachers = [one.model for one in _labelers(campaign) if isinstance(one, TeacherLabeler)]
    return [campaign.ranking.model, campaign.learning.model, *teachers]


def _replaced(campaign: Campaign, parents: list[str], models: list[str]) -> Campaign:
    """The campaign with other names for its parents and models."""
    ranking, learning, *teachers = models
    data = campaign.model_dump()
    for system, parent in zip(data["systems"], parents, strict=True):
        system["parent"] = parent
    data["ranking"]["model"] = ranking
    data["learning"]["model"] = learning
    labelers = [data["labels"]["labeler"], (data["ranking"]["dft"] or {}).get("labeler", {})]
    taught = [one for one in labelers if one.get("type") == "teacher"]
    for labeler, teacher in zip(taught, teachers, strict=True):
        labeler["model"] = teacher
    return Campaign.model_validate(data)

"""Submission: a YAML file is checked, and becomes a campaign whose inputs are in the store."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from lycb_flows.campaign.admission import named_imports
from lycb_flows.campaign.anchors import load_anchors
from lycb_flows.campaign.inputs import (
    check_different,
    labelers_of,
    names_of_models,
    with_inputs,
)
from lycb_flows.campaign.last_submitted import (
    last_settings,
    last_submitted,
    note_submission,
    with_settings,
)
from lycb_flows.campaign.mobile import with_facts
from lycb_flows.campaign.reading import read_campaign, validated
from lycb_flows.config import LABELERS, STATED_THEORY, Campaign, LabelerConfig
from lycb_flows.crystals import (
    DisorderedCrystal,
    check_elements,
    check_size,
    load_parent,
    substituted,
)
from lycb_flows.errors import InstallationError
from lycb_flows.labels import Theory, engine_of
from lycb_flows.machine.settings import load_settings
from lycb_flows.potentials import check_trainable, find_model
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
    return reopen(store, last_submitted(store, records))


def reopen(store: ResultStore, record: CampaignRecord) -> Submission:
    """Return a submitted campaign from its record.

    Its files are not read again, as they may lie on another machine. Settings that no key holds,
    such as labels.timeout_s, are those that it was submitted with last.

    Parameters
    ----------
    store
        Holds the campaign's models.
    record
        The document that keeps it.
    """
    settings = last_settings(store, record)
    if not record.resolved:  # written before records kept the keys of inputs
        content = with_settings(yaml.safe_load(record.text), settings)
        return _submitted(store, validated(content, f"{record.name}, submitted"))
    content = with_settings(json.loads(record.resolved), settings)
    campaign = validated(content, f"{record.name}, as submitted")
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
        Whether what labels must be installed here, as it need not be to plan. What is planned
        does not become what was submitted last under its name.

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
    submission = _submitted(store, campaign, to_run=to_run)
    if to_run:
        note_submission(store, submission.record, submission.campaign)
    return submission


def _submitted(store: ResultStore, campaign: Campaign, *, to_run: bool = True) -> Submission:
    """Return a campaign whose inputs and record are in the store."""
    check_quantities(campaign)
    sources = {name: find_model(name) for name in names_of_models(campaign)}
    keys = {name: source.model.key for name, source in sources.items()}
    check_different(campaign, keys)
    for name in campaign.learning.candidates or (campaign.learning.model,):
        check_trainable(sources[name])
    anchors = load_anchors(campaign.ranking.own_anchors)
    campaign, crystals = _with_crystals(campaign)
    _check_systems(campaign, crystals, anchors.values(), to_run=to_run)
    parents = [crystal.document() for crystal in crystals]
    models = [source.model for source in sources.values()]
    inputs: list[Parent | Model | Structure] = [*parents, *models, *anchors.values()]
    for crystal in crystals:
        store.blobs.put(crystal.cif, "chemical/x-cif")
    for source in sources.values():
        store.blobs.put(source.weights, source.model.weights.media_type)
    store.insert_all(inputs)
    resolved = with_inputs(
        campaign,
        parents=[parent.key for parent in parents],
        models=keys,
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
    if not any(labeler.type in plugins for labeler in labelers_of(resolved)):
        return text
    data = json.loads(text)
    sections = [data["labels"], data["ranking"]["dft"]]
    for labeler, section in zip(labelers_of(resolved), sections, strict=False):
        if labeler.type in plugins:
            theory = _level(store, labeler)
            section["labeler"][STATED_THEORY] = theory.model_dump(mode="json")
    return json.dumps(data)


def _with_imports(campaign: Campaign, imported: tuple[str, ...]) -> Campaign:
    labels = campaign.labels.model_copy(update={"imported": imported})
    return campaign.model_copy(update={"labels": labels})


def _check_systems(
    campaign: Campaign,
    crystals: Iterable[DisorderedCrystal],
    anchors: Iterable[Structure],
    *,
    to_run: bool,
) -> None:
    """Refuse crystals in which something cannot be measured or that cannot be labelled."""
    labelled = {symbol for structure in anchors for symbol in structure.species}
    for system, crystal in zip(campaign.systems, crystals, strict=True):
        composition = substituted(crystal, system.enumeration).structure.composition
        elements = {element.symbol for element in composition.elements}
        for quantity in chosen_quantities(campaign.measure):
            quantity.check(campaign, system.name, elements)
        labelled |= elements.union(*(decoration.elements for decoration in system.decorations))
    _check_labelers(campaign, labelled, to_run=to_run)


def _check_labelers(campaign: Campaign, elements: set[str], *, to_run: bool) -> None:
    """Refuse labelers that cannot label; to plan, they need not be installed here."""
    for labeler in labelers_of(campaign):
        try:
            engine_of(labeler).check(labeler, elements, load_settings().machine)
        except InstallationError:
            if to_run:
                raise

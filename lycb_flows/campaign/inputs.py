"""The inputs that a campaign names: its parents, models and competing phases."""

from __future__ import annotations

from collections.abc import Mapping

from lycb_flows.config import Campaign, LabelerConfig
from lycb_flows.errors import InputError
from lycb_flows.quantities import chosen_quantities


def names_of_models(campaign: Campaign) -> list[str]:
    """Return the models for ranking, learning, teaching, labelers and quantities, each once.

    Parameters
    ----------
    campaign
        With names, files or keys.
    """
    named = [name for labeler in labelers_of(campaign) for name in labeler.models()]
    student = campaign.measure.student
    if student is not None and student.teacher is not None:
        named.append(student.teacher)
    for quantity in chosen_quantities(campaign.measure):
        named += quantity.models(campaign)
    learning = campaign.learning
    models = [campaign.ranking.model, learning.model, *(learning.candidates or ()), *named]
    return list(dict.fromkeys(models))


def check_different(campaign: Campaign, keys: Mapping[str, str]) -> None:
    """Check that no list of models has one of them twice, under whatever names.

    Parameters
    ----------
    campaign
        With names or files.
    keys
        The key of each model.

    Raises
    ------
    InputError
        When one has.
    """
    lists = {"learning.model": campaign.learning.candidates or ()}
    for quantity in chosen_quantities(campaign.measure):
        lists[f"measure.quantities.{quantity.name}.models"] = quantity.models(campaign)
    for place, names in lists.items():
        found = [keys[name] for name in names]
        same = [name for name in names if found.count(keys[name]) > 1]
        if same:
            raise InputError(
                "two models of a list are the same",
                fix="leave one of them out",
                at=place,
                found=", ".join(same),
            )


def labelers_of(campaign: Campaign) -> list[LabelerConfig]:
    """Return the labelers of frames and, if there is one, of candidates.

    Parameters
    ----------
    campaign
        Any.
    """
    dft = campaign.ranking.dft
    return [campaign.labels.labeler, *([dft.labeler] if dft is not None else [])]


def with_inputs(
    campaign: Campaign,
    parents: list[str],
    models: Mapping[str, str],
    anchors: Mapping[str, str],
) -> Campaign:
    """Return the campaign with other names for its parents, models and competing phases.

    What the file leaves open stays open: its crystals answer it.

    Parameters
    ----------
    campaign
        With the old names.
    parents
        Of its systems, in their order.
    models, anchors
        The new name of each old one.
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

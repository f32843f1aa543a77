"""The submitted campaign, and the table of every kind of document."""

from __future__ import annotations

from pydantic import Field

from lycb_flows.config.campaign import Campaign
from lycb_flows.errors import InputError
from lycb_flows.schemas.base import Document
from lycb_flows.schemas.datasets import Dataset, Frames, TestSet
from lycb_flows.schemas.dynamics import Run, Segment
from lycb_flows.schemas.labels import Import, Label
from lycb_flows.schemas.learning import Evaluation, Model, Round
from lycb_flows.schemas.measurement import Arrhenius, Transport
from lycb_flows.schemas.rankings import GroundState, Ranking, Relaxation
from lycb_flows.schemas.structures import Enumeration, Ordering, Parent, Structure


class CampaignRecord(Document):
    """The submitted text; a campaign is known by its name."""

    kind = "campaign"

    name: str
    text: str
    resolved: str = Field("", description="The same as JSON, parents and models as keys.")

    @classmethod
    def key_of(cls, campaign: Campaign) -> str:
        """Return the key of a campaign whose parents and models are keys."""
        return cls.key_from(name=campaign.name, campaign=campaign)


KINDS: dict[str, type[Document]] = {
    document.kind: document
    for document in (
        Structure, Parent, Enumeration, Ordering, Relaxation, Ranking, GroundState, Segment, Run,
        Frames, Label, Import, Dataset, TestSet, Model, Evaluation, Round, Transport, Arrhenius,
        CampaignRecord,
    )
}  # fmt: skip
"""Class of each kind; those of measured quantities join when they are first met."""


def register_kind(document: type[Document]) -> None:
    """Make documents of a class readable from a store.

    Raises
    ------
    InputError
        When another class has its kind.
    """
    known = KINDS.setdefault(document.kind, document)
    if known is not document:
        raise InputError(
            "two classes of documents have one kind",
            fix="rename one of them",
            kind=document.kind,
            found=f"{known.__module__} and {document.__module__}",
        )

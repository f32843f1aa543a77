"""The submitted campaign, and the table of every kind of document."""

from __future__ import annotations

from pydantic import Field

from lycb_flows.schemas.base import Document
from lycb_flows.schemas.dynamics import Run, Segment
from lycb_flows.schemas.labels import Import, Label
from lycb_flows.schemas.learning import Dataset, Evaluation, Frames, Model, Round, TestSet
from lycb_flows.schemas.measurement import Arrhenius, Transport
from lycb_flows.schemas.structures import (
    Enumeration,
    GroundState,
    Ordering,
    Parent,
    Ranking,
    Relaxation,
    Structure,
)


class CampaignRecord(Document):
    """The submitted text; a campaign is known by its name."""

    kind = "campaign"

    name: str
    text: str
    resolved: str = Field("", description="The same as JSON, parents and models as keys.")


KINDS: dict[str, type[Document]] = {
    document.kind: document
    for document in (
        Structure, Parent, Enumeration, Ordering, Relaxation, Ranking, GroundState, Segment, Run,
        Frames, Label, Import, Dataset, TestSet, Model, Evaluation, Round, Transport, Arrhenius,
        CampaignRecord,
    )
}  # fmt: skip

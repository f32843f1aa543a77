"""The submitted campaign, and the table of every kind of document."""

from __future__ import annotations

from pydantic import Field

from lycb_flows.config.campaign import Campaign
from lycb_flows.schemas.base import Document
from lycb_flows.schemas.datasets import Dataset, Frames, TestSet
from lycb_flows.schemas.dynamics import Run, Segment
from lycb_flows.schemas.keys import make_key
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
        return make_key(cls, name=campaign.name, campaign=campaign)


KINDS: dict[str, type[Document]] = {
    document.kind: document
    for document in (
        Structure, Parent, Enumeration, Ordering, Relaxation, Ranking, GroundState, Segment, Run,
        Frames, Label, Import, Dataset, TestSet, Model, Evaluation, Round, Transport, Arrhenius,
        CampaignRecord,
    )
}  # fmt: skip

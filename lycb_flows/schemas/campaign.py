"""The submitted campaign."""

from __future__ import annotations

from pydantic import Field

from lycb_flows.config.campaign import Campaign
from lycb_flows.schemas.base import Document


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

"""Settings that no key holds, as the queued jobs of a campaign were given them."""

from __future__ import annotations

import json
from typing import Any

from lycb_flows.campaign import StagePlan, Submission
from lycb_flows.config import Campaign
from lycb_flows.service.launchpad import (
    RECORD,
    CampaignWorkflow,
    ServiceLaunchPad,
    campaign_workflows,
)

SETTINGS = "settings"
"""Field of a workflow's metadata."""
_TRIES = "labels.max_attempts"


def settings_text(campaign: Campaign) -> str:
    """Return the settings that a campaign gives its jobs and no key holds, as a text.

    Parameters
    ----------
    campaign
        As it is submitted.
    """
    return json.dumps(campaign.unkeyed())  # MongoDB takes no names with points


def kept_settings(launchpad: ServiceLaunchPad, submission: Submission) -> list[str]:
    """Return the names of the settings in which queued jobs differ from what was submitted last.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    submission
        The campaign, as it was submitted last.
    """
    workflows = campaign_workflows(launchpad, submission.campaign.name)
    own = [each for each in workflows if each.metadata.get(RECORD) == submission.record.key]
    now = submission.campaign.unkeyed()
    queued = [each for workflow in own for each in _queued(workflow).items()]
    differing = {name for name, value in queued if now.get(name) != value}
    return sorted(differing - {"comment"})


def with_fewest_tries(workflow: CampaignWorkflow, plan: StagePlan) -> StagePlan:
    """Return a stage in which a label has failed where its job has ended without it.

    Parameters
    ----------
    workflow
        With the jobs, which may have been given fewer tries than the campaign has now.
    plan
        The stage, of the campaign as it was submitted last.
    """
    labels = plan.campaign.labels
    tries = min(labels.max_attempts, _queued(workflow).get(_TRIES, labels.max_attempts))
    update = {"labels": labels.model_copy(update={"max_attempts": tries})}
    return plan.model_copy(update={"campaign": plan.campaign.model_copy(update=update)})


def _queued(workflow: CampaignWorkflow) -> dict[str, Any]:
    """Return the settings of a workflow's jobs; {} of those queued before they were noted."""
    return dict(json.loads(workflow.metadata.get(SETTINGS, "{}")))

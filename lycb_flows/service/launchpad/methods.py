"""The method versions that a campaign was submitted at, beside those of this installation."""

from __future__ import annotations

from lycb_flows.service.launchpad.pad import ServiceLaunchPad
from lycb_flows.service.launchpad.submitted import CampaignWorkflow, campaign_workflows
from lycb_flows.service.launchpad.writing import METHODS, RECORD
from lycb_flows.store import method_versions


def other_methods(launchpad: ServiceLaunchPad, name: str, record: str) -> dict[str, str]:
    """Return the kinds whose method versions differ from those that a campaign was submitted at.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    name
        The campaign's name.
    record
        Key of its record.

    Returns
    -------
    dict[str, str]
        Kind -> "1 there, 2 here"; empty for a campaign that is not there.
    """
    for workflow in campaign_workflows(launchpad, name):
        if workflow.metadata.get(RECORD) == record:
            return differing_methods(workflow)
    return {}


def differing_methods(workflow: CampaignWorkflow) -> dict[str, str]:
    """Return the kinds whose method versions here differ from those of a workflow.

    Parameters
    ----------
    workflow
        The workflow; one that was submitted before versions were registered differs in nothing.
    """
    there, here = workflow.metadata.get(METHODS), method_versions()
    if there is None:
        return {}
    versions = {kind: (there.get(kind), here.get(kind)) for kind in sorted({*there, *here})}
    return {k: f"{old} there, {new} here" for k, (old, new) in versions.items() if old != new}

"""Campaigns of the tests, run in this process."""

from lycb_flows.campaign.submission import submit
from lycb_flows.flows.campaign import campaign_flow
from lycb_flows.flows.embedded import run_embedded
from lycb_flows.flows.structures import ranking_flow


def run_campaign(store, campaign, *, ranking_only=False):
    """The submission, after its whole campaign ran in this process; and its jobs' names."""
    names = []
    submission = submit(store, campaign)
    flow = campaign_flow(submission.campaign, submission.theory)
    if ranking_only:
        flow = ranking_flow(submission.campaign)
    run_embedded(store, flow, lambda job, finished: finished and names.append(job.name))
    return submission, names

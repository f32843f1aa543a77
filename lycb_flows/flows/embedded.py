"""A campaign in this process: no server and no queue; it resumes because results are kept."""

from __future__ import annotations

from typing import cast

from jobflow import Flow, Job, JobStore
from jobflow.core.flow import get_flow
from maggma.stores import MemoryStore

from lycb_flows.campaign import (
    ProgressListener,
    Submission,
    close_stage,
    failed_labels,
    find_results,
    label_status,
)
from lycb_flows.errors import LycbError
from lycb_flows.flows.campaign import LabelMaker
from lycb_flows.flows.makers import CampaignMakers
from lycb_flows.flows.routing import description_of, jobs_of
from lycb_flows.jobs import working_on
from lycb_flows.store import ResultStore


def run_embedded(store: ResultStore, flow: Flow | Job, listener: ProgressListener) -> None:
    """Run every job of a flow here, in order; what a job adds runs right after it.

    Parameters
    ----------
    store
        Where the jobs find and keep results. Several threads may run a flow at the same
        time, each with a store of its own that was opened in it.
    flow
        The jobs. jobflow's own `run_locally` would run it as well, but reports no progress.
    listener
        Called in this thread, before and after each job.

    Raises
    ------
    LycbError
        The first that a job raises; what was finished before is kept.
    """
    outputs = JobStore(MemoryStore())  # nothing reads it: all results are in `store`
    outputs.connect()
    with store.lock(), working_on(store):
        _run(get_flow(flow), outputs, listener)


def _run(flow: Flow, outputs: JobStore, listener: ProgressListener) -> None:
    for job in jobs_of(flow):
        description = description_of(job)
        listener(description, False)  # noqa: FBT003 - ProgressListener
        response = job.run(outputs)
        listener(description, True)  # noqa: FBT003 - ProgressListener
        if response.stop_children or response.stop_jobflow:
            raise LycbError("a job stopped the flow", fix="see its output", job=job.name)
        for following in (response.replace, response.detour, response.addition):
            if following is not None:
                _run(cast("Flow", following), outputs, listener)


def relabel_embedded(
    store: ResultStore, submission: Submission, makers: CampaignMakers | None = None
) -> dict[str, int]:
    """Try every label once more that has failed for good; then close their stages.

    What a closed stage makes possible comes with the next `lycb run`, and so do labels that were
    never tried.

    Parameters
    ----------
    store
        Holds the campaign's results.
    submission
        The campaign.
    makers
        Makers of the user's own, if the campaign ran with such.

    Returns
    -------
    dict
        How many labels were tried, by the title of their stage.

    Raises
    ------
    LycbError
        When too many labels of a stage have failed again.
    """
    tried = {}
    with store.lock(), working_on(store):
        for plan in find_results(store, submission.campaign, submission.theory).stages:
            indices = failed_labels(store, plan)
            for index in indices:
                LabelMaker(plan=plan, index=index, again=True, makers=makers).label(store)
            if indices:
                tried[plan.title] = len(indices)
                if not label_status(store, plan).pending:
                    close_stage(store, plan, "relabel")
    return tried

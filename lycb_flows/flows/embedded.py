"""A whole campaign in this process: no server, no queue; it resumes because results are kept."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable

from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore

from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.rounds import failed_labels
from lycb_flows.campaign.submission import Submission
from lycb_flows.flows.campaign import relabel_flow
from lycb_flows.store import ResultStore

JobListener = Callable[[str, bool], None]
"""Called with a job's name and whether it has finished (else: it starts)."""


def run_embedded(store: ResultStore, flow: Flow, listener: JobListener) -> None:
    """Run every job of a flow here, in order.

    jobflow's own store is in memory: nothing reads it, all results are in `store`.

    Raises
    ------
    LycbError
        The first that a job raises; what was finished before is kept.
    """
    before = os.environ.get("LYCB_STORE")
    os.environ["LYCB_STORE"] = store.address  # jobs read their settings, as on a worker
    handler = _JobHandler(listener)
    logger = logging.getLogger("jobflow.core.job")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        with store.lock(), warnings.catch_warnings():
            # jobflow 0.4 uses monty's cd, which monty deprecates
            warnings.filterwarnings("ignore", "cd is deprecated", FutureWarning)
            run_locally(
                flow,
                log=False,
                store=JobStore(MemoryStore()),
                ensure_success=True,
                raise_immediately=True,
            )
    finally:
        os.environ.pop("LYCB_STORE")
        if before is not None:
            os.environ["LYCB_STORE"] = before
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def relabel_embedded(store: ResultStore, submission: Submission) -> dict[str, int]:
    """One more try at every label that has failed for good; how many, by stage.

    What a repaired label makes possible comes with the next `lycb run`.
    """
    stamp, tried = time.strftime("%Y%m%d-%H%M%S", time.gmtime()), {}
    for plan in find_results(store, submission.campaign, submission.theory).stages:
        indices = failed_labels(store, plan)
        if indices:
            tried[plan.title] = len(indices)
            run_embedded(store, relabel_flow(plan, indices, stamp), lambda _job, _done: None)
    return tried


class _JobHandler(logging.Handler):
    """jobflow says in its log when a job starts and ends; nowhere else."""

    def __init__(self, listener: JobListener) -> None:
        super().__init__()
        self.listener = listener

    def emit(self, record: logging.LogRecord) -> None:
        """Tell the listener."""
        verb, _, rest = record.getMessage().partition(" job - ")
        if rest:
            self.listener(rest.rpartition(" (")[0], verb == "Finished")

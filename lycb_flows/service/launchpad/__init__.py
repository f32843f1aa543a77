"""The service's queue: FireWorks' LaunchPad without lost jobs.

connect.py
    opens the LaunchPad of a launchpad.yaml
pad.py, writing.py, bulk.py
    checkout, heartbeat, completion, giving back; transactions; a thousand jobs at once
near.py, streaming.py
    a job's end without the rest of its workflow; short jobs claimed and completed together
methods.py
    method versions of a campaign beside those of here
losses.py
    runs that died with their worker, and trying again
locking.py
    workflow locks that name their owner
submitted.py
    campaigns as workflows: submit, find, count, pause, resume, cancel
described.py
    jobs found by their descriptions; flows as workflows
workers.py, listener.py
    the register of workers; the interface that receives what happens to jobs
faults.py, identity.py
    runs that ended although their job did not fail; names of processes, and whether they are dead
fireworks_internals.py
    every private name of FireWorks that is used
"""

from __future__ import annotations

from lycb_flows.service.launchpad.connect import load_launchpad, write_with_password
from lycb_flows.service.launchpad.described import find_job, find_jobs
from lycb_flows.service.launchpad.faults import (
    FAULT,
    GIVEN_BACK,
    LOST,
    DatabaseGoneError,
    failure_of,
    machine_fault,
    why_given_up,
    why_unfinished,
)
from lycb_flows.service.launchpad.fireworks_internals import query_of, set_query, worker_settings
from lycb_flows.service.launchpad.identity import host_and_pid, is_gone
from lycb_flows.service.launchpad.listener import JobListener
from lycb_flows.service.launchpad.losses import (
    give_back_lost,
    give_up,
    is_last_loss,
    retry,
)
from lycb_flows.service.launchpad.methods import differing_methods, other_methods
from lycb_flows.service.launchpad.pad import ServiceLaunchPad
from lycb_flows.service.launchpad.streaming import CLAIM, Stream
from lycb_flows.service.launchpad.submitted import (
    CampaignWorkflow,
    campaign_workflows,
    cancel,
    count_interruptions,
    count_states,
    initialise,
    pause,
    resume,
    submit_flow,
)
from lycb_flows.service.launchpad.workers import (
    BROKEN,
    LEFT,
    Registration,
    WorkerRecord,
    find_workers,
    forget_workers,
    placed_here,
    requeue_counts,
)
from lycb_flows.service.launchpad.writing import METHODS, RECORD, methods_digest

__all__ = [
    "BROKEN",
    "CLAIM",
    "FAULT",
    "GIVEN_BACK",
    "LEFT",
    "LOST",
    "METHODS",
    "RECORD",
    "CampaignWorkflow",
    "DatabaseGoneError",
    "JobListener",
    "Registration",
    "ServiceLaunchPad",
    "Stream",
    "WorkerRecord",
    "campaign_workflows",
    "cancel",
    "count_interruptions",
    "count_states",
    "differing_methods",
    "failure_of",
    "find_job",
    "find_jobs",
    "find_workers",
    "forget_workers",
    "give_back_lost",
    "give_up",
    "host_and_pid",
    "initialise",
    "is_gone",
    "is_last_loss",
    "load_launchpad",
    "machine_fault",
    "methods_digest",
    "other_methods",
    "pause",
    "placed_here",
    "query_of",
    "requeue_counts",
    "resume",
    "retry",
    "set_query",
    "submit_flow",
    "why_given_up",
    "why_unfinished",
    "worker_settings",
    "write_with_password",
]

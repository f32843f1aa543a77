"""The service's queue: FireWorks' LaunchPad without lost jobs.

connect.py
    opens the LaunchPad of a launchpad.yaml
pad.py, writing.py, bulk.py
    checkout, heartbeat, completion, giving back; transactions; a thousand jobs at once
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

from lycb_flows.service.launchpad.connect import PASSWORD_VARIABLE, load_launchpad
from lycb_flows.service.launchpad.described import find_job, find_jobs
from lycb_flows.service.launchpad.faults import (
    FAULT,
    GIVEN_BACK,
    LOST,
    DatabaseGoneError,
    machine_fault,
    why_unfinished,
)
from lycb_flows.service.launchpad.fireworks_internals import query_of, set_query, worker_settings
from lycb_flows.service.launchpad.identity import host_and_pid, is_gone
from lycb_flows.service.launchpad.listener import JobListener
from lycb_flows.service.launchpad.pad import ServiceLaunchPad
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
    LEFT,
    Registration,
    WorkerRecord,
    find_workers,
    forget_workers,
    placed_here,
    requeue_counts,
)

__all__ = [
    "FAULT",
    "GIVEN_BACK",
    "LEFT",
    "LOST",
    "PASSWORD_VARIABLE",
    "CampaignWorkflow",
    "DatabaseGoneError",
    "JobListener",
    "Registration",
    "ServiceLaunchPad",
    "WorkerRecord",
    "campaign_workflows",
    "cancel",
    "count_interruptions",
    "count_states",
    "find_job",
    "find_jobs",
    "find_workers",
    "forget_workers",
    "host_and_pid",
    "initialise",
    "is_gone",
    "load_launchpad",
    "machine_fault",
    "pause",
    "placed_here",
    "query_of",
    "requeue_counts",
    "resume",
    "set_query",
    "submit_flow",
    "why_unfinished",
    "worker_settings",
]

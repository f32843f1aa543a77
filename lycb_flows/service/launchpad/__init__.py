"""The service's queue: FireWorks' LaunchPad, made to lose nothing.

connect.py
    launchpad.yaml -> a LaunchPad that answers
pad.py, writing.py, light.py
    checkout, heartbeat, completion, giving back; written together; a thousand jobs at once
locking.py
    workflow locks that say who holds them
submitted.py
    campaigns as workflows: submit, find, count, pause, resume, cancel
described.py
    jobs by what they are, not by their names
workers.py, watching.py
    the register of workers; who is told what happens to jobs
faults.py, identity.py
    runs that ended without their job having failed; which process it was, whether it is dead
"""

from __future__ import annotations

from lycb_flows.service.launchpad.connect import PASSWORD_VARIABLE, load_launchpad
from lycb_flows.service.launchpad.described import find_job, find_jobs
from lycb_flows.service.launchpad.faults import (
    FAULT,
    GIVEN_BACK,
    LOST,
    machine_fault,
    why_unfinished,
)
from lycb_flows.service.launchpad.fireworks_internals import query_of, set_query, worker_settings
from lycb_flows.service.launchpad.identity import host_and_pid, is_gone
from lycb_flows.service.launchpad.locking import OwnedLock, stale_reason
from lycb_flows.service.launchpad.pad import DatabaseGoneError, ServiceLaunchPad
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
    COLLECTION,
    LEFT,
    Registration,
    WorkerRecord,
    find_workers,
    forget_workers,
    placed_here,
)

__all__ = [
    "COLLECTION",
    "FAULT",
    "GIVEN_BACK",
    "LEFT",
    "LOST",
    "PASSWORD_VARIABLE",
    "CampaignWorkflow",
    "DatabaseGoneError",
    "OwnedLock",
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
    "resume",
    "set_query",
    "stale_reason",
    "submit_flow",
    "why_unfinished",
    "worker_settings",
]

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

from lycb_flows.service.launchpad.connect import load_launchpad
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
from lycb_flows.service.launchpad.workers import WorkerRecord, find_workers

__all__ = [
    "CampaignWorkflow",
    "ServiceLaunchPad",
    "WorkerRecord",
    "campaign_workflows",
    "cancel",
    "count_interruptions",
    "count_states",
    "find_workers",
    "initialise",
    "load_launchpad",
    "pause",
    "resume",
    "submit_flow",
]

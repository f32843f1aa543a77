"""The service's queue: FireWorks' LaunchPad without lost jobs.

connect.py
    opens the LaunchPad of a launchpad.yaml
pad.py, writing.py, bulk.py
    checkout, heartbeat, completion, giving back; transactions; a thousand jobs at once
near.py, ends.py, streaming.py
    a job's end without the rest of its workflow; ends written, and short jobs claimed, together
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

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

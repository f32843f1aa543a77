"""A worker: takes the jobs of its categories, one after the other, until it is told to stop.

It loses nothing: a job that is interrupted goes back to the queue, a database that is away is
waited for, a full disk takes no job. SIGUSR1 asks it to go at the job's next restart point,
SIGTERM (and Ctrl-C) at once; neither can come between what belongs together in the database.

loop.py
    which job next, and what becomes of it
signals.py
    where a signal may strike
surroundings.py
    options, environment, folders
outputs.py
    jobflow's own outputs
"""

from __future__ import annotations

from lycb_flows.service.worker.loop import WorkerReport, run_worker
from lycb_flows.service.worker.surroundings import WorkerOptions

__all__ = ["WorkerOptions", "WorkerReport", "run_worker"]

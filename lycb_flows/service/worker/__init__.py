"""The worker: runs the jobs of its categories, one after the other, until it has to stop.

An interrupted job goes back to the queue, an absent database is waited for, and with a full disk
no job is taken. SIGUSR1 stops the worker at the job's next restart point, SIGTERM and Ctrl-C at
once; no signal interrupts a write to the database.

loop.py
    takes the next job, runs it, and writes how it ended
choice.py, examination.py, breaker.py
    which jobs are taken; what is looked at before; stopping a worker that is broken
signals.py
    signals, which interrupt a job only inside its tasks
environment.py
    options, environment variables, folders
outputs.py
    jobflow's own outputs
"""

from __future__ import annotations

from lycb_flows.service.worker.environment import WorkerOptions
from lycb_flows.service.worker.loop import WorkerReport, run_worker

__all__ = ["WorkerOptions", "WorkerReport", "run_worker"]

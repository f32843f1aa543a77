"""What a worker brings with it: options, environment, folders, FireWorks' own settings."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fireworks import FWorker, fw_config

from lycb_flows.errors import InputError
from lycb_flows.machine.settings import Settings
from lycb_flows.service.launchpad import placed_here, query_of, worker_settings

_LAST_MINUTE_S, _LAST_SHARE = 60.0, 0.05
_AVOID_S = 30.0


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """What a worker takes, and when it goes.

    Attributes
    ----------
    categories
        Of the jobs to take; empty: those of my_fworker.yaml.
    n_launches
        Jobs to run; 0: until none is left, None: for ever.
    max_idle_s
        How long to wait for a job, if not for ever.
    walltime_s
        When the queue will end it; by default what Slurm says, if anything.
    name
        Written into what it makes; by default host and process.
    device
        Torch device; empty: that of the settings.
    sleep_s
        Longest pause between two looks into the queue.
    avoid_s
        How long it leaves a job alone that it gave back; doubled every time.
    """

    categories: tuple[str, ...] = ()
    n_launches: int | None = None
    max_idle_s: float | None = None
    walltime_s: float | None = None
    name: str = ""
    device: str = ""
    sleep_s: float = 5.0
    avoid_s: float = _AVOID_S


@contextmanager
def job_environment(name: str, options: WorkerOptions, settings: Settings) -> Iterator[None]:
    """What jobs read of their machine; paths do not depend on the launch folder."""
    threads = str(settings.threads)
    news = {
        "LYCB_WORKER_NAME": name,
        "LYCB_SCRATCH": str(settings.scratch.expanduser().resolve()),
        "LYCB_SETTINGS_FILE": str(settings.settings_file.expanduser().resolve()),
        # more workers instead of more processes per worker
        "LYCB_PROCESSES": os.environ.get("LYCB_PROCESSES", "1"),
        "OMP_NUM_THREADS": threads,
    }
    if options.device:
        news["LYCB_DEVICE"] = options.device
    if settings.blobs and settings.blobs != "gridfs":
        news["LYCB_BLOBS"] = str(Path(settings.blobs).expanduser().resolve())
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(settings.threads)
    before = {variable: os.environ.get(variable) for variable in news}
    os.environ.update(news)
    try:
        yield
    finally:
        for variable, value in before.items():
            os.environ.pop(variable)
            if value is not None:
                os.environ[variable] = value


@contextmanager
def fireworks_settings(ping_s: float) -> Iterator[None]:
    """Set what FireWorks reads from its modules, and keep jobflow from printing every start."""
    jobs_logger = logging.getLogger("jobflow.core.job")
    level = jobs_logger.level
    jobs_logger.setLevel(logging.WARNING)
    try:
        with worker_settings(ping_s):
            yield
    finally:
        jobs_logger.setLevel(level)


def load_fworker(name: str, options: WorkerOptions) -> FWorker:
    """my_fworker.yaml, where there is one, with our name and the categories asked for."""
    path = Path(fw_config.FWORKER_LOC or "my_fworker.yaml")
    found = FWorker.from_file(str(path)) if path.exists() else FWorker()
    category = list(options.categories) or found.category
    return FWorker(name, category, query_of(found), {**found.env, **placed_here()})


def categories_of(fworker: FWorker) -> tuple[str, ...]:
    """What a worker takes; empty: everything."""
    category = fworker.category
    named = (category,) if isinstance(category, str) else tuple(category)
    return tuple(one for one in named if one)


def launch_folder(settings: Settings) -> Path:
    """Where jobs run, each in a folder of its own."""
    folder = settings.scratch / "launches"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise InputError(
            "no scratch folder", fix="set LYCB_SCRATCH", path=folder, reason=err.strerror
        ) from err
    return folder


def deadline_of(options: WorkerOptions, started: float) -> float | None:
    """`time.time()` when the queue ends this worker."""
    if options.walltime_s is not None:
        return started + options.walltime_s
    end = os.environ.get("SLURM_JOB_END_TIME", "")
    return float(end) if end.isdigit() else None


def last_moments_s(options: WorkerOptions) -> float:
    """Before the deadline: no new job then."""
    if options.walltime_s is None:
        return _LAST_MINUTE_S
    return min(_LAST_MINUTE_S, _LAST_SHARE * options.walltime_s)

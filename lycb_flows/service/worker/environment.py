"""A worker's options, environment variables and folders, and FireWorks' own settings."""

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
from lycb_flows.machine import Settings, in_full
from lycb_flows.service.launchpad import placed_here, query_of, worker_settings

_LAST_MINUTE_S, _LAST_SHARE = 60.0, 0.05
_AVOID_S = 30.0


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Which jobs a worker takes, and when it stops.

    Attributes
    ----------
    categories
        Categories of the jobs to take; empty: those of my_fworker.yaml.
    n_launches
        Number of jobs to run; 0: until none is left, None: no limit.
    max_idle_s
        Seconds to wait for a job; None: no limit.
    walltime_s
        Seconds until the queue ends the worker; by default Slurm's end time, if there is one.
    name
        Name that is written into its results; by default host and process.
    device
        Torch device; empty: that of the settings.
    sleep_s
        Longest pause between two looks into the queue, in seconds.
    avoid_s
        Seconds before the worker takes a job again that it gave back; doubled every time.
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
    """Set the environment variables that jobs read; paths are absolute, as jobs change folders.

    Parameters
    ----------
    name
        The worker's name.
    options
        Its options, of which the device is used.
    settings
        The machine's settings.
    """
    threads = str(settings.threads)
    variables = {
        "LYCB_WORKER_NAME": name,
        "LYCB_SCRATCH": str(in_full(settings.scratch).resolve()),
        # a machine is filled by several workers, not by several processes of each
        "LYCB_PROCESSES": os.environ.get("LYCB_PROCESSES", "1"),
        "OMP_NUM_THREADS": threads,
    }
    if settings.settings_file.exists():
        variables["LYCB_SETTINGS_FILE"] = str(settings.settings_file.resolve())
    if options.device:
        variables["LYCB_DEVICE"] = options.device
    if settings.blobs and settings.blobs != "gridfs":
        variables["LYCB_BLOBS"] = str(in_full(Path(settings.blobs)).resolve())
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(settings.threads)
    before = {variable: os.environ.get(variable) for variable in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for variable, value in before.items():
            os.environ.pop(variable)
            if value is not None:
                os.environ[variable] = value


@contextmanager
def fireworks_settings(ping_s: float) -> Iterator[None]:
    """Set FireWorks' heartbeat interval, and silence jobflow's log of every start.

    Parameters
    ----------
    ping_s
        Seconds between two heartbeats of a running job.
    """
    jobs_logger = logging.getLogger("jobflow.core.job")
    level = jobs_logger.level
    jobs_logger.setLevel(logging.WARNING)
    try:
        with worker_settings(ping_s):
            yield
    finally:
        jobs_logger.setLevel(level)


def load_fworker(name: str, options: WorkerOptions) -> FWorker:
    """Return the FWorker of my_fworker.yaml, if there is one, under the worker's name.

    Parameters
    ----------
    name
        The worker's name.
    options
        Its options; their categories replace those of the file.
    """
    path = Path(fw_config.FWORKER_LOC or "my_fworker.yaml")
    found = FWorker.from_file(str(path)) if path.exists() else FWorker()
    category = list(options.categories) or found.category
    return FWorker(name, category, query_of(found), {**found.env, **placed_here()})


def categories_of(fworker: FWorker) -> tuple[str, ...]:
    """Return the categories of jobs that a worker takes; empty: all."""
    category = fworker.category
    named = (category,) if isinstance(category, str) else tuple(category)
    return tuple(category for category in named if category)


def launch_folder(settings: Settings) -> Path:
    """Return the folder that has a folder for each running job.

    Raises
    ------
    InputError
        When it cannot be made.
    """
    folder = settings.scratch / "launches"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise InputError(
            "no scratch folder", fix="set LYCB_SCRATCH", path=folder, reason=err.strerror
        ) from err
    return folder


def deadline_of(options: WorkerOptions, started: float) -> float | None:
    """Return when the queue ends the worker, as `time.time()` counts; None: not known.

    Parameters
    ----------
    options
        The worker's options, whose walltime goes first.
    started
        Start of the worker, as `time.time()` counts.
    """
    if options.walltime_s is not None:
        return started + options.walltime_s
    end = os.environ.get("SLURM_JOB_END_TIME", "")
    return float(end) if end.isdigit() else None


def last_moments_s(options: WorkerOptions) -> float:
    """Return the seconds before the deadline in which no job is started.

    They are a minute, or less where the walltime itself is short.
    """
    if options.walltime_s is None:
        return _LAST_MINUTE_S
    return min(_LAST_MINUTE_S, _LAST_SHARE * options.walltime_s)

"""The provenance of a result: who makes it now, with which versions, at what cost."""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata

from lycb_flows.config.plugins import packages_in_use
from lycb_flows.machine.settings import load_settings
from lycb_flows.schemas import Blob, Made
from lycb_flows.store.records import AttemptId

_RECORDED_PACKAGES = ("lycb-flows", "chgnet", "torch", "ase", "pymatgen", "numpy", "gpaw")


class MadeNow:
    """The clock of an attempt; called, it returns who works here and what was spent so far.

    Parameters
    ----------
    job
        Name of the job.
    """

    def __init__(self, job: str) -> None:
        self.attempt: AttemptId | None = None
        self._job = job
        self._started_at, self._wall, self._cpu = now(), time.monotonic(), _cpu_s()

    def __call__(self, logs: Mapping[str, Blob] | None = None) -> Made:
        """Return `made` as of now, with what an engine wrote."""
        settings = load_settings()
        return Made(
            worker=settings.worker_name,
            host=socket.gethostname(),
            pid=os.getpid(),
            job=self._job,
            threads=settings.threads,
            device=settings.device,
            versions=_versions() | packages_in_use(),
            started_at=self._started_at,
            ended_at=now(),
            wall_s=time.monotonic() - self._wall,
            cpu_s=_cpu_s() - self._cpu,
            logs=dict(logs or {}),
        )


def _cpu_s() -> float:
    """Return the CPU time of this process and of those it waited for, such as a DFT code."""
    return sum(os.times()[:4])


@functools.cache
def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _RECORDED_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):  # GPAW is an extra
            found[name] = metadata.version(name)
    return found


def now() -> str:
    """Return the time in UTC as ISO 8601, as attempts and `made` hold it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def user_name() -> str:
    """Return the name of the system's user who runs this; the number where there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have none
        return str(os.getuid())

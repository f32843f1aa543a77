"""Why a run ended without a result although the job itself did not fail."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from typing import Any

from lycb_flows.errors import MachineError
from lycb_flows.store.outages import is_outage

GIVEN_BACK, FAULT, LOST = "given_back", "fault", "lost"
"""Why a launch was archived: given back by its worker, failed by the machine, found lost."""
CLEARED = "lycb_cleared"
"""Field of a launch that no longer counts against its job, with the user who said so."""
MAX_FAULTS = 3
"""How often a job runs again after its machine failed; then it stays FIZZLED."""
MAX_LOSSES = 3
"""How many runs of a job may die with their worker; then it becomes FIZZLED."""

UNLOADABLE = (ImportError, AttributeError, TypeError, ValueError, MachineError)
"""Errors of loading a job where the code or the plug-in that queued it is not installed."""

# plain `rlaunch` keeps only the traceback as text: its last line names the error
_FAULT_LINE = re.compile(
    r"^(?:pymongo\.errors\.(?:AutoReconnect|ConnectionFailure|NetworkTimeout|NotPrimaryError"
    r"|ServerSelectionTimeoutError|WaitQueueTimeoutError|_OperationCancelled)"
    r"|lycb_flows\.errors\.(?:Machine|Store)Error"
    r"|OSError(?=: \[Errno (?:28|122)\]))\b.*",
    re.MULTILINE,
)


class DatabaseGoneError(SystemExit):
    """Raised when the database stays away while a job ends.

    It is no Exception: FireWorks would take one for a failure of the job.
    """


def machine_fault(error: BaseException | None) -> str:
    """Return in one line how the machine made a job fail; empty when the job itself failed.

    Database, result store, disk and installed programs count as the machine.
    """
    while error is not None:
        full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
        if full or isinstance(error, MachineError) or is_outage(error):
            return _line(f"{type(error).__name__}: {error}")
        error = error.__cause__
    return ""


def why_unfinished(action: Mapping[str, Any] | None) -> dict[str, str]:
    """Return why a FIZZLED launch is no failure of its job; empty when it is one.

    Parameters
    ----------
    action
        The launch's action as FireWorks stores it, or None.

    Returns
    -------
    dict[str, str]
        `GIVEN_BACK` or `FAULT` -> the reason in one line.
    """
    exception = ((action or {}).get("stored_data") or {}).get("_exception") or {}
    details = exception.get("_details")
    if isinstance(details, Mapping):
        for kind in (GIVEN_BACK, FAULT):
            if kind in details:
                return {kind: _line(str(details[kind]))}
    lines = _FAULT_LINE.findall(exception.get("_stacktrace") or "")
    return {FAULT: _line(lines[-1])} if lines else {}


def why_given_up(action: Mapping[str, Any] | None) -> str:
    """Return in one line why a job was given up with a FIZZLED launch; empty when it was not.

    Parameters
    ----------
    action
        The launch's action as FireWorks stores it, or None.
    """
    exception = ((action or {}).get("stored_data") or {}).get("_exception") or {}
    details = exception.get("_details")
    return failure_of(action) if isinstance(details, Mapping) and LOST in details else ""


def failure_of(action: Mapping[str, Any] | None) -> str:
    """Return in one line the error that a FIZZLED launch ended with; empty when it has none.

    Parameters
    ----------
    action
        The launch's action as FireWorks stores it, or None.
    """
    exception = ((action or {}).get("stored_data") or {}).get("_exception") or {}
    errors = [line for line in (exception.get("_stacktrace") or "").splitlines() if line.strip()]
    return _line(errors[-1]) if errors else ""


def is_of_the_job(failure: str) -> bool:
    """Return whether a failure is an error that names what is wrong with the job itself.

    Any other error may as well be one of the worker that ran it.
    """
    return failure.startswith("lycb_flows.errors.")


class RefusedJobError(BaseException):
    """Leaves FireWorks' search for a job, which would mark what it cannot load FIZZLED.

    It is no Exception: FireWorks catches those and goes on to the next job.

    Parameters
    ----------
    fw_id
        The job, RESERVED and without a run.
    reason
        The error of loading it.
    """

    def __init__(self, fw_id: int, reason: str) -> None:
        super().__init__(reason)
        self.fw_id, self.reason = fw_id, reason


class UnlistedError(ValueError):
    """No workflow lists a job: another process has written over what added it."""


def _line(text: str) -> str:
    return " ".join(text.split())[:300]

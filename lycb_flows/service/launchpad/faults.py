"""Why a run ended without a result although the job itself did not fail."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from typing import Any

from lycb_flows.errors import MachineError
from lycb_flows.store.outages import is_outage

GIVEN_BACK, FAULT, LOST = "given_back", "fault", "lost"
"""Why a launch was archived: by the job or its worker, by the machine, by the reaper."""
MAX_FAULTS = 3
"""So often a job runs again after its machine failed; then it stays FIZZLED."""

# the last line of a traceback that plain `rlaunch` wrote
_FAULT_LINE = re.compile(
    r"^(?:pymongo\.errors\.(?:AutoReconnect|ConnectionFailure|NetworkTimeout|NotPrimaryError"
    r"|ServerSelectionTimeoutError|WaitQueueTimeoutError|_OperationCancelled)"
    r"|lycb_flows\.errors\.(?:Machine|Store)Error"
    r"|OSError(?=: \[Errno (?:28|122)\]))\b.*",
    re.MULTILINE,
)


def machine_fault(error: BaseException | None) -> str:
    """One line when database, store, disk or what is installed made a job fail, else empty."""
    while error is not None:
        full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
        if full or isinstance(error, MachineError) or is_outage(error):
            return _line(f"{type(error).__name__}: {error}")
        error = error.__cause__
    return ""


def why_unfinished(action: Mapping[str, Any] | None) -> dict[str, str]:
    """`given_back` or `fault` with its reason, from a FIZZLED launch's action; else empty.

    Parameters
    ----------
    action
        As FireWorks stores it with the launch.
    """
    exception = ((action or {}).get("stored_data") or {}).get("_exception") or {}
    details = exception.get("_details")
    if isinstance(details, Mapping):
        for kind in (GIVEN_BACK, FAULT):
            if kind in details:
                return {kind: _line(str(details[kind]))}
    lines = _FAULT_LINE.findall(exception.get("_stacktrace") or "")
    return {FAULT: _line(lines[-1])} if lines else {}


def _line(text: str) -> str:
    return " ".join(text.split())[:300]

"""SIGUSR1, SIGTERM and Ctrl-C: wishes, and an exception only where it can do no harm."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Self

from fireworks import FWAction

from lycb_flows.machine.walltime import SHIFT
from lycb_flows.service.launchpad import FAULT, GIVEN_BACK, machine_fault


class Interrupted(SystemExit):
    """Raised in a job by SIGTERM or Ctrl-C; FireWorks keeps `to_dict` with the launch."""

    def to_dict(self) -> dict[str, str]:
        """Known again by `faults.why_unfinished`."""
        return {GIVEN_BACK: f"stopped by {self.code}"}


class StopSignals:
    """SIGUSR1, SIGTERM and SIGINT as wishes, and as an exception only inside a job.

    Attributes
    ----------
    asked
        The first signal's name; empty while none came.
    """

    def __init__(self) -> None:
        self.asked = ""
        self._in_job = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Listen."""
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_failure: object) -> None:
        """As before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run_job(self, run_task: Callable[[Any], FWAction], spec: Mapping[str, Any]) -> FWAction:
        """A firetask's `run_task`, where signals may strike; says whose fault a failure is."""
        if self.asked:
            raise Interrupted(self.asked)
        try:
            self._in_job = True
            return run_task(spec)
        except Exception as err:  # goes on to FireWorks, with its fault
            fault = machine_fault(err)
            if fault:
                err.to_dict = lambda: {FAULT: fault}  # type: ignore[attr-defined]  # for FireWorks
            raise
        finally:
            self._in_job = False

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        self.asked = self.asked or name
        SHIFT.stop_reason = SHIFT.stop_reason or f"stopped by {name}"
        if self._in_job and number != signal.SIGUSR1:
            self._in_job = False  # a second signal does not disturb what the first one ends
            raise Interrupted(name)

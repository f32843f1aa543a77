"""SIGUSR1, SIGTERM and Ctrl-C: noted at any time, raised as an exception only inside a job."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Self

from fireworks import FWAction

from lycb_flows.machine.walltime import WALLTIME
from lycb_flows.service.launchpad import FAULT, GIVEN_BACK, machine_fault


class Interrupted(SystemExit):
    """Raised in a job by SIGTERM or Ctrl-C; FireWorks stores its `to_dict` with the launch."""

    def to_dict(self) -> dict[str, str]:
        """Return the reason in the form that `why_unfinished` reads."""
        return {GIVEN_BACK: f"stopped by {self.code}"}


class StopSignals:
    """Context manager that notes SIGUSR1, SIGTERM and SIGINT, and raises only inside a job.

    Attributes
    ----------
    signal_name
        Name of the first signal; empty while none came.
    """

    def __init__(self) -> None:
        self.signal_name = ""
        self._in_job = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers."""
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_failure: object) -> None:
        """Restore the earlier handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run_job(self, run_task: Callable[[Any], FWAction], spec: Mapping[str, Any]) -> FWAction:
        """Call a firetask's `run_task`, which signals may interrupt.

        An error that the machine has caused is marked with its fault for FireWorks.

        Parameters
        ----------
        run_task
            The firetask's own method.
        spec
            Its argument, the job's spec.

        Raises
        ------
        Interrupted
            When SIGTERM or Ctrl-C comes, or any signal has come before.
        """
        if self.signal_name:
            raise Interrupted(self.signal_name)
        try:
            self._in_job = True
            return run_task(spec)
        except Exception as err:  # any job; raised again
            fault = machine_fault(err)
            if fault:
                err.to_dict = lambda: {FAULT: fault}  # type: ignore[attr-defined]  # stored by FireWorks
            raise
        finally:
            self._in_job = False

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        self.signal_name = self.signal_name or name
        WALLTIME.stop_reason = WALLTIME.stop_reason or f"stopped by {name}"
        if self._in_job and number != signal.SIGUSR1:
            self._in_job = False  # a second signal must not interrupt the handling of the first
            raise Interrupted(name)

"""When a job must stop: the walltime and the orders of the worker of this process.

The worker sets it; a long job calls `leave_if_over` between its restart points. An embedded
run, or plain `rlaunch`, has no walltime, and nothing ever stops.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from lycb_flows.errors import GivenBackError

_VARIABLE = "LYCB_WALLTIME_DEADLINE"


@dataclass
class Walltime:
    """The walltime of this process; the only instance is `WALLTIME`.

    Attributes
    ----------
    gives_back
        Whether this process's worker gives a job back that raises `GivenBackError`.
    deadline
        `time.time()` at which the worker wants to be gone, or None.
    stop_reason
        Why to stop at the next restart point; empty while there is no reason.
    """

    gives_back: bool = False
    deadline: float | None = None
    stop_reason: str = ""

    def leave_if_over(self, next_s: float) -> None:
        """Give the job back when a stop is wanted, or when `next_s` more would pass the deadline.

        Parameters
        ----------
        next_s
            Estimated time to the next restart point, in s.

        Raises
        ------
        GivenBackError
            When it is time to go.
        """
        if not self.gives_back:
            return
        if self.stop_reason:
            raise GivenBackError("stopped at a restart point", reason=self.stop_reason)
        if self.deadline is not None and time.time() + next_s > self.deadline:
            raise GivenBackError("the walltime ends before the next restart point")

    def tell_children(self) -> None:
        """Let processes that start from now on have the same walltime, except its `stop_reason`."""
        if self.gives_back:
            os.environ[_VARIABLE] = str(self.deadline or "")
        else:
            os.environ.pop(_VARIABLE, None)


def _inherited() -> Walltime:
    """Return the walltime of the worker that started this process, else none."""
    deadline = os.environ.get(_VARIABLE)
    return Walltime(gives_back=deadline is not None, deadline=float(deadline) if deadline else None)


WALLTIME = _inherited()

"""Stops a worker whose jobs fail one after the other: the worker is broken, not the jobs."""

from __future__ import annotations

from lycb_flows.errors import MachineError
from lycb_flows.service.launchpad import FAULT, ServiceLaunchPad


class Breaker:
    """Counts different jobs that failed in a row.

    Errors that name what is wrong with a job itself do not count.

    Parameters
    ----------
    launchpad
        Where the jobs are.
    limit
        Number of them at which the worker stops.
    """

    def __init__(self, launchpad: ServiceLaunchPad, limit: int) -> None:
        self._launchpad, self._limit = launchpad, limit
        self._failed: dict[int, tuple[int | None, str]] = {}

    def completed(self) -> None:
        """Forget the failures: this worker can do jobs."""
        self._failed.clear()

    def failed(self, fw_id: int, launch_id: int | None, reason: str) -> None:
        """Count a job.

        Parameters
        ----------
        fw_id
            The job; again the same one does not count.
        launch_id
            Its launch where it is FIZZLED; None where it was given back.
        reason
            The error in one line.
        """
        self._failed[fw_id] = (launch_id, reason)

    def reason(self) -> str:
        """Return why the worker has to stop; empty while it may go on."""
        if len(self._failed) < self._limit:
            return ""
        *_, (_, last) = self._failed.values()
        return f"{len(self._failed)} jobs failed in a row: {last}"

    def error(self, name: str) -> MachineError:
        """Return the line that a worker of this name ends with."""
        return MachineError(
            "this worker stops",
            fix="mend its machine, see `lycb doctor`; other workers try the jobs",
            worker=name,
            reason=self.reason(),
        )

    def give_back(self, name: str) -> None:
        """Let other workers try the jobs that failed here.

        A job that several workers have failed at stays FIZZLED.

        Parameters
        ----------
        name
            The worker's name, kept with the jobs' runs.
        """
        why = {FAULT: f"{name} stopped: {self.reason()}"[:300]}
        for fw_id, (launch_id, _) in self._failed.items():
            if launch_id is not None and self._launchpad.may_run_again(fw_id, why):
                self._launchpad.give_back(fw_id, launch_id, **why)

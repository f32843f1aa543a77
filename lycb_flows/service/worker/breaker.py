"""Stops a worker whose jobs fail one after the other: the worker is broken, not the jobs."""

from __future__ import annotations

from lycb_flows.errors import MachineError
from lycb_flows.service.launchpad import (
    FAULT,
    ServiceLaunchPad,
    WorkerRecord,
    find_workers,
    methods_digest,
)
from lycb_flows.service.worker.choice import JobChoice
from lycb_flows.store import method_versions

_CATEGORY = {"fw_id": 1, "spec._category": 1}


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
        """Let other workers try the jobs that failed here, as this one stops.

        A job that several workers have failed at stays FIZZLED.

        Parameters
        ----------
        name
            The worker's name, kept with the jobs' runs.
        """
        for fw_id in self._failed:
            self._leave(fw_id, f"{name} stopped: {self.reason()}")

    def hand_over(self, name: str, choice: JobChoice) -> None:
        """Let other workers try the jobs that failed here, as this one has no other job.

        It would not be found out: nothing else is left to fail at while others wait for these.

        Parameters
        ----------
        name
            The worker's name, kept with the jobs' runs.
        choice
            Which jobs it takes: these no more.
        """
        waiting = [fw_id for fw_id, (launch_id, _) in self._failed.items() if launch_id is not None]
        others = self._others() if waiting else []
        query = {"fw_id": {"$in": waiting}, "state": "FIZZLED"}
        for row in list(self._launchpad.fireworks.find(query, _CATEGORY)) if others else []:
            fw_id, category = row["fw_id"], row["spec"].get("_category")
            taken = any(not each.categories or category in each.categories for each in others)
            if taken and self._leave(fw_id, f"failed at {name}: {self._failed[fw_id][1]}"):
                choice.refuse(fw_id, "")

    def _others(self) -> list[WorkerRecord]:
        """Return the other workers that are alive, at the same method versions."""
        mine = methods_digest(method_versions())
        alive = find_workers(self._launchpad)
        return [
            each for each in alive if each.owner != self._launchpad.owner and each.methods == mine
        ]

    def _leave(self, fw_id: int, reason: str) -> bool:
        """Give a FIZZLED job back once; return whether it went back to the queue."""
        launch_id, failure = self._failed[fw_id]
        why = {FAULT: reason[:300]}
        if launch_id is None or not self._launchpad.may_run_again(fw_id, why):
            return False
        self._failed[fw_id] = (None, failure)
        return self._launchpad.give_back(fw_id, launch_id, **why)

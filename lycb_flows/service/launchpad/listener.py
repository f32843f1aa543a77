"""Events of the jobs that this process runs, and the interface that receives them."""

from __future__ import annotations

from fireworks import Firework


class JobListener:
    """Receives what happens to the jobs of this process; does nothing by default."""

    def started(self, firework: Firework, launch_id: int) -> None:
        """Receive a job that was checked out and runs next.

        Parameters
        ----------
        firework
            The job; its tasks may still be changed.
        launch_id
            Its launch.
        """

    def pinged(self) -> None:
        """Receive that a heartbeat has reached the database; called in the ping's thread."""

    def lost(self, launch_id: int) -> None:
        """Receive that a launch is no longer ours; called in the ping's thread."""

    def ended(self, launch_id: int, state: str, reason: str) -> None:
        """Receive how a launch ended.

        Parameters
        ----------
        launch_id
            The launch.
        state
            COMPLETED or FIZZLED; READY when the job was given back, ARCHIVED when it was
            started elsewhere meanwhile.
        reason
            Why it was given back or archived, or the error that it ended with; otherwise empty.
        """

    def failed(self, fw_id: int, launch_id: int | None, reason: str) -> None:
        """Receive that a job failed in a way that may be this machine's and not the job's.

        Parameters
        ----------
        fw_id
            The job.
        launch_id
            Its launch, if the job is FIZZLED; None when it was given back.
        reason
            The error in one line.
        """

    def avoid(self, fw_id: int) -> None:
        """Receive that a job was given back and should not be taken again at once."""

    def refused(self, fw_id: int, reason: str, record: str) -> None:
        """Receive that a job was not taken because the code that queued it is not installed here.

        Parameters
        ----------
        fw_id
            The job.
        reason
            The error of loading it.
        record
            Key of its campaign's record; empty when it has none.
        """

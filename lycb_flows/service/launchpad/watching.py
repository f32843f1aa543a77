"""Who wants to know what happens to the jobs of this process."""

from __future__ import annotations

from typing import Protocol

from fireworks import Firework


class Watcher(Protocol):
    """Who wants to know what happens to the jobs of this process."""

    def took(self, firework: Firework, launch_id: int) -> None:
        """A job was checked out and runs next."""

    def pinged(self) -> None:
        """A heartbeat reached the database; from the ping's thread."""

    def lost(self, launch_id: int) -> None:
        """The launch is somebody else's now; from the ping's thread."""

    def ended(self, launch_id: int, state: str, reason: str) -> None:
        """COMPLETED, FIZZLED, or READY: given back. ARCHIVED: it was somebody else's."""

    def avoid(self, fw_id: int) -> None:
        """Do not take this one again for a while."""

    def refused(self, fw_id: int, reason: str) -> None:
        """The code that queued this job is not installed here; it is FIZZLED now."""


class NobodyWatches:
    """The default `Watcher`."""

    def took(self, firework: Firework, launch_id: int) -> None:
        """Nothing."""

    def pinged(self) -> None:
        """Nothing."""

    def lost(self, launch_id: int) -> None:
        """Nothing."""

    def ended(self, launch_id: int, state: str, reason: str) -> None:
        """Nothing."""

    def avoid(self, fw_id: int) -> None:
        """Nothing."""

    def refused(self, fw_id: int, reason: str) -> None:
        """Nothing."""

"""Workflow locks that name their owner, so that a dead owner's lock can be broken.

FireWorks sets `locked: True` and only tests whether the field exists; here it holds the owner and
the time. An owner whose lock was broken writes nothing afterwards: `ServiceLaunchPad`
replaces a workflow only while it still holds the lock.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping
from typing import Any, Self

from fireworks import fw_config
from fireworks.core.launchpad import LaunchPad, LockedWorkflowError, WFLock
from pymongo.errors import PyMongoError

from lycb_flows.service.launchpad.faults import UnlistedError
from lycb_flows.service.launchpad.fireworks_internals import replace_workflow_lock
from lycb_flows.service.launchpad.identity import host_and_pid, is_gone
from lycb_flows.store.outages import is_outage

_FIRST_NAP_S, _LONGEST_NAP_S = 0.005, 0.25

logger = logging.getLogger(__name__)


def use_owned_locks() -> None:
    """Make FireWorks' own methods use `OwnedLock` on LaunchPads that have an owner.

    Other LaunchPads are locked as before.
    """
    replace_workflow_lock(workflow_lock)


def workflow_lock(
    launchpad: LaunchPad,
    fw_id: int,
    *args: Any,  # noqa: ANN401 - as FireWorks calls it
    **options: Any,  # noqa: ANN401 - likewise
) -> WFLock:
    """Return the lock of the workflow that contains a Firework.

    Parameters
    ----------
    launchpad
        The LaunchPad; its class decides on the kind of lock.
    fw_id
        A job of the workflow.
    *args, **options
        What else FireWorks gives to its own lock.
    """
    if hasattr(launchpad, "owner"):
        return OwnedLock(launchpad, fw_id)
    return WFLock(launchpad, fw_id, *args, **options)


def stale_reason(lock: object) -> str:
    """Return why a lock is certainly stale; empty when it may be in use."""
    owner = lock.get("by", "") if isinstance(lock, dict) else ""
    return f"{host_and_pid(owner)} is gone" if owner and is_gone(owner) else ""


def patience_s(lock: object, ours_s: float) -> float:
    """Return after how long an unchanged lock is taken for stale, in s.

    FireWorks' own commands name no owner and replace the whole workflow when they are done,
    whether they still have the lock or not: they get the time that FireWorks gives them.

    Parameters
    ----------
    lock
        What the workflow's field holds.
    ours_s
        The time for a lock that names its owner, in s.
    """
    ours = isinstance(lock, dict)
    return ours_s if ours else max(ours_s, float(fw_config.WFLOCK_EXPIRATION_SECS))


class OwnedLock(WFLock):  # type: ignore[misc]  # FireWorks has no types
    """A workflow's lock as a context manager; its owner can enter it again after an outage.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    fw_id
        A job of the workflow.
    fields
        What to read of the workflow's document, as a projection of MongoDB.

    Attributes
    ----------
    row
        The document as it was when the lock was taken.

    Raises
    ------
    LockedWorkflowError
        When others had the lock for longer than the LaunchPad's `outage_s`.
    UnlistedError
        When no workflow lists the firework.
    """

    def __init__(
        self, launchpad: LaunchPad, fw_id: int, fields: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(launchpad, fw_id)
        self._fields = {"_id": 1, **(fields or {})}
        self.row: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Wait for the lock, and break one that is stale."""
        started = time.monotonic()
        last_lock, since, naps = None, started, 0
        while not self._acquire():
            found = self.lp.workflows.find_one(
                {"nodes": self.fw_id}, {"locked": 1, "updated_on": 1, "name": 1}
            )
            if found is None:
                msg = f"no workflow lists firework {self.fw_id}"
                raise UnlistedError(msg)
            now = time.monotonic()
            if found != last_lock:
                last_lock, since = found, now
            lock = found.get("locked")
            if now - since > patience_s(lock, self.lp.stale_lock_s) or stale_reason(lock):
                self.lp.break_lock(found)
            elif now - started > self.lp.outage_s:
                msg = f"workflow of firework {self.fw_id} stays locked"
                raise LockedWorkflowError(msg)
            else:
                naps += 1
                time.sleep(min(_FIRST_NAP_S * naps, _LONGEST_NAP_S) * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        return self

    def _acquire(self) -> bool:
        """Return whether the lock was free or ours already, and take it."""
        held = self.lp.workflows.find_one_and_update(
            {
                "nodes": self.fw_id,
                "$or": [{"locked": {"$exists": False}}, {"locked.by": self.lp.owner}],
            },
            [{"$set": {"locked": {"by": self.lp.owner, "at": "$$NOW"}}}],
            projection=self._fields,
        )
        self.row = held or {}
        return held is not None

    def __exit__(self, *_failure: object) -> None:
        """Unlock, unless the lock was broken and taken by another process."""
        try:
            self.lp.workflows.update_one(
                {"nodes": self.fw_id, "locked.by": self.lp.owner}, {"$unset": {"locked": ""}}
            )
        except PyMongoError as err:
            if not is_outage(err):
                raise
            # not lost: the retry enters the lock again by its owner, or others break it as stale
            logger.warning("lock of firework %s is left behind: the database is away", self.fw_id)

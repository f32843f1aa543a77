"""How a LaunchPad of ours writes: what belongs together in one transaction, under its lock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from fireworks import Firework, Workflow
from fireworks.core.launchpad import LockedWorkflowError
from pymongo import ReplaceOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError

from lycb_flows.service.launchpad.bulk import LightFirework, workflow_change
from lycb_flows.service.launchpad.fireworks_internals import HookedLaunchPad, reassign_ids

PAUSED = "lycb_paused"
"""In a workflow's metadata: whatever becomes runnable there is PAUSED instead."""
MAX_TOGETHER = 1000
"""So many jobs are changed in one transaction: they are held in the database's cache."""
_BATCH = 1000

T = TypeVar("T")
Session = ClientSession | None

logger = logging.getLogger(__name__)


class WritingLaunchPad(HookedLaunchPad):
    """FireWorks' LaunchPad with other writes; the base of `ServiceLaunchPad`.

    Attributes
    ----------
    owner
        This process, as its locks and launches name it.
    clock_ahead_s
        The database's clock minus ours; what is written is in the database's time.
    """

    owner: str
    clock_ahead_s: float

    def now(self) -> datetime:
        """The database's time."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_ahead_s)

    def break_lock(self, seen: dict[str, Any]) -> bool:
        """Unlock a workflow, unless its lock is not the one seen any more."""
        same = {name: seen.get(name) for name in ("_id", "locked", "updated_on")}
        broken = self.workflows.update_one(same, {"$unset": {"locked": ""}})
        logger.warning("broke a stale lock of workflow %s", seen.get("name"))
        return bool(broken.modified_count)

    def write_workflow(
        self,
        workflow: Workflow,
        updated_ids: Sequence[int],
        ended: tuple[Sequence[int], dict[str, str]] = ((), {}),
    ) -> None:
        """Write changed and new jobs, the workflow and ended launches together.

        Raises
        ------
        LockedWorkflowError
            When our lock was broken meanwhile; nothing is changed then.
        """
        changed = [workflow.id_fw[fw_id] for fw_id in updated_ids]
        node = next(fw_id for fw_id in workflow.links if fw_id >= 0)
        new = [one for one in changed if one.fw_id < 0]
        new_ids = self.number(workflow, new)
        _pause(workflow, changed)
        writes = [_write(one) for one in changed if one.fw_id not in new_ids]
        content = workflow_change(workflow)

        def write(session: ClientSession) -> None:
            self.change_workflow(node, {"$set": content}, session)
            if writes:
                self.fireworks.bulk_write(writes[:MAX_TOGETHER], session=session)
            if ended[0]:
                self.archive_launches(ended[0], ended[1], session)

        self.add_fireworks(new, write)
        if len(writes) > MAX_TOGETHER:  # children mostly; the reaper ends this if we cannot
            self.fireworks.bulk_write(writes[MAX_TOGETHER:])

    def number(self, workflow: Workflow, new: Sequence[Firework]) -> set[int]:
        """Give new jobs of a workflow their ids, in the order they were made in."""
        if not new:
            return set()
        ordered = sorted(new, key=lambda one: -one.fw_id)
        first = self.get_new_fw_id(len(ordered))
        ids = {one.fw_id: number for number, one in enumerate(ordered, start=first)}
        for one in ordered:
            one.fw_id = ids[one.fw_id]
        reassign_ids(workflow, ids)
        return set(ids.values())

    def add_fireworks(
        self, new: Sequence[Firework], write: Callable[[ClientSession], None]
    ) -> None:
        """Run a transaction that lists new jobs in a workflow, and makes them runnable.

        The jobs themselves are written before, WAITING, as a transaction holds some 10 MB only;
        if it never comes, nobody takes them, and the reaper deletes them.
        """
        states: dict[str, list[int]] = {}
        for one in new:
            states.setdefault(one.state, []).append(one.fw_id)
        states.pop("WAITING", None)
        runnable = [(state, ids[:MAX_TOGETHER]) for state, ids in states.items()]
        for batch in batched((one.to_db_dict() | {"state": "WAITING"} for one in new), _BATCH):
            self.fireworks.insert_many(batch, ordered=False)

        def write_all(session: ClientSession) -> None:
            write(session)
            for state, ids in runnable:
                self._set_state(ids, state, session)

        try:
            with self.connection.start_session() as session:
                session.with_transaction(write_all)
        except (LockedWorkflowError, DuplicateKeyError):
            ids = [one.fw_id for one in new]
            self.fireworks.delete_many({"fw_id": {"$in": ids}})
            raise
        for state, ids in states.items():
            self._set_state(ids[MAX_TOGETHER:], state, None)

    def _set_state(self, fw_ids: Sequence[int], state: str, session: Session) -> None:
        if fw_ids:
            self.fireworks.update_many(
                {"fw_id": {"$in": list(fw_ids)}, "state": "WAITING"},
                {"$set": {"state": state}},
                session=session,
            )

    def change_workflow(self, node: int, change: dict[str, Any], session: Session = None) -> None:
        """Update a workflow that we have locked.

        Raises
        ------
        LockedWorkflowError
            When our lock was broken meanwhile; the transaction is undone then.
        """
        mine = {"nodes": node, "locked.by": self.owner}
        if not self.workflows.update_one(mine, change, session=session).matched_count:
            msg = f"the lock of firework {node} was broken"
            raise LockedWorkflowError(msg)

    def archive_launches(
        self, launch_ids: Sequence[int], why: dict[str, str], session: Session
    ) -> None:
        """Runs that no job counts any more, and why."""
        entry = {"state": "ARCHIVED", "created_on": self.now().isoformat(), **why}
        self.launches.update_many(
            {"launch_id": {"$in": list(launch_ids)}},
            {"$set": {"state": "ARCHIVED"}, "$push": {"state_history": entry}},
            session=session,
        )


def _write(firework: Firework) -> UpdateOne | ReplaceOne[dict[str, Any]]:
    if isinstance(firework, LightFirework):
        return UpdateOne({"fw_id": firework.fw_id}, {"$set": firework.changes()})
    return ReplaceOne({"fw_id": firework.fw_id}, firework.to_db_dict())


def _pause(workflow: Workflow, changed: Sequence[Firework]) -> None:
    """In a paused workflow nothing becomes runnable."""
    if not workflow.metadata.get(PAUSED):
        return
    for firework in changed:
        if firework.state in {"WAITING", "READY"}:
            firework.state = "PAUSED"
            workflow.fw_states[firework.fw_id] = "PAUSED"


def batched(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` rows, the last one shorter (itertools has it from Python 3.12 on)."""
    remaining = iter(rows)
    while batch := list(islice(remaining, size)):
        yield batch

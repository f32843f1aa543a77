"""The writes of our LaunchPad: related changes in one transaction, under the workflow's lock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

import pymongo
from fireworks import Firework, Workflow
from fireworks.core.launchpad import LockedWorkflowError
from fireworks.utilities.fw_serializers import recursive_dict
from pymongo import ReplaceOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError, PyMongoError

from lycb_flows.schemas import digest
from lycb_flows.service.launchpad.bulk import LightFirework, workflow_change
from lycb_flows.service.launchpad.fireworks_internals import HookedLaunchPad, reassign_ids
from lycb_flows.service.launchpad.listener import JobListener

PAUSED = "lycb_paused"
"""Field of a workflow's metadata; while it is true, jobs that become runnable are PAUSED."""
RECORD, METHODS = "record", "methods"
"""Fields of a workflow's metadata and of its jobs' spec: whose record, at which method versions."""
MAX_TOGETHER = 1000
"""Most jobs that one transaction changes; the database holds them all in its cache."""
_BATCH = 1000
_PING_TIMEOUT_S = 10.0

T = TypeVar("T")
Session = ClientSession | None

logger = logging.getLogger(__name__)


class WritingLaunchPad(HookedLaunchPad):
    """FireWorks' LaunchPad with atomic writes; the base of `ServiceLaunchPad`.

    Attributes
    ----------
    owner
        This process, as its locks and launches name it.
    clock_ahead_s
        The database's clock minus this machine's, in seconds; all times written are the
        database's.
    listener
        Receives what happens to this process's jobs.
    """

    owner: str
    clock_ahead_s: float
    listener: JobListener

    def now(self) -> datetime:
        """Return the time of the database's clock."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_ahead_s)

    def ping_launch(
        self, launch_id: int, ptime: datetime | None = None, checkpoint: object = None
    ) -> None:
        """Write a heartbeat of a launch; an absent database is logged and not waited for.

        Parameters
        ----------
        launch_id
            The launch.
        ptime
            Time of the heartbeat, by default the database's.
        checkpoint
            FireWorks' checkpoint data, if any.
        """
        change = {"state_history.$[run].updated_on": (ptime or self.now()).isoformat()}
        if checkpoint:
            change["state_history.$[run].checkpoint"] = recursive_dict(checkpoint)
        try:
            with pymongo.timeout(_PING_TIMEOUT_S):
                found = self.launches.find_one_and_update(
                    {"launch_id": launch_id, "state": "RUNNING"},
                    {"$set": change},
                    projection={"trackers": 1},
                    array_filters=[{"run.state": "RUNNING"}],
                )
                if found and found.get("trackers"):
                    super().ping_launch(launch_id, ptime, checkpoint)
        except PyMongoError as err:
            logger.warning("no heartbeat of launch %s: %s", launch_id, type(err).__name__)
            return
        if found is None:
            self.listener.lost(launch_id)
        self.listener.pinged()

    def break_lock(self, seen: dict[str, Any]) -> bool:
        """Unlock a workflow, unless its lock has changed since it was read.

        Parameters
        ----------
        seen
            The workflow's row with `_id`, `locked` and `updated_on`.

        Returns
        -------
        bool
            Whether it was unlocked.
        """
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

        Parameters
        ----------
        workflow
            The changed workflow; new jobs have negative ids.
        updated_ids
            Its changed and new jobs.
        ended
            Launches to be archived, and the reason that is kept with them.

        Raises
        ------
        LockedWorkflowError
            When our lock was broken meanwhile; nothing is changed then.
        """
        changed = [workflow.id_fw[fw_id] for fw_id in updated_ids]
        node = next(fw_id for fw_id in workflow.links if fw_id >= 0)
        new = [firework for firework in changed if firework.fw_id < 0]
        stamp(workflow, new)
        new_ids = self.number(workflow, new)
        _pause(workflow, changed)
        writes = [_write(firework) for firework in changed if firework.fw_id not in new_ids]
        content = workflow_change(workflow)

        def write(session: ClientSession) -> None:
            self.change_workflow(node, {"$set": content}, session)
            if writes:
                self.fireworks.bulk_write(writes[:MAX_TOGETHER], session=session)
            if ended[0]:
                self.archive_launches(ended[0], ended[1], session)

        self.add_fireworks(new, write)
        if len(writes) > MAX_TOGETHER:  # mostly children; after a crash the reaper completes them
            self.fireworks.bulk_write(writes[MAX_TOGETHER:])

    def number(self, workflow: Workflow, new: Sequence[Firework]) -> set[int]:
        """Give new jobs of a workflow their ids, in the order they were made in.

        Parameters
        ----------
        workflow
            The workflow, changed in place.
        new
            Its jobs with temporary, negative ids.

        Returns
        -------
        set[int]
            The new ids.
        """
        if not new:
            return set()
        ordered = sorted(new, key=lambda firework: -firework.fw_id)
        first = self.get_new_fw_id(len(ordered))
        ids = {firework.fw_id: number for number, firework in enumerate(ordered, start=first)}
        for firework in ordered:
            firework.fw_id = ids[firework.fw_id]
        reassign_ids(workflow, ids)
        return set(ids.values())

    def add_fireworks(
        self, new: Sequence[Firework], write: Callable[[ClientSession], None]
    ) -> None:
        """Run a transaction that lists new jobs in a workflow, and makes them runnable.

        The jobs themselves are written before, WAITING, as a transaction holds some 10 MB only;
        without the transaction no worker takes them, and the reaper deletes them.

        Parameters
        ----------
        new
            The jobs, with their final ids.
        write
            The transaction's other writes, given its session; may run more than once.
        """
        states: dict[str, list[int]] = {}
        for firework in new:
            states.setdefault(firework.state, []).append(firework.fw_id)
        states.pop("WAITING", None)
        runnable = [(state, ids[:MAX_TOGETHER]) for state, ids in states.items()]
        rows = (firework.to_db_dict() | {"state": "WAITING"} for firework in new)
        for batch in batched(rows, _BATCH):
            self.fireworks.insert_many(batch, ordered=False)

        def write_all(session: ClientSession) -> None:
            write(session)
            for state, ids in runnable:
                self._set_state(ids, state, session)

        try:
            with self.connection.start_session() as session:
                session.with_transaction(write_all)
        except (LockedWorkflowError, DuplicateKeyError):
            ids = [firework.fw_id for firework in new]
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
        """Update a workflow that this process has locked.

        Parameters
        ----------
        node
            A job of the workflow.
        change
            The update, as pymongo takes it.
        session
            The transaction that the update belongs to, if any.

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
        """Archive launches that no job counts any more.

        Parameters
        ----------
        launch_ids
            The launches.
        why
            The reason, written into their history.
        session
            The transaction that this belongs to, if any.
        """
        entry = {"state": "ARCHIVED", "created_on": self.now().isoformat(), **why}
        self.launches.update_many(
            {"launch_id": {"$in": list(launch_ids)}},
            {"$set": {"state": "ARCHIVED"}, "$push": {"state_history": entry}},
            session=session,
        )


def stamp(workflow: Workflow, new: Iterable[Firework]) -> None:
    """Write into new jobs which campaign they are of, so that workers can pass them by.

    Parameters
    ----------
    workflow
        The workflow, whose metadata says so.
    new
        Its new jobs, changed in place.
    """
    known = {
        name: workflow.metadata[name] for name in (RECORD, METHODS) if name in workflow.metadata
    }
    if METHODS in known:
        known[METHODS] = methods_digest(known[METHODS])
    for firework in new:
        firework.spec.update(known)


def methods_digest(methods: Mapping[str, int]) -> str:
    """Return a short name of method versions, the same on every machine that has them.

    Parameters
    ----------
    methods
        Method version by kind of document.
    """
    return digest(dict(methods))[:16]


def _write(firework: Firework) -> UpdateOne | ReplaceOne[dict[str, Any]]:
    if isinstance(firework, LightFirework):
        return UpdateOne({"fw_id": firework.fw_id}, {"$set": firework.changes()})
    return ReplaceOne({"fw_id": firework.fw_id}, firework.to_db_dict())


def _pause(workflow: Workflow, changed: Sequence[Firework]) -> None:
    """Make runnable jobs of a paused workflow PAUSED."""
    if not workflow.metadata.get(PAUSED):
        return
    for firework in changed:
        if firework.state in {"WAITING", "READY"}:
            firework.state = "PAUSED"
            workflow.fw_states[firework.fw_id] = "PAUSED"


def batched(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of rows, the last of them shorter; itertools has this from Python 3.12 on.

    Parameters
    ----------
    rows
        Any rows, read once.
    size
        Length of the lists.
    """
    remaining = iter(rows)
    while batch := list(islice(remaining, size)):
        yield batch

"""FireWorks' LaunchPad for many workers that may be killed at any time: it loses no job."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Any

import pymongo
from fireworks import Firework, FWAction, FWorker, Workflow
from fireworks.core.launchpad import LockedWorkflowError
from pymongo.client_session import ClientSession
from pymongo.errors import PyMongoError

from lycb_flows.service.launchpad.bulk import NeedsJobsError, load_light, rerun
from lycb_flows.service.launchpad.described import (
    description_of,
    find_these,
    require_function,
    to_workflow,
)
from lycb_flows.service.launchpad.faults import (
    CLEARED,
    FAULT,
    GIVEN_BACK,
    MAX_FAULTS,
    UNLOADABLE,
    DatabaseGoneError,
    RefusedJobError,
    UnlistedError,
    failure_of,
    is_of_the_job,
    why_unfinished,
)
from lycb_flows.service.launchpad.identity import this_process
from lycb_flows.service.launchpad.listener import JobListener
from lycb_flows.service.launchpad.locking import OwnedLock, use_owned_locks
from lycb_flows.service.launchpad.near import load_near, near_fields
from lycb_flows.service.launchpad.writing import RECORD, WritingLaunchPad
from lycb_flows.store.outages import is_outage, patiently

if TYPE_CHECKING:
    from jobflow import Flow, Job

_CLOSE_S = 1.0

Session = ClientSession | None

logger = logging.getLogger(__name__)


class ServiceLaunchPad(WritingLaunchPad):
    """A LaunchPad on a MongoDB replica set; opened by `load_launchpad`.

    It waits while the database is away, writes related changes in one transaction, and gives
    back a job whose run did not finish instead of letting it fail.

    Parameters
    ----------
    outage_s
        Seconds that each operation waits for an absent database.
    stale_lock_s
        Seconds after which a workflow's unchanged lock is taken for stale.
    **connection
        Arguments of FireWorks' LaunchPad.

    """

    def __init__(
        self,
        *,
        outage_s: float,
        stale_lock_s: float,
        **connection: Any,  # noqa: ANN401 - of every kind
    ) -> None:
        options = dict(connection.pop("mongoclient_kwargs", None) or {})
        # pymongo itself repeats an operation for so long
        patience_ms = int(1000 * outage_s)
        options |= {"timeoutMS": patience_ms, "serverSelectionTimeoutMS": patience_ms}
        # the mode "stream" holds one more connection to each server
        options |= {"w": "majority", "appname": "lycb_flows", "serverMonitoringMode": "poll"}
        super().__init__(mongoclient_kwargs=options, **connection)
        self.outage_s, self.stale_lock_s = outage_s, stale_lock_s
        self.owner = this_process()
        self.clock_ahead_s = 0.0
        self.listener = JobListener()
        self._checking_out, self._listed = False, True
        use_owned_locks()

    def to_dict(self) -> dict[str, Any]:
        """Return FireWorks' form without credentials, as launches and logs keep it."""
        content: dict[str, Any] = super().to_dict()
        hidden: dict[str, Any] = {"password": None, "mongoclient_kwargs": {}}
        return content | hidden | {"host": None if self.uri_mode else self.host}

    def close(self) -> None:
        """Close the connection within a second, also when the database is away."""
        with pymongo.timeout(_CLOSE_S):
            self.connection.close()

    # -- a job's life ----------------------------------------------------------------

    def checkout_fw(
        self,
        fworker: FWorker,
        launch_dir: str,
        *args: Any,  # noqa: ANN401 - FireWorks' own
        **options: Any,  # noqa: ANN401 - likewise
    ) -> tuple[Firework, int] | tuple[None, None]:
        """Take the next job.

        Parameters
        ----------
        fworker
            The worker, with the categories and the query of its jobs.
        launch_dir
            The folder that the job will run in.
        *args, **options
            What else FireWorks' method takes.

        Returns
        -------
        tuple
            The job and its launch's id; (None, None) when there is no job for this worker.
        """
        self.forget_backups()
        self._checking_out = self._listed = True
        try:
            firework, launch_id = super().checkout_fw(fworker, launch_dir, *args, **options)
        except RefusedJobError as refused:
            self.put_back(refused)
            return None, None
        finally:
            self._checking_out = False
        if firework is None:
            return None, None
        if not self._listed:
            self._give_back_unlisted(firework.fw_id, launch_id)
            return None, None
        self.listener.started(firework, launch_id)
        return firework, launch_id

    def run_exists(self, fworker: FWorker | None = None) -> bool:
        """Return whether there is a job for a worker; FireWorks' own method loads it, too."""
        query = {**(fworker.query if fworker else {}), "state": "READY"}
        return self.fireworks.find_one(query, {"_id": 1}) is not None

    def get_fw_by_id(self, fw_id: int) -> Firework:
        """Return a job; one that this version of the code cannot load is not taken."""
        try:
            firework = super().get_fw_by_id(fw_id)
            require_function(firework)
        except UNLOADABLE as err:
            if self._checking_out:
                raise RefusedJobError(fw_id, f"{type(err).__name__}: {err}") from err
            raise
        return firework

    def put_back(self, refused: RefusedJobError) -> None:
        """Leave a job that cannot be loaded here to workers that can.

        Parameters
        ----------
        refused
            The job and why.
        """
        row = self.fireworks.find_one_and_update(
            {"fw_id": refused.fw_id, "state": "RESERVED", "launches": []},
            {"$set": {"state": "READY"}},
            {f"spec.{RECORD}": 1},
        )
        record = str(((row or {}).get("spec") or {}).get(RECORD, ""))
        self.listener.refused(refused.fw_id, refused.reason, record)

    def complete_launch(
        self, launch_id: int, action: FWAction | None = None, state: str = "COMPLETED"
    ) -> dict[str, Any]:
        """Write how a launch ended and what follows from it; repeated through outages.

        A run that did not finish is given back, and the result is empty.

        Parameters
        ----------
        launch_id
            The launch.
        action
            What the job returned, or the error that FireWorks has caught.
        state
            COMPLETED or FIZZLED.

        Raises
        ------
        DatabaseGoneError
            When the database stays away for `outage_s`.
        LockedWorkflowError
            When others keep the workflow locked as long; the reaper then writes what is missing.
        """
        try:
            return patiently(
                lambda: self._complete(launch_id, action, state), self.outage_s, may_pass
            )
        except PyMongoError as err:
            if is_outage(err):
                raise DatabaseGoneError("the database stayed away when a job ended") from err
            raise

    def _complete(self, launch_id: int, action: FWAction | None, state: str) -> dict[str, Any]:
        owner = self.fireworks.find_one({"launches": launch_id}, {"fw_id": 1})
        if owner is None:
            logger.warning("launch %s ended here, but its job was started elsewhere", launch_id)
            self.listener.ended(launch_id, "ARCHIVED", "started elsewhere meanwhile")
            return {}
        content = action.to_dict() if action and state == "FIZZLED" else {}
        why, failure = why_unfinished(content), failure_of(content)
        if why and self.may_run_again(owner["fw_id"], why):
            self.give_back(owner["fw_id"], launch_id, **why)
            self.listener.avoid(owner["fw_id"])
            self.listener.ended(launch_id, "READY", "".join(why.values()))
            if FAULT in why:
                self.listener.failed(owner["fw_id"], None, why[FAULT])
            return {}
        try:
            done: dict[str, Any] = super().complete_launch(launch_id, action, state)
        except UnlistedError as err:
            self.listener.ended(launch_id, "ARCHIVED", str(err))
            return {}
        self.listener.ended(launch_id, state, failure)
        if failure and not is_of_the_job(failure):
            self.listener.failed(owner["fw_id"], launch_id, failure)
        return done

    def may_run_again(self, fw_id: int, why: dict[str, str]) -> bool:
        """Return whether a job that did not finish goes back to the queue.

        Parameters
        ----------
        fw_id
            The job.
        why
            What `why_unfinished` returned; faults give a job back at most `MAX_FAULTS` times.
        """
        if GIVEN_BACK in why:
            return True
        faults = {"fw_id": fw_id, f"state_history.{FAULT}": {"$exists": True}, CLEARED: None}
        return bool(self.launches.count_documents(faults) < MAX_FAULTS)

    def give_back(self, fw_id: int, launch_id: int | None, **why: str) -> bool:
        """Archive an unfinished run and make its job READY again; its children stay as they are.

        FireWorks' `rerun_fw` would also reset children that are paused or defused.

        Parameters
        ----------
        fw_id
            The job.
        launch_id
            The run that did not finish; None when the job was RESERVED without any.
        **why
            The reason, kept in the launch's history.

        Returns
        -------
        bool
            False when the job has moved on meanwhile.
        """
        with OwnedLock(self, fw_id):
            try:
                workflow = load_light(self, fw_id, self._only_new)
            except NeedsJobsError:
                workflow = self.get_wf_by_fw_id_lzyfw(fw_id)
            firework = workflow.id_fw[fw_id]
            launches = [launch.launch_id for launch in firework.launches]
            current = launch_id in launches if launch_id is not None else not launches
            if firework.state not in {"RUNNING", "RESERVED", "FIZZLED"} or not current:
                return False
            rerun(firework)
            self.write_workflow(workflow, workflow.refresh(fw_id, {fw_id}), (launches, why))
        return True

    def _give_back_unlisted(self, fw_id: int, launch_id: int) -> None:
        """Give back a job that no workflow lists, as plain FireWorks may still be adding it."""
        self.fireworks.update_one(
            {"fw_id": fw_id}, {"$set": {"state": "READY"}, "$pull": {"launches": launch_id}}
        )
        self.archive_launches([launch_id], {GIVEN_BACK: "no workflow lists the job"}, None)
        self.listener.avoid(fw_id)

    # -- workflows -----------------------------------------------------------------

    def append_flow(self, fw_id: int, flow: Flow | Job) -> bool:
        """Add a flow below a job, as if the job had returned it as an addition.

        Parameters
        ----------
        fw_id
            The job.
        flow
            The flow to add.

        Returns
        -------
        bool
            False when its jobs were there already.
        """
        with OwnedLock(self, fw_id):
            workflow = self.get_wf_by_fw_id_lzyfw(fw_id)
            addition = to_workflow(flow)
            if self._is_known(workflow, addition):
                return False
            self.write_workflow(workflow, workflow.append_wf(addition, [fw_id]))
        return True

    def get_wf_by_fw_id_lzyfw(self, fw_id: int) -> Workflow:
        """Return FireWorks' lazily read workflow of a job; actions add to it only new jobs."""
        workflow = super().get_wf_by_fw_id_lzyfw(fw_id)
        apply = workflow.apply_action
        workflow.apply_action = lambda action, at: apply(self._only_new(workflow, action), at)
        return workflow

    def _only_new(self, workflow: Workflow, action: FWAction) -> FWAction:
        """Return the action without the additions of an earlier run of the job."""
        if not action.additions:
            return action
        rest = copy(action)
        rest.additions = [flow for flow in action.additions if not self._is_known(workflow, flow)]
        return rest

    def _is_known(self, workflow: Workflow, addition: Workflow) -> bool:
        """Return whether a campaign's workflow has these jobs, each of which is there only once."""
        if "campaign" not in workflow.metadata:
            return False
        wanted = {description_of(firework) for firework in addition}
        known = find_these(self.fireworks, workflow.links, wanted)
        if 0 < len(known) < len(wanted):
            names = ", ".join(sorted(job.name for job in wanted))
            logger.warning("not added, as some of its jobs are there: %s", names)
        return bool(known)

    def refresh_workflow(self, fw_id: int) -> None:
        """Apply a job's state and action to its children and its workflow.

        Unlike FireWorks' own method it takes no lock and no outage for a failure of the job.
        """
        if self._checking_out and self._show_running(fw_id):
            return
        try:
            with OwnedLock(self, fw_id, near_fields([fw_id])) as lock:
                self._refresh_locked(fw_id, lock.row)
        except (LockedWorkflowError, PyMongoError, UnlistedError):
            raise
        except Exception as err:  # whatever a malformed action raises; FireWorks does the same
            logger.exception("the action of firework %s cannot be applied", fw_id)
            self.fireworks.update_one({"fw_id": fw_id}, {"$set": {"state": "FIZZLED"}})
            self._show_fizzled(fw_id)
            msg = f"firework {fw_id}: {err}"
            raise RuntimeError(msg) from err

    def _refresh_locked(self, fw_id: int, row: Mapping[str, Any]) -> None:
        loads = (
            lambda: load_near(self, row, [fw_id]),
            lambda: load_light(self, fw_id, self._only_new),
            lambda: self.get_wf_by_fw_id_lzyfw(fw_id),
        )
        for load in loads:
            with suppress(NeedsJobsError):
                workflow = load()
                updated = workflow.refresh(fw_id)
                return self.write_workflow(workflow, updated)
        return None

    def _show_fizzled(self, fw_id: int) -> None:
        change = {"state": "FIZZLED", f"fw_states.{fw_id}": "FIZZLED"}
        self.workflows.update_one({"nodes": fw_id}, {"$set": change})

    def _show_running(self, fw_id: int) -> bool:
        """Show a checked-out job as running; nothing else changes, so that no lock is needed.

        Returns
        -------
        bool
            False when the job is not active, for example because it could not be loaded.
        """
        found = self.fireworks.find_one({"fw_id": fw_id}, {"state": 1})
        if found is None or found["state"] not in {"RUNNING", "RESERVED"}:
            return False
        idle = {"$in": ["$state", ["READY", "RESERVED"]]}
        change = {
            f"fw_states.{fw_id}": found["state"],
            "state": {"$cond": [idle, found["state"], "$state"]},
        }
        shown = self.workflows.update_one({"nodes": fw_id}, [{"$set": change}])
        self._listed = bool(shown.matched_count)
        return True


def may_pass(error: Exception) -> bool:
    """Return whether an error may pass with time: an outage, or a lock of others."""
    return isinstance(error, LockedWorkflowError) or is_outage(error)

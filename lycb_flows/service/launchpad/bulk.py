"""Workflows with the states of their jobs only: reading or writing a thousand costs one query.

FireWorks' own lazy workflow decodes all children of a job that ends and writes them all back,
which takes 190 s for 10,000 children. A change that needs more than states raises
`NeedsJobsError`, and the caller uses FireWorks' workflow.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime
from typing import Any

from fireworks import Firework, FWAction, Workflow
from fireworks.core.firework import Launch
from fireworks.core.launchpad import LaunchPad

from lycb_flows.service.launchpad.fireworks_internals import (
    Links,
    empty_workflow,
    launch_of,
    rerun_firework,
)

_FIELDS = ("fw_id", "name", "state", "launches", "archived_launches", "spec._allow_fizzled_parents")


class NeedsJobsError(Exception):
    """Raised when a change needs whole jobs, such as a change of their specs."""


class LightFirework:
    """The part of a job that a refresh needs: its state and its launches."""

    parents = ()  # FireWorks looks here for links of new jobs

    def __init__(self, fw_id: int, launchpad: LaunchPad) -> None:
        self.fw_id = fw_id
        self.spec: dict[str, Any] = {}
        self._launchpad = launchpad
        self._row: Mapping[str, Any] | None = None
        self._changes: dict[str, Any] = {}

    def fill(self, row: Mapping[str, Any]) -> None:
        """Take the job's row from a query for many jobs.

        Raises
        ------
        NeedsJobsError
            When the job may run after failed parents, which FireWorks decides.
        """
        if row["spec"].get("_allow_fizzled_parents"):
            raise NeedsJobsError
        self._row = row

    @property
    def name(self) -> str:
        """The job's name."""
        return str(self._value("name"))

    @property
    def state(self) -> str:
        """The job's state: the database's, or a later one that is not written yet."""
        return str(self._value("state"))

    @state.setter
    def state(self, state: str) -> None:
        self._changes |= {"state": state, "updated_on": datetime.now(UTC).isoformat()}

    @property
    def launch_ids(self) -> list[int]:
        """Ids of the launches that are not archived."""
        return list(self._value("launches"))

    @property
    def launches(self) -> list[Launch]:
        """The launches that are not archived, read from the database at each access."""
        ids = self.launch_ids
        if not ids:
            return []
        rows = self._launchpad.launches.find({"launch_id": {"$in": ids}}).sort("launch_id", 1)
        return [launch_of(row, self._launchpad) for row in rows]

    def rerun(self) -> None:
        """Archive the launches and let the job wait again; its children stay as they are."""
        archived = {*self._value("archived_launches"), *self.launch_ids}
        self._changes |= {"launches": [], "archived_launches": sorted(archived)}
        self.state = "WAITING"

    def changes(self) -> dict[str, Any]:
        """Return the fields that were changed and have to be written."""
        return self._changes

    def to_dict(self) -> dict[str, Any]:
        """Refuse: FireWorks wants whole jobs for the children of a failed job.

        Raises
        ------
        NeedsJobsError
            Always.
        """
        raise NeedsJobsError

    def _value(self, name: str) -> Any:  # noqa: ANN401 - of a document
        if name in self._changes:
            return self._changes[name]
        if self._row is None:
            self.fill(self._launchpad.fireworks.find_one({"fw_id": self.fw_id}, _FIELDS))
        return (self._row or {})[name]


class Jobs(dict[int, Any]):
    """The jobs of a workflow, each made at its first use."""

    def __init__(self, launchpad: LaunchPad) -> None:
        super().__init__()
        self._launchpad = launchpad

    def __missing__(self, fw_id: int) -> LightFirework:
        self[fw_id] = firework = LightFirework(fw_id, self._launchpad)
        return firework


class _Links(Links):  # type: ignore[misc]  # FireWorks has no types
    """Links with the parents that the database has; FireWorks inverts the links for every job."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__()
        self.update((int(fw_id), children) for fw_id, children in row["links"].items())
        self._row = row

    @functools.cached_property
    def parent_links(self) -> dict[int, list[int]]:
        """Child -> parents, without jobs that were added since the workflow was read."""
        return {int(fw_id): parents for fw_id, parents in self._row["parent_links"].items()}


def rerun(firework: Firework | LightFirework) -> None:
    """Archive a job's launches and let it wait again; its children stay as they are."""
    if isinstance(firework, LightFirework):
        firework.rerun()
    else:
        rerun_firework(firework)


def load_light(
    launchpad: LaunchPad, fw_id: int, only_new: Callable[[Workflow, FWAction], FWAction]
) -> Workflow:
    """Return the workflow of a job; the job and its children are read in one query.

    Parameters
    ----------
    launchpad
        The LaunchPad that has it.
    fw_id
        The job to refresh.
    only_new
        Returns an action without the additions that the workflow has already.

    Raises
    ------
    ValueError
        When no workflow lists the job.
    NeedsJobsError
        When the job or a child may run after failed parents.
    """
    row = launchpad.workflows.find_one({"nodes": fw_id}, {"nodes": 0})
    if row is None:
        msg = f"no workflow lists firework {fw_id}"
        raise ValueError(msg)
    workflow = empty_workflow()
    workflow.id_fw, workflow.links = Jobs(launchpad), _Links(row)
    for name in ("name", "metadata", "created_on", "updated_on"):
        setattr(workflow, name, row[name])
    workflow.fw_states = {int(node): state for node, state in row["fw_states"].items()}
    workflow.written_states = dict(workflow.fw_states)
    read_jobs(launchpad, workflow.id_fw, [fw_id, *workflow.links[fw_id]])
    workflow.apply_action = functools.partial(_apply, workflow, workflow.apply_action, only_new)
    return workflow


def read_jobs(launchpad: LaunchPad, jobs: Jobs, fw_ids: Sequence[int]) -> None:
    """Read the states and launches of jobs in one query.

    Parameters
    ----------
    launchpad
        The LaunchPad that has them.
    jobs
        The jobs of a workflow, changed in place.
    fw_ids
        The jobs to read.

    Raises
    ------
    NeedsJobsError
        When one of them may run after failed parents.
    """
    for found in launchpad.fireworks.find({"fw_id": {"$in": list(fw_ids)}}, _FIELDS):
        jobs[found["fw_id"]].fill(found)


def _apply(
    workflow: Workflow,
    apply: Callable[[FWAction, int], list[int]],
    only_new: Callable[[Workflow, FWAction], FWAction],
    action: FWAction | None,
    fw_id: int,
) -> list[int]:
    """Apply an action as FireWorks does, without a refresh for every addition."""
    action = action or FWAction()  # a run that was completed by hand has none
    if action.update_spec or action.mod_spec or action.detours or action.append_wfs:
        raise NeedsJobsError
    rest = copy(action)
    rest.additions = []
    updated = list(apply(rest, fw_id))
    for addition in only_new(workflow, action).additions:
        updated += _append(workflow, addition, fw_id)
    return updated


def _append(workflow: Workflow, addition: Workflow, fw_id: int) -> list[int]:
    """Add new jobs below a job that is done; those without other parents are READY."""
    roots = set(addition.root_fw_ids)
    for firework in addition:
        new_id = firework.fw_id
        firework.state = "READY" if new_id in roots else "WAITING"
        workflow.id_fw[new_id] = firework
        workflow.fw_states[new_id] = firework.state
        workflow.links[new_id] = addition.links[new_id]
    workflow.links[fw_id] = [*workflow.links[fw_id], *sorted(roots, reverse=True)]
    return [firework.fw_id for firework in addition]


def workflow_change(workflow: Workflow) -> dict[str, Any]:
    """Return the fields of a workflow that have to be written.

    These are all fields where the workflow has new jobs or was read by FireWorks, otherwise only
    the states that have changed.
    """
    if hasattr(workflow, "changes"):
        some: dict[str, Any] = workflow.changes()
        return some
    before = getattr(workflow, "written_states", None)
    if before is None or len(before) != len(workflow.fw_states):
        whole: dict[str, Any] = workflow.to_db_dict()
        return whole
    changed = {
        f"fw_states.{fw_id}": state
        for fw_id, state in workflow.fw_states.items()
        if before[fw_id] != state
    }
    return {"state": workflow.state, "updated_on": workflow.updated_on, **changed}

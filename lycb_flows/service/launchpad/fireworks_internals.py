"""Every use that this package makes of a private name of FireWorks.

FireWorks offers these behaviours under no public name. There is a test per name in
`tests/service/test_fireworks_internals.py`, which fails by that name when an update of FireWorks
changes it; `pyproject.toml` has the upper bound.

| private name | behaviour that is needed |
|---|---|
| `FWorker._query` | the MongoDB query that a worker's jobs must match, read and replaced |
| `Firework._rerun` | archive a job's launches and let it wait again, without its children |
| `Workflow._reassign_ids` | replace the temporary, negative ids of new jobs everywhere |
| `Workflow.__new__` | a workflow whose links were checked when it was stored |
| `Workflow.Links` | links that are not inverted for every job |
| `LaunchPad._refresh_wf` | what FireWorks calls after each change of a job's state |
| `LaunchPad._update_wf` | what FireWorks calls to write changed jobs and their workflow |
| `launchpad.WFLock` | the lock that FireWorks' own methods take around a workflow |
| `launchpad.SORT_FWS` | the order of jobs of equal priority |
| `launchpad.get_action_from_gridfs` | the action of a launch, wherever it is kept |
| `LaunchPad.backup_launch_data`, `backup_fw_data` | copies kept of every job that was run |
| `rocket.PING_TIME_SECS` | seconds between two heartbeats of a running job |
| `rocket.ROCKET_STREAM_LOGLEVEL` | how much a running job prints |
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fireworks import Firework, FWorker, Workflow
from fireworks.core import launchpad as launchpad_module, rocket
from fireworks.core.firework import Launch
from fireworks.core.launchpad import LaunchPad, WFLock

Links = Workflow.Links


class HookedLaunchPad(LaunchPad):  # type: ignore[misc]  # FireWorks has no types
    """FireWorks' LaunchPad with its two inner steps as public, abstract methods."""

    @abstractmethod
    def refresh_workflow(self, fw_id: int) -> None:
        """Apply a job's state and action to its children and its workflow."""

    @abstractmethod
    def write_workflow(self, workflow: Workflow, updated_ids: Sequence[int]) -> None:
        """Write the changed jobs of a workflow, and the workflow itself.

        Parameters
        ----------
        workflow
            The changed workflow.
        updated_ids
            Its changed jobs.
        """

    def _refresh_wf(self, fw_id: int) -> None:
        self.refresh_workflow(fw_id)

    def _update_wf(self, wf: Workflow, updated_ids: Sequence[int]) -> None:
        self.write_workflow(wf, updated_ids)

    def forget_backups(self) -> None:
        """Drop FireWorks' copies of every job that this process has run, which only grow."""
        self.backup_launch_data.clear()
        self.backup_fw_data.clear()


def query_of(fworker: FWorker) -> dict[str, Any]:
    """Return the query that a worker's jobs must match, without its categories."""
    return dict(fworker._query)  # noqa: SLF001 - see above


def set_query(fworker: FWorker, query: Mapping[str, Any]) -> None:
    """Replace the query that a worker's jobs must match, without its categories.

    Parameters
    ----------
    fworker
        The worker, changed in place.
    query
        The new query, as pymongo takes it.
    """
    fworker._query = dict(query)  # noqa: SLF001 - see above


def rerun_firework(firework: Firework) -> None:
    """Archive a job's launches and let it wait again; its children stay as they are."""
    firework._rerun()  # noqa: SLF001 - see above


def reassign_ids(workflow: Workflow, ids: Mapping[int, int]) -> None:
    """Replace ids of jobs in a workflow's jobs, links and states.

    Parameters
    ----------
    workflow
        The workflow, changed in place.
    ids
        Old id -> new id.
    """
    workflow._reassign_ids(ids)  # noqa: SLF001 - see above


def empty_workflow() -> Workflow:
    """Return a workflow without content, to be filled from the database.

    The workflow's links were checked when it was stored.
    """
    return Workflow.__new__(Workflow)  # its __init__ checks and inverts all links


def launch_of(row: Mapping[str, Any], launchpad: LaunchPad) -> Launch:
    """Return the launch of a row of the database.

    Parameters
    ----------
    row
        The row; its action may be kept in GridFS.
    launchpad
        The LaunchPad that the row was read from.
    """
    action = launchpad_module.get_action_from_gridfs(row["action"], launchpad.gridfs_fallback)
    return Launch.from_dict({**row, "action": action})


def replace_workflow_lock(lock: Callable[..., WFLock]) -> None:
    """Replace the lock that FireWorks' own methods take around a workflow, in this process."""
    if launchpad_module.WFLock is WFLock:
        launchpad_module.WFLock = lock


@contextmanager
def worker_settings(ping_s: float) -> Iterator[None]:
    """Set what FireWorks reads from its modules instead of from an argument.

    Parameters
    ----------
    ping_s
        Seconds between two heartbeats of a running job.
    """
    wanted = (
        (rocket, "PING_TIME_SECS", ping_s),
        (rocket, "ROCKET_STREAM_LOGLEVEL", "ERROR"),
        (launchpad_module, "SORT_FWS", "FIFO"),  # equal priorities in the order of submission
    )
    before = [(module, name, getattr(module, name)) for module, name, _ in wanted]
    for module, name, value in wanted:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)

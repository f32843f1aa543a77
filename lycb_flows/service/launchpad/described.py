"""Jobs on a LaunchPad, found by their descriptions, and flows as FireWorks' workflows.

A job that was queued before jobs carried fields is known by its name: it is the job whose
description has this name or, where a label was tried again, the first part of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from fireworks import Firework, Workflow
from pymongo.collection import Collection

from lycb_flows.campaign import FIELDS, JobDescription, read_description

if TYPE_CHECKING:
    from jobflow import Flow, Job

Fireworks: TypeAlias = Collection[dict[str, Any]]

_ROW = {"fw_id": 1, "name": 1, "launches": 1, **{f"spec.{name}": 1 for name in FIELDS}}


def description_of(firework: Firework) -> JobDescription:
    """Return the description of a Firework, read from its spec or, without one, from its name."""
    return read_description(firework.name, firework.spec)


def find_jobs(
    fireworks: Fireworks, query: Mapping[str, Any], known: Iterable[JobDescription]
) -> Iterator[tuple[JobDescription, dict[str, Any]]]:
    """Yield the jobs that match a query: the description of each, and its id, name and launches.

    Parameters
    ----------
    fireworks
        The collection of the LaunchPad.
    query
        The query, as pymongo takes it.
    known
        Descriptions of which jobs without fields are one, by name.
    """
    by_name = {job.name: job for job in known}
    for row in fireworks.find(query, _ROW):
        job = read_description(row["name"], row["spec"])
        if job.step:
            yield job, row
        else:
            yield by_name.get(job.name) or by_name.get(_first_try(job.name)) or job, row


def _first_try(name: str) -> str:
    return name.partition(" again ")[0]


def find_job(
    fireworks: Fireworks,
    fw_ids: Iterable[int],
    job: JobDescription,
) -> int | None:
    """Return the id of the Firework that is a job, or None.

    Parameters
    ----------
    fireworks
        The collection of the LaunchPad.
    fw_ids
        The Fireworks to look at.
    job
        The job's description.
    """
    row = find_these(fireworks, fw_ids, [job]).get(job)
    return None if row is None else int(row["fw_id"])


def find_these(
    fireworks: Fireworks,
    fw_ids: Iterable[int],
    jobs: Iterable[JobDescription],
) -> dict[JobDescription, dict[str, Any]]:
    """Return the rows of the Fireworks that are one of several jobs.

    Parameters
    ----------
    fireworks
        The collection of the LaunchPad.
    fw_ids
        The Fireworks to look at.
    jobs
        The jobs' descriptions.

    Returns
    -------
    dict[JobDescription, dict[str, Any]]
        Description -> id, name and launches; jobs that are not there are left out.
    """
    jobs = list(jobs)
    with_fields = {
        "spec.stage": {"$in": sorted({job.stage for job in jobs})},
        "spec.step": {"$in": sorted({job.step for job in jobs})},
    }
    without = {"spec.step": {"$exists": False}, "name": {"$in": sorted({job.name for job in jobs})}}
    query = {"fw_id": {"$in": list(fw_ids)}, "$or": [with_fields, without]}
    found = dict(find_jobs(fireworks, query, jobs))
    return {job: found[job] for job in jobs if job in found}


def require_function(firework: Firework) -> None:
    """Refuse a job whose function is no longer in its module; monty loads it as plain data.

    Raises
    ------
    ImportError
        When the function is missing.
    """
    for task in firework.tasks:
        job = task.get("job")
        function = getattr(job, "function", None)
        if function is not None and not callable(function):
            name = f"{function.get('@module')}.{function.get('@callable')}"
            message = f"there is no {name}"
            raise ImportError(message)


def load_claimed(row: Mapping[str, Any]) -> Firework:
    """Return the job of a row of the database; it has no run yet.

    Parameters
    ----------
    row
        The whole row.

    Raises
    ------
    ImportError, AttributeError, TypeError, ValueError, MachineError
        When the code or the plug-in that queued it is not installed here.
    """
    firework = Firework.from_dict({**row, "launches": [], "archived_launches": []})
    require_function(firework)
    return firework


def to_workflow(flow: Flow | Job, **options: Any) -> Workflow:  # noqa: ANN401 - Workflow's own
    """Return a flow as a workflow, converted by jobflow.

    No store is given: its password would be in every job.

    Parameters
    ----------
    flow
        A flow whose jobs have a category each.
    **options
        Name and metadata, as jobflow's `flow_to_workflow` takes them.
    """
    # with all of maggma's stores: a fifth of the start of `lycb status`
    from jobflow.managers.fireworks import flow_to_workflow  # noqa: PLC0415

    with warnings.catch_warnings():
        # jobs that wait for no other job are intended
        warnings.filterwarnings("ignore", "Some jobs are not connected", UserWarning)
        return flow_to_workflow(flow, **options)

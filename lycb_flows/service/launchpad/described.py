"""Jobs on a LaunchPad, known by what they are.

One rule for jobs that were queued before jobs carried fields: such a job is the one whose
description has its name, or the beginning of its name where a label was tried again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from fireworks import Firework
from pymongo.collection import Collection

from lycb_flows.campaign.descriptions import FIELDS, JobDescription, read_description

Fireworks: TypeAlias = Collection[dict[str, Any]]

_ROW = {"fw_id": 1, "name": 1, "launches": 1, **{f"spec.{name}": 1 for name in FIELDS}}


def description_of(firework: Firework) -> JobDescription:
    """Return what a Firework is."""
    return read_description(firework.name, firework.spec)


def find_jobs(
    fireworks: Fireworks, query: Mapping[str, Any], known: Iterable[JobDescription]
) -> Iterator[tuple[JobDescription, dict[str, Any]]]:
    """Return the jobs that match a query: what each is, and its id, name and launches.

    Parameters
    ----------
    fireworks
        The collection of the LaunchPad.
    query
        What is asked of them, as pymongo takes it.
    known
        Descriptions whose names tell what jobs without fields are.
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
    """Return the id of the one of these Fireworks that is this job; None where none is."""
    row = find_these(fireworks, fw_ids, [job]).get(job)
    return None if row is None else int(row["fw_id"])


def find_these(
    fireworks: Fireworks,
    fw_ids: Iterable[int],
    jobs: Iterable[JobDescription],
) -> dict[JobDescription, dict[str, Any]]:
    """Return those of some Fireworks that are one of these jobs: what each is -> its row."""
    jobs = list(jobs)
    with_fields = {
        "spec.stage": {"$in": sorted({job.stage for job in jobs})},
        "spec.step": {"$in": sorted({job.step for job in jobs})},
    }
    without = {"spec.step": {"$exists": False}, "name": {"$in": sorted({job.name for job in jobs})}}
    query = {"fw_id": {"$in": list(fw_ids)}, "$or": [with_fields, without]}
    found = dict(find_jobs(fireworks, query, jobs))
    return {job: found[job] for job in jobs if job in found}

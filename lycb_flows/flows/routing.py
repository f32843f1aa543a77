"""Jobs from their descriptions: named, with their fields, and sent to the right workers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from jobflow import Flow, Job, Maker

from lycb_flows.campaign import LIGHT, JobDescription, read_description
from lycb_flows.config import RunConfig
from lycb_flows.schemas import Run

STRUCTURES_FIRST, ROUNDS_NEXT, MEASUREMENT_LAST = 10_000, 1_000, 0
"""Workers take the highest priority first: structures, then the rounds in their order, then the
measurement; among those the light jobs, which others wait for."""
_LIGHT_BEFORE = 1


def make_job(description: JobDescription, maker: Maker, **inputs: Any) -> Job:  # noqa: ANN401 - of any Maker
    """Return the job of a description.

    Its metadata holds the fields of the description; on a LaunchPad they are in the spec
    of its Firework, so that `lpad get_fws -q '{"spec.step": "label"}'` finds it.

    Parameters
    ----------
    description
        What the job is.
    maker
        Does the work.
    **inputs
        Arguments of the Maker's `make`.
    """
    named: Maker = replace(maker, name=description.name)  # type: ignore[call-arg]
    job = cast("Job", named.make(**inputs))
    # not dynamic, here and below: what a job adds is described and routed by itself
    job.update_metadata(description.fields(), dynamic=False)
    return job


def md_jobs(
    batches: Sequence[tuple[JobDescription, tuple[RunConfig, ...]]],
    maker: Maker,
    first: Sequence[object] = (),
) -> tuple[dict[str, object], list[Job]]:
    """Return the output of the job that makes each run, by the run's key, and a job per batch.

    A job comes after those whose runs it starts from; other batches run side by side.

    Parameters
    ----------
    batches
        Each job and its runs, in their order.
    maker
        Runs molecular dynamics.
    first
        Outputs of jobs that all of them wait for.
    """
    simulated: dict[str, object] = {}
    made: list[Job] = []
    for batch, runs in batches:
        outputs = [simulated[run.start] for run in runs if run.start in simulated]
        starts = {id(output): output for output in [*first, *outputs]}
        done = make_job(batch, maker, runs=list(runs), after=list(starts.values()))
        simulated |= dict.fromkeys(map(Run.key_of, runs), done.output.keys)
        made.append(done)
    return simulated, made


def description_of(job: Job) -> JobDescription:
    """Return what a job is, as its metadata says.

    A job that no description was made for is described by its name alone.
    """
    return read_description(job.name, job.metadata)


def jobs_of(flow: Flow | Job) -> list[Job]:
    """Return the jobs of a flow, each after those that it waits for."""
    if isinstance(flow, Job):
        return [flow]
    with warnings.catch_warnings():
        # measurements at two pressures wait for no common job, as intended
        warnings.filterwarnings("ignore", "Some jobs are not connected", UserWarning)
        return [job for job, _ in flow.iterflow()]


def route(flow: Flow | Job, priority: int) -> Flow | Job:
    """Return the flow with the category of its description and a priority on every job.

    Parameters
    ----------
    flow
        Made of described jobs; another job counts as light.
    priority
        The priority of its jobs; light ones come a little before the others.
    """
    for job in jobs_of(flow):
        category = description_of(job).category
        rank = priority + (_LIGHT_BEFORE if category == LIGHT else 0)
        routing = {"_category": category, "_priority": rank}
        job.update_config({"manager_config": routing}, attributes=["manager_config"], dynamic=False)
    return flow

"""Which worker takes a job, and which job first."""

from __future__ import annotations

from jobflow import Flow, Job

ROUTES = {
    "rank": "gpu", "md": "gpu", "train": "gpu", "evaluate": "gpu", "label": "dft",
    "dft-relax": "dft",
}  # fmt: skip
"""First word of a job's name -> worker category."""
OTHER_ROUTE = "light"
"""A worker with a category never takes a job that has none, so every job has one."""
CATEGORIES = tuple(dict.fromkeys([OTHER_ROUTE, *ROUTES.values()]))

STRUCTURES_FIRST, ROUNDS_NEXT, MEASUREMENT_LAST = 10_000, 1_000, 0
"""Workers take the highest priority first: structures, then the rounds in their order, then the
measurement; among those the light jobs, which others wait for."""
_LIGHT_BEFORE = 1


def route(flow: Flow | Job, priority: int) -> Flow | Job:
    """The flow with a worker category, by `ROUTES`, and a priority on every job."""
    jobs = [flow] if isinstance(flow, Job) else [one for one, _ in flow.iterflow()]
    for one in jobs:
        category = ROUTES.get(one.name.split()[0], OTHER_ROUTE)
        rank = priority + (_LIGHT_BEFORE if category == OTHER_ROUTE else 0)
        routing = {"_category": category, "_priority": rank}
        # not dynamic: jobflow would route everything that a job adds like the job itself
        one.update_config({"manager_config": routing}, attributes=["manager_config"], dynamic=False)
    return flow

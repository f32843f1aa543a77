"""A campaign's plan as steps: jobs of one kind, their work in words, and their cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lycb_flows.campaign.descriptions import JobDescription


@dataclass(frozen=True)
class PlannedStep:
    """Jobs of one kind, with what they do and what they cost.

    Attributes
    ----------
    stage
        The part of the campaign that they belong to.
    jobs
        Their descriptions.
    work
        How much of what they do, as text for people.
    cpu_s
        Estimated cost of all of them together in CPU seconds.
    """

    stage: str
    jobs: tuple[JobDescription, ...]
    work: str
    cpu_s: float

    def as_dict(self) -> dict[str, object]:
        """Return the step as plain data, with the names of its jobs."""
        return vars(self) | {"jobs": [job.name for job in self.jobs]}


def costs_of_jobs(steps: Iterable[PlannedStep]) -> dict[JobDescription, float]:
    """Return the cost of each planned job in CPU seconds.

    The jobs of a step share its cost equally.
    """
    return {job: step.cpu_s / len(step.jobs) for step in steps for job in step.jobs}


def noted(work: str, *rates_s: float) -> str:
    """Return what is to be done, with a remark where its cost is not known.

    Parameters
    ----------
    work
        In words.
    rates_s
        What its parts cost; 0 where that is not known.
    """
    if all(rates_s):
        return work
    what = "a part of its cost" if any(rates_s) else "its cost"
    return f"{work}; {what} unknown and not counted"

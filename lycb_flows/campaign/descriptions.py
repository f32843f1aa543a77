"""What each job of a campaign is, before it is made.

The plans of a campaign yield descriptions. Flows turn them into jobs, `cost` into planned
steps, and progress, status and the reaper find jobs by them. Each job carries its
description in fields, so no code has to read the name of a job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

LIGHT, GPU, DFT = "light", "gpu", "dft"
CATEGORIES = (LIGHT, GPU, DFT)
"""Kinds of workers. A worker that has a category takes no job without one, so all jobs have one."""

STRUCTURES, MEASUREMENT = "structures", "measurement"
"""Stages before and after the rounds; a round's stage is `StagePlan.title`."""

LABEL, DECIDE = "label", "decide"
"""Steps that other modules look for."""


@dataclass(frozen=True)
class JobDescription:
    """What a job of a campaign is.

    Two descriptions are equal when stage, step, system and part are: these four are the
    identity of a job in its campaign.

    Attributes
    ----------
    name
        Text for people. It decides nothing.
    step
        What the job does, e.g. 'label'.
    stage
        The part of the campaign that it belongs to, e.g. 'r00 200 K'.
    system
        The system that it works on; empty when it works on none, or on several.
    part
        Which of the jobs of its stage, step and system it is, e.g. '0003'.
    category
        The kind of worker that takes it.
    """

    name: str = field(compare=False)
    step: str
    stage: str
    system: str = ""
    part: str = ""
    category: str = field(default=LIGHT, compare=False)

    def fields(self) -> dict[str, str]:
        """Return the fields that the job carries besides its name.

        All values are text, in the metadata of a job as in the spec of a Firework.
        """
        return {name: value for name, value in asdict(self).items() if name != "name"}


ProgressListener = Callable[[JobDescription, bool], None]
"""Called with the description of a job, and True when it has finished or False when it starts."""

FIELDS = ("step", "stage", "system", "part", "category")
"""Names in a job's metadata and in a Firework's spec."""


def read_description(name: str, fields: Mapping[str, Any]) -> JobDescription:
    """Return the description of a job that exists.

    Parameters
    ----------
    name
        The name of the job.
    fields
        The metadata of the job, or the spec of its Firework.

    Returns
    -------
    JobDescription
        The stand-in that `undescribed` returns, when the fields hold no description.
    """
    if "step" not in fields:
        return undescribed(name)
    return JobDescription(name=name, **{key: str(fields[key]) for key in FIELDS if key in fields})


def undescribed(name: str) -> JobDescription:
    """Return a stand-in for a job without fields, which only its name tells from other jobs.

    Jobs of other flows have no fields, nor have jobs that an older version queued.
    """
    return JobDescription(name=name, step="", stage="", part=name)


# -- the structures ------------------------------------------------------------------------


def enumerate_job(system: str) -> JobDescription:
    """Return the job that lists the orderings or decorations of a system."""
    return JobDescription(f"enumerate {system}", "enumerate", STRUCTURES, system)


def rank_job(system: str) -> JobDescription:
    """Return the job that ranks the orderings or decorations of a system."""
    return JobDescription(f"rank {system}", "rank", STRUCTURES, system, category=GPU)


def dft_relax_job(system: str, place: int) -> JobDescription:
    """Return the job that relaxes one candidate of a system by DFT.

    Parameters
    ----------
    system
        The name of the system.
    place
        The place of the candidate in the model's order, from 0.
    """
    part = f"{place:02d}"
    return JobDescription(
        f"dft-relax {system} {part}", "dft-relax", STRUCTURES, system, part, category=DFT
    )


def anchor_job(binary: str) -> JobDescription:
    """Return the job that relaxes a competing phase by DFT."""
    return JobDescription(f"dft-relax {binary}", "dft-relax", STRUCTURES, binary, category=DFT)


def decide_dft_job(turn: int | None) -> JobDescription:
    """Return the job that writes down the ground states by DFT.

    Parameters
    ----------
    turn
        How often the lists of candidates have grown; None for the mixed halides.
    """
    part = "mixed" if turn is None else f"{turn:02d}"
    return JobDescription(f"decide dft {part}", "decide-dft", STRUCTURES, part=part)


def begin_job() -> JobDescription:
    """Return the job that collects the ground states and adds the first stage."""
    return JobDescription("begin", "begin", STRUCTURES)


# -- the rounds and the measurement ---------------------------------------------------------


def md_job(stage: str, title: str, part: str) -> JobDescription:
    """Return the job that runs a batch of molecular dynamics.

    Parameters
    ----------
    stage
        The part of the campaign.
    title
        What follows 'md' in its name.
    part
        Which of the MD jobs of the stage it is.
    """
    return JobDescription(f"md {title}", "md", stage, part=part, category=GPU)


def choose_job() -> JobDescription:
    """Return the job that evaluates every model and chooses the one that measures."""
    return JobDescription("evaluate final", "choose", MEASUREMENT, category=GPU)

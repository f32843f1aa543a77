"""Descriptions of the jobs of a campaign.

The plans of a campaign yield descriptions. `flows/` makes jobs of them and `cost.py` planned
steps; progress, status and the reaper find jobs by them. Each job carries its description in
fields, so no code has to read the name of a job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

LIGHT, GPU, DFT = "light", "gpu", "dft"
CATEGORIES = (LIGHT, GPU, DFT)
"""Categories of workers. Such a worker takes no job without a category, so every job has one."""

STRUCTURES, MEASUREMENT = "structures", "measurement"
"""Stages before and after the rounds; a round's stage is `StagePlan.title`."""

LABEL, DECIDE = "label", "decide"
"""Steps whose jobs other modules search for."""


@dataclass(frozen=True)
class JobDescription:
    """Description of a job of a campaign.

    Stage, step, system and part identify a job in its campaign; two descriptions are equal when
    these four are.

    Attributes
    ----------
    name
        Text for people; no code decides on it.
    step
        What the job does, e.g. 'label'.
    stage
        The part of the campaign that the job belongs to, e.g. 'r00 200 K'.
    system
        The system that the job works on; empty when it works on none, or on several.
    part
        Distinguishes the jobs of the same stage, step and system, e.g. '0003'.
    category
        The category of the workers that take the job.
    """

    name: str = field(compare=False)
    step: str
    stage: str
    system: str = ""
    part: str = ""
    category: str = field(default=LIGHT, compare=False)

    def fields(self) -> dict[str, str]:
        """Return the fields that the job carries besides its name.

        The values are strings, in the metadata of a job and in the spec of a Firework.
        """
        return {name: value for name, value in asdict(self).items() if name != "name"}


ProgressListener = Callable[[JobDescription, bool], None]
"""Called with the description of a job; the flag is False when it starts, True when it is done."""

FIELDS = ("step", "stage", "system", "part", "category")
"""Names of the fields in the metadata of a job and in the spec of a Firework."""


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
        Without a step among the fields, what `undescribed` returns.
    """
    if "step" not in fields:
        return undescribed(name)
    return JobDescription(name=name, **{key: str(fields[key]) for key in FIELDS if key in fields})


def undescribed(name: str) -> JobDescription:
    """Return a description of a job that carries none; its name takes the place of the part.

    Jobs of other flows carry no description, nor do jobs that an older version submitted.
    """
    return JobDescription(name=name, step="", stage="", part=name)


# -- the structures ------------------------------------------------------------------------


def enumerate_job(system: str) -> JobDescription:
    """Return the description of the job that lists the orderings or decorations of a system."""
    return JobDescription(f"enumerate {system}", "enumerate", STRUCTURES, system)


def rank_job(system: str) -> JobDescription:
    """Return the description of the job that ranks the orderings or decorations of a system."""
    return JobDescription(f"rank {system}", "rank", STRUCTURES, system, category=GPU)


def dft_relax_job(system: str, place: int) -> JobDescription:
    """Return the description of the job that relaxes one candidate of a system by DFT.

    Parameters
    ----------
    system
        The name of the system.
    place
        Index of the candidate in the order of the model's energies, from 0.
    """
    part = f"{place:02d}"
    return JobDescription(
        f"dft-relax {system} {part}", "dft-relax", STRUCTURES, system, part, category=DFT
    )


def anchor_job(binary: str) -> JobDescription:
    """Return the description of the job that relaxes a competing phase by DFT."""
    return JobDescription(f"dft-relax {binary}", "dft-relax", STRUCTURES, binary, category=DFT)


def decide_dft_job(turn: int | None) -> JobDescription:
    """Return the description of the job that stores the ground states by DFT.

    Parameters
    ----------
    turn
        Number of times that the lists of candidates have grown; None for the mixed halides.
    """
    part = "mixed" if turn is None else f"{turn:02d}"
    return JobDescription(f"decide dft {part}", "decide-dft", STRUCTURES, part=part)


def begin_job() -> JobDescription:
    """Return the description of the job that collects ground states and adds the first stage."""
    return JobDescription("begin", "begin", STRUCTURES)


# -- the rounds and the measurement ---------------------------------------------------------


def md_job(stage: str, title: str, part: str) -> JobDescription:
    """Return the description of the job that runs a batch of molecular dynamics.

    Parameters
    ----------
    stage
        The part of the campaign that the job belongs to.
    title
        The name of the job, without the 'md' that it begins with.
    part
        Distinguishes the MD jobs of the stage.
    """
    return JobDescription(f"md {title}", "md", stage, part=part, category=GPU)


def choose_job() -> JobDescription:
    """Return the description of the job that chooses, of all models, the one that measures."""
    return JobDescription("evaluate final", "choose", MEASUREMENT, category=GPU)

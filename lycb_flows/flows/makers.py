"""The Makers of a campaign's jobs, which a user may replace."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from jobflow import Maker
from monty.json import MSONable

from lycb_flows.errors import MachineError
from lycb_flows.jobs import (
    DistilMaker,
    EnumerateMaker,
    EvaluateMaker,
    MDMaker,
    RankMaker,
    SelectMaker,
    TrainMaker,
)


@dataclass(kw_only=True)
class CampaignMakers(MSONable):
    """The Makers of a campaign's jobs.

    A Maker of another class has the same inputs as the one that it replaces, and its jobs store
    their results under the same keys; a subclass that overrides `compute` does.

    Attributes
    ----------
    enumerate, rank
        List and rank the candidates of a system.
    md
        Runs molecular dynamics.
    select
        Chooses the frames that are labelled.
    label
        A Maker of atomate2's for static runs of VASP, at the campaign's level of theory, whose
        runs give the labels; None: the campaign's labeler.
    train, evaluate
        Train a model and evaluate it.
    distil
        Makes the student that measures, where a campaign has one.
    """

    enumerate: Maker = field(default_factory=EnumerateMaker)
    rank: Maker = field(default_factory=RankMaker)
    md: Maker = field(default_factory=MDMaker)
    select: Maker = field(default_factory=SelectMaker)
    label: Maker | None = None
    train: Maker = field(default_factory=TrainMaker)
    evaluate: Maker = field(default_factory=EvaluateMaker)
    distil: Maker = field(default_factory=DistilMaker)

    def __post_init__(self) -> None:
        """Refuse what is no Maker; monty leaves one as plain data where its module is missing."""
        for step in fields(self):
            given = getattr(self, step.name)
            if not isinstance(given, Maker) and not (step.name == "label" and given is None):
                module = given.get("@module") if isinstance(given, dict) else type(given).__name__
                raise MachineError(
                    "a Maker of the campaign's user cannot be loaded",
                    fix="install the package that has it",
                    step=step.name,
                    found=module,
                )


DEFAULT_MAKERS = CampaignMakers()
"""A campaign's Makers unless others are given; jobs do not carry them."""

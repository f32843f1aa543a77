"""The student of a campaign as a plan: what it learns from, and the keys of what it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from lycb_flows.campaign.descriptions import GPU, MEASUREMENT, JobDescription
from lycb_flows.config import Campaign, Config, MDConfig, StudentConfig
from lycb_flows.schemas import Model, Round, Student, seed_for

_OF_THE_CERTIFICATE = {"teacher", "certified_frames"}


class StudentPlan(Config):
    """Everything that decides a student and its certificate."""

    config: StudentConfig
    teacher: str = Field(description="Key of the Model that it repeats.")
    starts: tuple[str, ...] = Field(min_length=1, description="Keys of the structures it is for.")
    frames: tuple[str, ...] = Field((), description="Keys of Frames that it learns from, too.")
    dataset: str | None = Field(None, description="Key of the Dataset with test labels, if any.")
    temperatures_k: tuple[float, ...] = Field(min_length=1, description="It is to measure at.")
    pressures_bar: tuple[float, ...] = (1.0,)
    md: MDConfig = MDConfig()
    seed: int = 0

    @property
    def training_temperatures_k(self) -> tuple[float, ...]:
        """Temperatures of its own runs for training."""
        return self.config.temperatures_k or self.temperatures_k

    @property
    def model_key(self) -> str:
        """Key of the Model that it becomes; what only its certificate needs is no part of it."""
        settings = self.config.keyed()
        return Model.key_from(
            teacher=self.teacher,
            starts=self.starts,
            frames=self.frames,
            student={name: settings[name] for name in settings if name not in _OF_THE_CERTIFICATE},
            temperatures_k=self.training_temperatures_k,
            pressures_bar=self.pressures_bar,
            md=self.md,
            seed=self.seed,
        )

    @property
    def key(self) -> str:
        """Key of its certificate, a Student."""
        return Student.key_of(
            self.model_key,
            temperatures_k=self.temperatures_k,
            pressures_bar=self.pressures_bar,
            n_frames=self.config.certified_frames,
            dataset=self.dataset,
        )


def student_plan(
    campaign: Campaign, starts: dict[str, str], model: str, rounds: Sequence[Round]
) -> StudentPlan | None:
    """Return the plan of the student that measures.

    Parameters
    ----------
    campaign
        With keys for its parents and models.
    starts
        Key of the structure of each system that is measured.
    model
        Key of the model that was learned.
    rounds
        Every round.

    Returns
    -------
    StudentPlan or None
        None where the model itself measures.
    """
    config = campaign.measure.student
    if config is None:
        return None
    return StudentPlan(
        config=config,
        teacher=config.teacher or model,
        starts=tuple(dict.fromkeys(starts.values())),
        frames=tuple(round_.frames for round_ in rounds),
        dataset=rounds[-1].dataset if rounds else None,
        temperatures_k=campaign.measure.temperatures_k,
        pressures_bar=campaign.measure.pressures_bar,
        md=settings_of_its_runs(campaign.md, config.extrapolation_limit),
        seed=seed_for(campaign.seed, "student"),
    )


def settings_of_its_runs(md: MDConfig, extrapolation_limit: float | None) -> MDConfig:
    """Return the settings without what its own short runs have otherwise, with its limit.

    Parameters
    ----------
    md
        Of the runs that it is for.
    extrapolation_limit
        Grade at which a run for training ends; None: at any it goes on.
    """
    others: dict[str, Any] = {name: getattr(MDConfig(), name) for name in _OTHERWISE}
    limit = {"extrapolation_limit": extrapolation_limit}
    return md.model_copy(update=others | {"health": md.health.model_copy(update=limit)})


_OTHERWISE = (
    "start_temperature_k", "heating_ps", "equilibration_ps", "sample_interval_fs", "segment_ps",
    "average_fraction",
)  # fmt: skip


def distil_job() -> JobDescription:
    """Return the job that trains the student and certifies its statics."""
    return JobDescription("distil", "distil", MEASUREMENT, category=GPU)

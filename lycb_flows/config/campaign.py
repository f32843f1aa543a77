"""The campaign: every section together, and the decision after a round."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from lycb_flows.config.base import NOT_KEYED, Config, Count
from lycb_flows.config.dynamics import MDConfig
from lycb_flows.config.labels import LabelConfig
from lycb_flows.config.learning import LearningConfig
from lycb_flows.config.measurement import MIN_MEASURED_FRAMES, MeasurementConfig
from lycb_flows.config.structures import RankingConfig, SystemConfig, decorated_name


class Decision(Config):
    """The temperature of the next round, if there is one, and the reason."""

    next_temperature_k: float | None
    reason: str


class Levers(Config):
    """What people have asked for while a campaign ran; each note says who and when.

    A further round has the highest temperature again.
    """

    more_rounds: tuple[str, ...] = Field((), description="A note for each further round.")
    stop_after: Count | None = Field(None, description="Round after which the loop ends.")
    stop_note: str = ""


class Campaign(Config):
    """A campaign as its YAML file states it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Unique per store.")
    comment: Annotated[str, NOT_KEYED] = ""
    seed: Count = Field(0, description="Root of every seed of the campaign.")
    systems: tuple[SystemConfig, ...] = Field(min_length=1)
    mobile_species: str | None = Field(
        None, description="The ion that conducts; default: found from the crystals."
    )
    ranking: RankingConfig = RankingConfig()
    md: MDConfig = MDConfig()
    learning: LearningConfig = LearningConfig()
    labels: LabelConfig = LabelConfig()
    measure: MeasurementConfig = MeasurementConfig()

    @model_validator(mode="after")
    def _systems_have_distinct_names(self) -> Self:
        names = [system.name for system in self.systems]
        if len(set(names)) < len(names):
            msg = f"system names must differ, found {names}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _runs_are_long_enough(self) -> Self:
        learning, measured, md = self.learning, self.measure, self.md
        for name, npt_ps in (("learning", learning.npt_ps), ("measure", measured.npt_ps)):
            if npt_ps * 1000 * md.average_fraction < md.sample_interval_fs:
                msg = f"{name}.npt_ps is too short for one frame of md.sample_interval_fs"
                raise ValueError(msg)
        available = int(learning.nvt_ps * 1000 / learning.selection.thinning_fs)
        if available < learning.selection.n_frames:
            msg = (
                f"learning.nvt_ps holds {available} frames that are selection.thinning_fs apart, "
                f"fewer than selection.n_frames = {learning.selection.n_frames}"
            )
            raise ValueError(msg)
        measured_ps = measured.nvt_ps - measured.diffusion.discard_ps
        if measured_ps * 1000 < MIN_MEASURED_FRAMES * measured.sample_interval_fs:
            msg = (
                f"measure.nvt_ps must leave {MIN_MEASURED_FRAMES} frames after diffusion.discard_ps"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _measured_model_exists(self) -> Self:
        models = ["best", "pretrained", *(f"{t:g}" for t in self.learning.temperatures_k)]
        if self.measure.model not in models:
            msg = f"measure.model must be one of {models}, found {self.measure.model!r}"
            raise ValueError(msg)
        return self

    def system_of(self, name: str) -> SystemConfig:
        """Return the system that a measured crystal belongs to: itself, or what it was mixed from.

        Parameters
        ----------
        name
            Name of a system or of one of its mixed halides.
        """
        return next(
            system
            for system in self.systems
            if name == system.name
            or name in {decorated_name(system.name, entry.x) for entry in system.decorations}
        )

    def decide(self, round_index: int, levers: Levers | None = None) -> Decision:
        """Return what follows a round: the next temperature, or the end of the loop.

        Parameters
        ----------
        round_index
            Number of the round, from 0.
        levers
            What people have asked for while the campaign ran; None: nothing.
        """
        ladder, levers = self.learning.temperatures_k, levers or Levers()
        if levers.stop_after is not None and round_index >= levers.stop_after:
            reason = f"stopped after round {levers.stop_after}, asked for by {levers.stop_note}"
            return Decision(next_temperature_k=None, reason=reason)
        if round_index + 1 < len(ladder):
            return Decision(
                next_temperature_k=ladder[round_index + 1],
                reason=f"{ladder[round_index]:g} K is below {ladder[-1]:g} K",
            )
        last, n_more = f"{ladder[-1]:g} K was the last", round_index + 1 - len(ladder)
        if n_more < len(levers.more_rounds):
            reason = f"{last}; one more round, asked for by {levers.more_rounds[n_more]}"
            return Decision(next_temperature_k=ladder[-1], reason=reason)
        return Decision(next_temperature_k=None, reason=last)

"""The settings of a campaign, all sections together, and the decision after a round."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from lycb_flows.config.base import NOT_KEYED, Config, Count, Name, Supercell
from lycb_flows.config.decorations import name_of_ordering
from lycb_flows.config.dynamics import MDConfig
from lycb_flows.config.labels import LabelConfig
from lycb_flows.config.learning import LearningConfig
from lycb_flows.config.measurement import MIN_MEASURED_FRAMES, MeasurementConfig
from lycb_flows.config.ranking import RankingConfig
from lycb_flows.config.structures import SystemConfig
from lycb_flows.errors import InputError
from lycb_flows.units import PS_FS


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

    name: Name = Field(description="Unique per store.")
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
    def _crystals_have_distinct_names(self) -> Self:
        names = [name for system in self.systems for name in system.names]
        if len(set(names)) < len(names):
            msg = f"names of systems and of what is made from them must differ, found {names}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _orderings_are_ranked_finely(self) -> Self:
        if (self.measure.orderings or 1) > self.ranking.n_fine:
            msg = (
                f"measure.orderings = {self.measure.orderings} exceeds ranking.n_fine = "
                f"{self.ranking.n_fine}, the candidates that are relaxed finely"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _runs_hold_a_time_step(self) -> Self:
        learning, measured = self.learning, self.measure
        lengths_fs = {
            "learning.npt_ps": learning.npt_ps * PS_FS,
            "learning.nvt_ps": learning.nvt_ps * PS_FS,
            "learning.selection.thinning_fs": learning.selection.thinning_fs,
            "learning.test.run_ps": learning.test.run_ps * PS_FS,
            "measure.npt_ps": measured.npt_ps * PS_FS,
            "measure.nvt_ps": measured.nvt_ps * PS_FS,
            "measure.sample_interval_fs": measured.sample_interval_fs,
        }
        if measured.student is not None:
            lengths_fs["measure.student.run_ps"] = measured.student.run_ps * PS_FS
        self.md.check_lengths(lengths_fs)
        return self

    @model_validator(mode="after")
    def _runs_are_long_enough(self) -> Self:
        learning, measured, md = self.learning, self.measure, self.md
        for name, npt_ps in (("learning", learning.npt_ps), ("measure", measured.npt_ps)):
            if name == "learning" and not learning.temperatures_k:
                continue
            if npt_ps * 1000 * md.average_fraction < md.sample_interval_fs:
                msg = (
                    f"{name}.npt_ps = {npt_ps:g} holds no frame: md.sample_interval_fs = "
                    f"{md.sample_interval_fs:g}, md.average_fraction = {md.average_fraction:g}"
                )
                raise ValueError(msg)
        n_frames = int(learning.nvt_ps * 1000 / learning.selection.thinning_fs)
        if learning.temperatures_k and n_frames < learning.selection.n_frames:
            msg = (
                f"learning.nvt_ps = {learning.nvt_ps:g} holds {n_frames} frames that are "
                f"selection.thinning_fs = {learning.selection.thinning_fs:g} apart, "
                f"fewer than selection.n_frames = {learning.selection.n_frames}"
            )
            raise ValueError(msg)
        measured_ps = measured.nvt_ps - measured.diffusion.discard_ps
        if measured_ps * 1000 < MIN_MEASURED_FRAMES * measured.sample_interval_fs:
            msg = (
                f"measure.nvt_ps = {measured.nvt_ps:g} leaves fewer than {MIN_MEASURED_FRAMES} "
                f"frames of measure.sample_interval_fs = {measured.sample_interval_fs:g} after "
                f"measure.diffusion.discard_ps = {measured.diffusion.discard_ps:g}"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _measured_model_exists(self) -> Self:
        models = [
            "best",
            "pretrained",
            *(f"{temperature_k:g}" for temperature_k in self.learning.temperatures_k),
        ]
        if self.measure.model not in models:
            msg = f"measure.model must be one of {models}, found {self.measure.model!r}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _benchmark_has_test_labels(self) -> Self:
        if not self.learning.temperatures_k and "benchmark" in (self.measure.quantities or {}):
            msg = "the quantity benchmark needs test labels, and learning.rounds = 0 makes none"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _test_sets_are_ranked(self) -> Self:
        ranked = {entry.x for system in self.systems for entry in system.decorations}
        for name, config in (self.learning.test.sets or {}).items():
            unknown = sorted(set(config.x or ()) - ranked)
            if unknown:
                msg = f"learning.test.sets.{name}.x: no system has decorations of x = {unknown}"
                raise ValueError(msg)
            if (config.orderings or 1) > self.ranking.n_fine:
                msg = (
                    f"learning.test.sets.{name}.orderings = {config.orderings} exceeds "
                    f"ranking.n_fine = {self.ranking.n_fine}, the candidates relaxed finely"
                )
                raise ValueError(msg)
        return self

    @property
    def crystals(self) -> tuple[str, ...]:
        """The names of its systems and of the mixed halides that are made from them."""
        return tuple(name for system in self.systems for name in system.names)

    def system_of(self, name: str) -> SystemConfig:
        """Return the system of a measured crystal: its own, or that which it is a mixed halide of.

        Parameters
        ----------
        name
            Name of a system, of one of its mixed halides, or of one of their orderings.

        Raises
        ------
        InputError
            When it has no such system.
        """
        name = name_of_ordering(name)
        for system in self.systems:
            if name in system.names:
                return system
        names = ", ".join(system.name for system in self.systems)
        raise InputError("no such system", fix=f"one of {names}", found=name)

    def repeat_of(self, name: str) -> Supercell:
        """Return the repeats of a measured crystal's cell in its production runs.

        Parameters
        ----------
        name
            As of `system_of`.
        """
        return self.system_of(name).repeat or self.measure.repeat

    def decide(self, round_index: int, levers: Levers | None = None) -> Decision:
        """Return what follows a round: the next temperature, or the end of the loop.

        Parameters
        ----------
        round_index
            Number of the round, from 0.
        levers
            What people have asked for while the campaign ran; None: nothing.
        """
        temperatures_k, levers = self.learning.temperatures_k, levers or Levers()
        if levers.stop_after is not None and round_index >= levers.stop_after:
            reason = f"stopped after round {levers.stop_after}, asked for by {levers.stop_note}"
            return Decision(next_temperature_k=None, reason=reason)
        if round_index + 1 < len(temperatures_k):
            return Decision(
                next_temperature_k=temperatures_k[round_index + 1],
                reason=f"{temperatures_k[round_index]:g} K is below {temperatures_k[-1]:g} K",
            )
        last = f"{temperatures_k[-1]:g} K was the last"
        n_more = round_index + 1 - len(temperatures_k)
        if n_more < len(levers.more_rounds):
            reason = f"{last}; one more round, asked for by {levers.more_rounds[n_more]}"
            return Decision(next_temperature_k=temperatures_k[-1], reason=reason)
        return Decision(next_temperature_k=None, reason=last)

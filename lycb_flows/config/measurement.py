"""Settings of production runs and of what is measured from them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator

from lycb_flows.config.base import (
    DIFFERENT,
    Config,
    FractionAboveZero,
    Name,
    Positive,
    Supercell,
)
from lycb_flows.config.decorations import name_of_ordering
from lycb_flows.config.models import ModelName

CONFIDENCE: Final = 0.95
"""Of upper bounds and intervals, where a campaign states no other."""


class DiffusionConfig(Config):
    """Estimation of a diffusivity from a trajectory."""

    mobile_species: str = Field("Li", description="The ion that moves.")
    charge_number: int = Field(1, description="Charge of the mobile ion in units of e.")
    site_distance_ang: Positive = Field(
        3.0,
        description="a of He et al., the distance between neighbouring sites (authors' code: 3 Å).",
    )
    max_lag_fraction: FractionAboveZero = Field(
        0.7, description="Longest lag of the fit as a share of the run (paper)."
    )
    max_lag_ps: Positive = Field(500.0, description="Longest lag of the fit (paper).")
    min_lag_ps: Positive | None = Field(
        None, description="Shortest lag of the fit; default: first lag with MSD >= a²/2."
    )
    discard_ps: float = Field(
        2.0,
        ge=0,
        description="Start of production that is left out (ours): fresh velocities settle there.",
    )
    confidence: float = Field(
        CONFIDENCE, gt=0, lt=1, description="Confidence level of upper bounds and intervals."
    )

    @field_validator("charge_number")
    @classmethod
    def _carries_charge(cls, value: int) -> int:
        if value == 0:
            raise ValueError("an ion that conducts has a charge, such as 1 or -2")
        return value


class StudentConfig(Config):
    """A student: a small, fast potential that repeats a teacher and measures in its place.

    It learns from rattled crystals, from the frames that the rounds have chosen, and from runs of
    its own; the teacher labels all of them.
    """

    teacher: ModelName | None = Field(
        None, description="Name, key or file of a potential; default: the model that was learned."
    )
    temperatures_k: Annotated[tuple[Positive, ...], DIFFERENT] | None = Field(
        None, min_length=1, description="Of its own runs for training; default: those measured."
    )
    rattled_per_start: int = Field(16, ge=1, description="Rattled copies of every crystal.")
    rounds: int = Field(2, ge=1, description="How often frames of its own runs are added.")
    frames_per_run: int = Field(
        4, ge=1, description="Taken of each of these runs; at most 15 for every ps of it."
    )
    run_ps: Positive = Field(2.0, description="Length of these runs.")
    updates: int = Field(6000, ge=4, description="Steps of the last training.")
    neurons: int = Field(40, ge=1, description="Of the hidden layer of every element.")
    optimizer: Literal["adamw", "soap"] | None = Field(
        None,
        exclude_if=lambda optimizer: optimizer is None,
        description="ours: soap needs a few times fewer updates than adamw; default: adamw.",
    )
    certified_frames: int = Field(
        50, ge=1, description="Frames at every measured temperature that its statics rest on."
    )
    extrapolation_limit: Positive | None = Field(
        None,
        description="Largest extrapolation grade of an atom. A run for training that passes it "
        "ends there and its frame goes to the teacher; a measuring run has left physics. "
        "Default: any.",
    )


class PlacesConfig(Config):
    """Crystals and pressures that a quantity is measured at; what is left out: all of them."""

    systems: tuple[Name, ...] | None = Field(
        None, min_length=1, description="Names of systems, or of what is made from them: LYB-x3."
    )
    pressures_bar: tuple[float, ...] | None = Field(None, min_length=1)

    def hold(self, system: str, pressure_bar: float) -> bool:
        """Return whether a crystal at a pressure is among them.

        Parameters
        ----------
        system
            Name of the crystal, or of one of its orderings.
        pressure_bar
            The pressure in bar.
        """
        is_named = self.systems is None or name_of_ordering(system) in self.systems
        return is_named and (self.pressures_bar is None or pressure_bar in self.pressures_bar)


MIN_MEASURED_FRAMES = 10
"""A mean-squared displacement needs at least so many frames of a trajectory."""


class MeasurementConfig(Config):
    """Production MD and the quantities that are measured from it."""

    model: str = Field(
        "best", description="'best', 'pretrained', or a round's temperature such as '600'."
    )
    temperatures_k: Annotated[tuple[Positive, ...], DIFFERENT] = Field(
        (400.0, 450.0, 500.0, 550.0, 600.0, 650.0, 700.0, 750.0),
        min_length=1,
        description="paper: 400-750 K.",
    )
    pressures_bar: Annotated[tuple[float, ...], DIFFERENT] = Field(
        (1.0,), min_length=1, description="paper: 1 and 10,000 bar."
    )
    npt_ps: Positive = Field(140.0, description="paper: 140 ps.")
    nvt_ps: Positive = Field(2000.0, description="paper: 2 ns.")
    sample_interval_fs: Positive = Field(100.0, description="ours: hops last longer than 0.1 ps.")
    repeat: Supercell = Field(
        (1, 1, 1), description="Repeats of the ground state's cell; more ions, smaller errors."
    )
    replicas: int | None = Field(
        None,
        ge=1,
        description="Production runs at every condition, in the same cell and with seeds of their "
        "own, so that their scatter tests the error bar; default: one.",
    )
    orderings: int | None = Field(
        None,
        ge=1,
        description="Orderings of every crystal that are measured, the lowest in energy, where "
        "disorder is quenched and no single one stands for it; the report has their averages. "
        "Default: the ground state alone.",
    )
    decorations: bool = Field(default=True, description="Whether mixed halides are measured too.")
    extrapolation_temperature_k: Positive = Field(300.0, description="paper: 300 K.")
    diffusion: DiffusionConfig = DiffusionConfig()
    student: StudentConfig | None = Field(
        None,
        exclude_if=lambda student: student is None,
        description="A student that measures in place of the model; default: none.",
    )
    quantities: dict[str, dict[str, Any]] | None = Field(
        None,
        min_length=1,
        description="What is measured: names, or names with options, of which `places` is every "
        "quantity's: [{systems: [...], pressures_bar: [...]}, ...]; default: diffusion and "
        "arrhenius.",
    )

    @field_validator("replicas", "orderings")
    @classmethod
    def _one_is_the_default(cls, given: int | None) -> int | None:
        """Return None for one, so that stating the default changes no key."""
        return None if given == 1 else given

    @field_validator("quantities", mode="before")
    @classmethod
    def _names_have_options(cls, given: object) -> object:
        """Turn names in a list or without a value into names without options."""
        if isinstance(given, list | tuple) and all(isinstance(name, str) for name in given):
            return {name: {} for name in given}
        if isinstance(given, dict):
            return {name: {} if value is None else value for name, value in given.items()}
        return given

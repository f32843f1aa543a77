"""Documents about molecular dynamics: segments and runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from lycb_flows.config.dynamics import RunConfig
from lycb_flows.schemas.base import Blob, Document, Matrix, Part


class Health(Part):
    """Whether a run stayed physical."""

    healthy: bool = True
    failed_step: int | None = None
    reason: str = ""


class Thermodynamics(Part):
    """Means over a stretch of a run, with standard deviations."""

    temperature_k: float
    temperature_std_k: float
    pressure_gpa: float
    pressure_std_gpa: float
    potential_energy_ev_per_atom: float
    potential_energy_std_ev_per_atom: float
    volume_ang3_per_atom: float
    volume_std_ang3_per_atom: float


class Segment(Document):
    """A fixed stretch of a run."""

    kind = "segment"
    method_version = 2

    run_identity: str
    index: int
    first_step: int
    last_step: int
    n_frames: int
    trajectory: Blob
    checkpoint: Blob = Field(description="State after last_step: the only restart point.")
    thermodynamics: Thermodynamics | None = Field(description="None without frames (unhealthy).")
    health: Health
    largest_grade: float | None = Field(
        None,
        exclude_if=lambda grade: grade is None,
        description="Largest extrapolation grade of an atom at any step, of a student's run.",
    )

    @classmethod
    def key_of(cls, run: RunConfig, before: Sequence[Segment]) -> str:
        """Return the key of the segment of a run that follows those before it.

        Parameters
        ----------
        run
            The run; its length decides only where its last segment ends.
        before
            The run's segments so far, in order.
        """
        first_step = before[-1].last_step if before else 0
        last_step = min(first_step + run.protocol.segment_steps, run.steps)
        return cls.key_from(run=run.identity(), index=len(before), last_step=last_step)


class Run(Document):
    """One MD run: its segments, means, average cell, health."""

    kind = "run"
    method_version = 2
    structure_field = "start_structure"
    table_columns: ClassVar[tuple[str, ...]] = (
        "name", "ensemble", "pressure_bar", "n_steps", "average_volume_ang3_per_atom", "healthy",
    )  # fmt: skip

    name: str
    start: str
    start_structure: str = Field(description="The structure that start stands for.")
    model: str
    ensemble: Literal["nve", "nvt", "npt"]
    temperature_k: float
    pressure_bar: float | None
    n_steps: int
    time_step_fs: float
    segments: tuple[str, ...]
    means: Thermodynamics | None = Field(
        description="Means over the averaging window; None if unhealthy."
    )
    average_lattice_ang: Matrix | None = Field(None, description="npt only.")
    average_volume_ang3_per_atom: float | None = Field(description="None if unhealthy.")
    average_structure: str | None = Field(
        None, description="npt: last positions in the average cell."
    )
    equilibrated: bool = Field(description="npt: at least ten barostat times averaged.")
    health: Health
    largest_grade: float | None = Field(
        None,
        exclude_if=lambda grade: grade is None,
        description="Largest extrapolation grade of an atom at any step, of a student's run.",
    )

    @classmethod
    def key_of(cls, config: RunConfig) -> str:
        """Return the key of the run that this config describes."""
        return cls.key_from(**config.keyed())

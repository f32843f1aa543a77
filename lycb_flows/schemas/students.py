"""Documents about students: what is known of a small potential that repeats another one."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from lycb_flows.schemas.base import Blob, Document, Part
from lycb_flows.schemas.learning import ModelErrors


class StudentCondition(Part):
    """Errors against the teacher on frames of the student's own runs, none of the training's."""

    temperature_k: float
    ensemble: str = Field(description="'nvt' or 'npt'.")
    pressure_bar: float | None = Field(None, description="npt only.")
    errors: ModelErrors | None = Field(description="None when no frame was left.")
    largest_grade: float = Field(description="Extrapolation grade at any step.")
    failures: tuple[str, ...] = Field((), description="Why runs left physics.")


class Student(Document):
    """The certificate of a student: its statics. It says nothing of dynamics."""

    kind = "student"

    model: str = Field(description="Key of the student's Model.")
    teacher: str = Field(description="Key of the Model that it repeats.")
    n_frames: int = Field(description="Frames that it was trained on.")
    n_given: int = Field(description="Those of them that the rounds had chosen.")
    conditions: tuple[StudentCondition, ...]
    on_labels: ModelErrors | None = Field(
        None,
        description="Errors on the frozen test labels of the training labels' elements, after a "
        "shift fitted on the latter.",
    )
    drift_ev_per_atom_per_ps: float = Field(description="Of the energy in NVE.")
    active_set: Blob = Field(description="What extrapolation grades are measured by.")

    @property
    def largest_grade(self) -> float:
        """The largest extrapolation grade that was met."""
        return max(condition.largest_grade for condition in self.conditions)

    @classmethod
    def key_of(
        cls,
        model: str,
        *,
        temperatures_k: Sequence[float],
        pressures_bar: Sequence[float],
        n_frames: int,
        dataset: str | None,
    ) -> str:
        """Return the key of a certificate.

        Parameters
        ----------
        model
            Key of the student's Model.
        temperatures_k, pressures_bar
            Where it is looked at.
        n_frames
            Frames at every temperature.
        dataset
            Key of the Dataset whose test labels it is compared with, if any.
        """
        return cls.key_from(
            model=model,
            temperatures_k=list(temperatures_k),
            pressures_bar=list(pressures_bar),
            n_frames=n_frames,
            dataset=dataset,
        )

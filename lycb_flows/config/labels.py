"""Settings of the labelers and of when a round may close."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator

from lycb_flows.config.base import NOT_KEYED, Config, Count, Fraction, Positive


class TeacherLabeler(Config):
    """Labels by another potential: a rehearsal without DFT, and named as one."""

    type: Literal["teacher"] = "teacher"
    model: str = Field("chgnet-r2scan", description="Name, key or file of the teacher.")


class GpawLabeler(Config):
    """Labels by GPAW: density-functional theory without a licence."""

    type: Literal["gpaw"] = "gpaw"
    theory: str = Field("paper-static", description="Level of theory (labels/levels.yaml).")


class VaspLabeler(Config):
    """Labels by VASP, for who has a licence; command and scratch are the machine's settings."""

    type: Literal["vasp"] = "vasp"
    theory: str = Field("paper-static", description="Level of theory (labels/levels.yaml).")
    stand_in: bool = Field(
        default=False,
        description="Labels are a potential's behind VASP's files: a rehearsal, named as one.",
    )


class AseLabeler(Config):
    """Labels by any of ASE's calculators; what cannot be known of it is stated here."""

    type: Literal["ase"] = "ase"
    calculator: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$",
        description="Import path of the class, e.g. ase.calculators.cp2k.CP2K.",
    )
    version: str = Field(min_length=1, description="Of the code behind it.")
    functional: str = Field(min_length=1, description="What its numbers are, e.g. PBE.")
    raw_pbe: bool = Field(
        default=False,
        description="Energies are uncorrected PBE: MP2020 is removed before training.",
    )
    parameters: dict[str, JsonValue] = Field({}, description="The class is called with these.")


AnyLabeler = Annotated[
    TeacherLabeler | GpawLabeler | VaspLabeler | AseLabeler, Field(discriminator="type")
]


class LabelConfig(Config):
    """Who labels, and when a round may close."""

    labeler: AnyLabeler = TeacherLabeler()
    imported: tuple[str, ...] | None = Field(
        None, description="Sets of imported labels that join every training (`lycb import`)."
    )
    allow_unknown: Annotated[bool, NOT_KEYED] = Field(
        default=False,
        description="Whether imported labels may come whose level is not known in full.",
    )
    max_force_ev_per_ang: Positive = Field(
        25.0, description="A label with a larger force never trains."
    )
    quorum: Fraction = Field(0.9, description="Share of labels that closes a round after grace.")
    min_per_system: Count = Field(1, description="Labels that every system must have.")
    grace_s: Annotated[float, Field(ge=0), NOT_KEYED] = Field(
        3600.0, description="Wait for the last labels, from the quorum on."
    )
    timeout_s: Annotated[float, Field(gt=0), NOT_KEYED] = Field(
        86_400.0, description="A label that takes longer is stopped and counts as failed."
    )
    max_attempts: Annotated[int, Field(ge=1), NOT_KEYED] = Field(
        2, description="Tries before a label has failed for good."
    )

    @field_validator("labeler", mode="before")
    @classmethod
    def _a_labeler_without_a_type_is_a_teacher(cls, value: object) -> object:
        """As it was when there were no others."""
        return {"type": "teacher", **value} if isinstance(value, dict) else value

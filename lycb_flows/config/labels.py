"""Settings of the labelers and of when a round may close."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol, Self, runtime_checkable

from pydantic import (
    BeforeValidator,
    Field,
    JsonValue,
    SerializeAsAny,
    field_validator,
    model_serializer,
)

from lycb_flows.config.base import NOT_KEYED, Config, Count, Fraction, Positive
from lycb_flows.config.models import ImportPath, ModelName
from lycb_flows.config.plugins import Registry
from lycb_flows.errors import InputError

NAMES_MODEL = "names-a-model"
"""Marks a labeler's field that holds the name, file or key of a model."""

STATED_THEORY = "@theory"
"""Key of the level of theory that a submission adds to the settings of a plug-in's labeler."""

LabelerClass = type["LabelerConfig"]


@runtime_checkable
class HasConfig(Protocol):
    """The part of an engine that the settings need; `labels.engine.Engine` is the whole of it."""

    name: str
    config: LabelerClass


LABELERS: Registry[HasConfig] = Registry(
    "lycb_flows.labelers",
    "labeler",
    HasConfig,  # type: ignore[type-abstract, unused-ignore]  # used for isinstance only
    {
        "teacher": "lycb_flows.labels.teacher:TeacherEngine",
        "gpaw": "lycb_flows.labels.gpaw.engine:GpawEngine",
        "vasp": "lycb_flows.labels.vasp.engine:VaspEngine",
        "ase": "lycb_flows.labels.ase:AseEngine",
    },
)
"""Engines of labelers by type."""


class LabelerConfig(Config):
    """Base of all labelers' settings: a type, by which the engine is found."""

    type: str

    @classmethod
    def class_of(cls, data: Mapping[str, Any]) -> LabelerClass:
        """Return the class of a labeler's settings; without a type a teacher's.

        Parameters
        ----------
        data
            The settings as plain data.

        Raises
        ------
        InputError
            When no labeler has this type, or its plug-in cannot be used.
        """
        name = str(data.get("type", "teacher"))
        return _BUILT_IN.get(name) or LABELERS.get(name).config

    def models(self) -> tuple[str, ...]:
        """Return the models that the fields marked `NAMES_MODEL` name.

        Returns
        -------
        tuple of str
            Names, files or keys.
        """
        return tuple(getattr(self, name) for name in self._model_fields())

    def with_models(self, names: Mapping[str, str]) -> Self:
        """Return the same settings with other names of their models.

        Parameters
        ----------
        names
            The new name of every old one.
        """
        changes = {field: names[getattr(self, field)] for field in self._model_fields()}
        return self.model_copy(update=changes)

    @classmethod
    def _model_fields(cls) -> list[str]:
        return [name for name, field in cls.model_fields.items() if NAMES_MODEL in field.metadata]


class TeacherLabeler(LabelerConfig):
    """Labels by another potential: a rehearsal without DFT, reported as one."""

    type: Literal["teacher"] = "teacher"
    model: Annotated[ModelName, NAMES_MODEL] = Field(
        "chgnet-r2scan", description="Name, key or file of the teacher, or a calculator."
    )


class GpawLabeler(LabelerConfig):
    """Labels by GPAW: density-functional theory without a licence."""

    type: Literal["gpaw"] = "gpaw"
    theory: str = Field("paper-static", description="Level of theory (labels/levels.yaml).")


class VaspLabeler(LabelerConfig):
    """Labels by VASP, which needs a licence; command and scratch are the machine's settings."""

    type: Literal["vasp"] = "vasp"
    theory: str = Field("paper-static", description="Level of theory (labels/levels.yaml).")
    stand_in: bool = Field(
        default=False,
        description="Labels are a potential's behind VASP's files: a rehearsal, named as one.",
    )


class AseLabeler(LabelerConfig):
    """Labels by any calculator of ASE; what cannot be known of it is stated here."""

    type: Literal["ase"] = "ase"
    calculator: ImportPath = Field(
        description="Import path of the class, e.g. ase.calculators.cp2k.CP2K.",
    )
    version: str = Field(min_length=1, description="Version of the code that computes.")
    functional: str = Field(min_length=1, description="Functional of its energies, e.g. PBE.")
    raw_pbe: bool = Field(
        default=False,
        description="Energies are uncorrected PBE: MP2020 is removed before training.",
    )
    parameters: dict[str, JsonValue] = Field({}, description="Keyword arguments of the class.")


_BUILT_IN: dict[str, LabelerClass] = {
    "teacher": TeacherLabeler,
    "gpaw": GpawLabeler,
    "vasp": VaspLabeler,
    "ase": AseLabeler,
}


class AbsentLabeler(LabelerConfig):
    """A submitted campaign's labeler whose package is not installed here.

    Results are found and reported by its level of theory, which the submission wrote down.
    """

    type: str = ""
    settings: dict[str, JsonValue]
    theory: dict[str, JsonValue]

    @model_serializer
    def _as_submitted(self) -> dict[str, Any]:
        return {**self.settings, STATED_THEORY: self.theory}


def _as_its_class(value: object) -> object:
    """Return a labeler's settings as an instance of their own class."""
    if not isinstance(value, Mapping):
        return value
    if "type" not in value:
        msg = f"a labeler needs a type, one of {', '.join(map(repr, LABELERS.names()))}"
        raise ValueError(msg)
    settings = {name: field for name, field in value.items() if name != STATED_THEORY}
    try:
        config = LabelerConfig.class_of(settings)
    except InputError as err:
        if STATED_THEORY not in value:
            raise ValueError(str(err)) from err
        theory = value[STATED_THEORY]
        return AbsentLabeler(type=str(value["type"]), settings=settings, theory=theory)
    return config.model_validate(settings)


AnyLabeler = Annotated[SerializeAsAny[LabelerConfig], BeforeValidator(_as_its_class)]
"""A field of this type takes and writes the settings of any labeler."""


class LabelConfig(Config):
    """The labeler, and when a round may close."""

    labeler: AnyLabeler = TeacherLabeler()
    imported: tuple[str, ...] | None = Field(
        None, description="Sets of imported labels that join every training (`lycb import`)."
    )
    allow_unknown: Annotated[bool, NOT_KEYED] = Field(
        default=False,
        description="Whether imported labels may train whose level is not known in full.",
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
        """Take a labeler without a type for a teacher, which was the only one at first."""
        return {"type": "teacher", **value} if isinstance(value, dict) else value

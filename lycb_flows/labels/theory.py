"""A level of theory, and the fingerprint that is part of every label's key."""

from __future__ import annotations

from typing import Protocol

from pydantic import Field

from lycb_flows import schemas
from lycb_flows.config import Config
from lycb_flows.keys import digest, make_key


class Theory(Config):
    """What a label's numbers rest on; two of them never meet in one training set."""

    code: str
    version: str
    functional: str
    raw_pbe: bool = Field(
        default=False,
        description="Energies are uncorrected PBE: MP2020 is removed before training.",
    )
    parameters: dict[str, str] = Field({}, description="Everything else that decides a number.")

    @property
    def name(self) -> str:
        """For people: code and functional."""
        return f"{self.code}: {self.functional}"

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits that stand for every field."""
        return digest(self)


def teacher_theory(model: schemas.Model) -> Theory:
    """The level of theory that a teacher stands for: none but its own weights."""
    return Theory(
        code="teacher",
        version="1",
        functional=f"{model.name} (a potential, not DFT)",
        parameters={"model": model.key, "weights_sha256": model.weights.sha256},
    )


class Labeler(Protocol):
    """What makes labels: the door that every engine comes through."""

    theory: Theory

    def label(self, structure: schemas.Structure) -> schemas.Label:
        """The label of a structure.

        Raises
        ------
        LycbError
            When there is none; the reason becomes an attempt.
        """
        ...


def label_key(structure: str, theory: str) -> str:
    """The key of the label of a structure at a theory, both given by key or fingerprint."""
    return make_key(schemas.Label, structure=structure, theory=theory)

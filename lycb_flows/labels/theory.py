"""A level of theory, and the fingerprint that is part of every label's key."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from typing import Annotated, Literal, Protocol

import yaml
from pydantic import Field

from lycb_flows import schemas
from lycb_flows.config import NOT_KEYED, AseLabeler, Config, Positive, RelaxationConfig
from lycb_flows.errors import InputError
from lycb_flows.keys import digest, make_key
from lycb_flows.labels.kpoints import KPointRule


class PawDataSets(Config):
    """The PAW data sets of all elements: one release, each file known by its hash."""

    release: str
    files: str = Field(description="Name of an element's file, e.g. '{element}.PBE'.")
    table: Annotated[str, NOT_KEYED] = Field(description="Beside this module: element -> SHA-256.")
    table_sha256: str = Field(description="Of the table, and so of every data set.")

    def hashes(self) -> dict[str, str]:
        """Element -> SHA-256 of its (unpacked) data set.

        Raises
        ------
        InputError
            When the table is not the one that was stated.
        """
        content = resources.files(__package__).joinpath(self.table).read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != self.table_sha256:
            raise InputError(
                "the table of PAW data sets was changed",
                fix="install lycb_flows anew",
                table=self.table,
                stated=self.table_sha256[:12],
                found=found[:12],
            )
        hashes: dict[str, str] = json.loads(content)
        return hashes


class Smearing(Config):
    """How states are occupied."""

    kind: Literal["fermi-dirac"]
    width_ev: Positive


class Convergence(Config):
    """When the electrons have converged; both per valence electron."""

    energy_ev_per_electron: Positive
    density_e_per_electron: Positive
    max_iterations: int = Field(ge=1, description="Beyond: a failure, never a label.")


class Theory(Config):
    """What a label's numbers rest on; two of them never meet in one training set.

    What does not apply to a code is None and in no fingerprint.
    """

    code: str
    version: str = Field(description="As far as it decides numbers: 26.7 stands for 26.7.x.")
    functional: str
    raw_pbe: bool = Field(
        default=False,
        description="Energies are uncorrected PBE: MP2020 is removed before training.",
    )
    parameters: dict[str, str] = Field({}, description="Everything else that decides a number.")
    level: Annotated[str | None, NOT_KEYED] = Field(None, description="Its name in levels.yaml.")
    paw: PawDataSets | None = None
    cutoff_ev: Positive | None = Field(None, description="Of plane waves.")
    kpoints: KPointRule | None = Field(None, description="A cell's Gamma-centred mesh.")
    smearing: Smearing | None = None
    convergence: Convergence | None = None
    spin: Literal["paired", "polarised"] | None = None
    symmetry: Literal["time reversal"] | None = Field(None, description="What is made use of.")
    corrections: str | None = Field(None, description="Added to the energies, or 'none'.")

    @property
    def name(self) -> str:
        """For people: code, functional, level."""
        level = f" ({self.level})" if self.level else ""
        return f"{self.code}: {self.functional}{level}"

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


def gpaw_theory(level: str) -> Theory:
    """A level of theory of GPAW's, by name.

    Raises
    ------
    InputError
        When there is none of this name.
    """
    text = resources.files(__package__).joinpath("levels.yaml").read_text()
    levels = yaml.safe_load(text)["gpaw"]
    if level not in levels:
        raise InputError(
            "no such level of theory", fix=f"GPAW has {', '.join(levels)}", found=level
        )
    return Theory(level=level, **levels[level])


def ase_theory(labeler: AseLabeler) -> Theory:
    """The level of theory of a calculator of ASE's: what its user states."""
    return Theory(
        code=f"ase {labeler.calculator}",
        version=labeler.version,
        functional=labeler.functional,
        raw_pbe=labeler.raw_pbe,
        parameters={
            name: json.dumps(value, sort_keys=True) for name, value in labeler.parameters.items()
        },
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


def theory_relaxation_key(structure: str, theory: str, config: RelaxationConfig) -> str:
    """The key of a structure's relaxation at a theory, both given by key or fingerprint."""
    return make_key(schemas.Relaxation, structure=structure, theory=theory, **config.keyed())

"""A level of theory, and the fingerprint that is part of every label's key."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from typing import Annotated, Any, Literal, Protocol

import yaml
from pydantic import Field

from lycb_flows.config import NOT_KEYED, AseLabeler, Config, Positive
from lycb_flows.errors import InputError
from lycb_flows.labels.kpoints import KPointRule, Mesh
from lycb_flows.schemas import Label, Matrix, Model, Structure
from lycb_flows.schemas.keys import digest

VASP_STAND_IN = "vasp stand-in"
"""The code of labels that `lycb_flows.testing.vasp` made; never of VASP's."""


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
        hashes: dict[str, str] = json.loads(_stated_table(self.table, self.table_sha256))
        return hashes


class StatedPotcar(Config):
    """What is known of a VASP data set without showing it: its licence forbids that."""

    title: str = Field(description="TITEL in the file: functional, symbol, date.")
    electrons: Positive = Field(description="Valence electrons, ZVAL.")
    statistics: dict[str, float] = Field(
        description="pymatgen's of all numbers below the header: MEAN, ABSMEAN, VAR, MIN, MAX."
    )

    @property
    def symbol(self) -> str:
        """As POTCAR.spec and folders of POTCARs name it, e.g. Li_sv."""
        return self.title.split()[1]


class Potcars(Config):
    """The POTCARs of all elements: one release, each known by title and statistics."""

    release: Literal["PBE", "PBE_52", "PBE_54", "PBE_64"] = Field(
        description="pymatgen's name, which leads to the folder, e.g. POT_GGA_PAW_PBE_54."
    )
    table: Annotated[str, NOT_KEYED] = Field(
        description="Beside this module: element -> StatedPotcar."
    )
    table_sha256: str = Field(description="Of the table, and so of every title.")

    def of(self, element: str) -> StatedPotcar:
        """The POTCAR of an element.

        Raises
        ------
        InputError
            When there is none, or the table is not the one that was stated.
        """
        potcars: dict[str, Any] = json.loads(_stated_table(self.table, self.table_sha256))
        if element not in potcars:
            raise InputError(
                "the level of theory has no POTCAR of this element",
                fix="use another level of theory",
                element=element,
                release=self.release,
            )
        return StatedPotcar.model_validate(potcars[element])


def _stated_table(table: str, stated: str) -> bytes:
    """A file beside this module, when its SHA-256 is the stated one."""
    content = resources.files(__package__).joinpath(table).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != stated:
        raise InputError(
            "the table of PAW data sets was changed",
            fix="install lycb_flows anew",
            table=table,
            stated=stated[:12],
            found=found[:12],
        )
    return content


class Smearing(Config):
    """How states are occupied."""

    kind: Literal["fermi-dirac", "gaussian"]
    width_ev: Positive


class Convergence(Config):
    """When the electrons have converged; both per valence electron."""

    energy_ev_per_electron: Positive
    density_e_per_electron: Positive
    max_iterations: int = Field(ge=1, description="Beyond: a failure, never a label.")


class TotalConvergence(Config):
    """When the electrons have converged, as VASP counts: by the whole cell's energy."""

    energy_ev: Positive = Field(description="EDIFF: total energy and band energy change by less.")
    max_iterations: int = Field(ge=1, description="Beyond: a failure, never a label.")


class Theory(Config):
    """What a label's numbers rest on; two of them never meet in one training set.

    What does not apply to a code is None and in no fingerprint. `admits` says which labels of
    another level count as this one's.
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
    paw: PawDataSets | Potcars | None = None
    cutoff_ev: Positive | None = Field(None, description="Of plane waves.")
    kpoints: KPointRule | None = Field(None, description="A cell's Gamma-centred mesh.")
    smearing: Smearing | None = None
    convergence: Convergence | TotalConvergence | None = None
    spin: Literal["paired", "polarised"] | None = None
    symmetry: Literal["time reversal"] | None = Field(None, description="What is made use of.")
    corrections: str | None = Field(None, description="Added to the energies, or 'none'.")
    unknown: tuple[str, ...] | None = Field(
        None, description="Fields that an imported label's source does not state; sorted."
    )

    @property
    def name(self) -> str:
        """For people: code, functional, level."""
        level = f" ({self.level})" if self.level else ""
        return f"{self.code}: {self.functional}{level}"

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits that stand for every field."""
        return digest(self)

    def differs_in_kpoints_alone(self, other: Theory) -> bool:
        """Return whether another level is this one but for the rule of its k-points."""
        if self.kpoints is None or other.kpoints is None or self.kpoints == other.kpoints:
            return False
        return self.model_copy(update={"kpoints": other.kpoints}).fingerprint == other.fingerprint

    def admits(self, other: Theory, lattice_ang: Matrix, kpoint_mesh: Mesh | None) -> bool:
        """Return whether a label of another level is what this level would have computed.

        It is when both levels are the same, or when they differ in the rule of k-points alone
        and both rules give the label's cell the mesh that the label was computed with.

        Parameters
        ----------
        other
            The label's level.
        lattice_ang
            The label's cell, rows a, b, c in Å.
        kpoint_mesh
            What the label was computed with; None where its source does not say.
        """
        if self.fingerprint == other.fingerprint:
            return True
        if self.kpoints is None or not self.differs_in_kpoints_alone(other):
            return False
        return kpoint_mesh == self.kpoints.mesh_for(lattice_ang)

    def covers_version(self, found: str) -> bool:
        """Whether a program of this version is at this level: 6.4.2 is where 6 is stated."""
        return found == self.version or found.startswith(f"{self.version}.")


def teacher_theory(model: Model) -> Theory:
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
    return Theory(level=level, **_level("gpaw", "GPAW", level))


def vasp_theory(level: str, *, stand_in: bool = False) -> Theory:
    """A level of theory of VASP's, by name.

    Parameters
    ----------
    level
        Its name in levels.yaml.
    stand_in
        A program that reads VASP's files and asks a potential computes: same settings,
        another theory, so that its labels and VASP's never meet.

    Raises
    ------
    InputError
        When there is none of this name.
    """
    theory = Theory(level=level, **_level("vasp", "VASP", level))
    if not stand_in:
        return theory
    another = {
        "code": VASP_STAND_IN,
        "functional": "a potential, not DFT",
        "raw_pbe": False,
    }
    return theory.model_copy(update=another)


def _level(code: str, name: str, level: str) -> dict[str, Any]:
    text = resources.files(__package__).joinpath("levels.yaml").read_text()
    levels: dict[str, dict[str, Any]] = yaml.safe_load(text)[code]
    if level not in levels:
        raise InputError(
            "no such level of theory", fix=f"{name} has {', '.join(levels)}", found=level
        )
    return levels[level]


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


def code_of(theory_name: str) -> str:
    """Return the code of a level of theory that a document knows by its name."""
    return theory_name.partition(": ")[0]


class Labeler(Protocol):
    """What makes labels: the door that every engine comes through."""

    theory: Theory

    def label(self, structure: Structure) -> Label:
        """The label of a structure.

        Raises
        ------
        LycbError
            When there is none; the reason becomes an attempt.
        """
        ...

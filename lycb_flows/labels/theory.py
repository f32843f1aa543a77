"""A level of theory, and the fingerprint that is part of every label's key."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal, Protocol

import yaml
from pydantic import Field

from lycb_flows.config import NOT_KEYED, AseLabeler, Config, Positive
from lycb_flows.errors import InputError
from lycb_flows.labels.kpoints import KPointRule, Mesh
from lycb_flows.schemas import Label, Matrix, Model, Structure, digest

VASP_STAND_IN = "vasp stand-in"
"""The code of labels that `lycb_flows.testing.vasp` made in place of VASP."""


class PawDataSets(Config):
    """The PAW data sets of all elements: one release, each file identified by its hash."""

    release: str
    files: str = Field(description="Name of an element's file, e.g. '{element}.PBE'.")
    table: Annotated[str, NOT_KEYED] = Field(
        description="File beside this module: element -> SHA-256."
    )
    table_sha256: str = Field(description="SHA-256 of the table, and so of every data set.")

    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of every element's (unpacked) data set.

        Raises
        ------
        InputError
            When the table is not the one that was stated.
        """
        hashes: dict[str, str] = json.loads(_stated_table(self.table, self.table_sha256))
        return hashes


class StatedPotcar(Config):
    """The published facts of a VASP data set; its licence forbids showing the file itself."""

    title: str = Field(description="TITEL in the file: functional, symbol, date.")
    electrons: Positive = Field(description="Valence electrons, ZVAL.")
    statistics: dict[str, float] = Field(
        description="pymatgen's of all numbers below the header: MEAN, ABSMEAN, VAR, MIN, MAX."
    )

    @property
    def symbol(self) -> str:
        """The symbol by which POTCAR.spec and folders of POTCARs name it, e.g. Li_sv."""
        return self.title.split()[1]


class Potcars(Config):
    """The POTCARs of all elements: one release, each identified by title and statistics."""

    release: Literal["PBE", "PBE_52", "PBE_54", "PBE_64"] = Field(
        description="pymatgen's name, which leads to the folder, e.g. POT_GGA_PAW_PBE_54."
    )
    table: Annotated[str, NOT_KEYED] = Field(
        description="File beside this module: element -> StatedPotcar."
    )
    table_sha256: str = Field(description="SHA-256 of the table, and so of every title.")

    def of(self, element: str) -> StatedPotcar:
        """Return the POTCAR of an element.

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
    """Return the content of a file beside this module, after a check of its SHA-256."""
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
    """When the electrons have converged; both limits are per valence electron."""

    energy_ev_per_electron: Positive
    density_e_per_electron: Positive
    max_iterations: int = Field(
        ge=1, description="Iterations after which the calculation has failed."
    )


class TotalConvergence(Config):
    """When the electrons have converged by VASP's criterion, the energy of the whole cell."""

    energy_ev: Positive = Field(description="EDIFF: total energy and band energy change by less.")
    max_iterations: int = Field(
        ge=1, description="Iterations after which the calculation has failed."
    )


class Theory(Config):
    """Everything that decides a label's numbers; labels of two theories are never trained together.

    Fields that do not apply to a code are None and are left out of the fingerprint. `admits` says
    which labels of another level count as labels of this one.
    """

    code: str
    version: str = Field(
        description="Version as far as it decides numbers: 26.7 stands for 26.7.x."
    )
    functional: str
    raw_pbe: bool = Field(
        default=False,
        description="Energies are uncorrected PBE: MP2020 is removed before training.",
    )
    parameters: dict[str, str] = Field({}, description="Everything else that decides a number.")
    level: Annotated[str | None, NOT_KEYED] = Field(None, description="Its name in levels.yaml.")
    paw: PawDataSets | Potcars | None = None
    cutoff_ev: Positive | None = Field(None, description="Kinetic energy of the last plane wave.")
    kpoints: KPointRule | None = Field(None, description="A cell's Gamma-centred mesh.")
    smearing: Smearing | None = None
    convergence: Convergence | TotalConvergence | None = None
    spin: Literal["paired", "polarised"] | None = None
    symmetry: Literal["time reversal"] | None = Field(
        None, description="Symmetry that the code uses."
    )
    corrections: str | None = Field(None, description="Corrections of the energies, or 'none'.")
    unknown: tuple[str, ...] | None = Field(
        None, description="Fields that an imported label's source does not state; sorted."
    )

    @property
    def name(self) -> str:
        """The name for people: code, functional and level."""
        level = f" ({self.level})" if self.level else ""
        return f"{self.code}: {self.functional}{level}"

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of all fields but those marked `NOT_KEYED`; every label's key contains it."""
        return digest(self)

    def differs_in_kpoints_alone(self, other: Theory) -> bool:
        """Return whether another level differs from this one in its rule of k-points only.

        Both levels must have a rule, and the rules must differ.
        """
        if self.kpoints is None or other.kpoints is None or self.kpoints == other.kpoints:
            return False
        return self.model_copy(update={"kpoints": other.kpoints}).fingerprint == other.fingerprint

    def admits(self, other: Theory, lattice_ang: Matrix, kpoint_mesh: Mesh | None) -> bool:
        """Return whether a label of another level is what this level would have computed.

        That holds when both levels are the same, or when they differ in the rule of k-points alone
        and both rules give the label's cell the mesh that the label was computed with.

        Parameters
        ----------
        other
            The label's level.
        lattice_ang
            The label's cell, rows a, b, c in Å.
        kpoint_mesh
            The mesh that the label was computed with; None where its source does not say.
        """
        if self.fingerprint == other.fingerprint:
            return True
        if self.kpoints is None or not self.differs_in_kpoints_alone(other):
            return False
        return kpoint_mesh == self.kpoints.mesh_for(lattice_ang)

    def covers_version(self, found: str) -> bool:
        """Return whether a program of this version is at this level.

        A stated version covers every version that begins with it: 6.4.2 is covered by 6.
        """
        return found == self.version or found.startswith(f"{self.version}.")


def teacher_theory(model: Model) -> Theory:
    """Return the level of theory of a teacher, which is defined by its weights.

    Parameters
    ----------
    model
        Document of the teacher's model.
    """
    return Theory(
        code="teacher",
        version="1",
        functional=f"{model.name} (a potential, not DFT)",
        parameters={"model": model.key, "weights_sha256": model.weights.sha256},
    )


def gpaw_theory(level: str) -> Theory:
    """Return a level of theory of GPAW.

    Parameters
    ----------
    level
        Its name in levels.yaml.

    Raises
    ------
    InputError
        When there is none of this name.
    """
    return Theory(level=level, **_level("gpaw", "GPAW", level))


def vasp_theory(level: str, *, stand_in: bool = False) -> Theory:
    """Return a level of theory of VASP.

    Parameters
    ----------
    level
        Its name in levels.yaml.
    stand_in
        Whether a potential computes behind VASP's files. The settings are the same, but the
        theory is another one, so that its labels are never mixed with VASP's.

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
    levels = read_levels()[code]
    if level not in levels:
        raise InputError(
            "no such level of theory", fix=f"{name} has {', '.join(levels)}", found=level
        )
    return levels[level]


@cache
def read_levels() -> dict[str, dict[str, dict[str, Any]]]:
    """Return the fields of each level of levels.yaml by code and name; parsing takes 50 ms."""
    text = resources.files(__package__).joinpath("levels.yaml").read_text()
    levels: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load(text)
    return levels


def ase_theory(labeler: AseLabeler) -> Theory:
    """Return the level of theory of an ASE calculator as its user states it.

    Parameters
    ----------
    labeler
        The settings; every parameter of the calculator is part of the theory.
    """
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
    """Return the code of a level of theory, given the `Theory.name` in a document."""
    return theory_name.partition(": ")[0]


def functional_of(theory_name: str) -> tuple[str, str]:
    """Return functional and level of a level of theory, given the `Theory.name` in a document."""
    functional, _, level = theory_name.partition(": ")[2].partition(" (")
    return functional, level.removesuffix(")")


class Labeler(Protocol):
    """The interface of everything that labels structures."""

    theory: Theory

    def label(self, structure: Structure) -> Label:
        """Return the label of a structure.

        Raises
        ------
        LycbError
            When no label can be made; the reason is stored with the attempt.
        """
        ...

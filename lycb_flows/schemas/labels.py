"""Documents about labels: a label, and a file of labels that was imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import hypot
from typing import Any, ClassVar

from pydantic import Field

from lycb_flows.schemas.base import Blob, Document, Matrix, Vector
from lycb_flows.schemas.keys import make_keys


class Label(Document):
    """Energy, forces and stress of a structure at one level of theory."""

    kind = "label"
    method_version = 2
    structure_field = "structure"
    listed: ClassVar[tuple[str, ...]] = ("n_atoms", "energy_ev_per_atom", "max_force_ev_per_ang")
    table_columns: ClassVar[tuple[str, ...]] = (
        "code", "functional", "n_atoms", "energy_ev_per_atom", "max_force_ev_per_ang",
    )  # fmt: skip

    structure: str
    theory: str = Field(description="Fingerprint.")
    theory_name: str = Field(description="Name for people: code, functional, level.")
    energy_ev: float
    forces_ev_per_ang: tuple[Vector, ...] = Field(description="(n_atoms, 3)")
    stress_gpa: Matrix = Field(description="Tension positive, ASE's sign.")
    converged: bool
    kpoint_mesh: tuple[int, int, int] | None = Field(
        None, description="Mesh that the theory's rule gives this cell; None: no k-points."
    )
    corrections: tuple[str, ...] = Field(
        (), description="What custodian changed of how the electrons were iterated."
    )
    pseudopotentials: tuple[str, ...] = Field(
        (), description="VASP's: title and SHA-256 of each POTCAR, in POSCAR's order."
    )
    warnings: tuple[str, ...] = ()

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.forces_ev_per_ang)

    @property
    def energy_ev_per_atom(self) -> float:
        """Energy per atom in eV."""
        return self.energy_ev / self.n_atoms

    @property
    def max_force_ev_per_ang(self) -> float:
        """Length of the largest force on an atom, in eV/Å."""
        return max(hypot(*force) for force in self.forces_ev_per_ang)

    @classmethod
    def key_of(cls, structure: str, theory: str) -> str:
        """Return the key of the label of a structure at a level of theory.

        Parameters
        ----------
        structure
            Key of the Structure.
        theory
            Fingerprint of the level of theory.
        """
        return cls.key_from(structure=structure, theory=theory)

    @classmethod
    def keys_of(cls, structures: Iterable[str], theory: str) -> list[str]:
        """Return the keys of the labels of many structures at one level of theory.

        Parameters
        ----------
        structures
            Keys of the Structures.
        theory
            Fingerprint of the level of theory.
        """
        return make_keys(cls, "structure", structures, theory=theory)


class Import(Document):
    """Labels that a file brought, and what it states of their level of theory."""

    kind = "import"
    listed: ClassVar[tuple[str, ...]] = ("n_labels",)

    name: str = Field(description="Name of the set of labels that this belongs to.")
    file: str = Field(description="Path of the file within what was imported.")
    file_format: str
    sha256: str = Field(description="SHA-256 of the file.")
    content: Blob | None = Field(description="The file; None when it was too large to keep.")
    theory: str = Field(description="Fingerprint.")
    theory_name: str
    statement: dict[str, Any] | None = Field(
        description="The level of theory in full; None when only its fingerprint is known."
    )
    unknown: tuple[str, ...] = Field(
        description="Fields of the level that its source does not state."
    )
    labels: tuple[str, ...]
    places: tuple[int, ...] = Field(description="Place of each label in the file, from 0.")

    @property
    def n_labels(self) -> int:
        """Number of labels that the file brought."""
        return len(self.labels)

    @classmethod
    def key_of(cls, facts: Mapping[str, object]) -> str:
        """Return the key of an import with these facts: what was read from which file.

        What the file states of its level of theory, and whether its content was small
        enough to keep, are no part of it.
        """
        keyed = ("name", "file", "file_format", "sha256", "theory", "labels", "places")
        return cls.key_from(**{name: facts[name] for name in keyed})

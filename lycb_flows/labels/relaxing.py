"""Relaxations at a level of theory: ASE's FIRE driving any labeler, or the code's own.

Every step of FIRE is a label. FIRE holds no chance, so who starts it again is led along the
same path by the labels that are there, and pays from the first that is missing: the labels
are its restart file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from ase.stress import full_3x3_to_voigt_6_stress

from lycb_flows import schemas
from lycb_flows.config import RelaxationConfig
from lycb_flows.crystals.structures import canonical_structure, to_ase, volume_ang3_per_atom
from lycb_flows.labels.theory import Theory
from lycb_flows.units import EV_PER_ANG3_GPA

LabelOf = Callable[[schemas.Structure], schemas.Label]
"""The label of a structure; a job's looks it up first."""


@dataclass(frozen=True)
class RelaxedByTheory:
    """Where a structure came to rest at a level of theory.

    Attributes
    ----------
    energy_ev, static_energy_ev
        Total energies there and at the start.
    max_force_ev_per_ang
        ASE's criterion: with a relaxing cell the largest row of forces and cell gradient.
    optimizer
        For people: which, and what it drove.
    labels
        Keys of the steps' labels, in order; empty where the code relaxed by itself.
    """

    structure: schemas.Structure
    energy_ev: float
    static_energy_ev: float
    max_force_ev_per_ang: float
    n_steps: int
    converged: bool
    optimizer: str
    labels: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def document(
        self, start: schemas.Structure, theory: Theory, config: RelaxationConfig
    ) -> schemas.Relaxation:
        """The result as a document."""
        n_atoms = len(start.species)
        volume = volume_ang3_per_atom(self.structure)
        return schemas.Relaxation(
            key=schemas.Relaxation.key_of(start.key, config, theory=theory.fingerprint),
            parents=(start.key, *self.labels),
            products=(self.structure.key,),
            structure=start.key,
            final_structure=self.structure.key,
            theory=theory.fingerprint,
            theory_name=theory.name,
            optimizer=self.optimizer,
            labels=self.labels,
            warnings=self.warnings,
            energy_ev=self.energy_ev,
            energy_ev_per_atom=self.energy_ev / n_atoms,
            static_energy_ev_per_atom=self.static_energy_ev / n_atoms,
            max_force_ev_per_ang=self.max_force_ev_per_ang,
            n_steps=self.n_steps,
            converged=self.converged,
            volume_ang3_per_atom=volume,
            volume_change=volume / volume_ang3_per_atom(start) - 1,
        )


@runtime_checkable
class Relaxer(Protocol):
    """A labeler whose code relaxes by itself, e.g. VASP's CG or VTST's FIRE (IOPT=7)."""

    theory: Theory

    def relax(self, structure: schemas.Structure, config: RelaxationConfig) -> RelaxedByTheory:
        """The structure at rest, or as far as it came.

        Raises
        ------
        LycbError
            When there is none; the reason becomes an attempt.
        """
        ...


def drive_fire(
    structure: schemas.Structure, label_of: LabelOf, config: RelaxationConfig, theory: Theory
) -> RelaxedByTheory:
    """Relax positions, and the cell unless told otherwise, by ASE's FIRE over labels.

    Raises
    ------
    LycbError
        What the labeler raises.
    """
    atoms, asked = to_ase(structure), _Labels(label_of)
    atoms.calc = asked
    moving = FrechetCellFilter(atoms) if config.relax_cell else atoms
    optimizer = FIRE(moving, logfile=None)
    with warnings.catch_warnings():
        # the filter takes a logarithm of the strain in every step; scipy misses 1e-13 in it
        warnings.filterwarnings("ignore", "logm result may be inaccurate", RuntimeWarning)
        optimizer.run(fmax=config.fmax_ev_per_ang, steps=config.max_steps)
        max_force = float(np.linalg.norm(moving.get_forces(), axis=1).max())
    return RelaxedByTheory(
        structure=canonical_structure(atoms),
        energy_ev=asked.labels[-1].energy_ev,
        static_energy_ev=asked.labels[0].energy_ev,
        max_force_ev_per_ang=max_force,
        n_steps=int(optimizer.nsteps),
        converged=max_force < config.fmax_ev_per_ang,
        optimizer=f"FIRE (ASE) driving {theory.name}",
        labels=tuple(dict.fromkeys(label.key for label in asked.labels)),
        warnings=tuple(dict.fromkeys(word for label in asked.labels for word in label.warnings)),
    )


class _Labels(Calculator):
    """Labels as a calculator of ASE's; it remembers them in the order in which it was asked."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - ASE

    def __init__(self, label_of: LabelOf) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # ASE is half annotated
        self.label_of = label_of
        self.labels: list[schemas.Label] = []

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """All properties of the canonical structure, 1e-8 Å away at most."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        label = self.label_of(canonical_structure(cast("Atoms", self.atoms)))
        self.labels.append(label)
        self.results = {
            "energy": label.energy_ev,
            "free_energy": label.energy_ev,
            "forces": np.array(label.forces_ev_per_ang),
            "stress": full_3x3_to_voigt_6_stress(np.array(label.stress_gpa) / EV_PER_ANG3_GPA),
        }

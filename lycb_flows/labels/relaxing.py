"""Relaxations at a level of theory: ASE's FIRE driving any labeler, or the code's own.

Every step of FIRE is a label. FIRE holds no chance, so who starts it again is led along the
same path by the labels that are there, and pays from the first that is missing: the labels
are its restart file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Protocol, cast, runtime_checkable

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from ase.stress import full_3x3_to_voigt_6_stress

from lycb_flows.config import RelaxationConfig
from lycb_flows.crystals import Relaxed, canonical_structure, to_ase
from lycb_flows.labels.theory import Theory
from lycb_flows.schemas import Label, Structure
from lycb_flows.units import EV_PER_ANG3_GPA

LabelOf = Callable[[Structure], Label]
"""The label of a structure; a job's looks it up first."""


@runtime_checkable
class Relaxer(Protocol):
    """A labeler whose code relaxes by itself, e.g. VASP's CG or VTST's FIRE (IOPT=7)."""

    theory: Theory

    def relax(self, structure: Structure, config: RelaxationConfig) -> Relaxed:
        """The structure at rest, or as far as it came.

        Raises
        ------
        LycbError
            When there is none; the reason becomes an attempt.
        """
        ...


def drive_fire(
    structure: Structure, label_of: LabelOf, config: RelaxationConfig, theory: Theory
) -> Relaxed:
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
    return Relaxed(
        start=structure,
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
        self.labels: list[Label] = []

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

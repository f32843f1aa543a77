"""Relaxations at a level of theory, by ASE's FIRE with any labeler or by the code itself.

Every step of FIRE is a label. FIRE uses no random numbers, so a relaxation that is started again
takes the same path: labels that exist are read from the store, and computing goes on where the
first one is missing. The labels serve as its restart file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Protocol, cast, runtime_checkable

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import FIRE
from ase.stress import full_3x3_to_voigt_6_stress

from lycb_flows.config import RelaxationConfig
from lycb_flows.crystals import CellFilter, Relaxed, canonical_structure, to_ase
from lycb_flows.labels.theory import Theory
from lycb_flows.schemas import Label, Structure
from lycb_flows.units import EV_PER_ANG3_GPA

LabelOf = Callable[[Structure], Label]
"""Returns the label of a structure; a job looks for it in the store first."""


@runtime_checkable
class Relaxer(Protocol):
    """A labeler whose code relaxes by itself, e.g. VASP's CG or VTST's FIRE (IOPT=7)."""

    theory: Theory

    def relax(self, structure: Structure, config: RelaxationConfig) -> Relaxed:
        """Return the relaxed structure, or the last one when the steps did not suffice.

        Parameters
        ----------
        structure
            Where the relaxation starts.
        config
            When the relaxation ends, and whether the cell moves.

        Raises
        ------
        LycbError
            When the code gives no structure; the reason is stored with the attempt.
        """
        ...


def drive_fire(
    structure: Structure, label_of: LabelOf, config: RelaxationConfig, theory: Theory
) -> Relaxed:
    """Relax positions and, if the config says so, the cell by ASE's FIRE.

    Parameters
    ----------
    structure
        Where the relaxation starts.
    label_of
        Returns the label of a structure; called at every step.
    config
        When the relaxation ends, and whether the cell moves.
    theory
        The level of theory of the labels, named in the result.

    Returns
    -------
    Relaxed
        The last structure with its energies in eV and the largest force in eV/Å.

    Raises
    ------
    LycbError
        Whatever `label_of` raises.
    """
    atoms, calculator = to_ase(structure), _Labels(label_of)
    atoms.calc = calculator
    moving = CellFilter(atoms) if config.relax_cell else atoms
    optimizer = FIRE(moving, logfile=None)
    with warnings.catch_warnings():
        # the filter takes the logarithm of the strain; scipy warns of inaccuracies of 1e-13
        warnings.filterwarnings("ignore", "logm result may be inaccurate", RuntimeWarning)
        optimizer.run(fmax=config.fmax_ev_per_ang, steps=config.max_steps)
        max_force = float(np.linalg.norm(moving.get_forces(), axis=1).max())
    return Relaxed(
        start=structure,
        structure=canonical_structure(atoms),
        energy_ev=calculator.labels[-1].energy_ev,
        static_energy_ev=calculator.labels[0].energy_ev,
        max_force_ev_per_ang=max_force,
        n_steps=int(optimizer.nsteps),
        converged=max_force < config.fmax_ev_per_ang,
        optimizer=f"FIRE (ASE) driving {theory.name}",
        labels=tuple(dict.fromkeys(label.key for label in calculator.labels)),
        warnings=tuple(
            dict.fromkeys(word for label in calculator.labels for word in label.warnings)
        ),
    )


class _Labels(Calculator):
    """Labels as a calculator of ASE that keeps them in the order of the steps."""

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
        """Compute all properties of the canonical structure, which is 1e-8 Å away at most.

        Parameters
        ----------
        atoms
            The atoms as FIRE has moved them.
        properties, system_changes
            Arguments of ASE's interface; a label always has all properties.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        label = self.label_of(canonical_structure(cast("Atoms", self.atoms)))
        self.labels.append(label)
        self.results = {
            "energy": label.energy_ev,
            "free_energy": label.energy_ev,
            "forces": np.array(label.forces_ev_per_ang),
            "stress": full_3x3_to_voigt_6_stress(np.array(label.stress_gpa) / EV_PER_ANG3_GPA),
        }

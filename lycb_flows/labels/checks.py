"""What an engine answers about a structure, and the checks that make a label of the answer.

Every engine's answer becomes a label here. Stresses are converted once: ASE's eV/Å^3 to GPa,
tension positive in both.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict

from lycb_flows.crystals import to_ase
from lycb_flows.errors import LabelError
from lycb_flows.labels.theory import Theory
from lycb_flows.schemas import Label, Structure
from lycb_flows.units import EV_PER_ANG3_GPA

VASP_KB = -10.0 * EV_PER_ANG3_GPA
"""1 eV/Å^3 of tension in VASP's unit and sign: 1 kB is 0.1 GPa, compression positive."""
MAX_FORCE_EV_PER_ANG = 200.0
"""Reached only by overlapping ions; a campaign's own limit for training is far below."""
MAX_STRESS_GPA = 500.0
MAX_ENERGY_EV_PER_ATOM = 50.0
"""Largest distance from free atoms, for codes whose energies are counted from them."""
_CELL_ANG = 1e-6
"""Largest change of a cell by writing it as text and reading it again."""


class Answer(BaseModel):
    """The plain numbers of an engine in ASE's units and signs.

    Composition and cell are those that the engine computed, so that they can be compared with the
    structure that it was given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    species: tuple[str, ...]
    lattice_ang: tuple[tuple[float, ...], ...]
    energy_ev: float
    forces_ev_per_ang: tuple[tuple[float, ...], ...]
    stress_ev_per_ang3: tuple[tuple[float, ...], ...]
    notes: tuple[str, ...] = ()


def ask(calculator: object, structure: Structure) -> Answer:
    """Return what a calculator computes of a structure.

    Parameters
    ----------
    calculator
        A calculator of ASE, or an object with the same methods.
    structure
        The structure; it is not changed.

    Raises
    ------
    LabelError
        When the calculator computes no energy, forces or stress.
    """
    atoms = to_ase(structure)
    atoms.calc = calculator
    try:
        energy_ev = float(atoms.get_potential_energy())
        forces = atoms.get_forces()
        stress = atoms.get_stress(voigt=False)
    except PropertyNotImplementedError as err:
        raise LabelError(
            "no label without energy, forces and stress",
            fix="use a calculator that has all three",
            missing=err,
            calculator=type(calculator).__name__,
        ) from err
    return Answer(
        species=tuple(atoms.get_chemical_symbols()),
        lattice_ang=_rows(atoms.cell.array),
        energy_ev=energy_ev,
        forces_ev_per_ang=_rows(forces),
        stress_ev_per_ang3=_rows(stress),
    )


def _rows(array: ArrayLike) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in np.asarray(array, dtype=float).tolist())


def checked_label(
    structure: Structure,
    theory: Theory,
    answer: Answer,
    *,
    kpoint_mesh: tuple[int, int, int] | None = None,
    corrections: tuple[str, ...] = (),
    warnings: tuple[str, ...] = (),
) -> Label:
    """Return the label that an answer makes, once it has passed all checks.

    Parameters
    ----------
    structure
        The structure that the engine was given.
    theory
        The level of theory; its fingerprint is part of the label's key.
    answer
        What the engine computed.
    kpoint_mesh
        Divisions of the mesh that the level's rule gives this cell; None without k-points.
    corrections
        What custodian changed of how the electrons were iterated.
    warnings
        Notes that the label keeps besides those of the answer.

    Raises
    ------
    LabelError
        When a check fails; the message names it.
    """
    forces, stress_gpa = checked_numbers(
        structure, answer, counted_from_atoms=theory.paw is not None
    )
    return Label(
        key=Label.key_of(structure.key, theory.fingerprint),
        parents=(structure.key,),
        structure=structure.key,
        theory=theory.fingerprint,
        theory_name=theory.name,
        energy_ev=answer.energy_ev,
        forces_ev_per_ang=tuple(map(tuple, forces.tolist())),
        stress_gpa=tuple(map(tuple, stress_gpa.tolist())),
        converged=True,
        kpoint_mesh=kpoint_mesh,
        corrections=corrections,
        warnings=(*warnings, *answer.notes),
    )


def checked_numbers(
    structure: Structure, answer: Answer, *, counted_from_atoms: bool
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return forces (n_atoms, 3) in eV/Å and stress (3, 3) in GPa, once every number makes sense.

    Parameters
    ----------
    structure
        The structure that the engine was given.
    answer
        What the engine computed.
    counted_from_atoms
        Whether energies are counted from free atoms, so that their size can be judged.

    Raises
    ------
    LabelError
        When a check fails; the message names it.
    """
    _check_structure(structure, answer)
    forces = np.array(answer.forces_ev_per_ang)
    stress_gpa = np.array(answer.stress_ev_per_ang3) * EV_PER_ANG3_GPA
    _check_shape("forces", forces, (len(structure.species), 3))
    _check_shape("stress", stress_gpa, (3, 3))
    energy = np.array(answer.energy_ev / len(structure.species))
    energy_limit = MAX_ENERGY_EV_PER_ATOM if counted_from_atoms else math.inf
    _check_size("energy", energy, energy_limit, "eV/atom")
    _check_size("force", forces, MAX_FORCE_EV_PER_ANG, "eV/Å")
    _check_size("stress", stress_gpa, MAX_STRESS_GPA, "GPa")
    return forces, stress_gpa


def _check_structure(structure: Structure, answer: Answer) -> None:
    if answer.species != structure.species:
        raise LabelError(
            "the engine computed another composition or order of atoms",
            fix="correct the engine",
            asked="".join(structure.species),
            found="".join(answer.species),
        )
    change = np.array(answer.lattice_ang) - np.array(structure.lattice_ang)
    if not np.abs(change).max() < _CELL_ANG:
        raise LabelError(
            "the engine changed the cell",
            fix="let it run a static calculation",
            largest_change_ang=f"{np.abs(change).max():.2g}",
        )


def _check_shape(name: str, array: np.ndarray[Any, Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise LabelError(
            "the engine's answer has another shape",
            fix="correct the engine",
            of=name,
            expected=shape,
            found=array.shape,
        )


def _check_size(name: str, array: np.ndarray[Any, Any], limit: float, unit: str) -> None:
    if not np.isfinite(array).all():
        raise LabelError("a label is not finite", fix="look at the structure", of=name)
    largest = float(np.abs(array).max())
    if largest > limit:
        raise LabelError(
            "a label is beyond all sense",
            fix="look at the structure",
            of=name,
            found=f"{largest:.3g} {unit}",
            limit=f"{limit:g} {unit}",
        )

"""One run of the stand-in for VASP: inputs in the working folder, numbers by a potential."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.optimize import BFGS, FIRE
from ase.optimize.optimize import Optimizer

import lycb_flows.testing.vasp_failures as failures
from lycb_flows.crystals.cell_filter import CellFilter
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.testing.vasp_files import IonicStep, Outputs
from lycb_flows.testing.vasp_task import Task, read_task
from lycb_flows.units import EV_PER_ANG3_GPA

_GPA_KB = 10.0
_ENTROPY_EV_PER_ATOM = 1e-6
"""T S of smeared electrons, made up so that free energy and energy at sigma -> 0 differ."""
_FIRST_ERROR_EV_PER_ATOM, _SHRINKS_BY = 2.0, 0.05
_STUCK_EV_PER_ATOM = 1e-3


def run() -> int:
    """Run in the working folder.

    Returns
    -------
    int
        The exit code.
    """
    folder = Path.cwd()
    failure = failures.planned(folder, os.environ.get("LYCB_STAND_IN_FAILS", ""))
    name = os.environ.get("LYCB_STAND_IN_POTENTIAL", "toy-teacher")
    task = read_task(folder)
    outputs = Outputs(folder, task, name)
    outputs.begin()
    failures.strike_early(failure, outputs)
    calculator = _calculator(name)  # imports torch: seconds
    converges = failure != failures.UNCONVERGED
    for atoms in _ionic_steps(task, calculator):
        outputs.add(_as_step(task, atoms, converges=converges), stress=_stress(failure, task))
    outputs.end()
    return failures.strike_late(failure, outputs)


def warm() -> None:
    """Import what only a run needs, in addition to this module's own imports.

    Loading a potential imports torch, which takes seconds.
    """
    _calculator("toy-teacher")


def _stress(failure: str, task: Task) -> bool:
    """Return whether VASP would write a stress, which it never does for ISIF=0."""
    return failure != failures.NO_STRESS and task.isif != 0


def _calculator(name: str) -> BaseCalculator:
    source = find_model(name)
    return load_potential(source.model, source.weights).calculator()


def _ionic_steps(task: Task, calculator: BaseCalculator) -> Iterator[Atoms]:
    """Yield the structures of a run, each with its numbers in its calculator."""
    atoms = task.atoms.copy()
    atoms.calc = calculator
    if task.nsw <= 0 or task.ibrion < 0:
        yield atoms
        return
    moving: Any = CellFilter(atoms) if task.relaxes_cell else atoms
    walk: type[Optimizer] = FIRE if task.ibrion == 3 and task.iopt == 7 else BFGS  # noqa: PLR2004 - VASP's numbers
    with warnings.catch_warnings():
        # the filter takes a logarithm of the strain in every step; scipy misses 1e-13 in it
        warnings.filterwarnings("ignore", "logm result may be inaccurate", RuntimeWarning)
        for n_done, _ in enumerate(
            walk(moving, logfile=None).irun(fmax=task.force_limit_ev_per_ang), start=1
        ):
            yield atoms
            if n_done == task.nsw:
                return


def _as_step(task: Task, atoms: Atoms, *, converges: bool) -> IonicStep:
    energy_ev = float(atoms.get_potential_energy())
    stress_gpa = atoms.get_stress(voigt=False) * EV_PER_ANG3_GPA
    return IonicStep(
        lattice_ang=np.array(atoms.cell.array),
        frac_coords=atoms.get_scaled_positions(),
        energy_ev=energy_ev,
        entropy_ev=_ENTROPY_EV_PER_ATOM * len(atoms),
        forces_ev_per_ang=atoms.get_forces(),
        stress_kb=-_GPA_KB * stress_gpa,  # VASP counts compression positive
        electronic_energies_ev=_electronic_steps(task, energy_ev, converges=converges),
    )


def _electronic_steps(task: Task, energy_ev: float, *, converges: bool) -> list[float]:
    """Return energies that converge to the given one, or that alternate around it."""
    n_atoms = len(task.atoms)
    if not converges:
        swing = _STUCK_EV_PER_ATOM * n_atoms
        return [energy_ev + swing * (-1) ** n for n in range(task.nelm)]
    errors = [_FIRST_ERROR_EV_PER_ATOM * n_atoms]
    while errors[-1] > task.ediff_ev or len(errors) < task.nelmin:
        errors.append(errors[-1] * _SHRINKS_BY)
    return [energy_ev + error for error in errors] + [energy_ev]

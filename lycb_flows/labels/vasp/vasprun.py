"""vasprun.xml read, judged and converted: the same for our runs of VASP and for those of others.

`check_converged` decides whether a step of a run has converged. `answer_of` converts its numbers:
VASP writes stresses in kB, compression positive, and its e_0_energy is the energy extrapolated to
sigma -> 0, like MPtrj's and GPAW's.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.io.vasp.outputs import Vasprun

from lycb_flows.errors import LabelError, first_line
from lycb_flows.labels.checks import VASP_KB, Answer
from lycb_flows.machine.files import UNREADABLE

Step = Mapping[str, Any]
"""An ionic step, as pymatgen reads it."""
Mesh = tuple[int, int, int]

_ROUNDING_EV = 1e-8
"""Largest change of an energy by the digits of vasprun.xml."""
_WRONG_ENERGY_EV = 1e-7
_UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    *UNREADABLE,
)
"""Errors that pymatgen raises for a file that is missing, cut or of another kind."""


def read_vasprun(path: Path) -> Vasprun:
    """Return the run that a vasprun.xml, packed or not, is of.

    Raises
    ------
    LabelError
        When it is missing, cut, or without an ionic step.
    """
    try:
        with warnings.catch_warnings():
            # pymatgen warns of unconverged runs, which `check_converged` judges, and of POTCARs
            # that are not beside the file, of which nothing is read
            warnings.simplefilter("ignore")
            run = Vasprun(path, parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    except _UNREADABLE as err:
        reason = f"{type(err).__name__}: {first_line(err)}"[:200]
        raise _not_readable(reason) from err
    if not run.ionic_steps:
        raise _not_readable("it has no ionic step")
    return run


def _not_readable(reason: str) -> LabelError:
    return LabelError(
        "no readable vasprun.xml",
        fix="look at the run's files; `lycb show KEY --logs FOLDER` has those of our own runs",
        reason=reason,
    )


def program_of(run: Vasprun) -> str:
    """Return the program that wrote a file, in lower case."""
    return " ".join(str(run.generator.get("program", "none")).split()).casefold()


def mesh_of(run: Vasprun) -> Mesh | None:
    """Return the divisions of a run's mesh of k-points; None for listed points."""
    if run.kpoints.num_kpts > 0:
        return None
    first, second, third = (int(n) for n in run.kpoints.kpts[0])
    return first, second, third


def check_converged(run: Vasprun, step: Step, ediff_ev: float | None = None) -> None:
    """Check that the electrons of a step came to rest.

    They did when VASP stopped iterating before NELM, and the free energy changed by EDIFF at
    most in the last iteration of the ground state.

    Parameters
    ----------
    run
        The run.
    step
        One of its ionic steps.
    ediff_ev
        EDIFF as it was asked for, in eV; None for the run's own.

    Raises
    ------
    LabelError
        When they did not.
    """
    iterations = step["electronic_steps"]
    if not iterations or len(iterations) >= int(run.parameters["NELM"]):
        raise LabelError(
            "the electrons have not converged",
            fix="look at the structure, or raise NELM",
            iterations=len(iterations),
        )
    limit_ev = float(run.parameters["EDIFF"]) if ediff_ev is None else ediff_ev
    last_two = _ground_state_of(step)[-2:]
    energies = [iteration["e_fr_energy"] for iteration in last_two if "e_fr_energy" in iteration]
    change_ev = abs(energies[-1] - energies[0]) if len(energies) > 1 else 0.0
    if not change_ev <= limit_ev + _ROUNDING_EV:
        raise LabelError(
            "the energy still changed in the last electronic step",
            fix="look at the structure",
            change_ev=f"{change_ev:.2g}",
            limit_ev=limit_ev,
        )


def answer_of(
    step: Step, places: Sequence[int] | None = None, notes: tuple[str, ...] = ()
) -> Answer:
    """Return a step's numbers in ASE's units and signs.

    Parameters
    ----------
    step
        An ionic step.
    places
        Where each atom of the answer is in the step; None keeps the step's order.
    notes
        Remarks on the numbers, which the label keeps as warnings.

    Raises
    ------
    LabelError
        When energy, forces or stress are missing.
    """
    names = {"energy": "e_0_energy", "forces": "forces", "stress": "stress"}
    missing = [name for name, tag in names.items() if step.get(tag) is None]
    if missing:
        raise LabelError(
            "no label without energy, forces and stress",
            fix="VASP writes a stress where ISIF is not 0",
            missing=" and ".join(missing),
        )
    symbols = [site.specie.symbol for site in step["structure"]]
    forces = np.asarray(step["forces"], dtype=float)
    if places is not None and len(places) == len(symbols) == len(forces):
        symbols, forces = [symbols[place] for place in places], forces[list(places)]
    return Answer(
        species=tuple(symbols),
        lattice_ang=_rows(step["structure"].lattice.matrix),
        energy_ev=energy_of(step),
        forces_ev_per_ang=_rows(forces),
        stress_ev_per_ang3=_rows(np.asarray(step["stress"], dtype=float) / VASP_KB),
        notes=notes,
    )


def energy_of(step: Step) -> float:
    """Return a step's energy at sigma -> 0 in eV.

    In the last block of a step some versions of VASP write another number under its name;
    pymatgen's `final_energy` corrects that of a run's last step in the same way.
    """
    energy_ev = step["e_0_energy"]
    last = (_ground_state_of(step) or [{}])[-1]
    if "e_fr_energy" in step and {"e_0_energy", "e_fr_energy"} <= last.keys():
        entropy_ev = last["e_0_energy"] - last["e_fr_energy"]
        from_free_ev = np.round(entropy_ev + step["e_fr_energy"], 8)
        if np.abs(energy_ev - from_free_ev) > _WRONG_ENERGY_EV:
            energy_ev = from_free_ev
    return float(energy_ev)


def _ground_state_of(step: Step) -> Sequence[Mapping[str, float]]:
    """Return the iterations of the ground state.

    Those of a response to fields (LEPSILON) follow in the same list. VASP breaks the energy of
    the ground state's last iteration down into more terms than those of the others but the first.
    """
    iterations: list[Mapping[str, float]] = step["electronic_steps"]
    most = max(map(len, iterations), default=0)
    last = max((i for i, terms in enumerate(iterations) if len(terms) == most), default=0)
    return iterations[: last + 1] if last else iterations


def _rows(array: np.ndarray[Any, Any]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in np.atleast_2d(np.asarray(array, dtype=float)).tolist())

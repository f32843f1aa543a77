"""The results of our own VASP runs, or the reason why there are none.

The inputs of our own runs are known, so it is checked that VASP used them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core.structure import Structure as PymatgenStructure
from pymatgen.io.vasp.inputs import Kpoints
from pymatgen.io.vasp.outputs import Vasprun

from lycb_flows.crystals import canonical_structure
from lycb_flows.errors import LabelError
from lycb_flows.labels import VASP_STAND_IN, Answer, Potcars, Theory
from lycb_flows.labels.vasp.inputs import VaspInputs
from lycb_flows.labels.vasp.policy import Inputs, find_changes
from lycb_flows.labels.vasp.vasprun import (
    answer_of,
    check_converged,
    mesh_of,
    program_of,
    read_vasprun,
)
from lycb_flows.schemas import Structure

_SAME_PLACE_ANG = 1e-6
_EFFECTIVE = {"ENCUT": "ENMAX", "ISPIN": "ISPIN", "ISMEAR": "ISMEAR", "SIGMA": "SIGMA"}
"""INCAR's name -> the name among the parameters that VASP says it worked with."""
_REL = 1e-6


@dataclass(frozen=True)
class Static:
    """The result of a static run."""

    answer: Answer
    corrections: tuple[str, ...]


@dataclass(frozen=True)
class VaspRelaxation:
    """The result of a relaxation by VASP itself."""

    structure: Structure
    n_steps: int
    corrections: tuple[str, ...]


def read_static(folder: Path, inputs: VaspInputs) -> Static:
    """Return the answer of a static run that custodian has accepted.

    Parameters
    ----------
    folder
        The folder of the run.
    inputs
        The inputs that the level of theory gives.

    Raises
    ------
    LabelError
        When a check fails; the message names it.
    """
    result, corrections = _read_checked(folder, inputs)
    step = result.ionic_steps[-1]
    check_place(step["structure"], inputs)
    places = tuple(int(place) for place in np.argsort(inputs.order))
    return Static(answer_of(step, places, notes_of(result, inputs.theory)), corrections)


def notes_of(result: Vasprun, theory: Theory) -> tuple[str, ...]:
    """Return the remarks of a label about the program that made it.

    Parameters
    ----------
    result
        The run.
    theory
        The level of theory.

    Returns
    -------
    tuple of str
        Empty for VASP; the stand-in's potential for the stand-in.
    """
    if theory.code != VASP_STAND_IN:
        return ()
    potential = str(result.generator.get("subversion", "")).strip().casefold()
    return (f"label by VASP's stand-in with the potential {potential}, not by DFT",)


def read_relaxed(folder: Path, inputs: VaspInputs) -> VaspRelaxation:
    """Return the last structure of a relaxation by VASP itself, atoms in our structure's order.

    Parameters
    ----------
    folder
        The folder of the run.
    inputs
        The inputs that the level of theory gives.

    Raises
    ------
    LabelError
        When a check fails; the message names it.
    """
    result, corrections = _read_checked(folder, inputs)
    final = result.final_structure
    if len(final) != len(inputs.order):
        raise LabelError("VASP lost atoms", fix="see the archive", found=len(final))
    sites = [final[i] for i in np.argsort(inputs.order)]
    structure = canonical_structure(PymatgenStructure.from_sites(sites))
    return VaspRelaxation(structure, len(result.ionic_steps), corrections)


def _read_checked(folder: Path, inputs: VaspInputs) -> tuple[Vasprun, tuple[str, ...]]:
    """Return a converged run with the stated inputs, and what custodian changed of its solver."""
    result = read_vasprun(folder / "vasprun.xml")
    check_program(result, inputs.theory)
    check_potcars(result, inputs)
    corrections = check_inputs(folder, result, inputs)
    check_converged(result, result.ionic_steps[-1], float(inputs.incar["EDIFF"]))
    return result, corrections


def quarantined(*, saw: str, changes: Iterable[str]) -> LabelError:
    """Return the error of a label that would be of another physics.

    Parameters
    ----------
    saw
        What was seen in the run: custodian's errors, or where the changes were found.
    changes
        The changes of physics, as "ENCUT: 520 -> 400".
    """
    return LabelError(
        "quarantined: VASP's inputs would be of another physics than asked",
        fix="look at the structure; a level of theory is never changed",
        saw=saw,
        change="; ".join(changes),
    )


# -- checks -----------------------------------------------------------------------------------


def check_program(result: Vasprun, theory: Theory) -> None:
    """Check that the stated version of VASP wrote a file, or the stand-in where that is stated.

    Parameters
    ----------
    result
        The run.
    theory
        The level of theory.

    Raises
    ------
    LabelError
        When another program or version wrote it.
    """
    program = program_of(result)
    if program != theory.code:
        raise LabelError(
            "another program wrote vasprun.xml",
            fix="correct LYCB_VASP_COMMAND",
            stated=theory.code,
            found=program,
        )
    if not theory.covers_version(str(result.vasp_version).strip()):
        raise LabelError(
            "another version of VASP than the level of theory states",
            fix="correct LYCB_VASP_COMMAND",
            stated=theory.version,
            found=result.vasp_version,
        )


def check_potcars(result: Vasprun, inputs: VaspInputs) -> None:
    """Check that VASP read POTCARs of the stated titles; of the stand-in, that the symbols agree.

    Parameters
    ----------
    result
        The run.
    inputs
        The inputs that the level of theory gives.

    Raises
    ------
    LabelError
        When a title or symbol differs.
    """
    potcars = inputs.theory.paw
    if not isinstance(potcars, Potcars):
        raise LabelError("a level of theory without POTCARs", fix="state them")
    stated = [potcars.of(element).title for element in inputs.poscar.site_symbols]
    found = [" ".join(title.split()) for title in result.potcar_symbols]
    if inputs.theory.code == VASP_STAND_IN:
        stated, found = ([title.split()[1] for title in titles] for titles in (stated, found))
    if stated != found:
        raise LabelError(
            "VASP read other POTCARs than the level of theory states",
            fix="correct PMG_VASP_PSP_DIR",
            stated=", ".join(stated),
            found=", ".join(found),
        )


def check_inputs(folder: Path, result: Vasprun, inputs: VaspInputs) -> tuple[str, ...]:
    """Check that the last run was of the stated physics, and return the allowed changes.

    Parameters
    ----------
    folder
        The folder of the run, with the inputs of the last run.
    result
        The run; VASP writes there which parameters it used.
    inputs
        The inputs that the level of theory gives.

    Raises
    ------
    LabelError
        When a change decides numbers.
    """
    original = Inputs(dict(inputs.incar), inputs.kpoints, inputs.poscar)
    changes = find_changes(original, Inputs.from_folder(folder))
    physics = [*changes.physics, *_differences(result, inputs)]
    if physics:
        raise quarantined(saw="the files of the last run", changes=physics)
    return changes.allowed


def _differences(result: Vasprun, inputs: VaspInputs) -> list[str]:
    """Return the differences between the stated inputs and those that VASP says it used."""
    found = []
    for name, effective in _EFFECTIVE.items():
        stated, used = inputs.incar[name], result.parameters.get(effective)
        if used is not None and not np.isclose(float(used), float(stated), rtol=_REL):
            found.append(f"{name}: {stated} -> {used} (vasprun.xml)")
    kpoints = result.kpoints
    if kpoints.style == Kpoints.supported_modes.Gamma:
        used_mesh = mesh_of(result)
        if used_mesh != inputs.kpoint_mesh:
            found.append(f"k-points: {inputs.kpoint_mesh} -> {used_mesh} (vasprun.xml)")
    return found


def check_place(structure: Any, inputs: VaspInputs) -> None:  # noqa: ANN401 - pymatgen's
    """Check that VASP computed the atoms where they were; composition and cell: `checked_label`.

    Parameters
    ----------
    structure
        The structure that VASP computed.
    inputs
        The inputs that the level of theory gives, atoms in the same order.

    Raises
    ------
    LabelError
        When an atom has moved.
    """
    expected = inputs.poscar.structure
    if len(structure) != len(expected):
        return
    steps = structure.frac_coords - expected.frac_coords
    moved_ang = float(np.abs((steps - np.round(steps)) @ expected.lattice.matrix).max())
    if not moved_ang < _SAME_PLACE_ANG:
        raise LabelError(
            "VASP moved the atoms", fix="see the archive", largest_move_ang=f"{moved_ang:.2g}"
        )

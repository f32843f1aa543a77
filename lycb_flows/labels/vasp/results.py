"""What a run of our own gave, or the reason why it gave nothing.

A run of ours is one whose inputs are known: it is checked that VASP did what was asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core.structure import Structure
from pymatgen.io.vasp.inputs import Kpoints
from pymatgen.io.vasp.outputs import Vasprun

from lycb_flows import schemas
from lycb_flows.crystals import canonical_structure
from lycb_flows.errors import LabelError
from lycb_flows.labels.checks import Answer
from lycb_flows.labels.theory import VASP_STAND_IN, Potcars, Theory
from lycb_flows.labels.vasp.inputs import VaspInputs
from lycb_flows.labels.vasp.policy import Inputs, find_changes
from lycb_flows.labels.vasp.vasprun import (
    answer_of,
    check_converged,
    mesh_of,
    program_of,
    read_vasprun,
)

_SAME_PLACE_ANG = 1e-6
_EFFECTIVE = {"ENCUT": "ENMAX", "ISPIN": "ISPIN", "ISMEAR": "ISMEAR", "SIGMA": "SIGMA"}
"""INCAR's name -> the name among the parameters that VASP says it worked with."""
_REL = 1e-6


@dataclass(frozen=True)
class Static:
    """What a static run gives."""

    answer: Answer
    corrections: tuple[str, ...]


@dataclass(frozen=True)
class VaspRelaxation:
    """What a relaxation by VASP itself gives."""

    structure: schemas.Structure
    n_steps: int
    corrections: tuple[str, ...]


def read_static(folder: Path, inputs: VaspInputs) -> Static:
    """The answer of a run that custodian is content with.

    Raises
    ------
    LabelError
        Naming the first check that failed.
    """
    result, corrections = _read_checked(folder, inputs)
    step = result.ionic_steps[-1]
    check_place(step["structure"], inputs)
    places = tuple(int(place) for place in np.argsort(inputs.order))
    return Static(answer_of(step, places, _notes(result, inputs.theory)), corrections)


def _notes(result: Vasprun, theory: Theory) -> tuple[str, ...]:
    if theory.code != VASP_STAND_IN:
        return ()
    potential = str(result.generator.get("subversion", "")).strip().casefold()
    return (f"label by VASP's stand-in with the potential {potential}, not by DFT",)


def read_relaxed(folder: Path, inputs: VaspInputs) -> VaspRelaxation:
    """Where a relaxation by VASP itself came to rest, atoms in the structure's order.

    Raises
    ------
    LabelError
        Naming the first check that failed.
    """
    result, corrections = _read_checked(folder, inputs)
    final = result.final_structure
    if len(final) != len(inputs.order):
        raise LabelError("VASP lost atoms", fix="see the archive", found=len(final))
    sites = [final[i] for i in np.argsort(inputs.order)]
    structure = canonical_structure(Structure.from_sites(sites))
    return VaspRelaxation(structure, len(result.ionic_steps), corrections)


def _read_checked(folder: Path, inputs: VaspInputs) -> tuple[Vasprun, tuple[str, ...]]:
    """A converged run of what was asked, and what custodian changed of how it got there."""
    result = read_vasprun(folder / "vasprun.xml")
    check_program(result, inputs.theory)
    check_potcars(result, inputs)
    corrections = check_inputs(folder, result, inputs)
    check_converged(result, result.ionic_steps[-1], float(inputs.incar["EDIFF"]))
    return result, corrections


def quarantined(*, saw: str, changes: Iterable[str]) -> LabelError:
    """The reason of a label that would be of another physics."""
    return LabelError(
        "quarantined: VASP's inputs would be of another physics than asked",
        fix="look at the structure; a level of theory never bends",
        saw=saw,
        change="; ".join(changes),
    )


# -- checks -----------------------------------------------------------------------------------


def check_program(result: Vasprun, theory: Theory) -> None:
    """Written by VASP of the stated version, or by its stand-in where that was asked."""
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
    """The titles that VASP read are the stated ones; the stand-in has only symbols."""
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
    """Whether the last run was of the physics asked; what else was changed."""
    asked = Inputs(dict(inputs.incar), inputs.kpoints, inputs.poscar)
    changes = find_changes(asked, Inputs.from_folder(folder))
    physics = [*changes.physics, *_differences(result, inputs)]
    if physics:
        raise quarantined(saw="the files of the last run", changes=physics)
    return changes.allowed


def _differences(result: Vasprun, inputs: VaspInputs) -> list[str]:
    """Between what was asked and what VASP says it worked with."""
    found = []
    for name, effective in _EFFECTIVE.items():
        asked, used = inputs.incar[name], result.parameters.get(effective)
        if used is not None and not np.isclose(float(used), float(asked), rtol=_REL):
            found.append(f"{name}: {asked} -> {used} (vasprun.xml)")
    kpoints = result.kpoints
    if kpoints.style == Kpoints.supported_modes.Gamma:
        used_mesh = mesh_of(result)
        if used_mesh != inputs.kpoint_mesh:
            found.append(f"k-points: {inputs.kpoint_mesh} -> {used_mesh} (vasprun.xml)")
    return found


def check_place(structure: Any, inputs: VaspInputs) -> None:  # noqa: ANN401 - pymatgen's
    """VASP computed the structure that was asked; composition and cell: `checked_label`."""
    asked = inputs.poscar.structure
    if len(structure) != len(asked):
        return
    steps = structure.frac_coords - asked.frac_coords
    moved_ang = float(np.abs((steps - np.round(steps)) @ asked.lattice.matrix).max())
    if not moved_ang < _SAME_PLACE_ANG:
        raise LabelError(
            "VASP moved the atoms", fix="see the archive", largest_move_ang=f"{moved_ang:.2g}"
        )

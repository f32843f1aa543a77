"""vasprun.xml as an answer, or the reason why it is none.

VASP writes stresses in kB, compression positive. Its e_0_energy is the energy extrapolated to
sigma -> 0; in the last block of a step some versions write another number under this name,
which pymatgen's `final_energy` corrects.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core.structure import Structure
from pymatgen.io.vasp.inputs import Kpoints
from pymatgen.io.vasp.outputs import Vasprun

from lycb_flows import schemas
from lycb_flows.crystals.structures import canonical_structure
from lycb_flows.errors import LabelError
from lycb_flows.labels.checks import VASP_KB, Answer
from lycb_flows.labels.theory import VASP_STAND_IN, Potcars, Theory
from lycb_flows.labels.vasp.inputs import VaspInputs
from lycb_flows.labels.vasp.policy import Inputs, find_changes

_ROUNDING_EV = 1e-8
"""Of vasprun.xml."""
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
    check_place(result.ionic_steps[-1]["structure"], inputs)
    return Static(answer_of(result, inputs), corrections)


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
    check_converged(result, float(inputs.incar["EDIFF"]))
    return result, corrections


def read_vasprun(path: Path) -> Vasprun:
    """The file, read by pymatgen.

    Raises
    ------
    LabelError
        When it is missing, cut, or without a step.
    """
    try:
        with warnings.catch_warnings():
            # pymatgen warns of what is checked below: unconverged runs, POTCARs not beside it
            warnings.simplefilter("ignore")
            result = Vasprun(path, parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    except (OSError, SyntaxError, LookupError, TypeError, ValueError, AttributeError) as err:
        reason = f"{type(err).__name__}: {err}"[:200]
        raise LabelError("no readable vasprun.xml", fix="see the archive", reason=reason) from err
    return result


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
    program = " ".join(str(result.generator.get("program", "none")).split()).casefold()
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
        used_mesh = tuple(int(n) for n in kpoints.kpts[0])
        if used_mesh != inputs.kpoint_mesh:
            found.append(f"k-points: {inputs.kpoint_mesh} -> {used_mesh} (vasprun.xml)")
    return found


def check_converged(result: Vasprun, ediff_ev: float) -> None:
    """The electrons of the last step have come to rest."""
    steps = result.ionic_steps[-1]["electronic_steps"]
    if not steps or not result.converged_electronic:
        raise LabelError(
            "the electrons have not converged", fix="look at the structure", iterations=len(steps)
        )
    energies = [one["e_fr_energy"] for one in steps[-2:] if "e_fr_energy" in one]
    change_ev = abs(energies[-1] - energies[0]) if len(energies) > 1 else 0.0
    if not change_ev <= ediff_ev + _ROUNDING_EV:
        raise LabelError(
            "the energy still changed in the last electronic step",
            fix="look at the structure",
            change_ev=f"{change_ev:.2g}",
            limit_ev=ediff_ev,
        )


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


def answer_of(result: Vasprun, inputs: VaspInputs) -> Answer:
    """The last step's numbers in ASE's units and signs, atoms in the structure's order.

    Raises
    ------
    LabelError
        When forces or stress are missing.
    """
    step: Mapping[str, Any] = result.ionic_steps[-1]
    missing = [name for name in ("forces", "stress") if step.get(name) is None]
    if missing:
        raise LabelError(
            "no label without energy, forces and stress",
            fix="VASP writes a stress where ISIF is not 0",
            missing=", ".join(missing),
        )
    back = np.argsort(inputs.order)
    symbols = [site.specie.symbol for site in step["structure"]]
    potential = str(result.generator.get("subversion", "")).strip().casefold()
    note = f"label by VASP's stand-in with the potential {potential}, not by DFT"
    return Answer(
        species=tuple(symbols[i] for i in back) if len(symbols) == len(back) else tuple(symbols),
        lattice_ang=_rows(step["structure"].lattice.matrix),
        energy_ev=float(result.final_energy),
        forces_ev_per_ang=_rows(np.asarray(step["forces"])[back]),
        stress_ev_per_ang3=_rows(np.asarray(step["stress"]) / VASP_KB),
        notes=(note,) if inputs.theory.code == VASP_STAND_IN else (),
    )


def _rows(array: Any) -> tuple[tuple[float, ...], ...]:  # noqa: ANN401 - anything of numbers
    return tuple(tuple(row) for row in np.asarray(array, dtype=float).tolist())

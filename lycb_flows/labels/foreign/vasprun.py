"""Labels in VASP runs that others made; `vasp_presets.py` finds their level of theory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pymatgen.io.vasp.outputs import Vasprun

from lycb_flows.crystals import canonical_structure
from lycb_flows.errors import LabelError
from lycb_flows.labels import Level, Theory, checked_label
from lycb_flows.labels.foreign.reading import ForeignLabel
from lycb_flows.labels.foreign.vasp_presets import differences_from, level_of_run
from lycb_flows.labels.vasp.results import check_program, notes_of
from lycb_flows.labels.vasp.vasprun import (
    Step,
    answer_of,
    check_converged,
    mesh_of,
    program_of,
    read_vasprun,
)
from lycb_flows.schemas import Label, Structure

Place = tuple[int, ForeignLabel | LabelError]
"""Number of an ionic step, from 0, and its label or the error that says why it is none."""
_SAME_PLACE_ANG = 1e-6


def read_run(path: Path, *, all_steps: bool) -> tuple[Level, list[Place]]:
    """Return the level of a run, and the labels of its steps.

    Parameters
    ----------
    path
        The vasprun.xml.
    all_steps
        Whether all ionic steps are wanted, or only the last one.

    Returns
    -------
    tuple
        The level; and for each step its number, from 0, with the label or the error that says why
        it is none.

    Raises
    ------
    LabelError
        When no step of this run can be a label.
    """
    run = read_vasprun(path)
    _check_run(run)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of a functional that it does not know
        level = level_of_run(run)
    steps = list(enumerate(run.ionic_steps))
    return level, list(_labels(run, steps if all_steps else steps[-1:]))


def _check_run(run: Vasprun) -> None:
    if run.parameters.get("PSTRESS"):
        raise LabelError(
            "its energies are enthalpies",
            fix="run a static calculation without PSTRESS",
            PSTRESS=run.parameters["PSTRESS"],
        )
    words = " ".join(map(str, [*run.generator.values(), run.incar.get("SYSTEM", "")])).lower()
    if program_of(run) != "vasp" or "stand-in" in words:
        raise LabelError(
            "no file of VASP's",
            fix="import what made it by another way, under its own name",
            program=words,
        )
    if run.incar.get("ML_LMLFF"):
        raise LabelError(
            "its numbers are a force field's", fix="run a static calculation", ML_LMLFF=True
        )


def _labels(run: Vasprun, steps: Sequence[tuple[int, Step]]) -> Iterator[Place]:
    for place, step in steps:
        try:
            yield place, _label_of(run, place, step)
        except LabelError as err:
            yield place, err


def _label_of(run: Vasprun, place: int, step: Step) -> ForeignLabel:
    check_converged(run, step)
    answer = answer_of(step)
    structure = canonical_structure(step["structure"])
    return ForeignLabel(place, structure, answer, {"kpoint_mesh": mesh_of(run)})


# -- runs at a stated level ------------------------------------------------------------------


def label_of_run(path: Path, structure: Structure, theory: Theory) -> Label:
    """Return the label that a static run of VASP gives, whoever started it.

    Parameters
    ----------
    path
        The vasprun.xml, packed or not.
    structure
        The structure to be labelled, atoms in any order.
    theory
        The level of theory that the run must be at.

    Raises
    ------
    LabelError
        When the run is of another level or structure, has not converged, or fails a check.
    """
    run = read_vasprun(path)
    check_program(run, theory)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of a functional that it does not know
        different = differences_from(run, theory)
    if different:
        raise LabelError(
            "the run is of another level of theory than was asked for",
            fix="give its Maker the inputs of the level (`LevelSetGenerator`)",
            level=theory.name,
            differs="; ".join(different),
        )
    step = run.ionic_steps[-1]
    check_converged(run, step)
    computed = canonical_structure(step["structure"])
    answer = answer_of(step, _places_of(structure, computed), notes_of(run, theory))
    return checked_label(structure, theory, answer, kpoint_mesh=mesh_of(run))


def structure_of_run(path: Path) -> Structure:
    """Return the structure of a run's last step, given its vasprun.xml."""
    return canonical_structure(read_vasprun(path).ionic_steps[-1]["structure"])


def _places_of(structure: Structure, computed: Structure) -> list[int]:
    """Return where each atom of a structure is among those that were computed."""
    steps = np.array(computed.frac_coords)[None] - np.array(structure.frac_coords)[:, None]
    moves_ang = (steps - np.round(steps)) @ np.array(structure.lattice_ang)
    distances_ang = np.linalg.norm(moves_ang, axis=-1)
    same = np.array(structure.species)[:, None] == np.array(computed.species)[None]
    distances_ang = np.where(same, distances_ang, np.inf)
    places = [int(place) for place in distances_ang.argmin(axis=1)]
    if (
        sorted(places) != list(range(len(places)))
        or not (distances_ang.min(axis=1) < _SAME_PLACE_ANG).all()
    ):
        raise LabelError("the run is of another structure", fix="look at its POSCAR")
    return places

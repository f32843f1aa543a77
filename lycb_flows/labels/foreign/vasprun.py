"""Labels in the runs of VASP that others made; their level of theory: `vasp_presets.py`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from pymatgen.io.vasp.outputs import Vasprun

from lycb_flows.crystals import canonical_structure
from lycb_flows.errors import LabelError
from lycb_flows.labels.foreign.reading import ForeignLabel
from lycb_flows.labels.foreign.stated_level import Level
from lycb_flows.labels.foreign.vasp_presets import level_of_run
from lycb_flows.labels.vasp.vasprun import (
    Step,
    answer_of,
    check_converged,
    mesh_of,
    program_of,
    read_vasprun,
)

Place = tuple[int, ForeignLabel | LabelError]
"""An ionic step, from 0, and what it gives."""


def read_run(path: Path, *, all_steps: bool) -> tuple[Level, list[Place]]:
    """Return the level of a run, and what its steps give.

    Parameters
    ----------
    path
        Its vasprun.xml.
    all_steps
        Whether all ionic steps are wanted, or the last one.

    Raises
    ------
    LabelError
        When no step of this run can be a label.
    """
    run = read_vasprun(path)
    _check_run(run)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen's, of a functional that it does not know
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

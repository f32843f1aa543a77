"""Labels from vasprun.xml, by pymatgen; their level of theory: `vasp_presets.py`.

Energies are sigma -> 0, as MPtrj's and GPAW's. vasprun.xml's stress is in kB, compression
positive; ours is tension positive.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pymatgen.io.vasp.outputs import Vasprun

from lycb_flows import schemas
from lycb_flows.crystals.structures import canonical_structure
from lycb_flows.errors import LabelError
from lycb_flows.labels.checks import VASP_KB
from lycb_flows.labels.foreign.reading import ForeignLabel, answer_of, check_complete
from lycb_flows.labels.foreign.stated_level import Level
from lycb_flows.labels.foreign.vasp_presets import level_of_run

Place = tuple[int, ForeignLabel | LabelError]
"""An ionic step, from 0, and what it gives."""


def read_vasprun(path: Path, *, all_steps: bool) -> tuple[Level, list[Place]]:
    """The level of a run, and its steps: all of them, or the last.

    Raises
    ------
    LabelError
        When no step of this run can be a label.
    """
    with warnings.catch_warnings():
        # pymatgen warns of POTCARs that are not beside the file; nothing of them is read
        warnings.simplefilter("ignore")
        run = Vasprun(path, parse_dos=False, parse_eigen=False, parse_potcar_file=False)
        _check_run(run)
        level = level_of_run(run)
    steps = list(enumerate(run.ionic_steps))
    return level, list(_labels(run, steps if all_steps else steps[-1:]))


def _check_run(run: Vasprun) -> None:
    if not run.ionic_steps:
        raise LabelError("the run has no ionic step", fix="let it end, then import it")
    if run.parameters.get("PSTRESS"):
        raise LabelError(
            "its energies are enthalpies",
            fix="run a static calculation without PSTRESS",
            PSTRESS=run.parameters["PSTRESS"],
        )
    words = " ".join(map(str, [*run.generator.values(), run.incar.get("SYSTEM", "")])).lower()
    if str(run.generator.get("program")).lower() != "vasp" or "stand-in" in words:
        raise LabelError(
            "no file of VASP's",
            fix="import what made it by another way, under its own name",
            program=words,
        )
    if run.incar.get("ML_LMLFF"):
        raise LabelError(
            "its numbers are a force field's", fix="run a static calculation", ML_LMLFF=True
        )


def mesh_of(run: Vasprun) -> tuple[int, int, int] | None:
    """The divisions of a mesh; None for listed points."""
    if run.kpoints.num_kpts > 0:
        return None
    first, second, third = (int(n) for n in run.kpoints.kpts[0])
    return first, second, third


def _labels(run: Vasprun, steps: list[tuple[int, dict[str, Any]]]) -> Iterator[Place]:
    for place, step in steps:
        try:
            yield place, _label_of(place, step, int(run.parameters["NELM"]), mesh_of(run))
        except LabelError as err:
            yield place, err


def _label_of(
    place: int, step: Mapping[str, Any], max_iterations: int, mesh: tuple[int, int, int] | None
) -> ForeignLabel:
    electronic = step["electronic_steps"]
    if len(electronic) >= max_iterations:
        raise LabelError(
            "the electrons have not converged", fix="raise NELM", iterations=len(electronic)
        )
    check_complete(
        {
            "energy": step.get("e_0_energy"),
            "forces": step.get("forces"),
            "stress": step.get("stress"),
        }
    )
    structure: schemas.Structure = canonical_structure(step["structure"])
    answer = answer_of(
        structure, _energy_ev(step), step["forces"], step["stress"], per_ev_per_ang3=VASP_KB
    )
    return ForeignLabel(place, structure, answer, {"kpoint_mesh": mesh})


def _energy_ev(step: Mapping[str, Any]) -> float:
    """Sigma -> 0; some versions of VASP write another number here (pymatgen: final_energy)."""
    last = step["electronic_steps"][-1]
    if "e_0_energy" not in last or "e_fr_energy" not in last:
        return float(step["e_0_energy"])
    return float(step["e_fr_energy"] + last["e_0_energy"] - last["e_fr_energy"])

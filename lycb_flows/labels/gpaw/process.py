"""One GPAW calculation: `python -m lycb_flows.labels.gpaw.process FOLDER`.

Reads `question.json` in the folder and leaves `answer.json`, or `reason.txt` when GPAW has no
answer. No other module imports GPAW. Every MPI rank runs this program, and the first one writes;
it is killed when its parent process ends.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lycb_flows.errors import LabelError
from lycb_flows.labels import Answer, Convergence, Smearing, Theory, ask
from lycb_flows.machine.bound_programs import die_with_parent
from lycb_flows.schemas import Structure

_SOLVERS = ("rmm-diis", "davidson")
"""The second, GPAW's default, takes twice as long; tried where the first fails."""
_FORCES_EV_PER_ANG = 1e-3
"""Forces that are steady to this have 0.1 meV/Å left, where the density alone leaves 0.4 to 0.9."""


def main() -> None:
    """Answer the question of the folder in the first argument."""
    die_with_parent()
    folder = Path(sys.argv[1])
    question = json.loads((folder / "question.json").read_text())
    structure = Structure.model_validate(question["structure"])
    theory = Theory.model_validate(question["theory"])
    try:
        answer = calculate(structure, theory, question["kpoint_mesh"], folder / "gpaw.txt")
    except LabelError as err:
        _write(folder / "reason.txt", str(err))
        sys.exit(1)
    _write(folder / "answer.json", answer.model_dump_json())


def _write(path: Path, text: str) -> None:
    """Write a file on the first MPI rank only."""
    from gpaw.mpi import world  # noqa: PLC0415 - only here

    if world.rank == 0:
        path.write_text(text)


def calculate(structure: Structure, theory: Theory, mesh: list[int], log: Path) -> Answer:
    """Return GPAW's energy (smearing extrapolated to zero), forces and stress.

    Parameters
    ----------
    structure
        The structure.
    theory
        A level of GPAW.
    mesh
        Divisions of the Gamma-centred mesh of k-points.
    log
        File that GPAW's text goes to.

    Raises
    ------
    LabelError
        When the electrons have not converged.
    """
    from gpaw import GPAW, ConvergenceError  # noqa: PLC0415 - only here

    parameters, reason = gpaw_parameters(theory, mesh), None
    for solver in _SOLVERS:
        calculator = GPAW(**parameters, eigensolver=solver, txt=str(log))
        try:
            return ask(calculator, structure)
        except ConvergenceError as err:
            reason = err
    raise LabelError(
        "the electrons have not converged", fix="look at the structure", reason=reason
    ) from reason


def gpaw_parameters(theory: Theory, mesh: list[int]) -> dict[str, Any]:
    """Return GPAW's own keywords for a level of theory.

    Parameters
    ----------
    theory
        A level of GPAW.
    mesh
        Divisions of the Gamma-centred mesh of k-points.

    Raises
    ------
    LabelError
        When the level states no smearing or convergence.
    """
    smearing, convergence = theory.smearing, theory.convergence
    if not isinstance(smearing, Smearing) or not isinstance(convergence, Convergence):
        raise LabelError(
            "an incomplete level of theory",
            fix="state smearing and convergence",
            level=theory.level,
        )
    return {
        "mode": {"name": "pw", "ecut": theory.cutoff_ev},
        "xc": theory.functional,
        "setups": "paw",
        "kpts": {"size": mesh, "gamma": True},
        "occupations": {"name": smearing.kind, "width": smearing.width_ev},
        "convergence": {
            "energy": convergence.energy_ev_per_electron,
            "density": convergence.density_e_per_electron,
            "forces": _FORCES_EV_PER_ANG,
        },
        # convergence's own "maximum iterations" would take the last iteration for converged
        "maxiter": convergence.max_iterations,
        "spinpol": theory.spin == "polarised",
        "symmetry": {"point_group": False, "time_reversal": True},
    }


if __name__ == "__main__":
    main()

"""Labels by GPAW: each in a process of its own, so that its death costs one attempt and no more.

Nothing of GPAW is imported here: the calculation runs in `process.py`.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from pydantic import ValidationError

from lycb_flows.config import GpawLabeler
from lycb_flows.errors import InputError, LabelError
from lycb_flows.labels import Answer, Log, Theory, archive, checked_label, gpaw_theory
from lycb_flows.labels.gpaw.installation import check_gpaw, data_folders
from lycb_flows.machine.bound_programs import bound_command, run_bound
from lycb_flows.schemas import Label, Structure

_LOG_CHARACTERS = 300
_NO_MPI = "GPAW is not compiled with MPI"


class Gpaw:
    """GPAW at one of its levels of theory.

    Parameters
    ----------
    config
        Names the level.
    launcher
        Put before Python, e.g. "mpiexec -n 8", for a GPAW that was built with MPI.
    threads
        OpenMP and BLAS threads of every process.

    Attributes
    ----------
    logs
        GPAW's text and the question of the last label, whether it worked or not.
    """

    def __init__(self, config: GpawLabeler, *, launcher: str = "", threads: int = 1) -> None:
        self.theory = gpaw_theory(config.theory)
        self.logs: dict[str, Log] = {}
        self._launcher, self._threads = shlex.split(launcher), threads

    def label(self, structure: Structure) -> Label:
        """Return the label of a structure.

        Raises
        ------
        InputError
            When GPAW or a data set is missing or not the stated one.
        LabelError
            When GPAW has not converged, or its answer fails a check.
        """
        self.logs = {}
        check_gpaw(self.theory, set(structure.species))
        mesh = _mesh(self.theory, structure)
        question: dict[str, object] = {
            "structure": structure.model_dump(mode="json"),
            "theory": self.theory.model_dump(mode="json"),
            "kpoint_mesh": mesh,
        }
        answer = self._run(question)
        return checked_label(structure, self.theory, answer, kpoint_mesh=mesh)

    def _run(self, question: dict[str, object]) -> Answer:
        """Return the answer of processes that end when this call does."""
        # ranks on other machines see the launch folder, but not this one's /tmp
        shared = Path.cwd() if self._launcher else None
        with tempfile.TemporaryDirectory(prefix="lycb-gpaw-", dir=shared) as name:
            folder = Path(name)
            (folder / "question.json").write_text(json.dumps(question))
            command = [sys.executable, "-m", "lycb_flows.labels.gpaw.process", name]
            if self._launcher:  # on SIGTERM, sent by `bound_command`, mpiexec ends its ranks
                command = bound_command([*self._launcher, *command], folder / "ended.json")
            try:
                finished = run_bound(command, environment=self._environment())
            finally:
                self.logs = {"gpaw": archive(folder)}
            return _read_answer(folder, finished)

    def _environment(self) -> dict[str, str]:
        """Return the threads, and the data sets that were checked, whatever ~/.gpaw/rc.py says."""
        threads = str(self._threads)
        environment = {
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "GPAW_SETUP_PATH": os.pathsep.join(map(str, data_folders())),
        }
        if self._launcher:  # without it GPAW refuses to run below mpiexec
            environment["GPAW_MPI_BACKEND"] = "cgpaw"
        return environment


def _mesh(theory: Theory, structure: Structure) -> tuple[int, int, int]:
    if theory.kpoints is None:
        raise InputError("a level of theory without k-points", fix="state them", level=theory.level)
    return theory.kpoints.mesh_for(structure.lattice_ang)


def _read_answer(folder: Path, finished: subprocess.CompletedProcess[str]) -> Answer:
    """Return the answer that the process left in its folder, or raise why there is none."""
    if _NO_MPI in finished.stderr:
        raise InputError(
            "GPAW is not built with MPI", fix="build it with MPI, or unset LYCB_GPAW_LAUNCHER"
        )
    reason = folder / "reason.txt"
    if reason.is_file():
        raise LabelError("GPAW gave no label", fix="see the reason", reason=reason.read_text())
    try:
        return Answer.model_validate_json((folder / "answer.json").read_bytes())
    except (OSError, ValidationError) as err:
        raise LabelError(
            "GPAW's process died",
            fix="killed (-9) is most often out of memory",
            exit_status=finished.returncode,
            output=finished.stderr[-_LOG_CHARACTERS:] or "nothing",
        ) from err

"""Labels by VASP: each in a folder of its own, run by custodian, read by pymatgen, then checked.

    inputs     `inputs.py`, by atomate2's generators
    run        `process.py`: atomate2's `run_vasp`, custodian and our policy, in a process that
               ends with its parent
    read       vasprun.xml; the energy is VASP's sigma -> 0, like MPtrj's and GPAW's
    check      program, version, POTCAR titles, inputs used, convergence, then `checked_label`

The stand-in of `lycb_flows.testing` runs here like VASP. Files of the two are told apart, so that
labels of the one are never taken for labels of the other.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from lycb_flows.config import VaspLabeler
from lycb_flows.errors import LabelError, MachineError
from lycb_flows.labels import VASP_STAND_IN, Log, archive, checked_label, vasp_theory
from lycb_flows.labels.vasp.inputs import VaspInputs, vasp_inputs
from lycb_flows.labels.vasp.installation import check_vasp, command_of
from lycb_flows.labels.vasp.policy import Outcome, Request
from lycb_flows.labels.vasp.results import quarantined, read_static
from lycb_flows.machine import Machine, read_ended, run_bound
from lycb_flows.schemas import Label, Structure

CUSTODIAN = (sys.executable, "-m", "lycb_flows.labels.vasp.process")
"""The program that runs VASP under custodian; the folder is its last argument."""
_TAIL_CHARACTERS = 300
_WAVES = ("WAVECAR", "CHGCAR")
_LARGE = frozenset({*_WAVES, "CHG", "DOSCAR", "PROCAR", "EIGENVAL", "XDATCAR", "WAVEDER"})
"""Files that are in no archive: they are large, and a label needs none of them."""


class Vasp:
    """VASP, or its stand-in, at one of its levels of theory.

    Parameters
    ----------
    config
        Names the level.
    machine
        The machine's settings: VASP's command, its folder and what is kept of a run.

    Attributes
    ----------
    logs
        Inputs and outputs of the last label, whether it worked or not.
    """

    def __init__(self, config: VaspLabeler, machine: Machine) -> None:
        self.theory = vasp_theory(config.theory, stand_in=config.stand_in)
        self.logs: dict[str, Log] = {}
        self._is_stand_in = self.theory.code == VASP_STAND_IN
        self._machine = machine

    def label(self, structure: Structure) -> Label:
        """Return the label of a structure.

        Raises
        ------
        InputError
            When VASP or a POTCAR is missing or not the stated one.
        MachineError
            When the disk is full.
        LabelError
            When VASP has not converged, custodian's correction would change physics, or the answer
            fails a check.
        """
        check_vasp(self.theory, set(structure.species), command=self._machine.vasp_command)
        inputs = vasp_inputs(self.theory, structure, machine=self._machine.vasp_incar)
        self.logs = {}
        key = Label.key_of(structure.key, self.theory.fingerprint)
        with self._folder(key) as folder:
            warnings = self._run(folder, inputs)
            found = read_static(folder, inputs)
            label = checked_label(
                structure,
                self.theory,
                found.answer,
                kpoint_mesh=inputs.kpoint_mesh,
                corrections=found.corrections,
                warnings=warnings,
            )
        if self._is_stand_in:
            return label
        return label.model_copy(update={"pseudopotentials": inputs.potcar_identities()})

    def _run(self, folder: Path, inputs: VaspInputs) -> tuple[str, ...]:
        """Run VASP in a folder and return the warnings about its inputs."""
        try:
            warnings = inputs.write(folder, potcar=not self._is_stand_in)
        except OSError as err:
            raise MachineError(
                "cannot write where VASP runs", fix="free space", reason=err.strerror
            ) from err
        request = Request(
            command=command_of(self.theory, self._machine.vasp_command),
            frozen_s=self._machine.vasp_frozen_s,
        )
        outcome = run(folder, request, threads=self._machine.threads)
        if outcome.vetoes:
            raise quarantined(
                saw=", ".join(outcome.vetoes[0]["errors"]),
                changes=outcome.vetoes[0]["physics"],
            )
        if outcome.error:
            raise why_failed(folder, outcome)
        return warnings

    @contextmanager
    def _folder(self, key: str) -> Iterator[Path]:
        """Yield a folder for one run, which is archived and cleared however the run ends."""
        parent = (self._machine.vasp_scratch or Path.cwd()).resolve()
        try:
            parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="lycb-vasp-", dir=parent))
        except OSError as err:
            raise MachineError(
                "no folder for VASP", fix="check LYCB_VASP_SCRATCH", reason=err.strerror
            ) from err
        failed = True
        try:
            yield folder
            failed = False
        finally:
            self.logs = {"vasp": archive(folder, without=_is_left_out)}
            self._keep_waves(folder, key)
            clean_up = self._machine.vasp_clean_up
            if clean_up == "always" or (clean_up == "success" and not failed):
                shutil.rmtree(folder, ignore_errors=True)

    def _keep_waves(self, folder: Path, key: str) -> None:
        waves = self._machine.vasp_waves
        if waves is None:
            return
        for name in _WAVES:
            if (folder / name).is_file() and (folder / name).stat().st_size:
                kept = waves / key
                kept.mkdir(parents=True, exist_ok=True)
                shutil.move(folder / name, kept / name)


def _is_left_out(path: Path) -> bool:
    """Return whether a file is large, or a POTCAR, whose licence allows no copies."""
    name = path.name
    return name in _LARGE or (name.startswith("POTCAR") and not name.startswith("POTCAR.spec"))


def run(folder: Path, request: Request, *, threads: int = 1) -> Outcome:
    """Run VASP under custodian in a process that ends when this call does.

    Parameters
    ----------
    folder
        The folder with VASP's inputs.
    request
        What custodian's process is to do.
    threads
        OpenMP threads of every VASP process.

    Raises
    ------
    LabelError
        When custodian's process dies.
    MachineError
        When it dies because the disk is full.
    """
    (folder / "request.json").write_text(request.model_dump_json())
    finished = run_bound(
        [*CUSTODIAN, str(folder)],
        environment={"OMP_NUM_THREADS": str(threads)},
    )
    try:
        return Outcome.model_validate_json((folder / "outcome.json").read_bytes())
    except (OSError, ValidationError) as err:
        raise _disk_is_full(folder) or LabelError(
            "custodian's process died",
            fix="see the log",
            exit_status=finished.returncode,
            output=_last_line(finished.stderr) or "nothing",
        ) from err


# -- the reason of a failure -----------------------------------------------------------------------

_MEMORY = ("exceed memory limit", "oom_kill", "oom-kill", "Out of memory", "insufficient virtual")
_TIME = ("DUE TO TIME LIMIT", "walltime")
_DISK = "No space left on device"
_SIGKILL = (-9, 137)
_NOT_FOUND = 127
"""A shell's exit code for a command that does not exist."""


def why_failed(folder: Path, outcome: Outcome) -> LabelError | MachineError:
    """Return the error that says in one line why there is no label.

    Parameters
    ----------
    folder
        The folder of the run; a reason in its files takes precedence over custodian's.
    outcome
        How custodian ended.
    """
    ended = read_ended(folder / "ended.json")
    how = ended.how if ended else "killed together with its parent process"
    output = _end_of_output(folder)
    facts = {
        "ended": how,
        "custodian": f"{outcome.error}: {_first_line(outcome.message)}"[:_TAIL_CHARACTERS],
        "saw": ", ".join(dict.fromkeys(outcome.errors)) or "nothing that it knows",
    }
    if full := _disk_is_full(folder):
        return full
    if ended and ended.code == _NOT_FOUND:  # not found by `srun` or `env`, which were found
        return MachineError(
            "VASP's command does not exist",
            fix="correct LYCB_VASP_COMMAND, or load VASP's module first",
            output=_last_line(output),
        )
    if any(words in output for words in _TIME):
        return LabelError("VASP ran out of time", fix="raise the job's walltime", **facts)
    if any(words in output for words in _MEMORY) or (ended and ended.code in _SIGKILL):
        return LabelError(
            "VASP was killed or ran out of memory",
            fix="give the job more memory, or lower KPAR",
            peak_memory_gb=ended.peak_memory_gb if ended else "unknown",
            **facts,
        )
    return LabelError(
        "VASP gave no label",
        fix="look at the archive of the run",
        **facts,
        output=_last_line(output) or "nothing",
    )


def _disk_is_full(folder: Path) -> MachineError | None:
    if _DISK not in _end_of_output(folder) and shutil.disk_usage(folder).free > 0:
        return None
    return MachineError("the disk is full where VASP runs", fix="free space", folder=folder.parent)


def _end_of_output(folder: Path) -> str:
    """Return the end of what VASP and the queue have written."""
    texts = []
    for name in ("vasp.out", "std_err.txt"):
        if (folder / name).is_file():
            with (folder / name).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 65536))
                texts.append(file.read().decode(errors="replace"))
    return "\n".join(texts)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1].strip()[:_TAIL_CHARACTERS] if text.strip() else ""

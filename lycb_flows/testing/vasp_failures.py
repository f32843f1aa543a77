"""Failures of the stand-in for VASP: VASP's own messages, where VASP writes them.

`LYCB_STAND_IN_FAILS` is a name and a frequency: "edddav,once" fails in the first run of a
folder, "edddav,always" in every run.

| name | what happens |
|---|---|
| unconverged | the electrons reach NELM, vasprun.xml is whole |
| zbrent, edddav, brmix, dentet | the message in stdout, vasprun.xml ends early |
| killed | SIGKILL to itself, as from a kernel that is out of memory |
| memory | VASP's message in stderr, exit code 1 |
| time | the words of Slurm in stderr, ended by SIGTERM |
| hangs | says so in stdout and sleeps until it is killed |
| disk | ENOSPC while WAVECAR is written, exit code 38 |
| exit | everything is written, then exit code 1 |
| truncated | vasprun.xml ends in the middle, exit code 0 |
| no-stress | no stress in vasprun.xml, as with ISIF=0 |
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lycb_flows.errors import InputError

if TYPE_CHECKING:
    from lycb_flows.testing.vasp_files import Outputs

UNCONVERGED, NO_STRESS = "unconverged", "no-stress"
_STDOUT = {
    "zbrent": "ZBRENT: fatal error in bracketing\n"
    "     please rerun with smaller EDIFF, or copy CONTCAR\n     to POSCAR and continue",
    "edddav": "Error EDDDAV: Call to ZHEGV failed. Returncode =  12  2  24",
    "brmix": "BRMIX: very serious problems\n the old and the new charge density differ",
    "dentet": "internal error in subroutine DENTET: can't reach specified precision",
}
_STDERR = {
    "memory": ("Allocation would exceed memory limit", 1),
    "time": ("slurmstepd: error: *** STEP 1.0 ON node CANCELLED DUE TO TIME LIMIT ***", None),
    "disk": (
        "forrtl: No space left on device\nforrtl: severe (38): error during write, file WAVECAR",
        38,
    ),
}
_SILENT = (UNCONVERGED, NO_STRESS, "killed", "hangs", "exit", "truncated")
FAILURES = (*_SILENT, *_STDOUT, *_STDERR)
_COUNT = "stand_in_runs"


def planned(folder: Path, wish: str) -> str:
    """Return the failure of this run of a folder; empty when it is to succeed.

    Parameters
    ----------
    folder
        Folder of the run, where the number of its runs is kept.
    wish
        Name and frequency, such as "edddav,once"; empty: no failure.

    Raises
    ------
    InputError
        When there is no such failure.
    """
    count = folder / _COUNT
    n_before = len(count.read_text()) if count.is_file() else 0
    count.write_text("x" * (n_before + 1))
    name, _, how_often = wish.partition(",")
    if wish and (name not in FAILURES or how_often not in {"once", "always"}):
        raise InputError(
            "no such failure", fix=f"NAME,once or NAME,always of {', '.join(FAILURES)}", found=wish
        )
    return "" if how_often == "once" and n_before else name


def strike_early(failure: str, outputs: Outputs) -> None:
    """Cause the failures that end a run before there is an energy.

    Parameters
    ----------
    failure
        Name of the failure; other names do nothing.
    outputs
        The run's files, with their headers written.
    """
    if failure in _STDOUT:
        outputs.iterate()
        outputs.say(_STDOUT[failure])
        sys.exit(0)
    if failure in _STDERR:
        message, code = _STDERR[failure]
        print(message, file=sys.stderr, flush=True)  # noqa: T201 - as VASP
        if code is None:
            os.kill(os.getpid(), signal.SIGTERM)
        sys.exit(code)
    if failure == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if failure == "hangs":
        outputs.say("hangs until it is killed")
    while failure == "hangs":
        time.sleep(1)


def strike_late(failure: str, outputs: Outputs) -> int:
    """Cause the failures of a run that has written all of its files.

    Parameters
    ----------
    failure
        Name of the failure; other names do nothing.
    outputs
        The run's files.

    Returns
    -------
    int
        The exit code.
    """
    if failure == "truncated":
        content = outputs.vasprun.read_bytes()
        outputs.vasprun.write_bytes(content[: len(content) * 2 // 3])
    return 1 if failure == "exit" else 0

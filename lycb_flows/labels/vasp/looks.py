"""What `lycb doctor` examines of VASP: its command, its POTCARs, its shares of the cores.

Each function imports what it examines, so that a broken part costs one line of the report and not
all of it.
"""
# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import os
import shlex
import shutil
from math import prod
from pathlib import Path

from lycb_flows.errors import InputError
from lycb_flows.machine import (
    Finding,
    Look,
    Machine,
    NotApplicableError,
    count_cores,
    suggested_shares,
)

_ELEMENTS = ("Li", "Y", "Cl", "Br")
_LEVEL = "paper-static"
_MESH = (3, 3, 3)
"""The mesh of the paper's static calculations."""


def look_at_vasp(machine: Machine) -> Finding:
    """Report whether VASP's command is set and exists."""
    from atomate2 import SETTINGS

    command = machine.vasp_command
    if not command:
        theirs = os.path.expandvars(str(SETTINGS.VASP_CMD))
        if _missing(theirs):
            raise NotApplicableError("no LYCB_VASP_COMMAND: needed for labels by VASP only")
        fix = f"to label with VASP, set LYCB_VASP_COMMAND, e.g. to atomate2's `{theirs}`"
        return Finding(None, "no LYCB_VASP_COMMAND, though there is a VASP", fix)
    missing = _missing(os.path.expandvars(command))
    if not missing:
        return Finding(ok=True, found=command)
    return Finding(
        ok=False,
        found=f"`{command}`: no {missing[0]}",
        fix="correct LYCB_VASP_COMMAND, or load VASP's module first",
    )


def _missing(command: str) -> list[str]:
    """Return those of the program and the VASP that it starts that are not here."""
    words = shlex.split(command) or [""]
    programs = [words[0], *(word for word in words[1:] if Path(word).name.startswith("vasp"))]
    return [program for program in programs if not shutil.which(program)]


def _has_vasp(machine: Machine) -> bool:
    command = machine.vasp_command
    return bool(command) and not _missing(os.path.expandvars(str(command)))


def look_at_pseudopotentials(machine: Machine) -> Finding:
    """Report whether pymatgen finds VASP's POTCARs and they are the stated ones."""
    from pymatgen.core import SETTINGS

    from lycb_flows.labels.theory import vasp_theory
    from lycb_flows.labels.vasp.installation import find_potcar

    if not SETTINGS.get("PMG_VASP_PSP_DIR") and not _has_vasp(machine):
        raise NotApplicableError("no PMG_VASP_PSP_DIR: needed with VASP only")
    found = [find_potcar(vasp_theory(_LEVEL), element) for element in _ELEMENTS]
    titles = f"{_LEVEL}: {', '.join(str(potcar.keywords['TITEL']) for potcar, _ in found)}"
    warnings = [warning for _, warning in found if warning]
    if not warnings:
        return Finding(ok=True, found=f"{titles}; {_other_level()}")
    fix = "compare with VASP's distribution; labels carry this as a warning"
    return Finding(ok=False, found="; ".join(warnings), fix=fix)


def _other_level() -> str:
    """Return whether the older release, which one level wants, is here, too."""
    from lycb_flows.labels.theory import vasp_theory
    from lycb_flows.labels.vasp.installation import find_potcar

    try:
        for element in _ELEMENTS:
            find_potcar(vasp_theory("mp-compatible"), element)
    except InputError as err:
        return f"not mp-compatible ({err.message})"
    return "mp-compatible"


def look_at_shares(machine: Machine) -> Finding:
    """Report how this node's cores share VASP's work, and how they could."""
    if not _has_vasp(machine):
        raise NotApplicableError("with VASP only")
    n_cores = count_cores() // machine.threads or 1
    n_kpoints = (prod(_MESH) + 1) // 2  # time reversal halves the mesh
    shares = suggested_shares(n_cores, n_kpoints)
    found = (
        f"NCORE {machine.vasp_ncore or 'not set'}, KPAR {machine.vasp_kpar or 'not set'}; "
        f"to begin with, for {n_cores} ranks and the paper's {n_kpoints} k-points: "
        f"LYCB_VASP_NCORE={shares.vasp_ncore} LYCB_VASP_KPAR={shares.vasp_kpar}"
    )
    return Finding(ok=True, found=found)


LOOKS = (
    Look("VASP", look_at_vasp, "correct LYCB_VASP_COMMAND"),
    Look("pseudopotentials", look_at_pseudopotentials, "correct pymatgen's settings"),
    Look("VASP's shares", look_at_shares, "set LYCB_VASP_NCORE and LYCB_VASP_KPAR"),
)

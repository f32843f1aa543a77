"""Looks at what labels by density-functional theory here: VASP, its POTCARs, GPAW.

A look imports what it looks at, so that a broken part is one line and not the end.
"""
# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import os
import shlex
import shutil
from math import prod
from pathlib import Path

from lycb_flows.doctor.context import Finding, NotApplicableError, Patient, count_cores
from lycb_flows.errors import InputError

_ELEMENTS = ("Li", "Y", "Cl", "Br")
_LEVEL = "paper-static"
_MESH = (3, 3, 3)
"""Of the paper's static calculations."""


def look_at_vasp(patient: Patient) -> Finding:
    """The command by which VASP is started."""
    from atomate2 import SETTINGS

    command = patient.settings.vasp_command
    if not command:
        theirs = os.path.expandvars(str(SETTINGS.VASP_CMD))
        if _missing(theirs):
            raise NotApplicableError("no LYCB_VASP_COMMAND: needed by who labels with VASP only")
        fix = f"to label with VASP, set LYCB_VASP_COMMAND, e.g. to atomate2's `{theirs}`"
        return Finding(None, "no LYCB_VASP_COMMAND, though there is a VASP", fix)
    missing = _missing(os.path.expandvars(command))
    patient.vasp_found = not missing
    if not missing:
        return Finding(ok=True, found=command)
    return Finding(
        ok=False,
        found=f"`{command}`: no {missing[0]}",
        fix="correct LYCB_VASP_COMMAND, or load VASP's module first",
    )


def _missing(command: str) -> list[str]:
    """Of the program and the VASP that it starts, those that are not here."""
    words = shlex.split(command) or [""]
    programs = [words[0], *(one for one in words[1:] if Path(one).name.startswith("vasp"))]
    return [one for one in programs if not shutil.which(one)]


def look_at_pseudopotentials(patient: Patient) -> Finding:
    """VASP's POTCARs are where pymatgen looks for them, and the stated ones."""
    from pymatgen.core import SETTINGS

    from lycb_flows.labels.theory import vasp_theory
    from lycb_flows.labels.vasp.inputs import find_potcar

    if not SETTINGS.get("PMG_VASP_PSP_DIR") and not patient.vasp_found:
        raise NotApplicableError("no PMG_VASP_PSP_DIR: needed with VASP only")
    found = [find_potcar(vasp_theory(_LEVEL), element) for element in _ELEMENTS]
    said = f"{_LEVEL}: {', '.join(str(one.keywords['TITEL']) for one, _ in found)}"
    warnings = [warning for _, warning in found if warning]
    if not warnings:
        return Finding(ok=True, found=f"{said}; {_other_level()}")
    fix = "compare with VASP's distribution; labels carry this as a warning"
    return Finding(ok=False, found="; ".join(warnings), fix=fix)


def _other_level() -> str:
    """Whether the older release is here, too, which one level wants."""
    from lycb_flows.labels.theory import vasp_theory
    from lycb_flows.labels.vasp.inputs import find_potcar

    try:
        for element in _ELEMENTS:
            find_potcar(vasp_theory("mp-compatible"), element)
    except InputError as err:
        return f"not mp-compatible ({err.message})"
    return "mp-compatible"


def look_at_shares(patient: Patient) -> Finding:
    """How this node's cores could share VASP's work."""
    from lycb_flows.machine.engines import suggested_shares

    if not patient.vasp_found:
        raise NotApplicableError("with VASP only")
    n_cores = count_cores() // patient.settings.threads or 1
    n_kpoints = (prod(_MESH) + 1) // 2  # time reversal
    shares = suggested_shares(n_cores, n_kpoints)
    here = patient.settings.machine
    found = (
        f"NCORE {here.vasp_ncore or 'not set'}, KPAR {here.vasp_kpar or 'not set'}; to begin with, "
        f"for {n_cores} ranks and the paper's {n_kpoints} k-points: "
        f"LYCB_VASP_NCORE={shares.vasp_ncore} LYCB_VASP_KPAR={shares.vasp_kpar}"
    )
    return Finding(ok=True, found=found)


def look_at_gpaw(_patient: Patient) -> Finding:
    """GPAW and its data sets, as the levels of theory state them."""
    from importlib import metadata, util

    from lycb_flows.labels.gpaw.engine import check_gpaw
    from lycb_flows.labels.theory import gpaw_theory

    if util.find_spec("gpaw") is None:
        raise NotApplicableError("not installed: needed by who labels with GPAW only")
    theory = gpaw_theory(_LEVEL)
    check_gpaw(theory, _ELEMENTS)
    release = theory.paw.release if theory.paw else "no data sets"
    return Finding(ok=True, found=f"{metadata.version('gpaw')}, {release}: {', '.join(_ELEMENTS)}")

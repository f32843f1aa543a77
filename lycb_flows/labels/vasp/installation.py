"""Checks of this machine: VASP's command exists, and the POTCARs are those of a level of theory."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Iterable

import numpy as np
from pymatgen.core import SETTINGS
from pymatgen.io.vasp.inputs import PotcarSingle

from lycb_flows.errors import InputError, InstallationError
from lycb_flows.labels.theory import VASP_STAND_IN, Potcars, Theory

_STATISTICS_TOLERANCE = 1e-6
"""pymatgen's default for comparing statistics of POTCARs."""


def command_of(theory: Theory, command: str | None) -> str:
    """Return the command that computes labels of a level: VASP's, or that of its stand-in.

    Variables in it are replaced by their values, which may be several words.

    Parameters
    ----------
    theory
        Level of theory of VASP, or of its stand-in.
    command
        The command that starts VASP on this machine, e.g. "srun vasp_std"; None without VASP.

    Raises
    ------
    InstallationError
        When the level is one of VASP and the machine has no command for it.
    """
    if theory.code == VASP_STAND_IN:  # VASP itself would need POTCARs
        return shlex.join([sys.executable, "-m", "lycb_flows.testing.vasp"])
    if not command:
        raise InstallationError(
            "VASP's command is not set",
            fix="set LYCB_VASP_COMMAND, e.g. 'srun vasp_std', here and on the workers",
        )
    return os.path.expandvars(command)


def check_vasp(theory: Theory, elements: Iterable[str], *, command: str | None) -> None:
    """Check that the command exists, and that pymatgen finds the POTCARs of a level of theory.

    Parameters
    ----------
    theory
        Level of theory of VASP, or of its stand-in, which needs no POTCARs.
    elements
        Chemical symbols of the elements whose POTCARs are needed.
    command
        The command that starts VASP, e.g. "srun vasp_std"; its first word must be an executable.
        It is not used for the stand-in, which has a command of its own.

    Raises
    ------
    InstallationError
        When the command or a POTCAR is missing, or a POTCAR has another title than the level
        states.
    """
    command = command_of(theory, command)
    words = shlex.split(command)
    if not words or shutil.which(words[0]) is None:
        raise InstallationError(
            "VASP's command does not exist",
            fix="correct LYCB_VASP_COMMAND, or load VASP's module first",
            command=command,
        )
    if theory.code == VASP_STAND_IN:
        return
    for element in sorted(elements):
        find_potcar(theory, element)


def incomplete_level(theory: Theory) -> InputError:
    """Return the error for a level of theory that lacks settings that VASP needs."""
    return InputError(
        "a level of theory is not complete for VASP",
        fix="use a level of `vasp` from labels/levels.yaml",
        found=theory.name,
    )


def potcars_of(theory: Theory) -> Potcars:
    """Return the POTCARs that a level of theory states.

    Raises
    ------
    InstallationError
        When the level states no POTCARs.
    """
    if not isinstance(theory.paw, Potcars):
        raise incomplete_level(theory)
    return theory.paw


def find_potcar(theory: Theory, element: str) -> tuple[PotcarSingle, str]:
    """Return the POTCAR of an element, with a warning where its statistics differ.

    Parameters
    ----------
    theory
        Level of theory of VASP, which states the title and the statistics of each POTCAR.
    element
        Chemical symbol.

    Returns
    -------
    tuple
        The POTCAR and the warning, which is empty where the statistics are those that are stated.

    Raises
    ------
    InstallationError
        When the level states no POTCARs, or the POTCAR is missing, unreadable or has another
        title.
    """
    potcars = potcars_of(theory)
    stated = potcars.of(element)
    found = _read_potcar(stated.symbol, potcars.release)
    title = " ".join(str(found.keywords.get("TITEL", "none")).split())
    if title != stated.title:
        raise InstallationError(
            "a POTCAR has another title than the level of theory states",
            fix=f"install {potcars.release} as VASP distributes it",
            stated=stated.title,
            found=title,
        )
    statistics = found.spec()["summary_stats"].get("stats", {}).get("data", {})
    same = all(
        np.isclose(
            statistics.get(name, np.nan),
            value,
            rtol=_STATISTICS_TOLERANCE,
            atol=_STATISTICS_TOLERANCE,
        )
        for name, value in stated.statistics.items()
    )
    warning = "" if same else f"POTCAR {title}: its numbers are not those that pymatgen knows"
    return found, warning


def _read_potcar(symbol: str, release: str) -> PotcarSingle:
    fix = "set PMG_VASP_PSP_DIR to the folder that `pmg config -p` made"
    if not SETTINGS.get("PMG_VASP_PSP_DIR"):
        raise InstallationError("PMG_VASP_PSP_DIR is not set: no POTCARs", fix=fix)
    try:
        with warnings.catch_warnings():
            # pymatgen warns of an unknown POTCAR, which the caller compares with the stated one
            warnings.simplefilter("ignore")
            return PotcarSingle.from_symbol_and_functional(symbol, release)
    except (OSError, ValueError, KeyError, IndexError) as err:
        raise InstallationError(
            "a POTCAR is missing or unreadable",
            fix=fix,
            symbol=symbol,
            release=release,
            folder=SETTINGS["PMG_VASP_PSP_DIR"],
        ) from err

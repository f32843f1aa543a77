"""What custodian may change of a VASP run, and which changes end the run.

Custodian repairs runs by editing INCAR, KPOINTS and POSCAR. Labels of one data set can only be
compared while the physics stays the same, so every edit is compared with the original inputs:

    solver     how the electrons are iterated, how work is shared: allowed, noted in the label
    optimizer  how ions move (relaxations): allowed, noted
    progress   a relaxation that goes on from its last positions: allowed, noted
    physics    everything else: the run ends at once, and there is no label

A key that is not known here counts as physics. `docs/vasp_failures.md` lists the failures and what
follows from each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar

ASKED = ".orig"
"""custodian's own suffix of the inputs that a job started with."""
SOLVER_KEYS = frozenset(
    {
        "ALGO", "IALGO", "ISEARCH", "TIME", "NELM", "NELMIN", "NELMDL", "LDIAG", "LSUBROT",
        "AMIX", "BMIX", "AMIX_MAG", "BMIX_MAG", "AMIN", "IMIX", "MAXMIX", "MIXPRE", "INIMIX", "WC",
        "ISTART", "INIWAV", "LWAVE", "LCHARG",
        "NCORE", "NPAR", "KPAR", "NSIM", "LPLANE", "LSCALAPACK",
    }
)  # fmt: skip
"""ALGO, ICHARG, EDIFF, NBANDS and SYMPREC: within bounds, see `_is_allowed`."""
OPTIMIZER_KEYS = frozenset({"IBRION", "IOPT", "POTIM", "SMASS", "NFREE"})
"""Keys without effect on a static run."""
_NO_ITERATION = frozenset({"none", "nothing", "eigenval", "exact", "subrot"})
"""Values of ALGO that leave the density as it is, or diagonalise once."""
_NON_SELF_CONSISTENT = 10  # ICHARG from 10 on keeps the density fixed
_SAME_PLACE_ANG = 1e-6
_REL = 1e-9


@dataclass(frozen=True)
class Inputs:
    """The input files in a VASP folder."""

    incar: Mapping[str, Any]
    kpoints: Kpoints | None
    poscar: Poscar

    @classmethod
    def from_folder(cls, folder: Path, suffix: str = "") -> Inputs:
        """Return the INCAR, KPOINTS and POSCAR of a folder.

        Parameters
        ----------
        folder
            The folder of a run.
        suffix
            Ending of the files' names; `ASKED` for those that custodian kept of the start.
        """
        kpoints = folder / f"KPOINTS{suffix}"
        return cls(
            dict(Incar.from_str((folder / f"INCAR{suffix}").read_text())),
            Kpoints.from_str(kpoints.read_text()) if kpoints.is_file() else None,
            Poscar.from_str((folder / f"POSCAR{suffix}").read_text()),
        )

    @property
    def relaxes(self) -> bool:
        """Whether ions move."""
        return int(self.incar.get("NSW", 0)) > 0


@dataclass(frozen=True)
class Changes:
    """How the last inputs differ from the original ones, as "ALGO: Normal -> All"."""

    allowed: tuple[str, ...]
    physics: tuple[str, ...]


def find_changes(original: Inputs, used: Inputs) -> Changes:
    """Return the differences between inputs, sorted by the policy.

    Parameters
    ----------
    original
        The inputs that the level of theory gives.
    used
        The inputs of the last run, after custodian's corrections.
    """
    allowed: list[str] = []
    physics: list[str] = []
    for name in sorted({*original.incar, *used.incar}):
        before, after = original.incar.get(name), used.incar.get(name)
        if _equal(before, after):
            continue
        change = f"{name}: {_word(before)} -> {_word(after)}"
        (allowed if _is_allowed(name, original, after) else physics).append(change)
    before_mesh, after_mesh = _mesh(original.kpoints), _mesh(used.kpoints)
    if before_mesh != after_mesh:
        physics.append(f"KPOINTS: {before_mesh} -> {after_mesh}")
    if used.poscar.site_symbols != original.poscar.site_symbols or _moved(original, used) is None:
        physics.append("POSCAR: another composition or order of atoms")
    elif (moved := _moved(original, used)) and moved > _SAME_PLACE_ANG:
        (allowed if original.relaxes else physics).append(f"POSCAR: moved by {moved:.2g} Å")
    return Changes(tuple(allowed), tuple(physics))


def _is_allowed(name: str, original: Inputs, after: object) -> bool:
    match name:
        case "ALGO":
            return str(after).casefold() not in _NO_ITERATION
        case "ICHARG":
            return after is None or int(str(after)) < _NON_SELF_CONSISTENT
        case "EDIFF":  # a tighter limit also meets the stated one
            return isinstance(after, float) and after <= float(original.incar.get(name, 1e-4))
        case "NBANDS":  # more empty bands do not change the occupied ones
            before = original.incar.get(name)
            return isinstance(after, int) and (before is None or after >= int(before))
        case "SYMPREC":  # without effect where symmetry is not used
            return int(original.incar.get("ISYM", 2)) <= 0
        case _:
            return name in SOLVER_KEYS or name in OPTIMIZER_KEYS


def _equal(before: object, after: object) -> bool:
    if isinstance(before, int | float) and isinstance(after, int | float):
        return math.isclose(before, after, rel_tol=_REL)
    if isinstance(before, str) and isinstance(after, str):
        return before.casefold() == after.casefold()
    return before == after


def _word(value: object) -> str:
    return "unset" if value is None else str(value)


def _mesh(kpoints: Kpoints | None) -> str:
    if kpoints is None:
        return "none"
    rows = " ".join(str(tuple(row)) for row in kpoints.kpts)
    shift = tuple(kpoints.kpts_shift)
    return f"{kpoints.style.name} {rows}" + (f" shift {shift}" if any(shift) else "")


def _moved(original: Inputs, used: Inputs) -> float | None:
    """Return the largest move of a cell vector or atom in Å; None for another number of atoms."""
    before, after = original.poscar.structure, used.poscar.structure
    if len(before) != len(after) or before.species != after.species:
        return None
    steps = after.frac_coords - before.frac_coords
    steps = (steps - np.round(steps)) @ before.lattice.matrix
    cell = np.abs(after.lattice.matrix - before.lattice.matrix).max()
    return float(max(np.abs(steps).max(), cell))


# -- files between a labeler and custodian's process, `process.py` ------------------------------


class Request(BaseModel):
    """What the process of `process.py` is to do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str
    frozen_s: float
    """Time without output after which VASP counts as hanging."""
    monitor_s: float = 60.0
    """Time between two checks of the files of a running VASP."""


class Outcome(BaseModel):
    """How custodian ended.

    Attributes
    ----------
    error
        custodian's, empty when it is content.
    vetoes
        Corrections that the policy refused: what custodian saw, what it wanted.
    errors
        What custodian saw, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    error: str = ""
    message: str = ""
    vetoes: tuple[dict[str, Any], ...] = ()
    errors: tuple[str, ...] = ()

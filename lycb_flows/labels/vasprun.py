"""Labels and their level of theory from vasprun.xml, by pymatgen.

The level is what the file itself says: version, functional, POTCAR titles, cutoff, k-points,
and every line of the INCAR that may decide a number. Keys that only say where to start, how
to iterate, what to move, what to write or how to use the machine are left out; a key that is
not known here is taken for physics, so a run with it is a level of its own.

Energies are sigma -> 0, as MPtrj's and GPAW's. vasprun.xml's stress is in kB, compression
positive; ours is tension positive.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from monty.serialization import loadfn
from pymatgen.io.vasp.outputs import Vasprun
from pymatgen.io.vasp.sets import MPRelaxSet

from lycb_flows import schemas
from lycb_flows.errors import LabelError
from lycb_flows.labels.foreign import VASP_KB, ForeignLabel, answer_of, check_complete
from lycb_flows.labels.theory import Theory
from lycb_flows.structures import canonical_structure

Place = tuple[int, ForeignLabel | LabelError]
"""An ionic step, from 0, and what it gives."""
_WORDS_AND_MACHINE = """
    SYSTEM NWRITE NCORE NPAR KPAR NSIM LPLANE LSCALU LSCALAPACK LASYNC LWAVE LCHARG LVTOT LVHAR
    LELF LORBIT LAECHG NEDOS EMIN EMAX NBLOCK KBLOCK NPACO APACO RWIGS LOPTICS LEPSILON
"""
_HOW_ELECTRONS_ITERATE = """
    ISTART ICHARG INIWAV NBANDS MAGMOM ALGO IALGO NELM NELMIN NELMDL LDIAG TIME AMIX BMIX
    AMIX_MAG BMIX_MAG AMIN IMIX MAXMIX MIXPRE INIMIX WC LSUBROT
"""
"""MAGMOM and NBANDS go with the cell's size."""
_WHAT_MOVES = """
    IBRION NSW ISIF POTIM EDIFFG IOPT NFREE TEBEG TEEND SMASS MDALGO ANDERSEN_PROB
    LANGEVIN_GAMMA LANGEVIN_GAMMA_L PMASS
"""
_FIELDS_OF_A_THEORY = "ENCUT ISPIN GGA METAGGA PSTRESS KSPACING KGAMMA"
_NOT_PHYSICS = frozenset(
    f"{_WORDS_AND_MACHINE} {_HOW_ELECTRONS_ITERATE} {_WHAT_MOVES} {_FIELDS_OF_A_THEORY}".split()
)
_MOVED_ANG = 1e-6
_DEFAULTS_THAT_MATTER = (
    "PREC", "EDIFF", "ISMEAR", "SIGMA", "LREAL", "ADDGRID", "LASPH", "ISYM", "IVDW", "LUSE_VDW",
    "LHFCALC", "LDAU", "LSORBIT",
)  # fmt: skip
"""Looked up in the effective parameters, so that a default and its statement are one level."""


def read_vasprun(path: Path, *, all_steps: bool) -> tuple[Theory, list[Place]]:
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
        functional = run.run_type
    _check_run(run)
    steps = list(enumerate(run.ionic_steps))
    theory = _theory_of(run, functional)
    return theory, list(_labels(run, steps if all_steps else steps[-1:]))


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


def _theory_of(run: Vasprun, functional: str) -> Theory:
    stated = {name: value for name, value in run.incar.items() if name not in _NOT_PHYSICS}
    effective = {
        name: run.parameters[name] for name in _DEFAULTS_THAT_MATTER if name in run.parameters
    }
    parameters = {f"INCAR {name}": str(value) for name, value in (stated | effective).items()}
    parameters["KPOINTS"] = _kpoints(run)
    parameters["POTCAR"] = _potcars(run)
    lattices = np.array([step["structure"].lattice.matrix for step in run.ionic_steps])
    if np.ptp(lattices, axis=0).max() > _MOVED_ANG:
        # VASP keeps the plane waves of the first cell: later energies and stresses lack the
        # waves, or have too many, for their own cutoff
        parameters["plane waves"] = "of the run's first cell"
    raw_pbe = functional == "PBE" or (
        functional == "GGA" and all(name.startswith("PAW_PBE") for name in run.potcar_symbols)
    )
    return Theory(
        code="vasp",
        version=".".join(run.vasp_version.split(".")[:2]),
        functional="PBE" if raw_pbe else _functional_of(run, functional),
        raw_pbe=raw_pbe,
        parameters=parameters,
        cutoff_ev=float(run.parameters.get("ENMAX") or run.parameters["ENCUT"]),
        spin="polarised" if run.parameters.get("ISPIN") == 2 else "paired",  # noqa: PLR2004
        corrections="none",
    )


def _potcars(run: Vasprun) -> str:
    """MPRelaxSet's choice of a release, so that chlorides and bromides meet; else the titles."""
    chosen = MPRelaxSet.CONFIG["POTCAR"]
    elements = dict.fromkeys(run.atomic_symbols)
    symbols = [title.split()[1] for title in run.potcar_symbols]
    if symbols == [chosen.get(element) for element in elements]:
        for release, titles in _titles().items():
            if all(title.replace(" ", "") in titles for title in run.potcar_symbols):
                return f"MPRelaxSet's of {release}"
    return ", ".join(sorted(run.potcar_symbols))


@functools.cache
def _titles() -> dict[str, frozenset[str]]:
    """Titles of the releases of PBE, blanks taken out; the release of today's MPRelaxSet first."""
    path = resources.files("pymatgen.io.vasp").joinpath("potcar-summary-stats.json.bz2")
    releases = loadfn(str(path))
    return {name: frozenset(releases[name]) for name in ("PBE_54", "PBE_52", "PBE")}


def _functional_of(run: Vasprun, functional: str) -> str:
    """VASP takes the POTCAR's own where no functional is asked for."""
    lda = functional == "GGA" and all(name.split()[0] == "PAW" for name in run.potcar_symbols)
    return "LDA" if lda else functional


def _kpoints(run: Vasprun) -> str:
    """As the run states them: a spacing, a mesh, or the points."""
    if "KSPACING" in run.incar:
        centred = "Gamma" if run.parameters.get("KGAMMA", True) else "Monkhorst"
        return f"{centred}, spacing {run.incar['KSPACING']} 1/Å"
    kpoints = run.kpoints
    mesh = " ".join(str(int(n)) for n in kpoints.kpts[0]) if kpoints.num_kpts <= 0 else ""
    if not mesh:
        return f"{len(run.actual_kpoints)} points, listed"
    shift = " ".join(f"{x:g}" for x in kpoints.kpts_shift or (0.0, 0.0, 0.0))
    return f"{kpoints.style.name} {mesh}, shift {shift}"


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

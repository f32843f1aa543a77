"""The level of theory that a vasprun.xml states: its own words, and every number that matters.

These are version, functional, POTCAR titles, cutoff, k-points, and every line of the INCAR that
may decide a number. Keys that only say where to start, how to iterate, what to move, what to write
or how to use the machine are left out. A key that is not known here counts as physics, so that a
run with it has a level of its own.
"""

from __future__ import annotations

import functools
from importlib import resources

import numpy as np
from monty.serialization import loadfn
from pymatgen.io.vasp.outputs import Vasprun
from pymatgen.io.vasp.sets import MPRelaxSet

from lycb_flows.labels.theory import Theory

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
NOT_PHYSICS = frozenset(
    f"{_WORDS_AND_MACHINE} {_HOW_ELECTRONS_ITERATE} {_WHAT_MOVES} {_FIELDS_OF_A_THEORY}".split()
)
_MOVED_ANG = 1e-6
_DEFAULTS_THAT_MATTER = (
    "PREC", "EDIFF", "ISMEAR", "SIGMA", "LREAL", "ADDGRID", "LASPH", "ISYM", "IVDW", "LUSE_VDW",
    "LHFCALC", "LDAU", "LSORBIT",
)  # fmt: skip
"""Looked up in the effective parameters, so that a default and its statement are one level."""


def level_as_read(run: Vasprun) -> Theory:
    """Return the level of theory that a run states.

    The mesh of k-points is stated as such, because the rule behind it is not known.
    """
    for name, default in {"AEXX": 0.0, "HFSCREEN": 0.0, "LHFCALC": False}.items():
        # without these pymatgen takes a run for a hybrid functional's, against VASP's defaults
        run.parameters.setdefault(name, default)
    functional = run.run_type
    stated = {name: value for name, value in run.incar.items() if name not in NOT_PHYSICS}
    effective = {
        name: run.parameters[name] for name in _DEFAULTS_THAT_MATTER if name in run.parameters
    }
    parameters = {f"INCAR {name}": str(value) for name, value in (stated | effective).items()}
    parameters["KPOINTS"] = _kpoints(run)
    parameters["POTCAR"] = _potcars(run)
    if cell_moved(run):
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


def cell_moved(run: Vasprun) -> bool:
    """Return whether the steps of a run have several cells.

    VASP keeps the plane waves of the first: later energies and stresses lack waves, or have
    too many, for their own cutoff.
    """
    lattices = np.array([step["structure"].lattice.matrix for step in run.ionic_steps])
    return bool(np.ptp(lattices, axis=0).max() > _MOVED_ANG)


def _potcars(run: Vasprun) -> str:
    """Return the release of MPRelaxSet's choice of POTCARs, or the titles of another choice.

    One name for the choice lets chlorides and bromides be at one level.
    """
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
    """Return the titles of the releases of PBE without blanks, that of today's MPRelaxSet first."""
    path = resources.files("pymatgen.io.vasp").joinpath("potcar-summary-stats.json.bz2")
    releases = loadfn(str(path))
    return {name: frozenset(releases[name]) for name in ("PBE_54", "PBE_52", "PBE")}


def _functional_of(run: Vasprun, functional: str) -> str:
    """Return the functional: that of the POTCARs where the INCAR names none."""
    lda = functional == "GGA" and all(name.split()[0] == "PAW" for name in run.potcar_symbols)
    return "LDA" if lda else functional


def _kpoints(run: Vasprun) -> str:
    """Return the k-points as the run states them: a spacing, a mesh, or a number of points."""
    if "KSPACING" in run.incar:
        centred = "Gamma" if run.parameters.get("KGAMMA", True) else "Monkhorst"
        return f"{centred}, spacing {run.incar['KSPACING']} 1/Å"
    kpoints = run.kpoints
    mesh = " ".join(str(int(n)) for n in kpoints.kpts[0]) if kpoints.num_kpts <= 0 else ""
    if not mesh:
        return f"{len(run.actual_kpoints)} points, listed"
    shift = " ".join(f"{x:g}" for x in kpoints.kpts_shift or (0.0, 0.0, 0.0))
    return f"{kpoints.style.name} {mesh}, shift {shift}"

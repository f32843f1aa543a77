"""Comparison of VASP runs that others made with our levels of theory.

Every number that our input files would state is compared with what the run states or took by
default; settings that only say how to iterate or what to keep are not. A run with exactly our
inputs thus has our fingerprint, and its label is used instead of a new one if the atoms are in
the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose

from pymatgen.io.vasp.inputs import KpointsSupportedModes
from pymatgen.io.vasp.outputs import Vasprun

from lycb_flows.crystals import canonical_structure
from lycb_flows.labels import VASP_STAND_IN, Level, Potcars, Theory, our_levels
from lycb_flows.labels.foreign.vasprun_level import NOT_PHYSICS, cell_moved, level_as_read
from lycb_flows.labels.vasp.inputs import incar_of

_IN_PARAMETERS = {"ENCUT": "ENMAX"}
"""Where vasprun.xml's effective parameters have another name than the INCAR."""
_OFF_BY_DEFAULT = frozenset({"LDAU", "LDIPOL", "LHFCALC", "LNONCOLLINEAR", "LSORBIT", "LUSE_VDW"})


def level_of_run(run: Vasprun) -> Level:
    """Return the level of a run.

    Returns
    -------
    Level
        One of ours if the run's settings are the same; otherwise the level that the run states,
        with a note of how it differs from the nearest of ours.
    """
    read = level_as_read(run)
    notes: list[tuple[int, str]] = []
    for name, theory in our_levels().items():
        if theory.code != "vasp":
            continue
        different = differences_from(run, theory, read)
        if not different:
            return Level.of(theory)
        notes.append((len(different), f"not {name}: {'; '.join(different)}"))
    return Level.of(read, min(notes)[1])


def differences_from(run: Vasprun, theory: Theory, read: Theory | None = None) -> list[str]:
    """Return the differences between a run and a level of theory.

    Parameters
    ----------
    run
        The run.
    theory
        A level of VASP, or of its stand-in, whose files state the settings but no functional.
    read
        The level that the run states, where it is known already.

    Returns
    -------
    list of str
        One line per difference; empty when the run is at the level.
    """
    return list(_differences(run, read or level_as_read(run), theory))


def _differences(run: Vasprun, read: Theory, theory: Theory) -> Iterator[str]:
    """Yield what differs between a run and a level."""
    if not theory.covers_version(run.vasp_version):
        yield f"version {run.vasp_version} for {theory.version}"
    if read.functional != theory.functional and theory.code != VASP_STAND_IN:
        yield f"{read.functional} for {theory.functional}"
    stated = incar_of(theory)
    for name, value in stated.items():
        parameter = _IN_PARAMETERS.get(name, name)
        found = run.incar.get(name, run.parameters.get(parameter))
        if name != "NELM" and not _same(
            value, found
        ):  # a limit on iterations decides no number of a converged run
            yield f"{name} {found} for {value}"
    for name, value in run.incar.items():
        off = name in _OFF_BY_DEFAULT and value is False
        if name not in stated and name not in NOT_PHYSICS and not off:
            yield f"{name} {value}"
    yield from _other_points(run, theory)
    yield from _other_potcars(run, theory)
    if cell_moved(run):
        yield "plane waves of the run's first cell"


def _other_points(run: Vasprun, theory: Theory) -> Iterator[str]:
    if theory.kpoints is None or run.kpoints.num_kpts > 0:
        yield "k-points, listed"
        return
    cell = canonical_structure(run.ionic_steps[0]["structure"])
    mesh, found = theory.kpoints.mesh_for(cell.lattice_ang), tuple(map(int, run.kpoints.kpts[0]))
    gamma = run.kpoints.style == KpointsSupportedModes.Gamma or all(n % 2 for n in found)
    if found != mesh or not gamma or any(run.kpoints.kpts_shift or ()):
        yield f"{_as_text(found)} ({run.kpoints.style.name}) for {_as_text(mesh)}"


def _as_text(mesh: tuple[int, ...]) -> str:
    return "x".join(map(str, mesh))


def _other_potcars(run: Vasprun, theory: Theory) -> Iterator[str]:
    if not isinstance(theory.paw, Potcars):
        return
    elements = dict.fromkeys(run.atomic_symbols)
    for element, title in zip(elements, run.potcar_symbols, strict=False):
        stated = theory.paw.of(element).title
        same = title == stated
        if theory.code == VASP_STAND_IN:  # the stand-in knows the symbols only
            same = title.split()[1] == stated.split()[1]
        if not same:
            yield f"POTCAR {title} for {stated}"


def _same(stated: object, found: object) -> bool:
    """Return whether two values agree; vasprun.xml shortens words (Accura) and rewrites numbers."""
    if isinstance(stated, bool) or isinstance(found, bool):
        return stated is found
    if isinstance(stated, int | float) and isinstance(found, int | float):
        return isclose(stated, found, rel_tol=1e-9)
    word, other = str(stated).lower(), str(found).lower()
    return bool(word and other) and (word.startswith(other) or other.startswith(word))

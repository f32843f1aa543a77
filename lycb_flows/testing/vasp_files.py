"""The files of the stand-in for VASP, as pymatgen and custodian read them.

Units and signs are VASP's: eV, Å, eV/Å; stress in kB, compression positive. Every file says
that a stand-in wrote it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.io.vasp import write_vasp

from lycb_flows.testing.vasp_task import Task

PROGRAM = "vasp stand-in"
"""`program` in vasprun.xml, where VASP has "vasp"."""
VERSION = "6.0.0"
"""Version of VASP whose files these resemble."""
_NOTE = "lycb stand-in for VASP: numbers of the potential {potential}, not DFT"
_FFT_POINTS = 32
_BOHR_ANG, _RYDBERG_EV = 0.529177249, 13.605826  # VASP's own digits
_VOIGT = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0))
"""Indices of XX YY ZZ XY YZ ZX, which is VASP's order."""


@dataclass(frozen=True)
class IonicStep:
    """One structure and its numbers; energies are those of sigma -> 0."""

    lattice_ang: np.ndarray
    frac_coords: np.ndarray
    energy_ev: float
    entropy_ev: float
    forces_ev_per_ang: np.ndarray
    stress_kb: np.ndarray
    electronic_energies_ev: list[float]

    @property
    def free_energy_ev(self) -> float:
        """The free energy, F = E(sigma -> 0) - T S / 2."""
        return self.energy_ev - self.entropy_ev / 2


class Outputs:
    """The files of one run, written step by step.

    Parameters
    ----------
    folder
        Folder of the files.
    task
        The inputs.
    potential
        Name of the potential that computes the numbers.
    """

    def __init__(self, folder: Path, task: Task, potential: str) -> None:
        self.task, self.note = task, _NOTE.format(potential=potential)
        self._potential = potential
        self.vasprun = folder / "vasprun.xml"
        self._outcar, self._oszicar = folder / "OUTCAR", folder / "OSZICAR"
        self._contcar = folder / "CONTCAR"
        self._n_steps, self._last_free_energy_ev = 0, 0.0
        self._last: IonicStep | None = None

    def say(self, line: str) -> None:
        """Print a line to stdout, where VASP prints too."""
        print(f" {line}", flush=True)  # noqa: T201 - as VASP

    def begin(self) -> None:
        """Write the headers; files of an earlier run are overwritten, as by VASP."""
        self.say(self.note)
        self.say("running on    1 total cores")
        self.vasprun.write_text(vasprun_head(self.task, self.note, self._potential))
        self._outcar.write_text(outcar_head(self.task, self.note))
        self._oszicar.write_text("")
        self._contcar.write_text("")

    def iterate(self) -> None:
        """Write an electronic step without an energy, for runs that end in it."""
        _append(self._outcar, f"{_iteration(1, 1)}{_electrons(self.task)}")

    def add(self, step: IonicStep, *, stress: bool) -> None:
        """Write an ionic step.

        Parameters
        ----------
        step
            The structure and its numbers.
        stress
            Whether the files have its stress.
        """
        self._n_steps += 1
        self._last = step
        _append(self.vasprun, vasprun_step(step, stress=stress))
        _append(self._outcar, outcar_step(self.task, step, self._n_steps, stress=stress))
        change_ev = step.free_energy_ev - self._last_free_energy_ev
        self._last_free_energy_ev = step.free_energy_ev
        _append(self._oszicar, oszicar_step(step, self._n_steps, change_ev))
        self._contcar.write_text(contcar(self.task, step, self.note))
        self.say(f"{self._n_steps:4d} F= {step.free_energy_ev:.8E} E0= {step.energy_ev:.8E}")

    def end(self) -> None:
        """Write what comes after the last ionic step."""
        if self._last is not None:
            final = vasprun_structure("finalpos", self._last.lattice_ang, self._last.frac_coords)
            _append(self.vasprun, f"{final}</modeling>\n")
        _append(self._outcar, _OUTCAR_END)
        for name, key in (("WAVECAR", "LWAVE"), ("CHGCAR", "LCHARG")):
            if self.task.incar.get(key, True):  # VASP's default
                (self.vasprun.parent / name).write_text(f"{self.note}: none\n")


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


# -- vasprun.xml ---------------------------------------------------------------------------------


def vasprun_head(task: Task, note: str, potential: str) -> str:
    """Return vasprun.xml up to the first ionic step.

    Parameters
    ----------
    task
        The inputs.
    note
        Says that a stand-in writes the file.
    potential
        Name of the potential, written as the program's subversion.
    """
    facts = {"program": PROGRAM, "version": VERSION, "subversion": potential, "platform": "none"}
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n'
        f"<!-- {note} -->\n"
        f"<generator>\n{_items(facts)}</generator>\n"
        f"<incar>\n{_items(task.incar)}</incar>\n"
        f"{_kpoints(task)}"
        f"<parameters>\n{_items(_parameters(task))}</parameters>\n"
        f"{_atominfo(task)}"
        + vasprun_structure("initialpos", task.atoms.cell.array, task.atoms.get_scaled_positions())
    )


def _parameters(task: Task) -> dict[str, Any]:
    """Return the parameters of a run: VASP's defaults, replaced by those of the INCAR."""
    return {
        "PREC": "normal", "ENMAX": float(task.incar.get("ENCUT", 0.0)), "ISTART": 0, "ICHARG": 2,
        "ISPIN": 1, "ISMEAR": 1, "SIGMA": 0.2, "ISYM": 2, "SYMPREC": 1e-5, "LREAL": False,
        "EDIFF": task.ediff_ev, "EDIFFG": task.ediffg, "NELM": task.nelm, "NELMIN": task.nelmin,
        "NSW": task.nsw, "IBRION": task.ibrion, "ISIF": task.isif, "PSTRESS": 0.0,
        "NELECT": float(task.n_electrons), "NBANDS": task.n_bands, "GGA": "--", "METAGGA": "--",
        "LHFCALC": False, "AEXX": 0.0, "HFSCREEN": 0.0, "LEPSILON": False, "LDAU": False,
        "LASPH": False, "ADDGRID": False, "IVDW": 0, "LUSE_VDW": False, "LSORBIT": False,
        **task.incar,
    }  # fmt: skip


def _items(facts: Mapping[str, Any]) -> str:
    return "".join(map(_item, facts, facts.values()))


def _item(name: str, value: object) -> str:
    match value:
        case bool():
            return f'  <i type="logical" name="{name}"> {"T" if value else "F"} </i>\n'
        case int():
            return f'  <i type="int" name="{name}"> {value:6d}</i>\n'
        case float():
            return f'  <i name="{name}"> {value:15.8f}</i>\n'
        case list() | tuple():
            numbers = " ".join(f"{float(number):15.8f}" for number in value)
            return f'  <v name="{name}"> {numbers}</v>\n'
        case _:
            return f'  <i type="string" name="{name}">{escape(str(value))}</i>\n'


def _kpoints(task: Task) -> str:
    style = "Gamma" if task.centred else "Monkhorst-Pack"
    points = "".join(_row(point) for point, _ in task.kpoints)
    weights = "".join(_row((weight,)) for _, weight in task.kpoints)
    divisions = " ".join(map(str, task.mesh))
    return (
        f'<kpoints>\n <generation param="{style}">\n  <v type="int" name="divisions">{divisions}'
        '</v>\n  <v name="usershift">0.0 0.0 0.0</v>\n </generation>\n'
        f' <varray name="kpointlist">\n{points} </varray>\n'
        f' <varray name="weights">\n{weights} </varray>\n</kpoints>\n'
    )


def _row(numbers: Iterable[float]) -> str:
    return "  <v>" + " ".join(f"{number:16.8f}" for number in numbers) + " </v>\n"


def _array(name: str, rows: np.ndarray) -> str:
    return f' <varray name="{name}">\n{"".join(map(_row, rows))} </varray>\n'


def _atominfo(task: Task) -> str:
    ions = "".join(
        f"<rc><c>{element:2}</c><c>{kind:4d}</c></rc>\n" * number
        for kind, (element, number, _) in enumerate(task.groups, start=1)
    )
    kinds = "".join(
        f"<rc><c>{number:4d}</c><c>{element:2}</c><c>{atomic_masses[atomic_numbers[element]]:.8f}"
        f"</c><c>{task.n_electrons:.8f}</c><c>STAND-IN {symbol} none</c></rc>\n"
        for element, number, symbol in task.groups
    )
    return (
        f"<atominfo>\n<atoms> {len(task.atoms)} </atoms>\n<types> {len(task.groups)} </types>\n"
        f'<array name="atoms"><set>\n{ions}</set></array>\n'
        f'<array name="atomtypes"><set>\n{kinds}</set></array>\n</atominfo>\n'
    )


def vasprun_structure(name: str, lattice_ang: np.ndarray, frac_coords: np.ndarray) -> str:
    """Return a structure as vasprun.xml has it.

    Parameters
    ----------
    name
        Its name; empty inside an ionic step.
    lattice_ang
        Lattice vectors in Å, (3, 3).
    frac_coords
        Fractional coordinates, (n_atoms, 3).
    """
    volume = f' <i name="volume"> {abs(np.linalg.det(lattice_ang)):15.8f} </i>\n'
    naming = f' name="{name}"' if name else ""
    crystal = f"<crystal>\n{_array('basis', lattice_ang)}{volume}</crystal>\n"
    return f"<structure{naming}>\n{crystal}{_array('positions', frac_coords)}</structure>\n"


def vasprun_step(step: IonicStep, *, stress: bool) -> str:
    """Return an ionic step with its electronic steps, as vasprun.xml has them."""
    electronic = "".join(
        f"<scstep>\n{_energy(energy, step.entropy_ev)}</scstep>\n"
        for energy in step.electronic_energies_ev
    )
    tensor = _array("stress", step.stress_kb) if stress else ""
    structure = vasprun_structure("", step.lattice_ang, step.frac_coords)
    forces = _array("forces", step.forces_ev_per_ang)
    energy = _energy(step.electronic_energies_ev[-1], step.entropy_ev)
    return f"<calculation>\n{electronic}{structure}{forces}{tensor}{energy}</calculation>\n"


def _energy(energy_ev: float, entropy_ev: float) -> str:
    facts = {
        "e_fr_energy": energy_ev - entropy_ev / 2,
        "e_wo_entrp": energy_ev + entropy_ev / 2,
        "e_0_energy": energy_ev,
    }
    return f" <energy>\n{_items(facts)} </energy>\n"


# -- OUTCAR, OSZICAR, CONTCAR -----------------------------------------------------------------


def outcar_head(task: Task, note: str) -> str:
    """Return OUTCAR up to the first ionic step."""
    spin = task.incar.get("ISPIN", 1)
    n_waves = _n_waves(task)
    waves = "".join(
        f" k-point{index:4d} :  {k[0]:8.4f}{k[1]:8.4f}{k[2]:8.4f}  plane waves: {n_waves:7d}\n"
        for index, (k, _) in enumerate(task.kpoints, start=1)
    )
    titles = "".join(f" POTCAR:    STAND-IN {symbol} none\n" for *_, symbol in task.groups)
    return (
        f" {note}\n running on    1 total cores\n{titles}"
        f"   k-points           NKPTS ={len(task.kpoints):7d}   number of bands    NBANDS="
        f"{task.n_bands:7d}\n   total plane-waves  NPLWV ={_FFT_POINTS**3:7d}\n"
        f"   ISPIN  ={spin:7d}    spin polarized calculation?\n"
        f"   NELM   ={task.nelm:7d};   NELMIN={task.nelmin:3d}\n   EDIFF  = {task.ediff_ev:.1E}\n"
        f"   IBRION ={task.ibrion:7d}    ionic relax: 0-MD 1-quasi-New 2-CG\n"
        f"   NELECT ={task.n_electrons:12.4f}    total number of electrons\n"
        f"\n\n\n{'-' * 104}\n\n\n{waves}\n maximum and minimum number of plane-waves per node : "
        f"{n_waves:9d}{n_waves:9d}\n\n"
    )


def _n_waves(task: Task) -> int:
    """Plane waves below the cutoff: V k^3 / (6 pi^2), k = sqrt(E / Rydberg) / Bohr."""
    cutoff_ev = float(task.incar.get("ENCUT", 0.0))
    k_per_ang = np.sqrt(cutoff_ev / _RYDBERG_EV) / _BOHR_ANG
    return int(task.atoms.get_volume() * k_per_ang**3 / (6 * np.pi**2))


def outcar_step(task: Task, step: IonicStep, number: int, *, stress: bool) -> str:
    """Return an ionic step as OUTCAR has it.

    Parameters
    ----------
    task
        The inputs.
    step
        The structure and its numbers.
    number
        Number of the step, from 1.
    stress
        Whether to write its stress.
    """
    electronic = "".join(
        f"{_iteration(number, index)}"
        f"  free  energy   TOTEN  = {energy - step.entropy_ev / 2:18.8f} eV\n"
        for index, energy in enumerate(step.electronic_energies_ev, start=1)
    )
    converged = len(step.electronic_energies_ev) < task.nelm
    ending = (
        "aborting loop because EDIFF is reached"
        if converged
        else "aborting loop EDIFF was not reached (unconverged)"
    )
    in_kb = " ".join(f"{step.stress_kb[i, j]:12.5f}" for i, j in _VOIGT)
    positions = step.frac_coords @ step.lattice_ang
    table = "".join(
        " " + " ".join(f"{number:13.6f}" for number in (*place, *force)) + "\n"
        for place, force in zip(positions, step.forces_ev_per_ang, strict=True)
    )
    drift = " ".join(f"{value:13.6f}" for value in step.forces_ev_per_ang.sum(axis=0))
    lattice = "".join("  " + " ".join(f"{x:13.9f}" for x in row) + "\n" for row in step.lattice_ang)
    rule = f" {'-' * 83}\n"
    return (
        f"{electronic}------------------------ {ending} ----------------------------------------\n"
        f"{_electrons(task)}"
        + (
            f"  in kB  {in_kb}\n  external pressure = {np.trace(step.stress_kb) / 3:11.2f} kB\n"
            if stress
            else ""
        )
        + f"  volume of cell : {abs(np.linalg.det(step.lattice_ang)):11.2f}\n"
        f"      direct lattice vectors\n{lattice}"
        f" POSITION{'TOTAL-FORCE (eV/Angst)':>61}\n{rule}{table}{rule}"
        f"    total drift:                           {drift}\n\n"
        "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n"
        f"  free  energy   TOTEN  = {step.free_energy_ev:18.8f} eV\n\n"
        f"  energy  without entropy= {step.energy_ev + step.entropy_ev / 2:18.8f}"
        f"  energy(sigma->0) = {step.energy_ev:18.8f}\n\n"
    )


def _iteration(number: int, index: int) -> str:
    return f"----------------------------------- Iteration {number:6d}({index:4d})  ---\n"


def _electrons(task: Task) -> str:
    return f" number of electron  {task.n_electrons:14.7f} magnetization\n"


_OUTCAR_END = (
    " General timing and accounting informations for this job (of the stand-in):\n"
    "                  Total CPU time used (sec):        1.000\n"
)


def oszicar_step(step: IonicStep, number: int, change_ev: float) -> str:
    """Return an ionic step as OSZICAR has it.

    The note about the stand-in is a column's name, as pymatgen reads every line as data.

    Parameters
    ----------
    step
        The structure and its numbers.
    number
        Number of the step, from 1.
    change_ev
        Change of the free energy since the last step, in eV.
    """
    head = "       N       E                     dE             d eps       ncg     rms"
    lines = [f"{head}   stand-in_not_VASP"]
    before = 0.0
    for index, energy in enumerate(step.electronic_energies_ev, start=1):
        change = energy - before
        lines.append(
            f"DAV: {index:3d}    {energy: .12E}   {change: .5E}  {change: .5E}  100   0.1E-02"
        )
        before = energy
    lines.append(
        f"{number:4d} F= {step.free_energy_ev:.8E} E0= {step.energy_ev:.8E}  d E ={change_ev: .6E}"
    )
    return "\n".join(lines) + "\n"


def contcar(task: Task, step: IonicStep, note: str) -> str:
    """Return the structure of a step as CONTCAR has it."""
    atoms = Atoms(task.atoms.numbers, cell=step.lattice_ang, scaled_positions=step.frac_coords)
    text = io.StringIO()
    write_vasp(text, atoms, direct=True)
    return "\n".join([note, *text.getvalue().splitlines()[1:], ""])

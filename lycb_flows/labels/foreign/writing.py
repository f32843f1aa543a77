"""Labels in the formats that other programs train on.

    format    energy                        forces          stress
    extxyz    energy, eV                    forces, eV/Å    stress, eV/Å^3, tension positive
    ase-db    energy, eV                    eV/Å            eV/Å^3, tension positive
    mace      REF_energy, eV                REF_forces      REF_stress, eV/Å^3, tension positive
    chgnet    energy_per_atom, eV; and      force, eV/Å     kB, compression positive (it reads
              uncorrected_total_energy                      stress x -0.1)
    matgl     energies, eV                  forces, eV/Å    stresses, GPa, tension positive
    deepmd    energy.npy, eV                force.npy       virial.npy, eV: minus stress x volume
                                                            (dpdata: virials = -V stress)

Energies are as labelled: raw DFT where the level of theory is. All formats but DeePMD's carry each
label's key, fingerprint and k-points.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from lycb_flows.crystals import to_ase, to_pymatgen
from lycb_flows.errors import InputError
from lycb_flows.machine.files import write_durably
from lycb_flows.schemas import Label, Structure
from lycb_flows.units import EV_PER_ANG3_GPA

_KB_PER_GPA = 10.0


@dataclass(frozen=True)
class WrittenLabel:
    """A label to be written; `unknown` names the fields of its level that nobody knows."""

    structure: Structure
    label: Label
    unknown: tuple[str, ...] = ()

    @property
    def notes(self) -> dict[str, str]:
        """Text that an import recognises the label by: key, level of theory, k-points."""
        mesh = " ".join(map(str, self.label.kpoint_mesh or ()))
        notes = {
            "label": self.label.key,
            "theory": self.label.theory,
            "theory_name": self.label.theory_name,
            "kpoint_mesh": mesh,
            "unknown": " ".join(self.unknown),
        }
        return {name: text for name, text in notes.items() if text}


def labelled_atoms(structure: Structure, label: Label) -> Atoms:
    """Return a structure with its label as ASE's results: eV, eV/Å, eV/Å^3, tension positive.

    Parameters
    ----------
    structure
        The structure.
    label
        Its label.
    """
    return _atoms(WrittenLabel(structure, label))


def _atoms(entry: WrittenLabel) -> Atoms:
    atoms = _described(entry)
    atoms.calc = SinglePointCalculator(
        atoms,
        energy=entry.label.energy_ev,
        forces=entry.label.forces_ev_per_ang,
        stress=full_3x3_to_voigt_6_stress(_stress_ev_per_ang3(entry.label)),
    )
    return atoms


def _described(entry: WrittenLabel) -> Atoms:
    """Return the crystal and its origin, with the coordinates' full precision.

    ASE writes 8 decimals of positions; a structure's key needs 10.
    """
    atoms = to_ase(entry.structure)
    atoms.info |= entry.notes | {"frac_coords": np.ravel(entry.structure.frac_coords)}
    return atoms


def _stress_ev_per_ang3(label: Label) -> np.ndarray[Any, Any]:
    return np.asarray(label.stress_gpa) / float(EV_PER_ANG3_GPA)


def _write_extxyz(labels: Sequence[WrittenLabel], path: Path) -> None:
    _write_frames([_atoms(entry) for entry in labels], path)


def _write_mace(labels: Sequence[WrittenLabel], path: Path) -> None:
    frames = []
    for entry in labels:
        atoms = _described(entry)
        atoms.info |= {
            "REF_energy": entry.label.energy_ev,
            "REF_stress": _stress_ev_per_ang3(entry.label),
        }
        atoms.arrays["REF_forces"] = np.array(entry.label.forces_ev_per_ang)
        frames.append(atoms)
    _write_frames(frames, path)


def _write_frames(frames: list[Atoms], path: Path) -> None:
    text = io.StringIO()
    ase.io.write(text, frames, format="extxyz")
    write_durably(path, text.getvalue().encode())


def _write_ase_db(labels: Sequence[WrittenLabel], path: Path) -> None:
    _refuse_old(path)
    with ase.db.connect(path, type="db") as database:
        for entry in labels:
            # as data, because ASE's searchable pairs refuse text that looks like a number
            database.write(_atoms(entry), data=_atoms(entry).info)


def _write_chgnet(labels: Sequence[WrittenLabel], path: Path) -> None:
    """Write each label as a material of its own, because chgnet splits its data by material."""
    content = {
        entry.label.key: {
            entry.label.key: {
                "structure": to_pymatgen(entry.structure).as_dict(),
                "energy_per_atom": entry.label.energy_ev / len(entry.structure.species),
                "uncorrected_total_energy": entry.label.energy_ev,
                "force": entry.label.forces_ev_per_ang,
                "stress": (-_KB_PER_GPA * np.array(entry.label.stress_gpa)).tolist(),
                "magmom": None,
                **entry.notes,
            }
        }
        for entry in labels
    }
    write_durably(path, json.dumps(content).encode())


def _write_matgl(labels: Sequence[WrittenLabel], path: Path) -> None:
    """Write the arguments of MGLDataset: pymatgen structures, and lists of their labels."""
    content = {
        "structures": [to_pymatgen(entry.structure).as_dict() for entry in labels],
        "labels": {
            "energies": [entry.label.energy_ev for entry in labels],
            "forces": [entry.label.forces_ev_per_ang for entry in labels],
            "stresses": [entry.label.stress_gpa for entry in labels],
        },
        "notes": [entry.notes for entry in labels],
    }
    write_durably(path, json.dumps(content).encode())


def _write_deepmd(labels: Sequence[WrittenLabel], path: Path) -> None:
    """Write one system per composition, atoms sorted by element; all systems share one type map."""
    _refuse_old(path)
    elements = sorted({symbol for entry in labels for symbol in entry.structure.species})
    systems: dict[tuple[str, ...], list[WrittenLabel]] = {}
    for entry in labels:
        systems.setdefault(tuple(sorted(entry.structure.species)), []).append(entry)
    for species, members in systems.items():
        counts = {symbol: species.count(symbol) for symbol in dict.fromkeys(species)}
        folder = path / "".join(f"{symbol}{n}" for symbol, n in counts.items())
        (folder / "set.000").mkdir(parents=True)
        types = [elements.index(symbol) for symbol in species]
        np.savetxt(folder / "type.raw", types, fmt="%d")
        np.savetxt(folder / "type_map.raw", elements, fmt="%s")
        for name, rows in _deepmd_arrays(members).items():
            np.save(folder / "set.000" / f"{name}.npy", rows)


def _deepmd_arrays(members: Sequence[WrittenLabel]) -> dict[str, np.ndarray[Any, Any]]:
    rows: dict[str, list[np.ndarray[Any, Any]]] = {
        name: [] for name in ("coord", "force", "box", "virial")
    }
    for entry in members:
        atoms = to_ase(entry.structure)
        order = np.argsort(entry.structure.species, kind="stable")
        rows["coord"].append(atoms.positions[order].ravel())
        rows["force"].append(np.array(entry.label.forces_ev_per_ang)[order].ravel())
        rows["box"].append(atoms.cell.array.ravel())
        rows["virial"].append(-atoms.get_volume() * _stress_ev_per_ang3(entry.label).ravel())
    arrays = {name: np.array(values) for name, values in rows.items()}
    return arrays | {"energy": np.array([entry.label.energy_ev for entry in members])}


def _refuse_old(path: Path) -> None:
    if path.exists():
        raise InputError("it is there already", fix="remove it, or write elsewhere", found=path)


WRITERS: dict[str, Callable[[Sequence[WrittenLabel], Path], None]] = {
    "extxyz": _write_extxyz,
    "ase-db": _write_ase_db,
    "mace": _write_mace,
    "chgnet": _write_chgnet,
    "matgl": _write_matgl,
    "deepmd": _write_deepmd,
}
TELL_LEVELS = frozenset({"extxyz", "ase-db"})
"""Formats whose readers see each frame's level of theory."""

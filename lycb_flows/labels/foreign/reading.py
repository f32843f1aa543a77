"""Labels in files of others, as plain numbers: extended XYZ, ASE databases, MPtrj's JSON.

    format    energy                          forces  stress
    extxyz    energy or REF_energy, eV        eV/Å    eV/Å^3, tension positive
    ase-db    energy, eV                      eV/Å    eV/Å^3, tension positive
    mptrj     uncorrected_total_energy, eV,   eV/Å    kB, compression positive: x -0.1 is GPa,
              or energy_per_atom x atoms              tension positive (chgnet's StructureData)

A frame may state its level of theory by fingerprint (`theory`, `theory_name`, `unknown`), its
label's key (`label`) and its fractional coordinates (`frac_coords`, for extended XYZ keeps
8 decimals of a position): our own exports do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import ArrayLike
from pymatgen.core.structure import Structure as PymatgenStructure, StructureError

from lycb_flows.crystals import canonical_structure, structure_from_arrays
from lycb_flows.errors import InputError, LabelError
from lycb_flows.labels.checks import VASP_KB, Answer
from lycb_flows.schemas import Structure

_SAME_PLACE_ANG = 1e-6
"""Largest change of a position by rounding to eight decimals."""
_MIN_VOLUME_ANG3 = 1e-3


@dataclass(frozen=True)
class ForeignLabel:
    """A label as its file has it, not yet checked.

    Attributes
    ----------
    place
        Position in the file, from 0.
    notes
        What the frame states of itself: fingerprint, key, k-points.
    """

    place: int
    structure: Structure
    answer: Answer
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """The reason why something in a file is no label; `place` is None for the whole file."""

    file: str
    place: int | None
    reason: str


Found = Iterator[tuple[int, ForeignLabel | LabelError]]


def read_extxyz(path: Path) -> Found:
    """Yield the labels of an extended XYZ file, or of another file that ASE's reader accepts.

    Yields
    ------
    tuple
        Position in the file, and the label or the error that says why it is none.
    """
    for place, atoms in enumerate(ase.io.iread(path, index=":", format="extxyz")):
        yield place, _label_of_atoms(place, atoms, atoms.info)


def read_ase_db(path: Path) -> Found:
    """Yield the labels of an ASE database, in the order of its rows.

    Yields
    ------
    tuple
        Position in the database, and the label or the error that says why it is none.
    """
    for place, row in enumerate(ase.db.connect(path, type="db").select(sort="id")):
        yield place, _label_of_atoms(place, row.toatoms(), {**row.key_value_pairs, **row.data})


def read_mptrj(path: Path) -> Found:
    """Yield the labels of a JSON file in the format that CHGNet was trained on.

    The file maps materials to frames, and frames to a structure with its numbers.

    Yields
    ------
    tuple
        Position in the file, and the label or the error that says why it is none.
    """
    content = json.loads(path.read_bytes())
    frames = [
        frame
        for frames in content.values()
        for frame in frames.values()
        if isinstance(frame, dict) and "structure" in frame
    ]
    if content and not frames:
        msg = "no material -> frame -> {structure, energy_per_atom, force, stress} in it"
        raise ValueError(msg)
    for place, frame in enumerate(frames):
        yield place, _label_of_frame(place, frame)


def _label_of_atoms(
    place: int, atoms: Atoms, notes: Mapping[str, Any]
) -> ForeignLabel | LabelError:
    results = atoms.calc.results if atoms.calc is not None else {}
    numbers = {
        "energy": results.get("energy", notes.get("REF_energy")),
        "forces": results.get("forces", atoms.arrays.get("REF_forces")),
        "stress": results.get("stress", notes.get("REF_stress")),
    }
    try:
        check_complete(numbers)
        if not atoms.pbc.all() or abs(np.linalg.det(atoms.cell.array)) < _MIN_VOLUME_ANG3:
            raise _refused("not periodic in three directions", "labels are of crystals")
        if not bool(notes.get("converged", True)):
            raise _refused("it says that it has not converged", "compute it again")
        structure = _structure_of_atoms(atoms, notes)
        answer = answer_of(structure, numbers["energy"], numbers["forces"], numbers["stress"])
    except LabelError as err:
        return err
    return ForeignLabel(place, structure, answer, notes)


def _structure_of_atoms(atoms: Atoms, notes: Mapping[str, Any]) -> Structure:
    if "frac_coords" not in notes:
        return canonical_structure(atoms)
    # ASE reads nine numbers as a matrix, columns first
    flat = np.asarray(notes["frac_coords"], dtype=float).flatten(order="F")
    if flat.size != 3 * len(atoms):
        raise _refused("frac_coords are not three per atom", "leave them out")
    coords = flat.reshape(-1, 3)
    shift = coords - atoms.get_scaled_positions(wrap=False)
    shift_ang = (shift - np.round(shift)) @ atoms.cell.array
    if not np.abs(shift_ang).max() < _SAME_PLACE_ANG:
        raise _refused("frac_coords and positions disagree", "leave frac_coords out")
    return structure_from_arrays(atoms.cell.array, atoms.get_chemical_symbols(), coords)


def _label_of_frame(place: int, frame: Mapping[str, Any]) -> ForeignLabel | LabelError:
    try:
        crystal = PymatgenStructure.from_dict(frame["structure"])
        structure = canonical_structure(crystal)
    except InputError as err:  # a site has partial occupancies
        return LabelError(err.message, fix=err.fix, **err.facts)
    except (AttributeError, LookupError, StructureError, TypeError, ValueError) as err:
        reason = f"{type(err).__name__}: {err}"
        return LabelError(
            "not pymatgen's JSON of a structure", fix="correct the file", reason=reason
        )
    energy_ev, stress_kb = frame.get("uncorrected_total_energy"), frame.get("stress")
    per_atom_ev = frame.get("energy_per_atom")
    try:
        if energy_ev is None and per_atom_ev is not None:
            energy_ev = float(per_atom_ev) * len(crystal)
        check_complete({"energy": energy_ev, "forces": frame.get("force"), "stress": stress_kb})
        answer = answer_of(structure, energy_ev, frame["force"], stress_kb, per_ev_per_ang3=VASP_KB)
    except LabelError as err:
        return err
    return ForeignLabel(place, structure, answer, frame)


def answer_of(
    structure: Structure,
    energy_ev: Any,  # noqa: ANN401 - whatever a file holds
    forces_ev_per_ang: Any,  # noqa: ANN401
    stress: Any,  # noqa: ANN401
    *,
    per_ev_per_ang3: float = 1.0,
) -> Answer:
    """Return the numbers of a file as an engine's answer.

    Parameters
    ----------
    structure
        The structure that the numbers belong to.
    energy_ev
        Total energy in eV.
    forces_ev_per_ang
        Forces in eV/Å, shape (n_atoms, 3).
    stress
        Shape (3, 3) or, in ASE's order, (6,).
    per_ev_per_ang3
        Unit and sign of the stress: the value of 1 eV/Å^3 of tension.

    Raises
    ------
    LabelError
        When these are no numbers.
    """
    try:
        return Answer(
            species=structure.species,
            lattice_ang=structure.lattice_ang,
            energy_ev=float(energy_ev),
            forces_ev_per_ang=_rows(forces_ev_per_ang),
            stress_ev_per_ang3=_rows(_full_stress(stress) / per_ev_per_ang3),
        )
    except (TypeError, ValueError) as err:
        raise LabelError("not numbers", fix="correct the file", reason=str(err)[:200]) from err


def check_complete(numbers: Mapping[str, object]) -> None:
    """Check that energy, forces and stress are all there.

    Raises
    ------
    LabelError
        When one is missing; the message names it.
    """
    missing = [name for name, value in numbers.items() if value is None]
    if missing:
        raise LabelError(
            "no label without energy, forces and stress",
            fix="add what is missing, or leave it out",
            missing=" and ".join(missing),
        )


def _full_stress(stress: ArrayLike) -> np.ndarray[Any, Any]:
    array = np.asarray(stress, dtype=float)
    if array.shape == (6,):
        return np.asarray(voigt_6_to_full_3x3_stress(array))
    return array.reshape(3, 3) if array.shape == (9,) else array


def _rows(array: ArrayLike) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in np.atleast_2d(np.asarray(array, dtype=float)).tolist())


def _refused(message: str, fix: str) -> LabelError:
    return LabelError(message, fix=fix)

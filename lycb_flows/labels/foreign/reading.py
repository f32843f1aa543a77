"""Labels in files of others, as plain numbers: extended XYZ, ASE databases, MPtrj's JSON.

    format    energy                          forces  stress
    extxyz    energy or REF_energy, eV        eV/Å    eV/Å^3, tension positive, nine or six
                                                      numbers; or -virial / V
    ase-db    energy, eV                      eV/Å    eV/Å^3, tension positive
    mptrj     uncorrected_total_energy, eV,   eV/Å    kB, compression positive: x -0.1 is GPa,
              or energy_per_atom x atoms              tension positive (chgnet's StructureData)

A frame may state its level of theory by fingerprint (`theory`, `theory_name`, `unknown`), its
label's key (`label`) and its fractional coordinates (`frac_coords`, for extended XYZ keeps
8 decimals of a position): our own exports do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, Literal

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


Keys = Literal["plain", "REF"]
_SIX_NUMBERS = re.compile(
    r"""(?P<name>\b(?:REF_)?(?:stress|virials?))=(?P<quote>["'])\s*"""
    r"""(?P<numbers>[^\s"']+(?:\s+[^\s"']+){5})\s*(?P=quote)"""
)
_NUMBER_NAME = re.compile("energy|force|stress|virial", re.IGNORECASE)
_SAME_NUMBER = 1e-6
"""Two sources that differ by more, in eV and Å, are no copies of each other."""
_UNITS = {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å^3"}
Found = Iterator[tuple[int, ForeignLabel | LabelError]]


def read_extxyz(path: Path, keys: Keys | None = None) -> Found:
    """Yield the labels of an extended XYZ file, or of another file that ASE's reader accepts.

    Parameters
    ----------
    path
        The file.
    keys
        Which numbers of a frame are its label: "plain" (energy, forces, stress) or "REF"
        (REF_energy and so on); None: those that are complete, unless both are and contradict.

    Yields
    ------
    tuple
        Position in the file, and the label or the error that says why it is none.
    """
    text = _SIX_NUMBERS.sub(_nine_numbers, path.read_bytes().decode("utf-8-sig", "replace"))
    for place, atoms in enumerate(ase.io.iread(StringIO(text), index=":", format="extxyz")):
        yield place, _label_of_atoms(place, atoms, atoms.info, keys)


def _nine_numbers(found: re.Match[str]) -> str:
    """Return six numbers in ASE's order as nine, which is all that ASE's reader knows."""
    xx, yy, zz, yz, xz, xy = found["numbers"].split()
    return f'{found["name"]}="{xx} {xy} {xz} {xy} {yy} {yz} {xz} {yz} {zz}"'


def read_ase_db(path: Path, keys: Keys | None = None) -> Found:
    """Yield the labels of an ASE database, in the order of its rows.

    Parameters
    ----------
    path
        The file.
    keys
        As `read_extxyz` has it.

    Yields
    ------
    tuple
        Position in the database, and the label or the error that says why it is none.
    """
    for place, row in enumerate(ase.db.connect(path, type="db").select(sort="id")):
        notes = {**row.key_value_pairs, **row.data}
        yield place, _label_of_atoms(place, row.toatoms(), notes, keys)


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
    place: int, atoms: Atoms, notes: Mapping[str, Any], keys: Keys | None
) -> ForeignLabel | LabelError:
    try:
        numbers = numbers_of(atoms, notes, keys)
        if not atoms.pbc.all() or abs(np.linalg.det(atoms.cell.array)) < _MIN_VOLUME_ANG3:
            raise _refused("not periodic in three directions", "labels are of crystals")
        if not bool(notes.get("converged", True)):
            raise _refused("it says that it has not converged", "compute it again")
        structure = _structure_of_atoms(atoms, notes)
        answer = answer_of(structure, numbers["energy"], numbers["forces"], numbers["stress"])
    except LabelError as err:
        return err
    return ForeignLabel(place, structure, answer, notes)


def numbers_of(atoms: Atoms, notes: Mapping[str, Any], keys: Keys | None) -> dict[str, Any]:
    """Return energy, forces and stress of a frame, all from one source.

    Parameters
    ----------
    atoms
        The frame, with its calculator and arrays.
    notes
        What else it states.
    keys
        As `read_extxyz` has it.

    Raises
    ------
    LabelError
        When no source is complete, or two contradict.
    """
    results = atoms.calc.results if atoms.calc is not None else {}
    sources: dict[Keys, dict[str, Any]] = {
        "plain": _source({**notes, **atoms.arrays, **results}, "", atoms),
        "REF": _source({**notes, **atoms.arrays}, "REF_", atoms),
    }
    order = [keys] if keys else list(sources)
    complete = [name for name in order if all(v is not None for v in sources[name].values())]
    if not complete:
        fullest = max(order, key=lambda name: sum(v is not None for v in sources[name].values()))
        check_complete(sources[fullest], seen=_seen(atoms, notes))
    if keys is None:
        _check_agreement(sources["plain"], sources["REF"])
    return sources[complete[0]]


def _source(found: Mapping[str, Any], prefix: str, atoms: Atoms) -> dict[str, Any]:
    stress = found.get(f"{prefix}stress")
    virial = found.get(f"{prefix}virial", found.get(f"{prefix}virials"))
    if stress is None and virial is not None and atoms.cell.rank == len(atoms.cell):
        stress = -_full_stress(virial) / atoms.get_volume()
    return {
        "energy": found.get(f"{prefix}energy"),
        "forces": found.get(f"{prefix}forces"),
        "stress": stress,
    }


def _seen(atoms: Atoms, notes: Mapping[str, Any]) -> str:
    results = atoms.calc.results if atoms.calc is not None else {}
    names = {*results, *notes, *atoms.arrays}
    return ", ".join(sorted(name for name in names if _NUMBER_NAME.search(name))) or "none"


def _check_agreement(plain: Mapping[str, Any], ref: Mapping[str, Any]) -> None:
    for name, value in plain.items():
        other = ref[name]
        if value is None or other is None:
            continue
        try:
            flat = _full_stress(value) if name == "stress" else np.asarray(value, dtype=float)
            theirs = _full_stress(other) if name == "stress" else np.asarray(other, dtype=float)
            gap = float(np.abs(flat - theirs).max())
        except (TypeError, ValueError) as err:
            raise LabelError("not numbers", fix="correct the file", reason=str(err)[:200]) from err
        if not gap <= _SAME_NUMBER:
            msg = f"{name} and REF_{name} contradict"
            raise LabelError(
                msg,
                fix="choose by --keys plain or --keys REF",
                differ_by=f"{gap:g} {_UNITS[name]}",
            )


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


def check_complete(numbers: Mapping[str, object], seen: str | None = None) -> None:
    """Check that energy, forces and stress are all there.

    Parameters
    ----------
    numbers
        Name -> value, or None.
    seen
        What the file has instead.

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
            **({} if seen is None else {"seen": seen}),
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

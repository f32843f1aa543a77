"""Results in the formats of others: extended XYZ, CIF, trajectories, safetensors with a card."""

from __future__ import annotations

from pathlib import Path

import ase.io
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from pymatgen.io.cif import CifWriter

from lycb_flows.errors import InputError
from lycb_flows.jobs.dynamics import trajectory_of
from lycb_flows.md.export import export_trajectory
from lycb_flows.potentials.models import write_model
from lycb_flows.schemas import GroundState, Label, Model, Ranking, Run, Structure
from lycb_flows.store import ResultStore
from lycb_flows.structures import to_ase, to_pymatgen
from lycb_flows.units import EV_PER_ANG3_GPA


def write_labels(store: ResultStore, path: Path) -> int:
    """Every label as one frame of an extended XYZ file; returns how many.

    Energies in eV, forces in eV/Å, stress in eV/Å^3 (ASE's sign); each frame carries its
    label's key and level of theory.
    """
    frames = []
    for label in store.find_all(Label):
        atoms = labelled_atoms(store.load(Structure, label.structure), label)
        atoms.info["theory_name"] = label.theory_name
        frames.append(atoms)
    ase.io.write(path, frames, format="extxyz")
    return len(frames)


def labelled_atoms(structure: Structure, label: Label) -> Atoms:
    """A structure with its label as ASE has it: eV, eV/Å, eV/Å^3, tension positive."""
    atoms = to_ase(structure)
    atoms.info |= {"label": label.key, "theory": label.theory}
    atoms.calc = SinglePointCalculator(
        atoms,
        energy=label.energy_ev,
        forces=label.forces_ev_per_ang,
        stress=full_3x3_to_voigt_6_stress(label.stress_gpa) / EV_PER_ANG3_GPA,
    )
    return atoms


def write_stored_model(store: ResultStore, key: str, path: Path) -> None:
    """A model's weights at `path`, its card beside it.

    Raises
    ------
    InputError
        When the key is no model's.
    """
    model = store.load_any(key)
    if not isinstance(model, Model):
        raise InputError("not a model", fix="see `lycb query model`", key=key, found=model.kind)
    write_model(model, store.blobs.read(model.weights), path)


def write_structure(store: ResultStore, key: str, folder: Path) -> Path:
    """A structure, or a ground state by model or DFT, as `<key>.cif` in a folder.

    Raises
    ------
    InputError
        When the key is neither's.
    """
    document = store.load_any(key)
    if isinstance(document, Ranking | GroundState):
        document = store.load(Structure, document.ground_state)
    if not isinstance(document, Structure):
        raise InputError(
            "not a structure", fix="see `lycb query ranking`", key=key, found=document.kind
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{document.key[:16]}.cif"
    CifWriter(to_pymatgen(document)).write_file(path)
    return path


def write_run(store: ResultStore, key: str, path: Path) -> int:
    """All frames of a run in the format that the file's name says; returns how many.

    Raises
    ------
    InputError
        When the key is no run's, or the format is unknown.
    """
    run = store.load_any(key)
    if not isinstance(run, Run):
        raise InputError("not a run", fix="see `lycb query run`", key=key, found=run.kind)
    trajectory = trajectory_of(store, run)
    export_trajectory(trajectory, path)
    return trajectory.n_frames

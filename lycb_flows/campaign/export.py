"""Results in the formats of others: labels, CIF, trajectories, safetensors with a card."""

from __future__ import annotations

from pathlib import Path

from pymatgen.io.cif import CifWriter

from lycb_flows.crystals import to_pymatgen
from lycb_flows.errors import InputError
from lycb_flows.labels.foreign.writing import TELL_LEVELS, WRITERS, WrittenLabel
from lycb_flows.md.export import export_trajectory
from lycb_flows.potentials.models import write_model
from lycb_flows.schemas import GroundState, Import, Label, Model, Ranking, Run, Structure
from lycb_flows.store import ResultStore
from lycb_flows.store.trajectories import trajectory_of


def write_labels(
    store: ResultStore, path: Path, *, file_format: str = "extxyz", theory: str = ""
) -> int:
    """Labels in a format of `labels/foreign/writing.py`; returns how many.

    Parameters
    ----------
    store
        Where they are.
    path
        File or, of DeePMD's format, folder to write.
    file_format
        One of `WRITERS`.
    theory
        First digits of the fingerprint of the level to write; all, if empty.

    Raises
    ------
    InputError
        When nothing matches, or levels of theory would mix in a format that cannot tell them,
        or the file cannot be written.
    """
    if file_format not in WRITERS:
        raise InputError(
            "no such format of labels", fix=f"one of {', '.join(WRITERS)}", found=file_format
        )
    labels = [one for one in store.find_all(Label) if one.theory.startswith(theory)]
    names = {one.theory: one.theory_name for one in labels}
    if not labels:
        raise InputError("no labels to write", fix="see `lycb query label`", theory=theory or "any")
    if len(names) > 1 and file_format not in TELL_LEVELS:
        raise InputError(
            "labels of different levels of theory never meet in this format",
            fix="choose one with --theory, or write extxyz",
            found=" and ".join(f"{name} [{theory}]" for theory, name in names.items()),
        )
    unknown = {one.theory: one.unknown for one in store.find_all(Import) if one.unknown}
    sets = [
        WrittenLabel(store.load(Structure, label.structure), label, unknown.get(label.theory, ()))
        for label in labels
    ]
    try:
        WRITERS[file_format](sets, path)
    except OSError as err:
        raise InputError(
            "cannot write the labels", fix="write elsewhere", file=path, reason=err.strerror
        ) from err
    return len(sets)


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

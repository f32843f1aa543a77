"""Results in the formats of other programs: labels, CIF, trajectories, model weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pymatgen.io.cif import CifWriter

from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import find_submission
from lycb_flows.crystals import to_pymatgen
from lycb_flows.errors import InputError
from lycb_flows.labels.foreign.writing import TELL_LEVELS, WRITERS, WrittenLabel
from lycb_flows.md.export import export_trajectory
from lycb_flows.potentials import write_licences, write_model
from lycb_flows.schemas import (
    Density,
    Frames,
    GroundState,
    Import,
    Label,
    Model,
    Ranking,
    Run,
    Sites,
    Structure,
)
from lycb_flows.store import ResultStore, trajectory_of
from lycb_flows.transport.density import read_grid, write_density


def _labels_of(store: ResultStore, campaign: str) -> Iterator[Label]:
    """Yield the labels of the frames of a campaign's stages, or all labels, by key."""
    if not campaign:
        yield from store.find_all(Label)
        return
    submission = find_submission(store, campaign)
    stages = find_results(store, submission.campaign, submission.theory).stages
    keys: set[str] = set()
    for plan in stages:
        frames = store.find(Frames, plan.frames_key)
        keys |= (
            set(plan.label_keys(frame.structure for frame in frames.frames)) if frames else set()
        )
    for document in store.find_documents(sorted(keys)):
        if isinstance(document, Label):
            yield document


def write_labels(
    store: ResultStore,
    path: Path,
    *,
    file_format: str = "extxyz",
    theory: str = "",
    campaign: str = "",
) -> int:
    """Write labels in a format of `labels/foreign/writing.py`.

    Parameters
    ----------
    store
        Holds the labels.
    path
        File to write; a folder for DeePMD's format.
    file_format
        A name in `WRITERS`.
    theory
        First digits of the fingerprint of the level to write. Empty writes every level.
    campaign
        Name of a submitted campaign whose labels are written. Empty writes those of all.

    Returns
    -------
    int
        How many labels were written.

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
    labels = [label for label in _labels_of(store, campaign) if label.theory.startswith(theory)]
    names = {label.theory: label.theory_name for label in labels}
    if not labels:
        raise InputError("no labels to write", fix="see `lycb query label`", theory=theory or "any")
    if len(names) > 1 and file_format not in TELL_LEVELS:
        raise InputError(
            "labels of different levels of theory never meet in this format",
            fix="choose one with --theory, or write extxyz",
            found=" and ".join(f"{name} [{theory}]" for theory, name in names.items()),
        )
    unknown = {
        document.theory: document.unknown for document in store.find_all(Import) if document.unknown
    }
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
    """Write a model's weights, and beside them its model card and the licences of its ancestors.

    Parameters
    ----------
    store
        Holds the model.
    key
        Key of the model.
    path
        File of the weights.

    Raises
    ------
    InputError
        When the key is not a model's.
    """
    model = store.load_any(key)
    if not isinstance(model, Model):
        raise InputError("not a model", fix="see `lycb query model`", key=key, found=model.kind)
    write_model(model, store.blobs.read(model.weights), path)
    ancestors = store.find_documents(store.ancestors(model.key))
    write_licences([model, *(each for each in ancestors if isinstance(each, Model))], path)


def write_structure(store: ResultStore, key: str, folder: Path) -> Path:
    """Write a structure as a CIF file.

    Parameters
    ----------
    store
        Holds the structure.
    key
        Key of a structure, or of a Ranking or GroundState, whose ground state is written.
    folder
        Made when absent. The file is called after the first 16 digits of the structure's key.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        When the key is that of another kind of document.
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


def write_sites(store: ResultStore, key: str, folder: Path) -> list[Path]:
    """Write the density of the mobile ion and, where sites were found, their CIF and network.

    Parameters
    ----------
    store
        Holds the documents and what they name.
    key
        Key of a Density or of Sites.
    folder
        Made when absent. The files are called after the first 16 digits of the key: `.cube` and
        `.vasp` (CHGCAR) for VESTA and OVITO; of Sites also `.cif`, the parent's sites with the
        occupancies of the simulation, and `.json`, every site and every jump.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        When the key is that of another kind of document, or of a run that failed.
    """
    document = store.load_any(key)
    density = store.load(Density, document.density) if isinstance(document, Sites) else document
    if not isinstance(density, Density) or density.grid is None:
        raise InputError(
            "no density to write",
            fix="see `lycb query density` and `lycb query sites`",
            key=key,
            found=getattr(document, "reason", "") or document.kind,
        )
    folder.mkdir(parents=True, exist_ok=True)
    stem, grid = folder / document.key[:16], read_grid(store.blobs.read(density.grid))
    written = [stem.with_suffix(suffix) for suffix in (".cube", ".vasp")]
    for path in written:
        write_density(grid, path)
    for suffix, name in ((".cif", "cif"), (".json", "network")):
        if (blob := getattr(document, name, None)) is not None:
            written.append(stem.with_suffix(suffix))
            written[-1].write_bytes(store.blobs.read(blob))
    return written


def write_run(store: ResultStore, key: str, path: Path) -> int:
    """Write all frames of a run.

    Parameters
    ----------
    store
        Holds the run and its segments.
    key
        Key of the run.
    path
        File to write; its name tells the format.

    Returns
    -------
    int
        How many frames were written.

    Raises
    ------
    InputError
        When the key is not a run's, or the format is unknown.
    """
    run = store.load_any(key)
    if not isinstance(run, Run):
        raise InputError("not a run", fix="see `lycb query run`", key=key, found=run.kind)
    trajectory = trajectory_of(store, run)
    export_trajectory(trajectory, path)
    return trajectory.n_frames

"""What users give to Makers, made fit for a LaunchPad, and then stored and named by key.

A structure, a CIF or a model is given as people have it. `portable_*` is called where a job is
made, so that the job can travel to another machine; `stored_*` where it runs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeAlias

from ase import Atoms
from jobflow import OutputReference
from pymatgen.core.structure import Structure as PymatgenStructure

from lycb_flows.config import Config
from lycb_flows.crystals.structures import (
    PARENT_NAMES,
    USER_MIN_OCCUPANCY,
    canonical_structure,
    load_parent,
    parse_cif,
    to_pymatgen,
)
from lycb_flows.errors import InputError
from lycb_flows.potentials import absolute_model, find_model, is_file, model_names
from lycb_flows.schemas import Model, Parent, Ranking, Relaxation, Run, Structure
from lycb_flows.store import ResultStore

GivenStructure: TypeAlias = PymatgenStructure | Atoms | Structure | str | OutputReference
"""An ordered crystal of pymatgen's, ASE's or ours, or a key; or a reference to one of these."""
PortableStructure: TypeAlias = PymatgenStructure | str | OutputReference

_KEY = re.compile(r"[0-9a-f]{64}")


class CifFile(Config):
    """A CIF that travels with a job."""

    name: str
    text: str


GivenParent: TypeAlias = str | Path
"""The name of a built-in parent, the path of a CIF, or the key of a Parent."""
PortableParent: TypeAlias = str | CifFile


# -- structures ----------------------------------------------------------------------------


def portable_structure(structure: GivenStructure) -> PortableStructure:
    """Return a structure as pymatgen has it, so that a job can carry it; keys stay.

    Raises
    ------
    InputError
        When a site is partially occupied, or it is no structure.
    """
    if isinstance(structure, OutputReference):
        return structure
    if isinstance(structure, str):
        if not _KEY.fullmatch(structure):
            raise InputError(
                "not the key of a structure", fix="give its 64 digits", found=structure[:80]
            )
        return structure
    if isinstance(structure, PymatgenStructure | Atoms):
        structure = canonical_structure(structure)
    if not isinstance(structure, Structure):
        raise InputError(
            "not a structure",
            fix="give pymatgen's Structure, ASE's Atoms, or a key",
            found=type(structure).__name__,
        )
    return to_pymatgen(structure)


def stored_structure(store: ResultStore, structure: PortableStructure) -> str:
    """Return the key of a structure, which is stored now if it was not given by key.

    Parameters
    ----------
    store
        Where it is, or goes.
    structure
        A key may also be that of a result which has one structure: a ranking (its ground
        state), a relaxation (where it ended) or a run (its average cell).

    Raises
    ------
    InputError
        When nothing of this key is in the store, or it has not one structure.
    """
    if isinstance(structure, PymatgenStructure | Atoms):
        document = canonical_structure(structure)
        store.insert(document)
        return document.key
    key = str(structure)
    match found := store.find_document(key):
        case Structure():
            return key
        case Ranking():
            return found.ground_state
        case Relaxation():
            return found.final_structure
        case Run():
            return found.average_structure or found.start_structure
        case _:
            raise InputError(
                "the store has no structure of this key",
                fix="give the structure itself, or check LYCB_STORE",
                key=key,
                found="nothing" if found is None else found.kind,
            )


# -- parents --------------------------------------------------------------------------------


def portable_parent(parent: GivenParent) -> PortableParent:
    """Return a name or a key as it is, and the file of a path with its content.

    Raises
    ------
    InputError
        When it is none of them, or no CIF.
    """
    name = str(parent)
    if name in PARENT_NAMES or _KEY.fullmatch(name):
        return name
    crystal = load_parent(name)
    return CifFile(name=crystal.name, text=crystal.cif.decode())


def stored_parent(store: ResultStore, parent: PortableParent) -> Parent:
    """Return the document of a parent, which is stored now if it was not given by key.

    Parameters
    ----------
    store
        Where it is, or goes.
    parent
        From `portable_parent`.
    """
    if isinstance(parent, str) and _KEY.fullmatch(parent):
        return store.load(Parent, parent)
    if isinstance(parent, CifFile):
        provenance = f"user's file {parent.name}.cif"
        crystal = parse_cif(parent.name, parent.text.encode(), provenance, USER_MIN_OCCUPANCY)
    else:
        crystal = load_parent(parent)
    store.blobs.put(crystal.cif, "chemical/x-cif")
    document = crystal.document()
    store.insert(document)
    return document


# -- models ----------------------------------------------------------------------------------


def portable_model(model: str | Path) -> str:
    """Return a name, a key or a calculator as it is, and the path of a file in full.

    The file must be where the job runs, too: weights do not travel with a job.

    Raises
    ------
    InputError
        When it is none of them.
    """
    name = str(model)
    if name in model_names() or _KEY.fullmatch(name):
        return name
    full = absolute_model(name, Path.cwd())
    if not is_file(full):
        raise InputError(
            "no such model",
            fix=f"give one of {', '.join(model_names())}, the path of a model file, or a key",
            found=name,
        )
    return full


def stored_model(store: ResultStore, model: str) -> str:
    """Return the key of a model, which is stored now if it was not given by key.

    Parameters
    ----------
    store
        Where it is, or goes.
    model
        From `portable_model`.
    """
    if _KEY.fullmatch(model):
        return store.load(Model, model).key
    source = find_model(model)
    store.blobs.put(source.weights, source.model.weights.media_type)
    store.insert(source.model)
    return source.model.key

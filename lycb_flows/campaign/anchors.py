"""Competing phases that energies of formation are counted from: binaries, or a user's crystals."""

from __future__ import annotations

from collections.abc import Mapping

from lycb_flows.config import DftConfig
from lycb_flows.crystals import BINARY_NAMES, canonical_structure, load_binary, load_parent
from lycb_flows.errors import InputError
from lycb_flows.schemas import Structure
from lycb_flows.store import ResultStore


def anchor_names(dft: DftConfig) -> tuple[str, ...]:
    """Return the names of the competing phases, none when there are none.

    Parameters
    ----------
    dft
        Its `anchors` decides.
    """
    return tuple(dft.own_anchors) or (BINARY_NAMES if dft.anchors else ())


def anchor_structure(store: ResultStore, dft: DftConfig, name: str) -> Structure:
    """Return the cell of a competing phase from which its relaxation starts.

    Parameters
    ----------
    store
        Holds those of the user.
    dft
        With keys for them, as a submitted campaign has it.
    name
        One of `anchor_names`.
    """
    key = dft.own_anchors.get(name)
    return load_binary(name) if key is None else store.load(Structure, key)


def load_anchors(given: Mapping[str, str]) -> dict[str, Structure]:
    """Return competing phases from their files, in primitive cells.

    Parameters
    ----------
    given
        Name -> a CIF, or the name of a binary of this package.

    Raises
    ------
    InputError
        When a file cannot be read or is disordered.
    """
    return {name: _loaded(source) for name, source in given.items()}


def _loaded(source: str) -> Structure:
    if source in BINARY_NAMES:
        return load_binary(source)
    crystal = load_parent(source)
    if not crystal.structure.is_ordered:
        raise InputError(
            "a competing phase must be ordered",
            fix="give the CIF of one ordering, e.g. from `lycb export structures`",
            found=f"{crystal.name}, {crystal.structure.formula}",
        )
    return canonical_structure(crystal.primitive().structure)

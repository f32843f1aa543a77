"""Disordered crystals of stored parents."""

from __future__ import annotations

from lycb_flows.crystals import DisorderedCrystal, parse_cif
from lycb_flows.schemas import Parent
from lycb_flows.store.results import ResultStore


def load_crystal(store: ResultStore, key: str) -> DisorderedCrystal:
    """Return the disordered crystal of a stored parent.

    Parameters
    ----------
    store
        Holds the parent and its CIF.
    key
        Key of the parent.
    """
    parent = store.load(Parent, key)
    cif = store.blobs.read(parent.cif)
    return parse_cif(parent.name, cif, parent.provenance, parent.min_occupancy)

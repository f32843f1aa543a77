"""Disordered crystals of stored parents."""

from __future__ import annotations

from pymatgen.core.structure import Structure as PymatgenStructure

from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals import DisorderedCrystal, parent_cell, parse_cif
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


def load_cell(store: ResultStore, key: str, config: EnumerationConfig) -> PymatgenStructure:
    """Return the cell of a stored parent whose multiples are enumerated, to its rounded numbers.

    The CIF is not read, which takes a while.

    Parameters
    ----------
    store
        Holds the parent.
    key
        Key of the parent.
    config
        How it is enumerated.
    """
    parent = store.load(Parent, key)
    structure = PymatgenStructure(parent.lattice_ang, parent.occupancies, parent.frac_coords)
    crystal = DisorderedCrystal(
        parent.name, structure, parent.site_labels, b"", parent.provenance, parent.min_occupancy
    )
    return parent_cell(crystal, config).structure

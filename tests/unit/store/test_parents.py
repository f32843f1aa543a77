"""The cell of a stored parent is that of its CIF, to the document's digits."""

import numpy as np
import pytest
from helpers.places import ROOT

from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals import load_parent, parent_cell
from lycb_flows.store import load_cell, load_crystal, open_store

PARENTS = ("Li3YCl6", "Li3YBr6", *sorted((ROOT / "workflows" / "cifs").glob("*.cif")))
CELLS = (
    {},
    {"cell": "primitive"},
    {"cell": "primitive", "matrix": ((1, 1, 0), (-1, 1, 0), (0, 0, 1))},
)


@pytest.fixture
def store(tmp_path):
    found = open_store(tmp_path / "store")
    yield found
    found.close()


@pytest.mark.parametrize("name", PARENTS, ids=lambda name: getattr(name, "stem", name))
def test_the_cell_of_the_document_is_that_of_the_cif(store, name):
    parent = load_parent(str(name))
    store.blobs.put(parent.cif, "chemical/x-cif")
    document = parent.document()
    store.insert(document)
    crystal = load_crystal(store, document.key)
    for fields in CELLS:
        config = EnumerationConfig(supercell=(1, 1, 1), **fields)
        expected = parent_cell(crystal, config).structure
        found = load_cell(store, document.key, config)
        assert found.composition.almost_equals(expected.composition)
        assert np.allclose(found.lattice.matrix, expected.lattice.matrix, atol=1e-7)

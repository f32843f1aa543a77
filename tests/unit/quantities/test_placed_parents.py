"""The sites of a run's parent are told by the labels of its CIF, whatever cell was enumerated."""

from types import SimpleNamespace

import numpy as np
import pytest

from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals import parent_cell, parse_cif
from lycb_flows.quantities.sites import placed_parent
from lycb_flows.store import open_store
from lycb_flows.transport.density import density_grid, relative_motion
from lycb_flows.transport.sites.analysis import analyse_sites
from lycb_flows.transport.sites.cif import disordered_cif

CUBE = """data_x
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M '{group}'
_symmetry_Int_Tables_number {number}
loop_
_atom_site_type_symbol
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{sites}
"""
NO_SYMMETRY = CUBE.format(
    a=4.0, group="P 1", number=1, sites="Li Li1 0 0 0 0.5\nLi Li2 .5 .5 0 0.5\nCl Cl1 .5 .5 .5 1"
)
ROCK_SALT = CUBE.format(
    a=5.2, group="F m -3 m", number=225, sites="Li Li1 0 0 0 0.5\nCl Cl1 .5 .5 .5 1"
)
PRIMITIVE = {"cell": "primitive", "matrix": ((2, 0, 0), (0, 2, 0), (0, 0, 1))}


@pytest.fixture
def store(tmp_path):
    found = open_store(tmp_path / "store")
    yield found
    found.close()


@pytest.mark.parametrize(
    ("cif", "cell", "labels"),
    [
        (NO_SYMMETRY, {}, {"Li1", "Li2"}),
        (NO_SYMMETRY, {"matrix": ((1, 1, 0), (-1, 1, 0), (0, 0, 2))}, {"Li1", "Li2"}),
        (ROCK_SALT, PRIMITIVE, {"Li1"}),
    ],
    ids=["P 1", "P 1 in a matrix", "each label once in the primitive cell"],
)
def test_sites_have_the_labels_of_the_cif_in_every_cell(store, cif, cell, labels):
    crystal = parse_cif("x", cif.encode(), "a test", 0.1)
    store.blobs.put(crystal.cif, "chemical/x-cif")
    parent = crystal.document()
    store.insert(parent)
    enumeration = EnumerationConfig(supercell=(1, 1, 1), **cell)
    system = SimpleNamespace(parent=parent.key, enumeration=enumeration)
    campaign = SimpleNamespace(system_of=lambda _: system, repeat_of=lambda _: (1, 1, 1))
    structure = parent_cell(crystal, enumeration).structure
    is_li = np.array(["Li" in site.species_string for site in structure])
    coords = np.concatenate([structure.frac_coords[is_li], structure.frac_coords[~is_li]])
    species = ["Li"] * is_li.sum() + ["Cl"] * (~is_li).sum()
    frames = coords + np.random.default_rng(0).normal(0, 0.008, (300, *coords.shape))
    motion = relative_motion(frames, species, "Li")
    grid = density_grid(motion, structure.lattice.matrix, "Li")
    placed, note = placed_parent(store, grid, campaign, "x")
    assert not note
    orbits = analyse_sites(motion.mobile, grid, 0.1, placed).orbits
    assert {label for orbit in orbits for label in orbit.label.split("+")} == labels
    assert all(orbit.from_parent and orbit.occupancy == 1.0 for orbit in orbits)
    assert [orbit.refined_occupancy for orbit in orbits] == [0.5] * len(orbits)
    again = parse_cif("y", disordered_cif(placed, orbits, grid, "a test").encode(), "", 0.1)
    assert {label for label in again.site_labels if label.startswith("Li")} == labels

"""The sites of a run's parent are told by the labels of its CIF, whatever cell was enumerated."""

from types import SimpleNamespace

import numpy as np
import pytest

from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals import parent_cell, parse_cif
from lycb_flows.quantities import Condition
from lycb_flows.quantities.sites import IonSites, placed_parent
from lycb_flows.schemas import Density
from lycb_flows.store import open_store
from lycb_flows.transport.density import density_grid, grid_bytes, relative_motion
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


def campaign_of(store, cif, cell):
    """What a campaign knows of its one system, whose parent is stored."""
    crystal = parse_cif("x", cif.encode(), "a test", 0.1)
    store.blobs.put(crystal.cif, "chemical/x-cif")
    parent = crystal.document()
    store.insert(parent)
    system = SimpleNamespace(
        name="x", parent=parent.key, enumeration=EnumerationConfig(supercell=(1, 1, 1), **cell)
    )
    return SimpleNamespace(system_of=lambda _: system, repeat_of=lambda _: (1, 1, 1))


def run_of(cif, cell):
    """Frames, motion and density of ions that shake on all sites of a cell."""
    enumeration = EnumerationConfig(supercell=(1, 1, 1), **cell)
    structure = parent_cell(parse_cif("x", cif.encode(), "", 0.1), enumeration).structure
    is_li = np.array(["Li" in site.species_string for site in structure])
    coords = np.concatenate([structure.frac_coords[is_li], structure.frac_coords[~is_li]])
    species = ["Li"] * is_li.sum() + ["Cl"] * (~is_li).sum()
    shaken = coords + np.random.default_rng(0).normal(0, 0.008, (300, *coords.shape))
    motion = relative_motion(shaken, species, "Li")
    frames = SimpleNamespace(
        frac_coords=shaken, species=species, steps=np.arange(300), time_step_fs=100.0, n_frames=300
    )
    return frames, motion, density_grid(motion, structure.lattice.matrix, "Li")


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
    campaign = campaign_of(store, cif, cell)
    _, motion, grid = run_of(cif, cell)
    placed, note = placed_parent(store, grid, campaign, "x")
    assert not note
    orbits = analyse_sites(motion.mobile, grid, 0.1, placed).orbits
    assert {label for orbit in orbits for label in orbit.label.split("+")} == labels
    assert all(orbit.from_parent and orbit.occupancy == 1.0 for orbit in orbits)
    assert [orbit.refined_occupancy for orbit in orbits] == [0.5] * len(orbits)
    again = parse_cif("y", disordered_cif(placed, orbits, grid, "a test").encode(), "", 0.1)
    assert {label for label in again.site_labels if label.startswith("Li")} == labels


def test_the_cif_of_a_run_is_headed_by_what_was_simulated(store, monkeypatch):
    frames, _, grid = run_of(NO_SYMMETRY, {})
    density = Density(
        key="d", run="r", model="m", system="x-x3", pressure_bar=1.0, temperature_k=600.0,
        mobile_species="Li", n_mobile=2, n_frames=300, shape=grid.counts.shape, integral=2.0,
        max_per_ang3=1.0, volume_share_90=0.1,
        grid=store.blobs.put(grid_bytes(grid), "application/x-npz"),
    )  # fmt: skip
    store.insert(density)
    run = SimpleNamespace(key="r" * 64, model="m", temperature_k=600.0)
    monkeypatch.setattr(IonSites, "only_run", lambda *_: run)
    monkeypatch.setattr(IonSites, "needed_keys", lambda *_: ("d",))
    monkeypatch.setattr(IonSites, "key", lambda *_: "k")
    monkeypatch.setattr("lycb_flows.quantities.sites.measured_frames", lambda *_: frames)
    plan = SimpleNamespace(campaign=campaign_of(store, NO_SYMMETRY, {}))
    condition = Condition(system="x-x3", pressure_bar=1.0, temperature_k=600.0)
    found = IonSites().compute(store, plan, condition)
    text = store.blobs.read(found.cif).decode()
    assert text.startswith("# x-x3 600 K, run rrrrrrrrrrrr: simulated occupancies\n")

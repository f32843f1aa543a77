"""Sites and jumps of ions whose sites, ways and occupancies are known."""

from math import comb

import numpy as np
import pytest
from pymatgen.analysis.dimensionality import get_structure_components
from pymatgen.analysis.graphs import StructureGraph
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure
from scipy.optimize import brentq

from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals import DisorderedCrystal, load_parent, parse_cif
from lycb_flows.errors import InputError
from lycb_flows.testing.hopping import LatticeGas, neighbours
from lycb_flows.transport.density import density_grid, relative_motion
from lycb_flows.transport.sites.analysis import analyse_sites
from lycb_flows.transport.sites.cif import disordered_cif, with_uncertainty
from lycb_flows.transport.sites.finding import SiteSet
from lycb_flows.transport.sites.network import Edges, percolation
from lycb_flows.transport.sites.parents import place_parent

CUBE = 9.0 * np.eye(3)
CUBIC = np.indices((3, 3, 3)).reshape(3, -1).T / 3
CORNERS = CUBIC + 1 / 6
CUBIC_WAYS = neighbours(CUBE, CUBIC, 3.1)
SUPERCELL = (1, 1, 2)


def seen(mobile, lattice, framework, *, vibration_ang=0.2, place=None, seed=0):
    """The analysis of ions and of a framework [(element, coordinates)] that vibrate."""
    rng = np.random.default_rng(seed)
    names, coords = zip(*framework, strict=True)
    atoms = np.concatenate([mobile, np.broadcast_to(coords, (len(mobile), len(coords), 3))], axis=1)
    atoms = atoms + rng.normal(0, vibration_ang, atoms.shape) @ np.linalg.inv(lattice)
    species = (*["Li"] * mobile.shape[1], *names)
    motion = relative_motion(atoms, species, "Li")
    grid = density_grid(motion, lattice, "Li")
    placed = None if place is None else place(grid)
    return analyse_sites(motion.mobile, grid, 1.0, placed), grid, placed


def cubic_walk(ways=CUBIC_WAYS, n_ions=9, n_frames=3000, rate=0.02, **options):
    gas = LatticeGas(CUBIC, ways, np.ones(len(CUBIC)), rate)
    mobile = gas.run(n_ions, n_frames, 1.0, seed=5)
    return seen(mobile, CUBE, [("Cl", corner) for corner in CORNERS], **options)[0]


def original(found):
    """The given site that each found site is."""
    gap = found.sites.frac_coords[:, None] - CUBIC
    distance = np.linalg.norm((gap - np.rint(gap)) @ CUBE, axis=2)
    assert distance.min(axis=1).max() < 0.3
    return distance.argmin(axis=1)


# -- sites and the network -----------------------------------------------------------------------


def test_the_network_of_a_walk_on_a_lattice_is_that_lattice():
    found = cubic_walk(rate=0.01, n_frames=6000)
    names = original(found)
    assert sorted(names) == list(range(27))
    image = np.rint(CUBIC[names] - found.sites.frac_coords).astype(int)
    edges = found.edges
    translation = edges.translation + image[edges.start] - image[edges.end]
    ways = zip(names[edges.start], names[edges.end], map(tuple, translation), strict=True)
    single = np.abs(edges.length_ang - 3.0) < 0.2
    assert edges.count[~single].sum() < 0.05 * edges.count.sum()  # two hops between two frames
    assert {way for way, is_hop in zip(ways, single, strict=True) if is_hop} == set(CUBIC_WAYS)
    assert found.percolation.dimensions == 3
    assert found.percolating_share == 1.0
    assert found.unassigned_share == 0.0
    assert found.steps[0].sharing == "face"  # cubes


def test_vibration_is_no_jump():
    found = cubic_walk(rate=0.0, n_frames=1000, vibration_ang=0.45)
    assert len(found.stays.jumps) == 0
    assert found.percolation.dimensions == 0
    assert found.percolating_share == 0.0
    (orbit,) = found.orbits
    assert orbit.occupancy_err is None
    assert orbit.residence_ps is None
    assert orbit.residence_low_ps == pytest.approx(9 * 1000 / 3, rel=0.01)


def along(*axes):
    """The ways of the cubic lattice along some axes only."""
    moves = [np.rint(3 * (CUBIC[j] + t - CUBIC[i])).astype(int) for i, j, t in CUBIC_WAYS]
    return [w for w, m in zip(CUBIC_WAYS, moves, strict=True) if np.flatnonzero(m)[0] in axes]


@pytest.mark.parametrize(
    ("ways", "dimensions", "direction"),
    [
        (along(2), 1, (0, 0, 1)),
        (along(0, 1), 2, (0, 0, 1)),
        ([way for way in along(0) if not any(way[2])], 0, None),  # rows of three, no way out
    ],
    ids=["one dimension", "layers", "rows without a way out"],
)
def test_a_walk_percolates_in_the_dimensions_that_it_has(ways, dimensions, direction):
    found = cubic_walk(ways)
    assert len(found.stays.jumps) > 100
    assert found.percolation.dimensions == dimensions
    assert found.percolation.direction == direction
    assert (found.percolating_share > 0) == (dimensions > 0)


@pytest.mark.parametrize("n_ways", [12, 20, 60])
def test_dimensions_are_those_that_pymatgen_finds(n_ways):
    rng = np.random.default_rng(n_ways)
    for _ in range(10):
        start, end = rng.integers(14, size=(2, n_ways))
        image = rng.integers(-1, 2, size=(n_ways, 3)) * [1, 1, n_ways > 20]
        start, end, image = (x[start < end] for x in (start, end, image))
        ones = np.ones(len(start), dtype=np.int64)
        edges = Edges(start, end, image, ones, 3.0 * ones, ones)
        sites = SiteSet(CUBE, CUBIC[:14], ("a",) * 14, (True,) * 14, ())
        points = Structure(Lattice(CUBE), ["H"] * 14, CUBIC[:14])
        ways = {
            (i, j, (0, 0, 0), tuple(t)): None
            for i, j, t in zip(start.tolist(), end.tolist(), image.tolist(), strict=True)
        }
        parts = get_structure_components(StructureGraph.from_edges(points, ways), inc_site_ids=True)
        most = max(part["dimensionality"] for part in parts)
        reaching = (part["site_ids"] for part in parts if part["dimensionality"] == most)
        found = percolation(edges, sites)
        assert (found.dimensions, found.sites) == (most, tuple(sorted(sum(reaching, ()))))


def test_residence_time_and_rates_are_those_of_the_walk():
    found = cubic_walk(n_ions=1, n_frames=20_000, rate=0.01)
    (orbit,) = found.orbits
    assert orbit.residence_ps == pytest.approx(1 / 0.06, abs=4 * orbit.residence_err_ps)
    assert orbit.residence_err_ps < 0.06 * orbit.residence_ps
    (step, *_) = found.steps
    assert step.rate_per_ns == pytest.approx(60.0, abs=4 * step.rate_err_per_ns)
    jump = found.network()["jumps"][0]
    assert jump["rate_per_ns"] == pytest.approx(10.0, abs=6.0)


def test_correlation_factor_of_a_single_ion_is_one_and_of_a_vacancy_is_the_known_one():
    lone = cubic_walk(n_ions=1, n_frames=20_000, rate=0.02)
    assert lone.correlation_factor == pytest.approx(1.0, abs=3.5 * lone.correlation_factor_err)
    lattice, sites = 12.0 * np.eye(3), np.indices((4, 4, 4)).reshape(3, -1).T / 4
    gas = LatticeGas(sites, neighbours(lattice, sites, 3.1), np.ones(64), 0.1)
    framework = [("Cl", corner) for corner in sites + 1 / 8]
    crowded = seen(gas.run(63, 3000, 1.0, 5), lattice, framework)[0]
    assert crowded.correlation_factor == pytest.approx(
        0.6531, abs=0.02 + 3 * crowded.correlation_factor_err
    )
    assert crowded.correlation_factor_err < 0.1
    assert cubic_walk(n_frames=100).correlation_factor is None


def test_shapes_and_shared_anions_are_those_of_close_packed_anions():
    lattice = 10.4 * np.eye(3)
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    cells = np.indices((2, 2, 2)).reshape(3, -1).T
    anions = ((fcc[:, None] + cells) / 2).reshape(-1, 3)
    octahedral, tetrahedral = np.array([0.25, 0, 0]), np.array([0.125, 0.125, 0.125])
    path = [octahedral, tetrahedral, [0, 0.25, 0], octahedral]
    mobile = np.concatenate([np.repeat([spot], 200, axis=0) for spot in path])[:, None]
    found = seen(mobile, lattice, [("Cl", spot) for spot in anions])[0]
    assert sorted(found.sites.labels) == ["octahedral", "octahedral", "tetrahedral"]
    by_length = sorted(found.steps, key=lambda step: step.length_ang)
    assert [(step.start, step.end, step.sharing) for step in by_length[:2]] in (
        [("octahedral", "tetrahedral", "face"), ("tetrahedral", "octahedral", "face")],
        [("tetrahedral", "octahedral", "face"), ("octahedral", "tetrahedral", "face")],
    )
    assert (by_length[2].sharing, by_length[2].n_jumps) == ("edge", 1)
    assert by_length[2].length_ang == pytest.approx(10.4 / 2 / np.sqrt(2), abs=0.1)


# -- a parent, there and back --------------------------------------------------------------------


def simulation_cell(crystal, strain=0.03):
    """Lattice, framework and Li sites with labels of an ordering of a supercell of a parent."""
    images = np.indices(SUPERCELL).reshape(3, -1).T
    lattice = crystal.structure.lattice.matrix * np.array(SUPERCELL)[:, None] * (1 + strain)
    framework, sites, labels = [], [], []
    for label, site in zip(crystal.site_labels, crystal.structure, strict=True):
        shares = {species.symbol: share for species, share in site.species.items()}
        for coords in (site.frac_coords + images) / SUPERCELL:
            if "Li" in shares:
                sites.append(coords)
                labels.append(label)
            framework += [(name, coords) for name, n in shares.items() if name != "Li" and n > 0.5]
    return lattice, framework, np.array(sites), labels


def mean_of_first(ratio, n_first, n_second, n_ions):
    """The mean number of ions on the first sites, whose weight is so many times the second's."""
    n = np.arange(max(0, n_ions - n_second), min(n_first, n_ions) + 1)
    odds = np.array([comb(n_first, k) * comb(n_second, n_ions - k) * ratio**k for k in n.tolist()])
    return float((n * odds).sum() / odds.sum())


@pytest.fixture(scope="module")
def lyc_runs():
    """Runs of Li3YCl6 whose occupancies are the CIF's, exactly: (analysis, grid, parent)."""
    crystal = load_parent("Li3YCl6")
    lattice, framework, sites, labels = simulation_cell(crystal)
    is_first = np.array(labels) == "Li0"
    ratio = brentq(lambda r: mean_of_first(r, 12, 12, 18) / 12 - 0.87538, 0.1, 100)
    gas = LatticeGas(sites, neighbours(lattice, sites, 4.05), np.where(is_first, ratio, 1), 0.04)

    def place(grid):
        return place_parent(crystal, EnumerationConfig(supercell=(1, 1, 1)), SUPERCELL, grid)

    return [
        seen(
            gas.run(18, 1500, 1.0, seed),
            lattice,
            framework,
            vibration_ang=0.25,
            place=place,
            seed=seed,
        )
        for seed in range(12)
    ]


def test_occupancies_that_are_the_cifs_come_back_within_their_errors(lyc_runs):
    scaled = []
    for found, _, _ in lyc_runs:
        first, second = found.orbits
        assert (first.label, second.label) == ("Li0", "Li1")
        assert (first.n_sites, second.n_sites) == (12, 12)
        assert {first.shape, second.shape} == {"octahedral"}
        assert first.refined_occupancy == pytest.approx(0.87538)
        assert first.occupancy + second.occupancy == pytest.approx(1.5)
        scaled.append((first.occupancy - first.refined_occupancy) / first.occupancy_err)
    print(f"\nz: mean {np.mean(scaled):+.2f}, std {np.std(scaled):.2f}")
    assert abs(np.mean(scaled)) < 3 / np.sqrt(len(scaled))
    assert 0.5 < np.sqrt(np.mean(np.square(scaled))) < 1.4
    assert np.mean([found.orbits[0].occupancy_err for found, _, _ in lyc_runs]) < 0.04


def test_steps_along_c_share_faces_and_those_in_the_plane_edges(lyc_runs):
    steps = {
        (step.start, step.end): step.sharing
        for step in lyc_runs[0][0].steps
        if step.length_ang < 4.1
    }
    assert steps == {
        ("Li0", "Li1"): "face",
        ("Li1", "Li0"): "face",
        ("Li0", "Li0"): "edge",
        ("Li1", "Li1"): "edge",
    }


def test_the_cif_of_a_run_has_the_parents_symmetry_and_the_runs_occupancies(lyc_runs):
    found, grid, placed = lyc_runs[0]
    text = disordered_cif(placed, found.orbits, grid, "a test")
    assert text.startswith("# a test\n")
    assert "P-3m1" in text
    again = parse_cif("again", text.encode(), "", 0.1)
    assert again.structure.composition["Li"] == pytest.approx(9.0, abs=0.02)
    assert again.structure.composition["Y"] == 3.0  # of the ordering: no site is shared
    assert again.structure.lattice.a == pytest.approx(1.03 * 11.209337, abs=1e-4)
    assert again.structure.lattice.gamma == pytest.approx(120.0)
    share = {
        label: sum(site.species.values())
        for label, site in zip(again.site_labels, again.structure, strict=True)
    }
    for orbit in found.orbits:
        assert share[orbit.label] == pytest.approx(orbit.occupancy, abs=0.002)


def test_a_uncertainty_is_written_as_crystallographers_do():
    assert with_uncertainty(0.5123, 0.0131) == "0.512(13)"
    assert with_uncertainty(0.5123, 0.2) == "0.51(20)"
    assert with_uncertainty(1.0, None) == "1.0000"


def test_sites_that_the_parent_lacks_are_found_and_are_one_orbit_of_its_symmetry():
    whole = load_parent("Li3YBr6")
    lines = whole.cif.decode().splitlines(keepends=True)
    poorer = "".join(line for line in lines if not line.startswith("  Li  Li0"))
    crystal = parse_cif("poorer", poorer.encode(), "", 0.5)
    lattice, framework, sites, labels = simulation_cell(whole)
    tetrahedral = np.array(labels) == "Li0"
    weights = np.where(tetrahedral, 0.3, 1.0)
    weights[np.array(labels) == "Li5"] = 1e-9  # yttrium sits there
    gas = LatticeGas(sites, neighbours(lattice, sites, 2.6), weights, 0.05)
    mobile = gas.run(12, 2000, 1.0, seed=2)

    def place(grid):
        return place_parent(crystal, EnumerationConfig(supercell=SUPERCELL), (1, 1, 1), grid)

    found, grid, placed = seen(mobile, lattice, framework, place=place)
    (orbit,) = (orbit for orbit in found.orbits if not orbit.from_parent)
    assert (orbit.label, orbit.shape, orbit.n_sites) == ("tetrahedral 1", "tetrahedral", 16)
    positions = mobile.reshape(-1, 3)[:, None] - sites
    at = np.linalg.norm(positions - np.rint(positions), axis=2).argmin(axis=1)
    assert orbit.occupancy == pytest.approx(tetrahedral[at].mean() * 12 / 16, rel=0.05)
    text = disordered_cif(placed, found.orbits, grid, "a test")
    again = parse_cif("again", text.encode(), "", 0.1)
    assert sum(label == "Li_tetrahedral_1" for label in again.site_labels) == 8
    assert again.structure.composition["Li"] == pytest.approx(6.0, abs=0.05)


def test_a_primitive_cell_leads_back_to_the_cell_of_the_cif():
    crystal = load_parent("Li3YBr6")
    config = EnumerationConfig(supercell=(1, 1, 1), cell="primitive")
    primitive = crystal.primitive().structure
    lattice = primitive.lattice.matrix * 2
    framework = [
        (name, coords)
        for site in primitive
        for name in ("Y", "Br")
        if site.species.get_el_amt_dict().get(name, 0) > 0.5
        for coords in (site.frac_coords + np.indices((2, 2, 2)).reshape(3, -1).T) / 2
    ]
    mobile = np.repeat([[[0.1, 0.1, 0.1]]], 30, axis=0)
    grid = seen(mobile, lattice, framework)[1]
    placed = place_parent(crystal, config, (2, 2, 2), grid)
    assert placed.n_cif_cells == pytest.approx(4.0)
    coords, labels = placed.sites_of("Li")
    folded = placed.in_cif_cell(coords)
    for label, site in zip(crystal.site_labels, crystal.structure, strict=True):
        mine = folded[[name == label for name in labels]]
        if len(mine):
            gap = mine - site.frac_coords
            distance = np.linalg.norm(
                (gap - np.rint(gap)) @ crystal.structure.lattice.matrix, axis=1
            )
            assert np.count_nonzero(distance < 0.05) == 4


@pytest.mark.parametrize("cell", [None, "primitive"])
@pytest.mark.parametrize(
    ("substitute", "mobile", "refined"),
    [
        (None, "Li", (0.5, 0.25)),
        ({"Li": {"Na": 3.0}}, "Na", (0.5, 0.25)),
        ({"Li": {"Na": 1.0}}, "Na", (1 / 6, 1 / 12)),
        ({"Li": {"Na": 1.0}}, "Li", (1 / 3, 1 / 6)),
        ({"Cl": {"Br": 1.0}, "Li": {"Ag": 3.0}}, "Ag", (0.5, 0.25)),
    ],
)
def test_sites_are_those_of_what_the_mobile_ion_replaces(substitute, mobile, refined, cell):
    coords = {"Li1": (0, 0, 0), "Li2": (0.5, 0.5, 0), "Cl1": (0.5, 0.5, 0.5)}
    shares = {"Li1": {"Li": 0.5}, "Li2": {"Li": 0.25}, "Cl1": {"Cl": 1.0}}
    lattice = 4.0 * np.eye(3)
    structure = Structure(lattice, list(shares.values()), list(coords.values()))
    crystal = DisorderedCrystal("mine", structure, tuple(coords), b"", "a test", 0.1)
    config = EnumerationConfig(
        supercell=(2, 2, 2), substitute=substitute, cell=cell, formula=substitute and "Li3Cl4"
    )
    images = np.indices((2, 2, 2)).reshape(3, -1).T
    atoms = np.concatenate([(np.array(coords[name]) + images) / 2 for name in ("Li1", "Cl1")])
    species = [mobile] * 8 + ["Cl"] * 8
    vibration = np.random.default_rng(0).normal(0, 0.01, (200, *atoms.shape))
    motion = relative_motion(atoms + vibration, species, mobile)
    grid = density_grid(motion, 2 * lattice, mobile)
    placed = place_parent(crystal, config, (1, 1, 1), grid)
    found = analyse_sites(motion.mobile, grid, 0.1, placed)
    assert [orbit.label for orbit in found.orbits] == ["Li1", "Li2"]
    assert [orbit.occupancy for orbit in found.orbits] == [1.0, 0.0]
    assert [orbit.refined_occupancy for orbit in found.orbits] == pytest.approx(refined)
    assert placed.note(mobile) == ""
    assert placed.note("K") == "no site of the parent holds K"


def test_a_framework_that_left_its_sites_has_no_parent():
    crystal = load_parent("Li3YCl6")
    lattice, framework, _, _ = simulation_cell(crystal)
    rng = np.random.default_rng(0)
    molten = [(name, rng.random(3)) for name, _ in framework]
    grid = seen(np.zeros((30, 1, 3)), lattice, molten)[1]
    with pytest.raises(InputError, match="not on the parent's sites"):
        place_parent(crystal, EnumerationConfig(supercell=SUPERCELL), (1, 1, 1), grid)

"""Special quasi-random orderings: pairs by hand and by another program, all cells tried."""

import itertools
import json

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from places import CIFS
from pydantic import ValidationError
from typer.testing import CliRunner

from lycb_flows.cli.app import app
from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals import choose, enumerate_orderings, load_parent, parse_cif
from lycb_flows.crystals.enumeration.occupancies import disordered_cell
from lycb_flows.crystals.enumeration.quasi_random import PairShells, matched_to_ang
from lycb_flows.errors import InputError

FCC_ANG = 4.0


def cif(group, number, rows, a_ang=FCC_ANG):
    """The text of a cubic crystal; each row is label, element, x, y, z, occupancy."""
    lengths = [f"_cell_length_{a} {a_ang}" for a in "abc"]
    angles = [f"_cell_angle_{a} 90" for a in ("alpha", "beta", "gamma")]
    columns = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")
    lines = ["data_x", *lengths, *angles, f"_symmetry_space_group_name_H-M '{group}'"]
    lines += [f"_symmetry_Int_Tables_number {number}", "loop_"]
    return "\n".join([*lines, *(f"_atom_site_{c}" for c in columns), *rows, ""])


def fcc(share=0.5):
    rows = [f"Cu1 Cu 0 0 0 {share}", f"Au1 Au 0 0 0 {1 - share}"]
    return parse_cif("alloy", cif("F m -3 m", 225, rows).encode(), "a test", 0.15)


def alloy(supercell, **settings):
    return EnumerationConfig(
        supercell=supercell, forbidden_pairs=(), sqs=("Cu", "Au"), **settings
    )  # fmt: skip


def shells_of(supercell, share=0.5):
    cell = disordered_cell(fcc(share), alloy(supercell))
    return cell, PairShells.of(cell, ("Cu", "Au"), 6.0)


def colours_by(cell, rule):
    """Colours of sites by a rule of their place in units of a/2."""
    lattice = cell.model.lattice_ang
    places = np.rint(cell.model.frac_coords[cell.model.free] @ lattice / (FCC_ANG / 2)).astype(int)
    gold = cell.model.colours.index("Au")
    return np.where([rule(*place) for place in places], gold, cell.model.colours.index("Cu"))


# Pair correlations <s s'> of AB: L1_0 (CuAu) -1/3, 1, -1/3, 1; L1_1 (CuPt) 0, -1, 0, 1, and the
# share of Au-Au pairs is (1 + <s s'>) / 4 at equal amounts.
@pytest.mark.parametrize(
    ("rule", "supercell", "correlations"),
    [
        (lambda _x, _y, z: z % 2 == 0, (1, 1, 1), (-1 / 3, 1, -1 / 3, 1)),
        (lambda x, y, z: (x + y + z) // 2 % 2 == 0, (2, 2, 2), (0, -1, 0, 1)),
    ],
    ids=["L1_0", "L1_1"],
)
def test_pairs_of_known_alloys(rule, supercell, correlations):
    cell, shells = shells_of(supercell)
    found = shells.matches(colours_by(cell, rule))
    root2 = np.sqrt(2.0)
    distances = [FCC_ANG / root2, FCC_ANG, FCC_ANG * np.sqrt(1.5), FCC_ANG * root2]
    np.testing.assert_allclose([s.distance_ang for s in found[:4]], distances, atol=1e-3)
    per_site = [round(2 * s.n_pairs / (4 * np.prod(supercell))) for s in found[:4]]
    assert per_site == [12, 6, 24, 12]
    expected = [abs(c) / 4 for c in correlations]
    np.testing.assert_allclose([s.deviation for s in found[:4]], expected, atol=1e-6)


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_annealing_finds_the_best_of_all_arrangements(share):
    cell, shells = shells_of((2, 1, 1), share)
    gold, copper = (cell.model.colours.index(s) for s in ("Au", "Cu"))
    everything = np.full((0, 8), copper)
    for places in itertools.combinations(range(8), round(8 * (1 - share))):
        colours = np.full((1, 8), copper)
        colours[0, list(places)] = gold
        everything = np.concatenate([everything, colours])
    errors = shells.errors(everything)
    assert errors.max() > errors.min() + 1e-3
    starts = everything[np.random.default_rng(0).choice(len(everything), 6)]
    found, reached = shells.annealed(starts, np.random.default_rng(1))
    np.testing.assert_allclose(shells.errors(found), errors.min(), atol=1e-9)
    assert reached.min() == pytest.approx(errors.min(), abs=1e-9)


def test_sixteen_atoms_match_three_shells_as_another_program_counts():
    found = enumerate_orderings(fcc(), alloy((2, 2, 1)))
    assert (found.method, found.count) == ("sqs", None)
    assert matched_to_ang(found.shells) == pytest.approx(FCC_ANG * np.sqrt(1.5), abs=1e-3)
    for index in range(len(found.members)):
        structure = found.structure(index)
        atoms = Atoms(
            list(structure.species), scaled_positions=structure.frac_coords,
            cell=structure.lattice_ang, pbc=True,
        )  # fmt: skip
        i, j, d = neighbor_list("ijd", atoms, 5.0)
        unlike = atoms.numbers[i] != atoms.numbers[j]
        for shell in (FCC_ANG / np.sqrt(2), FCC_ANG, FCC_ANG * np.sqrt(1.5)):
            assert unlike[np.abs(d - shell) < 0.01].mean() == pytest.approx(0.5)


def test_another_seed_reaches_the_same_match():
    matches = [enumerate_orderings(fcc(), alloy((2, 2, 1), seed=seed)).shells for seed in (0, 7)]
    assert matches[0] == matches[1]


EXCHANGED = [
    "S1 S 0 0 0 0.75", "Cl1 Cl 0 0 0 0.25",
    "S2 S 0.5 0.5 0.5 0.25", "Cl2 Cl 0.5 0.5 0.5 0.75",
    "Li1 Li 0.5 0.5 0 0.5",
]  # fmt: skip

MIXED = EnumerationConfig(
    supercell=(2, 2, 1),
    sqs=("S", "Cl"),
    forbidden_pairs=(),
    charges={"Li": 1, "S": -2, "Cl": -1},
)


def conductor():
    return parse_cif("mine", cif("P m -3 m", 221, EXCHANGED, 5.0).encode(), "a test", 0.15)


def test_site_mixing_is_kept_and_the_energy_decides_on_the_rest_alone():
    found = enumerate_orderings(conductor(), MIXED)
    assert "of the rest" in found.search_note
    assert {shell.sites for shell in found.shells} == {"Cl1", "Cl2", "Cl1-Cl2"}
    for index in range(len(found.members)):
        structure = found.structure(index)
        corners = [
            species
            for species, (_, _, z) in zip(structure.species, structure.frac_coords, strict=True)
            if species != "Li" and np.isclose(z % 1, 0)
        ]
        assert sorted(corners) == ["Cl", "S", "S", "S"]


def test_a_swap_of_the_rest_leaves_the_pairs_alone():
    found = enumerate_orderings(conductor(), MIXED)
    cell = disordered_cell(conductor(), MIXED)
    shells = PairShells.of(cell, ("S", "Cl"), 8.0)
    masks = [m.mask for m in (*found.members, *found.neighbours(found.members[0].mask))]
    colours = np.array([found.masks.decode(mask) for mask in masks])
    assert len(masks) > len(found.members)
    errors = shells.errors(colours)
    np.testing.assert_allclose(errors, errors[0], atol=1e-9)


def test_rules_of_distance_hold_in_a_quasi_random_ordering():
    rule = {"species": ("Au", "Au"), "min_distance_ang": 3.0}
    config = EnumerationConfig(supercell=(2, 2, 2), sqs=("Cu", "Au"), forbidden_pairs=[rule])
    found = enumerate_orderings(fcc(0.75), config)
    for index in range(len(found.members)):
        structure = found.structure(index)
        atoms = Atoms(
            list(structure.species), scaled_positions=structure.frac_coords,
            cell=structure.lattice_ang, pbc=True,
        )  # fmt: skip
        gold = atoms[[atom.symbol == "Au" for atom in atoms]]
        assert neighbor_list("d", gold, 6.0).min() > 3.0


def test_automatic_choice_takes_the_cell_in_which_the_mixing_has_room():
    crystal = load_parent(str(CIFS / "Li6PS5Cl.cif"))
    choice = choose(crystal, EnumerationConfig(supercell=(1, 1, 1), sqs=("S", "Cl")))
    assert choice.composition.atoms == {"Li": 30, "P": 5, "S": 25, "Cl": 5}
    assert choice.exact is None


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"sqs": ("F",)}, "sqs names what the parent does not have"),
        ({"sqs": ("Cu",), "sqs_cutoff_ang": 2.0}, "no pair of sites"),
    ],
)
def test_what_cannot_be_ordered_is_refused(settings, match):
    config = EnumerationConfig(supercell=(2, 1, 1), forbidden_pairs=(), **settings)
    with pytest.raises(InputError, match=match):
        enumerate_orderings(fcc(), config)


def test_a_species_that_shares_no_site_is_refused():
    config = EnumerationConfig(supercell=(2, 2, 2), sqs=("P",), min_occupancy=0.01)
    with pytest.raises(InputError, match="nothing to order"):
        enumerate_orderings(load_parent(str(CIFS / "Na2.94PS3.94Cl0.06.cif")), config)


def test_settings_that_contradict_are_refused():
    with pytest.raises(ValidationError, match="enumlib"):
        EnumerationConfig(sqs=("S",), engine="enumlib")
    with pytest.raises(ValidationError, match="sqs_cutoff_ang belongs to sqs"):
        EnumerationConfig(sqs_cutoff_ang=5.0)


def test_the_command_tells_each_shell(tmp_path):
    rows = ["Cu1 Cu 0 0 0 0.5", "Au1 Au 0 0 0 0.5"]
    path = tmp_path / "alloy.cif"
    path.write_text(cif("F m -3 m", 225, rows))
    asked = ["enumerate", str(path), "--supercell", "2", "2", "1", "--forbid", "none", "--json"]
    done = CliRunner().invoke(app, [*asked, "--sqs", "Cu", "--sqs", "Au"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["count"], told["method"]) == (None, "sqs")
    assert told["sqs"][0] == {
        "sites": "Au1", "distance_ang": 2.828, "n_pairs": 96, "deviation": 0.0,
    }  # fmt: skip
    assert json.loads(CliRunner().invoke(app, asked).stdout.splitlines()[-1])["sqs"] is None
    table = CliRunner().invoke(app, [*asked[:-1], "--sqs", "Cu", "--sqs", "Au"]).stdout
    assert "Au1 2.828 Å: 96 pairs, off by 0.0000" in table

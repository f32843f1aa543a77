"""Species that replace others, and mixing over sites that is kept: counts by hand."""

from collections import Counter

import numpy as np
import pytest
from places import CIFS
from pydantic import ValidationError
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure as PymatgenStructure

from lycb_flows.config import DecorationConfig, EnumerationConfig, SystemConfig
from lycb_flows.crystals import (
    canonical_structure,
    choose,
    count_orderings,
    enumerate_decorations,
    enumerate_orderings,
    load_parent,
    parse_cif,
)
from lycb_flows.crystals.distances import summed_shares
from lycb_flows.crystals.enumeration.occupancies import kept_mixing
from lycb_flows.crystals.enumeration.site_mixing import shares_of
from lycb_flows.crystals.structures import parent_cell
from lycb_flows.errors import InputError

ONE = {"supercell": (1, 1, 1)}
ROCKSALT = canonical_structure(
    PymatgenStructure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
)


def cubic(rows, name="mine"):
    """A primitive cubic crystal of 5 Å; each row is label, element, x, y, z, occupancy."""
    lengths = [f"_cell_length_{a} 5" for a in "abc"]
    angles = [f"_cell_angle_{a} 90" for a in ("alpha", "beta", "gamma")]
    columns = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")
    lines = ["data_x", *lengths, *angles, "_symmetry_space_group_name_H-M 'P m -3 m'"]
    lines += ["_symmetry_Int_Tables_number 221", "loop_", *(f"_atom_site_{c}" for c in columns)]
    return parse_cif(name, "\n".join([*lines, *rows, ""]).encode(), "a test", 0.15)


# -- ordered crystals --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("substitute", "count", "raw", "atoms"),
    [
        ({"Cl": {"Br": 0.25}}, 1, 4, {"Na": 4, "Cl": 3, "Br": 1}),
        ({"Cl": {"Br": 0.25, "I": 0.25}}, 1, 12, {"Na": 4, "Cl": 2, "Br": 1, "I": 1}),
        # a potassium has three chlorines of one kind at a/2, and one at the cell's centre
        ({"Na": {"K": 0.25}, "Cl": {"Br": 0.25}}, 2, 16, {"Na": 3, "K": 1, "Cl": 3, "Br": 1}),
        ({"Na": {"K": 0.25}, "Cl": {"K": 0.25}}, 2, 16, {"Na": 3, "K": 2, "Cl": 3}),
        ({"Na": {"Cl": 0.25}, "Cl": {"Na": 0.25}}, 2, 16, {"Na": 4, "Cl": 4}),
        ({"Cl": {"Br": 1.0}}, 1, 1, {"Na": 4, "Br": 4}),
    ],
)
def test_species_replace_others_on_any_sites(substitute, count, raw, atoms):
    found = enumerate_decorations(ROCKSALT, DecorationConfig(substitute=substitute))
    assert (found.count, found.raw_count, len(found.members)) == (count, raw, count)
    structure = found.structure(count - 1)
    assert Counter(structure.species) == atoms
    assert structure.frac_coords == ROCKSALT.frac_coords


def test_mixed_halides_are_the_shorthand_of_the_general_form():
    short = enumerate_decorations(ROCKSALT, DecorationConfig(x=3))  # Br of six halides
    general = DecorationConfig(x=3, substitute={"Cl": "Br"}, formula="Na6Cl6")
    assert enumerate_decorations(ROCKSALT, general).members == short.members
    assert short.count == 1


def test_the_formula_unit_is_the_reduced_one_unless_it_is_named():
    half = enumerate_decorations(ROCKSALT, DecorationConfig(x=0.5, substitute={"Cl": "Br"}))
    assert Counter(half.structure(0).species)["Br"] == 2
    pair = DecorationConfig(x=0.5, substitute={"Cl": "Br"}, formula="Na2Cl2")
    assert Counter(enumerate_decorations(ROCKSALT, pair).structure(0).species)["Br"] == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"x": 0.3, "substitute": {"Cl": "Br"}}, "no whole number of atoms"),
        ({"x": 1.5, "substitute": {"Cl": "Br"}}, "more is replaced than there is"),
        ({"x": 1, "substitute": {"F": "Br"}}, "nothing to replace"),
        ({"x": 1, "substitute": {"Cl": "Xx"}}, "no element"),
        ({"x": 1, "substitute": {"Cl": "Br"}, "formula": "KBr"}, "lacks what is replaced"),
    ],
)
def test_what_cannot_be_replaced_is_one_line(settings, message):
    with pytest.raises(InputError, match=message):
        enumerate_decorations(ROCKSALT, DecorationConfig(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"x": 7},
        {"x": 1, "formula": "NaCl"},
        {"substitute": {}, "x": 1},
        {"substitute": {"Cl": "Br"}},
        {"x": 1, "substitute": {"Cl": "Br", "Na": "K"}},
        {"x": 1, "substitute": {"Cl": {"Br": 0.5}}},
        {"x": 1, "substitute": {"Cl": "Cl"}},
    ],
)
def test_settings_that_contradict_are_refused(settings):
    with pytest.raises(ValidationError):
        DecorationConfig(**settings)


def test_decorations_of_a_system_are_told_apart_by_x():
    twice = [{"x": 0.5, "substitute": {"Cl": by}} for by in ("Br", "I")]
    with pytest.raises(ValidationError, match="different x"):
        SystemConfig(name="A", parent="Li3YCl6", decorations=twice)


def test_a_stratum_beyond_the_cap_is_told():
    config = DecorationConfig(x=0.5, substitute={"Cl": "Br"}, cap=1, n_samples=5)
    cell = canonical_structure(
        PymatgenStructure(
            Lattice(ROCKSALT.lattice_ang), ROCKSALT.species, ROCKSALT.frac_coords
        ).make_supercell([2, 1, 1], in_place=False)
    )
    found = enumerate_decorations(cell, config)
    assert not found.exhaustive
    assert "exceed cap = 1" in found.stratum_note
    assert {member.stratum for member in found.members} == {"sampled"}
    many = enumerate_decorations(cell, config.model_copy(update={"cap": 7}))
    assert many.stratum_note is None
    document, _ = found.document(key="k", parent="p")
    assert document.stratum_note == found.stratum_note


# -- disordered crystals -----------------------------------------------------------------


def test_a_disordered_crystal_is_as_if_refined_with_what_replaces():
    rows = ["Cs1 Cs 0 0 0 0.5", "Li1 Li 0 0.5 0.5 0.3333"]
    plain = cubic([*rows, "Cl1 Cl 0.5 0.5 0.5 1"])
    mixed = cubic([*rows, "Cl1 Cl 0.5 0.5 0.5 0.5", "Br1 Br 0.5 0.5 0.5 0.5"])
    rules = {"forbidden_pairs": [], "supercell": (2, 1, 1)}
    replaced = EnumerationConfig(substitute={"Cl": {"Br": 0.5}}, formula="CsCl2", **rules)
    # two cells: half of the chlorine is one formula unit of CsCl2, in which a quarter is bromine
    with pytest.raises(InputError, match="commensurate"):
        count_orderings(plain, replaced)
    replaced = replaced.model_copy(update={"formula": "CsCl"})
    as_refined = EnumerationConfig(**rules)
    assert count_orderings(plain, replaced) == count_orderings(mixed, as_refined)
    found = enumerate_orderings(plain, replaced)
    assert Counter(found.structure(0).species) == {"Cs": 1, "Li": 2, "Cl": 1, "Br": 1}


RICH_IN_CHLORINE = (  # Li5.5PS4.5Cl1.5: of its primitive cell only phosphorus is a whole number
    ("Li1 Li 0.183 0.183 0.024 0.5", "Li1 Li 0.183 0.183 0.024 0.45833"),
    ("0.25 0.385", "0.25 0.135"), ("0.25 0.615", "0.25 0.865"),
    ("0 0.615", "0 0.365"), ("0 0.385", "0 0.635"),
)  # fmt: skip


def rich_in_chlorine():
    text = (CIFS / "Li6PS5Cl.cif").read_text()
    for before, after in RICH_IN_CHLORINE:
        assert before in text
        text = text.replace(before, after)
    return parse_cif("mine", text.encode(), "a test", 0.1)


@pytest.mark.parametrize("name", ["Li6PS5Cl.cif", "Na3PS4.cif", None])
def test_a_formula_unit_is_the_same_in_every_cell(name):
    crystal = load_parent(str(CIFS / name)) if name else rich_in_chlorine()
    by = {"P": {"Sb": 0.25}} | ({} if name == "Na3PS4.cif" else {"Cl": {"Br": 0.5}})
    settings = [{}, {"cell": "primitive"}, {"matrix": [[1, 0, 0], [0, 1, 0], [0, 1, 2]]}]
    settings += [
        {"cell": "primitive", "matrix": [[1, 0, 0], [0, 1, 0], [0, 0, n]]} for n in (2, 3, 4)
    ]
    for each in settings:
        config = EnumerationConfig(substitute=by, **each)
        sums = summed_shares(shares_of(parent_cell(crystal, config), config))
        units = sums["P"] + sums["Sb"]
        assert sums["Sb"] / units == pytest.approx(0.25)
        assert sums.get("Br", 0.5 * units) / units == pytest.approx(0.5)


def test_the_mixing_that_is_announced_is_the_one_that_is_made():
    given = EnumerationConfig(
        **ONE, substitute={"Cl": {"Br": 1.0}}, keep_occupancies=("S", "Cl"), n_search=1
    )
    crystal = rich_in_chlorine()
    choice = choose(crystal, given, max_atoms=60)
    cell = parent_cell(crystal, choice.config)
    made = kept_mixing(cell, choice.config, choice.composition.atoms, 1)
    texts = [
        f"{each.n_atoms} of {each.n_sites} {each.site_label} hold {each.species}"
        for each in made
        if 0 < each.refined < 1
    ]
    assert len(texts) == 4
    assert all(text in choice.reasons[0] for text in texts)


def test_what_replaces_keeps_the_distances_of_what_it_replaces():
    crystal = cubic(["Na1 Na 0 0 0.5 0.3333", "Cl1 Cl 0.5 0.5 0.5 1"])
    rule = {"species": ("Na", "Na"), "min_distance_ang": 4.0}
    settings = {"forbidden_pairs": [rule], "supercell": (2, 2, 1), "cap": 10_000}
    plain = enumerate_orderings(crystal, EnumerationConfig(**settings))
    replaced = EnumerationConfig(substitute={"Na": {"K": 0.5}}, **settings)
    found = enumerate_orderings(crystal, replaced)
    assert found.raw_count == 6 * plain.raw_count  # two of four sodium ions
    for index in range(0, len(found.members), 5):
        structure = found.structure(index)
        cations = [k for k, s in enumerate(structure.species) if s in ("Na", "K")]
        cell = PymatgenStructure(
            Lattice(structure.lattice_ang),
            ["Na"] * len(cations),
            np.array(structure.frac_coords)[cations],
        )
        assert cell.distance_matrix[np.triu_indices(len(cell), 1)].min() > 4.0


def test_automatic_choice_finds_room_for_what_replaces():
    crystal = load_parent(str(CIFS / "Li6PS5Cl.cif"))
    choice = choose(crystal, EnumerationConfig(**ONE, substitute={"Cl": {"Br": 0.5}}))
    assert choice.composition.atoms == {"Li": 12, "P": 2, "S": 10, "Cl": 1, "Br": 1}
    assert choice.composition.charge == 0
    ordered = load_parent(str(CIFS / "Na3PS4.cif"))
    choice = choose(ordered, EnumerationConfig(**ONE, substitute={"P": {"Sb": 0.25}}))
    assert choice.composition.atoms == {"Na": 12, "P": 3, "Sb": 1, "S": 16}


# -- mixing that is kept -----------------------------------------------------------------

EXCHANGED = [
    "S1 S 0 0 0 0.75", "Cl1 Cl 0 0 0 0.25",
    "S2 S 0.5 0.5 0.5 0.25", "Cl2 Cl 0.5 0.5 0.5 0.75",
]  # fmt: skip


def test_site_mixing_is_kept():
    config = EnumerationConfig(supercell=(2, 2, 1), forbidden_pairs=[])
    crystal = cubic(EXCHANGED)
    assert count_orderings(crystal, config)[1] == 70  # 4 of 8
    kept = config.model_copy(update={"keep_occupancies": ("S", "Cl")})
    found = enumerate_orderings(crystal, kept)
    assert found.raw_count == 16  # 3 of 4 and 1 of 4
    for index in range(len(found.members)):
        structure = found.structure(index)
        corner = [np.allclose(z % 1, 0) for _, _, z in structure.frac_coords]
        held = Counter(zip(corner, structure.species, strict=True))
        assert held == {(True, "S"): 3, (True, "Cl"): 1, (False, "S"): 1, (False, "Cl"): 3}


def test_one_species_that_is_kept_fixes_the_other_and_unknown_ones_are_refused():
    config = EnumerationConfig(supercell=(2, 2, 1), forbidden_pairs=[], keep_occupancies=("S",))
    assert enumerate_orderings(cubic(EXCHANGED), config).raw_count == 16
    unknown = config.model_copy(update={"keep_occupancies": ("F",)})
    with pytest.raises(InputError, match="keep_occupancies"):
        enumerate_orderings(cubic(EXCHANGED), unknown)
    with pytest.raises(ValidationError, match="enumlib"):
        EnumerationConfig(keep_occupancies=("S",), engine="enumlib")


def test_rules_hold_between_species_whose_mixing_is_kept():
    rows = ["Li1 Li 0.5 0.5 0 1"]
    rows += [f"{s}1 {s} 0 0 0 {n}" for s, n in (("S", 0.6667), ("Cl", 0.3333))]
    rows += [f"{s}2 {s} 0.5 0.5 0.5 {n}" for s, n in (("S", 0.6667), ("Cl", 0.3333))]
    rule = {"species": ("Cl", "Cl"), "min_distance_ang": 4.5}  # corner and centre: 4.33 Å
    config = EnumerationConfig(supercell=(3, 1, 1), keep_occupancies=("S", "Cl"))
    apart = config.model_copy(update={"forbidden_pairs": ()})
    assert count_orderings(cubic(rows), apart)[1] == 9
    ruled = EnumerationConfig.model_validate(config.model_dump() | {"forbidden_pairs": [rule]})
    found = enumerate_orderings(cubic(rows), ruled)
    assert found.raw_count == 3  # of the three centres a corner has two beside it
    cell = found.structure(0)
    held = [k for k, species in enumerate(cell.species) if species == "Cl"]
    coords = np.array(cell.frac_coords)[held]
    assert PymatgenStructure(Lattice(cell.lattice_ang), ["Cl"] * 2, coords).get_distance(0, 1) > 4.5


def test_minor_occupants_whose_mixing_is_kept_are_not_dropped():
    rows = ["S1 S 0 0 0 0.875", "Cl1 Cl 0 0 0 0.125", "Li1 Li 0.5 0.5 0 1"]
    rows += ["S2 S 0.5 0.5 0.5 0.75", "Cl2 Cl 0.5 0.5 0.5 0.25"]
    config = EnumerationConfig(supercell=(2, 2, 2), forbidden_pairs=())
    assert enumerate_orderings(cubic(rows), config.model_copy(update={"cap": 1})).dropped
    kept = config.model_copy(update={"keep_occupancies": ("S", "Cl")})
    found = enumerate_orderings(cubic(rows), kept)
    assert (found.raw_count, found.dropped) == (8 * 28, ())


def test_automatic_choice_takes_a_cell_in_which_the_mixing_has_room():
    crystal = load_parent(str(CIFS / "Li6PS5Cl.cif"))
    kept = EnumerationConfig(**ONE, keep_occupancies=("S", "Cl"))
    choice = choose(crystal, kept)
    assert choice.composition.atoms == {"Li": 30, "P": 5, "S": 25, "Cl": 5}
    assert "mixing kept: 3 of 5" in choice.reasons[0]
    assert sum(choose(crystal, EnumerationConfig(**ONE)).composition.atoms.values()) == 13

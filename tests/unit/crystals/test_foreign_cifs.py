"""CIFs as other people write them: each kind that was read wrongly once, with siblings."""

import numpy as np
import pytest
from places import CIFS
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from lycb_flows.config import EnumerationConfig, ForbiddenPair
from lycb_flows.crystals import (
    choose,
    count_orderings,
    enumerate_orderings,
    load_parent,
    parse_cif,
)
from lycb_flows.crystals.charges import guessed_charges, mobile_ion
from lycb_flows.crystals.distances import rules_from
from lycb_flows.crystals.enumeration import CountOutOfReachError, automatic, orderings
from lycb_flows.crystals.structures import to_pymatgen
from lycb_flows.errors import InputError

ONE = EnumerationConfig(supercell=(1, 1, 1))
COLUMNS = "label type_symbol fract_x fract_y fract_z occupancy"


def cif(rows, *, cell="4 4 10 90 90 120", group="P -3 m 1", number=164, more=""):
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = ["data_x", *(f"_cell_{n} {v}" for n, v in zip(names, cell.split(), strict=True))]
    lines += [f"_symmetry_space_group_name_H-M '{group}'", f"_symmetry_Int_Tables_number {number}"]
    lines += [more, "loop_", *(f"_atom_site_{name}" for name in COLUMNS.split()), *rows]
    return "\n".join(lines) + "\n"


def read(text, encoding="utf-8"):
    return parse_cif("mine", text.encode(encoding), "a test", 0.15)


def layered(x="0.33333", y="0.66667", element="Li", more=""):
    rows = [f"{element}1 {element} {x} {y} 0.6 0.5", "Y1 Y 0 0 0 1", f"Cl1 Cl {x} {y} 0.15 1"]
    return cif(rows, more=more)


TETRAGONAL = {"cell": "4 4 5 90 90 90", "group": "P 4/m m m", "number": 123}
RHOMBOHEDRAL = "6.38853 6.38853 6.38853 34.604 34.604 34.604"
CUBIC = {"cell": "5.1 5.1 5.1 90 90 90", "group": "F m -3 m", "number": 225}


# -- reading -----------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["R -3 m :R", "R -3 m", "R-3m:R", "R -3 m :H"])
@pytest.mark.parametrize("element", ["Li", "Na"])
def test_cell_decides_between_rhombohedral_and_hexagonal_axes(group, element):
    rows = [f"A1 {element} 0 0 0 0.5", "Y1 Y 0.5 0.5 0.5 1", "Cl1 Cl 0.25 0.25 0.25 1"]
    crystal = read(cif(rows, cell=RHOMBOHEDRAL, group=group, number=166))
    assert len(crystal.structure) == 4
    assert "rhombohedral" in crystal.notes[0]


def test_operations_of_another_setting_are_refused():
    listed = "loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'-y,x-y,z'\n'y-x,-x,z'"
    rows = ["Li1 Li 0 0 0 0.5", "Cl1 Cl 0.25 0.25 0.25 1"]
    with pytest.raises(InputError, match=r"does not keep the cell.*operation=-y, ?x-y, ?z"):
        read(cif(rows, cell=RHOMBOHEDRAL, group="R 3", number=146, more=listed))


@pytest.mark.parametrize("choice", ["1", "2"])
def test_origin_that_a_name_states_is_taken(choice):
    places = {"1": ("0 0 0", "0.5 0.5 0.5"), "2": ("0.125 0.125 0.125", "0.5 0.5 0.5")}
    first, second = places[choice]
    text = cif(
        [f"Li1 Li {first} 1", f"Ti1 Ti {second} 1"],
        cell="8 8 8 90 90 90", group=f"F d -3 m :{choice}", number=227,
    )  # fmt: skip
    counts = read(text).structure.composition.get_el_amt_dict()
    assert counts == ({"Li": 8, "Ti": 8} if choice == "1" else {"Li": 8, "Ti": 16})


@pytest.mark.parametrize(("suffix", "choice"), [(" Z", "2"), ("Z", "2"), (" S", "1"), (":S", "1")])
def test_letters_of_origins_need_no_colon(suffix, choice):
    rows = ["Li1 Li 0.125 0.125 0.125 1", "Ti1 Ti 0.5 0.5 0.5 1"]
    given = {"cell": "8 8 8 90 90 90", "number": 227}
    found = read(cif(rows, group=f"F d -3 m{suffix}", **given))
    known = read(cif(rows, group=f"F d -3 m :{choice}", **given))
    assert found.structure.composition == known.structure.composition
    assert found.notes == known.notes


def test_an_origin_that_is_not_stated_is_told():
    rows = ["Li1 Li 0 0 0 1", "Ti1 Ti 0.5 0.5 0.5 1"]
    (note,) = read(cif(rows, cell="8 8 8 90 90 90", group="F d -3 m", number=227)).notes
    assert note == "no origin is stated: read with origin 1"
    text = cif(rows, cell="8 8 8 90 90 90", group="F d -3 m", number=227)
    hall = text.replace("loop_", "_symmetry_space_group_name_Hall '-F 4vw 2vw 3'\nloop_")
    assert read(hall).notes == ("read in the setting F d -3 m:2",)


MONOCLINIC = {"cell": "5 7 9 90 105 90", "rows": ["Y1 Y 0 0 0 1", "Cl1 Cl 0.1 0.2 0.3 1"]}


@pytest.mark.parametrize("number", [14, "?"])
@pytest.mark.parametrize(
    ("short", "full"), [("P 21/n", "P 1 21/n 1"), ("P21/a", "P 1 21/a 1"), ("P 21/c", "P 1 21/c 1")]
)
def test_short_names_of_settings_are_those_settings(short, full, number):
    found = read(cif(group=short, number=number, **MONOCLINIC)).structure
    known = read(cif(group=full, number=14, **MONOCLINIC)).structure
    assert found.composition.formula == "Y2 Cl4"
    gaps = found.lattice.get_all_distances(found.frac_coords, known.frac_coords)
    assert gaps.min(axis=1).max() < 1e-6


@pytest.mark.parametrize(
    ("group", "formula"), [("C 2/m", "Y2 Cl8"), ("I 2/m", "Y2 Cl8"), ("C2/c", "Y4 Cl8")]
)
def test_a_name_without_a_number_is_no_p1(group, formula):
    assert read(cif(group=group, number="?", **MONOCLINIC)).structure.composition.formula == formula


@pytest.mark.parametrize("group", ["R -3 m", "R-3m:H", "R -3 m H", "R-3mH"])
def test_a_rhombohedral_name_without_a_number_is_no_p1(group):
    rows = ["Y1 Y 0 0 0 1", "Cl1 Cl 0 0 0.25 1"]
    found = read(cif(rows, cell="4 4 18 90 90 120", group=group, number="?"))
    assert found.structure.composition.formula == "Y3 Cl6"


def test_a_name_that_nobody_knows_is_refused():
    with pytest.raises(InputError, match=r"space group of a CIF is unknown.*name=P 7/x"):
        read(cif(group="P 7/x", number="?", **MONOCLINIC))
    assert len(read(cif(group="P 7/x", number=2, **MONOCLINIC)).structure) == 3


@pytest.mark.parametrize(
    ("x", "y"), [("0.333", "0.667"), ("0.3333", "0.6667"), ("0.333(1)", "0.667(1)")]
)
@pytest.mark.parametrize("element", ["Li", "Na"])
def test_rounded_special_positions_are_one_site(x, y, element):
    crystal = read(layered(x, y, element))
    assert len(crystal.structure) == 5
    assert count_orderings(crystal, ONE) == (1, 2)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-16", "utf-8"])
def test_encodings_do_not_matter(encoding):
    crystal = read(layered(more="_publ_author_name 'A. Müller'\n_cell_comment '10 Å'"), encoding)
    assert count_orderings(crystal, ONE) == (1, 2)
    assert "Müller" in crystal.cif.decode()


@pytest.mark.parametrize(
    ("formula", "z", "is_told"),
    [("Li1 Y1 Cl4", 1, True), ("Li1 Y1 Cl2", 1, False), ("Na1 Y1 Cl2", 1, True),
     ("Li1 Y1 Cl2", 2, False), ("Li2 Y2 Cl4", 1, True)],
)  # fmt: skip
def test_stated_formula_that_contradicts_the_sites_is_told(formula, z, is_told):
    more = f"_chemical_formula_sum '{formula}'\n_cell_formula_units_Z {z}"
    notes = [note for note in read(layered(more=more)).notes if "its sites hold" in note]
    assert bool(notes) is is_told


@pytest.mark.parametrize(("share", "count"), [("0.999", (1, 6)), ("1.0", (1, 6))])
def test_full_within_the_tolerance_is_full(share, count):
    rows = [f"Li1 Li 0 0 0 {share}", "Cl1 Cl 0.5 0.5 0.5 0.5", "Br1 Br 0.5 0.5 0.5 0.5"]
    assert count_orderings(read(cif(rows, **CUBIC)), ONE) == count


@pytest.mark.parametrize("shares", [("0.501", "0.499"), ("0.499", "0.501"), ("0.249", "0.751")])
def test_value_at_the_edge_of_its_tolerance_holds(shares):
    rows = ["Li1 Li 0 0 0 1"]
    rows += [f"{s}1 {s} 0.5 0.5 0.5 {n}" for s, n in zip(("Cl", "Br"), shares, strict=True)]
    assert count_orderings(read(cif(rows, **CUBIC)), ONE)[0] > 0


@pytest.mark.parametrize("shares", [("0.51", "0.51"), ("0.7", "0.311"), ("1.0", "0.02")])
def test_sites_that_are_more_than_full_are_named(shares):
    rows = [f"{s}1 {s} 0 0 0 {n}" for s, n in zip(("Cl", "Br"), shares, strict=True)]
    with pytest.raises(InputError, match=r"site=Cl1, Br1, sum=1\.0[12].*limit=1.01"):
        read(cif([*rows, "Li1 Li 0.5 0.5 0.5 1"], **TETRAGONAL))


@pytest.mark.parametrize("share", ["0,5", "1/3", "half", "50%", "0.5.", "0.5(", "nan", "-0.2"])
def test_an_occupancy_that_is_no_number_is_refused(share):
    rows = [f"Li1 Li 0 0 0 {share}", "Cl1 Cl 0.5 0.5 0.5 1"]
    with pytest.raises(InputError, match=r"occupancy in a CIF is below zero or no number.*Li1"):
        read(cif(rows, **TETRAGONAL))


@pytest.mark.parametrize(("share", "amount"), [("0.50(3)", 0.5), (".", 1), ("?", 1), ("5e-1", 0.5)])
def test_an_occupancy_with_its_error_or_without_a_value_is_read(share, amount):
    rows = [f"Li1 Li 0 0 0 {share}", "Cl1 Cl 0.5 0.5 0.5 1"]
    assert read(cif(rows, **TETRAGONAL)).structure.composition["Li"] == amount


def test_sites_that_symmetry_brings_together_are_no_more_than_full():
    rows = ["Li1 Li 0.25 0 0 1", "Li2 Li 0.75 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1"]
    with pytest.raises(InputError, match=r"sum to more than one.*Occupancy 2.* symmetry"):
        read(cif(rows, **TETRAGONAL))


@pytest.mark.parametrize("second", ["Li2 Li 0.75 0 0 1", "Li2 Li 0.2 0 0 1"])
def test_a_file_of_two_crystals_is_refused_also_where_only_one_can_be_read(second):
    first = cif(["Li1 Li 0.25 0 0 1", second], **TETRAGONAL)
    other = cif(["Y1 Y 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1"], **TETRAGONAL)
    with pytest.raises(InputError, match=r"exactly one structure.*found=x, y"):
        read(first + other.replace("data_x", "data_y"))


def test_rows_of_one_label_keep_their_elements():
    rows = ["M1 Y 0.2500 0.25 0.25 0.5", "M1 In 0.2510 0.25 0.25 0.5", "Cl1 Cl 0 0 0 1"]
    crystal = read(cif(rows, cell="8 8 8 90 90 90", group="P m m m", number=47))
    assert crystal.structure.composition.get_el_amt_dict() == {"Y": 4, "In": 4, "Cl": 1}


@pytest.mark.parametrize("symbol", ["Vac", "vac", "Va", "VAC1"])
def test_vacancies_are_no_vanadium(symbol):
    rows = ["Li1 Li 0 0 0 0.5", f"V1 {symbol} 0 0 0 0.5", "Cl1 Cl 0.5 0.5 0.5 1"]
    crystal = read(cif(rows, **TETRAGONAL))
    assert crystal.structure.composition.get_el_amt_dict() == {"Li": 0.5, "Cl": 1}
    assert "vacancy" in crystal.notes[0]


@pytest.mark.parametrize("symbol", ["Xx", "Q", "Lx", "?"])
def test_unknown_elements_are_refused(symbol):
    rows = [f"A1 {symbol} 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1"]
    with pytest.raises(InputError, match="unknown element"):
        read(cif(rows, **TETRAGONAL))


@pytest.mark.parametrize("symbol", ["CF", "cF", "SC", "co", "T"])
def test_a_symbol_that_only_another_case_makes_an_element_must_be_in_the_formula(symbol):
    rows = ["Li1 Li 0 0 0 1", f"A1 {symbol} 0.5 0.5 0.5 1"]
    with pytest.raises(InputError, match=rf"not written as an element's.*found={symbol}"):
        read(cif(rows, **TETRAGONAL, more="_chemical_formula_sum 'Li Cl'"))


@pytest.mark.parametrize("formula", ["", "_chemical_formula_sum 'Li Cl'"])
def test_symbols_in_capitals_are_read(formula):
    rows = ["LI1 LI 0 0 0 1", "CL1 CL 0.5 0.5 0.5 1"]
    crystal = read(cif(rows, **TETRAGONAL, more=formula))
    assert crystal.structure.composition.formula == "Li1 Cl1"


def test_coordinates_that_are_missing_are_named():
    with pytest.raises(InputError, match=r"coordinate.*site=Cl1"):
        read(cif(["Li1 Li 0 0 0 1", "Cl1 Cl 0.5 ? 0.5 1"], **TETRAGONAL))


def test_symprec_is_an_option():
    crystal = read(layered())
    noisy = crystal.structure.copy()
    noisy.translate_sites([0], [0, 0, 0.004], to_unit_cell=True)  # 0.04 Å
    shifted = type(crystal)(**{**vars(crystal), "structure": noisy})
    coarse = ONE.model_copy(update={"symprec_ang": 0.1})
    assert count_orderings(shifted, ONE)[0] == 2
    assert count_orderings(shifted, coarse)[0] == 1


# -- distances ---------------------------------------------------------------------------


@pytest.mark.parametrize(("element", "z"), [("Na", "0.05"), ("Li", "0.06"), ("Cl", "0.04")])
def test_split_sites_are_never_both_held(element, z):
    other = "Cl" if element != "Cl" else "Na"
    rows = [f"A1 {element} 0 0 {z} 0.5", f"B1 {other} 0.5 0.5 0.5 1"]
    found = enumerate_orderings(read(cif(rows, **TETRAGONAL)), EnumerationConfig())
    assert (found.count, found.raw_count) == (2, 4)
    for index in range(found.count):
        cell = to_pymatgen(found.structure(index))
        assert (cell.distance_matrix + 9 * np.eye(len(cell))).min() > 2


def test_ordered_crystals_have_no_rules_and_pass():
    rows = ["Li1 Li 0 0 0 1", "Li2 Li 0 0 0.42 1", "P1 P 0.5 0.5 0.2 1"]  # Li-Li 2.1 Å
    crystal = read(cif(rows, cell="4 4 5 90 90 90", group="P 4 m m", number=99))
    assert rules_from(crystal.structure) == ()
    assert count_orderings(crystal, ONE) == (1, 1)


def test_sites_that_must_stand_side_by_side_exclude_nothing():
    rows = ["Na1 Na 0 0 0.25 0.9", "Cl1 Cl 0.5 0.5 0 1"]  # 2.5 Å apart, 0.9 + 0.9 > 1
    assert rules_from(read(cif(rows, **TETRAGONAL)).structure) == ()


@pytest.mark.parametrize("alternatives_ang", [2.3, 2.32, 2.335])  # radii: below 2.34 Å
@pytest.mark.parametrize("further_ang", [0.0015, 0.0035, 0.0055, 0.007, 0.009, 0.012, 0.021, 0.05])
def test_no_rule_parts_sites_that_must_stand_side_by_side(alternatives_ang, further_ang):
    side_by_side_ang = alternatives_ang + further_ang
    a_ang = 20.0
    x = [0, alternatives_ang / a_ang, 0.5, 0.5 + side_by_side_ang / a_ang]
    structure = Structure(
        Lattice.orthorhombic(a_ang, 10, 10),
        [{"Li": 0.4}, {"Li": 0.4}, {"Li": 0.9}, {"Li": 0.9}, "Cl"],
        [*([u, 0, 0] for u in x), [0.25, 0.5, 0.5]],
    )
    limits = {rule.species: rule.min_distance_ang for rule in rules_from(structure)}
    assert limits["Li", "Li"] < side_by_side_ang
    if further_ang > 0.02:
        assert limits["Li", "Li"] > alternatives_ang


def test_refusal_names_the_pair_and_its_distance():
    crystal = read(cif(["Na1 Na 0 0 0.05 0.5", "Cl1 Cl 0.5 0.5 0.5 1"], **TETRAGONAL))
    by_hand = ForbiddenPair(species=("Na", "Cl"), min_distance_ang=4.5)
    config = ONE.model_copy(update={"forbidden_pairs": (by_hand,)})
    with pytest.raises(InputError, match=r"nearest_excluded_pair=.*(Na-Cl|Cl-Na) 3\.\d\d Å apart"):
        count_orderings(crystal, config)


# -- composition and cells ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("amounts", "charges"),
    [
        ({"Li": 6, "P": 1, "S": 5, "Cl": 1}, {"Li": 1, "P": 5, "S": -2, "Cl": -1}),
        ({"Li": 3, "P": 1}, {"Li": 1, "P": -3}),
        ({"Na": 3, "Zr": 2, "Si": 2, "P": 1, "O": 12},
         {"Na": 1, "Zr": 4, "Si": 4, "P": 5, "O": -2}),
    ],
)  # fmt: skip
def test_guessed_charges(amounts, charges):
    assert guessed_charges(amounts) == charges


def test_mobile_ion_is_the_one_on_partial_sites():
    assert mobile_ion({"Li": 1, "Na": 2, "Cl": 3}, {"Na": 1.0}) == "Na"
    assert mobile_ion({"Li": 1, "Na": 2, "Cl": 3}, {}) == "Li"
    assert mobile_ion({"Y": 1, "Cl": 3}, {}) is None


@pytest.mark.parametrize("shares", [("0.33", "0.67"), ("0.34", "0.66")])
def test_automatic_choice_takes_the_nearest_neutral_composition(shares):
    rows = ["Li1 Li 0 0 0 1"]
    rows += [f"{s}1 {s} 0.5 0.5 0.5 {n}" for s, n in zip(("Cl", "Br"), shares, strict=True)]
    choice = choose(read(cif(rows, **TETRAGONAL)), ONE)
    assert choice.composition.atoms == {"Br": 2, "Cl": 1, "Li": 3}
    assert choice.composition.charge == 0
    assert choice.composition.deviation["Cl"] == pytest.approx(1 / 3 - float(shares[0]))
    assert choice.exact == (1, 3)


@pytest.mark.parametrize(
    ("name", "atoms", "count"),
    [
        ("LGPS", {"Li": 20, "Ge": 2, "P": 4, "S": 24}, 276_981),
        ("LLTO", {"Li": 3, "La": 5, "Ti": 9, "O": 27}, 10),
        ("Li3InCl6", {"Li": 3, "In": 1, "Cl": 6}, 4),
        ("Na3PS4", {"Na": 6, "P": 2, "S": 8}, 1),
    ],
)
def test_published_conductors_get_the_cells_of_the_docs(name, atoms, count):
    choice = choose(load_parent(str(CIFS / f"{name}.cif")), ONE)
    assert choice.composition.atoms == atoms
    assert choice.composition.charge == 0
    assert choice.exact[0] == count


def test_independent_searches_of_a_crowded_crystal_agree():
    crystal = load_parent(str(CIFS / "LGPS.cif"))
    config = choose(crystal, ONE).config.model_copy(update={"n_search": 6})
    found = enumerate_orderings(crystal, config)
    n_agreeing = int(found.search_note.split(" of ")[0])
    assert n_agreeing >= 3  # swaps one by one: 1 of 24


def test_charges_outweigh_rounding():
    rows = ["Al1 Al 0 0 0 0.3", "Mg1 Mg 0 0 0 0.7", "Li1 Li 0 0 0.5 0.68"]
    rows += ["O1 O 0.5 0.5 0 1", "F1 F 0.5 0.5 0.5 1"]
    choice = choose(read(cif(rows, **TETRAGONAL)), ONE, max_atoms=60)
    total = sum(choice.composition.charges[s] * n for s, n in choice.composition.atoms.items())
    assert total == 0


def perovskite(share="0.565", oxygen="O"):
    rows = [f"La1 La 0 0 0 {share}", "Ti1 Ti 0.5 0.5 0.5 1", f"O1 {oxygen} 0.5 0.5 0 1"]
    cell = {"cell": "3.9 3.9 3.9 90 90 90", "group": "P m -3 m", "number": 221}
    return read(cif(rows, **cell))


@pytest.mark.parametrize(("share", "atoms"), [("0.565", (2, 3, 9)), ("0.9", (1, 1, 3))])
def test_what_a_file_lacks_in_charge_is_balanced_and_said(share, atoms):
    """Lithium is seldom found by X-rays: the perovskite between is La(2/3)TiO3."""
    choice = choose(perovskite(share), ONE, max_atoms=28)
    assert choice.composition.atoms == dict(zip(("La", "Ti", "O"), atoms, strict=True))
    assert choice.composition.charge == 0
    assert any("the refined composition carries" in reason for reason in choice.reasons)


def test_a_crystal_that_cannot_be_neutral_is_refused_unless_charges_are_left_aside():
    crystal = perovskite(oxygen="F")
    with pytest.raises(InputError, match=r"no neutral composition.*--charge none"):
        choose(crystal, ONE.model_copy(update={"charges": {"Ti": 4.0}}))
    choice = choose(crystal, ONE.model_copy(update={"charges": {}}))
    assert "charges are left aside" in choice.reasons
    assert choice.composition.worst < 0.05


def test_charges_that_are_not_given_are_guessed():
    choice = choose(perovskite("0.67"), ONE.model_copy(update={"charges": {"Ti": 4.0}}))
    assert choice.composition.charges == {"La": 3, "Ti": 4, "O": -2}
    reduced = choose(perovskite("0.67"), ONE.model_copy(update={"charges": {"Ti": 3.0}}))
    assert reduced.composition.charge == 0
    assert reduced.composition.atoms["La"] == reduced.composition.atoms["Ti"]


def test_an_ordered_crystal_that_is_not_neutral_is_taken_as_it_is():
    choice = choose(perovskite("1", "F"), ONE)
    assert "the cell carries" in "".join(choice.reasons)
    assert choice.exact[0] == 1


def test_superlattices_are_all_there_and_the_roundest_is_taken():
    lattice = read(cif(["Na1 Na 0 0 0 1"], cell="3 3 3 90 90 90", group="P 1", number=1)).structure
    forms = [list(automatic.hermite_normal_forms(n)) for n in (1, 2, 4, 8)]
    assert [len(found) for found in forms] == [1, 7, 35, 155]  # Hart and Forcade 2008, table I
    matrix = np.array(automatic.roundest_matrix(lattice.lattice, 8))
    assert round(np.linalg.det(matrix)) == 8
    assert np.linalg.norm(matrix @ lattice.lattice.matrix, axis=1).min() > 5.9


# -- search ------------------------------------------------------------------------------


def test_search_finds_the_exact_minimum_of_the_charges(monkeypatch):
    rows = ["Na1 Na 0 0 0.05 0.5", "Cl1 Cl 0.5 0.5 0.5 1"]
    crystal = read(cif(rows, **TETRAGONAL))
    config = EnumerationConfig(supercell=(2, 1, 2), seed=3)
    exact = enumerate_orderings(crystal, config)

    def beyond(*_):
        raise CountOutOfReachError("out of reach", fix="search")

    monkeypatch.setattr(orderings, "count_distinct", beyond)
    monkeypatch.setattr(orderings, "N_SEARCHES", 3)
    found = enumerate_orderings(crystal, config)
    assert (found.count, found.raw_count, found.method) == (None, None, "search")
    assert {m.mask for m in found.members} <= {m.mask for m in exact.members}
    assert "independent searches" in found.search_note

    def ewald_ev(listed, index):
        cell = to_pymatgen(listed.structure(index))
        cell.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
        return EwaldSummation(cell).total_energy

    lowest = min(ewald_ev(exact, k) for k in range(len(exact.members)))
    annealed = [k for k, m in enumerate(found.members) if m.stratum == "annealed"]
    assert min(ewald_ev(found, k) for k in annealed) == pytest.approx(lowest, abs=1e-3)


def test_count_is_bounded(monkeypatch):
    rows = ["Na1 Na 0 0 0.05 0.5", "Cl1 Cl 0.5 0.5 0.5 1"]
    crystal = read(cif(rows, **TETRAGONAL))
    monkeypatch.setattr(automatic, "_MOST_WORK", 1)
    monkeypatch.setattr(automatic, "N_SEARCHES", 2)
    choice = choose(crystal, ONE)
    assert choice.exact is None
    found = enumerate_orderings(crystal, choice.config)
    assert found.method == "search"
    assert len(found.members) > 0

"""Damaged CIFs: a small part of `scripts/cif_fuzz.py`, and each kind of fault that it found."""

from collections import Counter

import cif_fuzz
import pytest
from places import CIFS

from lycb_flows.crystals import load_parent, parse_cif
from lycb_flows.errors import InputError

SMALL = ("LGPS", "LLTO", "Li3InCl6", "Na3PS4")
N_OF_EACH = 14


@pytest.fixture(scope="module")
def crystals():
    found = [load_parent(str(CIFS / f"{name}.cif")) for name in SMALL]
    return [*found, load_parent("Li3YCl6")]


def read(text):
    return parse_cif("mine", text.encode(), "a test", 0.15)


def test_damaged_files_are_refused_or_read_as_another_program_does(crystals):
    causes = Counter()
    for crystal in crystals:
        for number in range(N_OF_EACH):
            text, kind, is_harmless = cif_fuzz.mutated(crystal, number, seed=0)
            row = cif_fuzz.verdict(text, crystal if is_harmless else None, whole=False)
            assert "WRONG" not in row["cause"], (crystal.name, kind, row)
            causes[row["cause"]] += 1
    assert causes["the same crystal"] == len(crystals) * N_OF_EACH // 2
    assert min(causes["refused"], causes["read as ASE does"]) > 5


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.rsplit("\n", 3)[0] + "\n;unterminated\n",
        lambda text: text.replace("_cell_length_a", "_cell_length_a nan"),
        lambda text: text.replace("loop_", "stray\nloop_"),
        lambda text: text.replace("loop_\n_atom", "_atom"),
        lambda text: text.replace("'P m -3 m'", "P m -3 m"),  # pymatgen reads P
    ],
    ids=["text field", "two values", "stray word", "no loop", "no quotes"],
)
def test_what_is_no_cif_is_refused_with_its_line(damage):
    """pymatgen reads on; a text field that does not end swallowed three sites of four."""
    with pytest.raises(InputError, match=r"unreadable CIF.*line \d+: |no CIF"):
        read(damage(plain("LLTO")))


@pytest.mark.parametrize("number", ["x", "nan", "inf", "0", "231", "221.5", "220"])
def test_a_number_of_no_space_group_is_refused(number):
    text = plain("LLTO").replace("_Int_Tables_number 221", f"_Int_Tables_number {number}")
    with pytest.raises(InputError, match=f"number of a CIF's space group.*number={number}"):
        read(text)


def test_a_number_of_no_space_group_is_refused_beside_operations_too():
    text = load_parent("Li3YCl6").cif.decode()
    assert "_symmetry_equiv_pos_as_xyz" in text
    with pytest.raises(InputError, match="number of a CIF's space group"):
        read(text.replace("_Int_Tables_number   164", "_Int_Tables_number   inf"))


@pytest.mark.parametrize("number", ["?", ".", "''"])
def test_a_number_of_a_space_group_may_be_unknown(number):
    text = plain("LLTO").replace("_Int_Tables_number 221", f"_Int_Tables_number {number}")
    assert same(text, "LLTO")


def test_what_stands_before_the_first_block_is_left_alone():
    before = "_journal_year 1999\nloop_\n_a\n1\n_publ_section_title\n;\ndata_ in Li\n;\n"
    assert same(before + plain("LLTO"), "LLTO")


def plain(name):
    return (CIFS / f"{name}.cif").read_text()


def same(text, name):
    sound = load_parent(str(CIFS / f"{name}.cif"))
    return cif_fuzz.facts_of(read(text)) == cif_fuzz.facts_of(sound)


@pytest.mark.parametrize("line", ["data_ in Li", "loop_", "_cell_length_a 3", "  data_x", "#"])
def test_text_fields_hold_any_line(line):
    head, rest = plain("Na3PS4").split("\n", 1)
    assert same(f"{head}\n_publ_section_title\n;\n{line}\n;\n{rest}", "Na3PS4")


@pytest.mark.parametrize("name", ["Li3InCl6", "LATP"])
def test_case_of_tags_and_words_does_not_matter(name):
    lines = plain(name).splitlines()
    loud = [line.upper() if line.startswith("_atom") or line == "loop_" else line for line in lines]
    loud = [line.replace("data_", "DATA_").replace("_cell_", "_CELL_") for line in loud]
    loud = [line.replace("_symmetry_Int_Tables", "_symmetry_int_tables") for line in loud]
    assert same("\n".join(loud), name)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("114", "115", "not that of its name"),
        ("114", "2219", "space group is none"),
        ("0 0 0 1", "0 . 0 1", "coordinate in a CIF is no number.*site=Na2"),
        ("_cell_length_a 6.956", "_cell_length_a 1e9", "encloses no crystal"),
        ("_cell_length_a 6.956", "_cell_length_a inf", "encloses no crystal.*found=inf"),
        ("_cell_length_a 6.956", "_cell_length_a -inf", "encloses no crystal"),
        ("_cell_length_a 6.956", "_cell_length_a nan", "encloses no crystal"),
        ("_cell_angle_beta 90", "_cell_angle_beta inf", "encloses no crystal"),
        ("0 0 0 1", "0 inf 0 1", "coordinate in a CIF is no number.*site=Na2"),
        ("0 0 0 1", "0 0 0 inf", "below zero or no number.*site=Na2"),
        ("0 0 0 1", "0 0 0 nan", "below zero or no number.*site=Na2"),
        ("_cell_length_a 6.956", "_cell_length_a 6.9\n_cell_length_a 6.956", "has two values"),
        ("data_Na3PS4", "data_x\n_cell_length_a 3\ndata_x", "two blocks"),
    ],
)
def test_contradictions_are_refused(old, new, what):
    text = plain("Na3PS4").replace(old, new, 1)
    with pytest.raises(InputError, match=what):
        read(text)


def test_sites_that_are_neither_one_nor_apart_are_refused_where_they_hold_more_than_one_ion():
    text = plain("LLZO_cubic")
    assert "Li1 Li 0.375 0 0.25 0.94" in text
    with pytest.raises(InputError, match=r"almost the same place.*sites=Li1, Li1, apart_ang=0.0"):
        read(text.replace("Li1 Li 0.375 0", "Li1 Li 0.3759 0"))
    halves = text.replace("Li1 Li 0.375 0 0.25 0.94", "Li1 Li 0.3759 0 0.25 0.47")
    assert read(halves).structure.composition["Li"] == pytest.approx(56.16)


@pytest.mark.parametrize("unstated", [".", "?"])
def test_an_occupancy_that_is_not_stated_is_one(unstated):
    assert same(plain("Na3PS4").replace("0 0 0 1", f"0 0 0 {unstated}"), "Na3PS4")


@pytest.mark.parametrize("left_out", ["-x, -y, -z", "-y, x-y, z"])
def test_operations_that_are_no_group_are_refused(left_out):
    lines = load_parent("Li3YCl6").cif.decode().splitlines()
    kept = [line for line in lines if f"'{left_out}'" not in line]
    assert len(kept) == len(lines) - 1
    with pytest.raises(InputError, match="operations of a CIF are no group"):
        read("\n".join(kept))

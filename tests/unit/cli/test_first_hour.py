"""What a stranger met in the first hours with a crystal of their own, and meets no more."""

import re

import pytest
from frozen import unpack_store
from messages import assert_one_line
from places import ROOT

from lycb_flows.cli import terminal
from lycb_flows.cli.dynamics import _length_text
from lycb_flows.cli.query import _cut
from lycb_flows.config import MDConfig
from lycb_flows.crystals import load_parent
from lycb_flows.errors import InputError
from lycb_flows.store import open_store

CIF = (ROOT / "workflows" / "cifs" / "Li6PS5Cl.cif").read_text()


def before(word):
    return CIF[: CIF.index(word)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("empty", "download")),
        (" \n\n", ("empty", "download")),
        ("Li 0 0 0\n", ("no CIF", "data_")),
        (before("_cell_length_c"), ("cell", "_cell_length_c", "cut off")),
        (re.sub(r"_cell_.*\n", "", CIF), ("cell", "_cell_length_a")),
        (before("loop_"), ("sites", "_atom_site_fract_x", "cut off")),
        (before("_atom_site_fract_y"), ("sites", "_atom_site_fract_y", "cut off")),
        (CIF.rstrip().rsplit(" ", 1)[0], ("unreadable CIF", "line", "cut off")),
    ],
)
def test_each_damage_of_a_cif_has_words_of_its_own(text, words, lycb, tmp_path):
    (tmp_path / "my.cif").write_text(text)
    assert_one_line(lycb("enumerate", tmp_path / "my.cif", "--count-only"), *words)
    with pytest.raises(InputError):
        load_parent(str(tmp_path / "my.cif"))


def test_a_run_tells_its_length_with_what_comes_before():
    protocol = MDConfig(time_step_fs=2.0, heating_ps=2.0, equilibration_ps=50.0).npt(600.0, 1.0)
    steps = protocol.heating_steps + protocol.equilibration_steps + 100
    text = _length_text(protocol, steps)
    assert text == "52.2 ps: 2 ps of heating, 50 ps to settle, 0.2 ps of production"


def test_a_plan_says_when_more_than_the_sample_is_relaxed(lycb, tmp_path):
    campaign = tmp_path / "sampled.yaml"
    campaign.write_text(
        "name: sampled\nsystems:\n  - name: LYB\n    parent: Li3YBr6\n"
        "    enumeration: {supercell: [2, 1, 1], cap: 100, n_samples: 12}\n"
        "ranking: {model: toy-soft}\n"
    )
    code, out, _ = lycb("plan", campaign)
    assert code == 0
    assert "at least 12 relaxations" in out


HEADS = (
    ["K", "ensemble", "frames", "meV/atom", "meV/Å", "GPa", "slope", "grade", "lost runs"],
    ["", "student", "teacher", "ratio", "errors from one"],
)
ROWS = (
    ["300", "NVT", "54", "12.34", "157.4", "0.022", "0.991", "1.10", "0"],
    ["D at 600 K (m²/s)", *["1.23e-09 ± 1.2e-10"] * 2, "1.0123 ± 0.2022", "12.2"],
)


@pytest.mark.parametrize(("head", "row"), list(zip(HEADS, ROWS, strict=True)))
def test_tables_of_students_break_no_word_at_80_columns(head, row, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    terminal.print_table("Student", head, [row])
    printed = capsys.readouterr().out
    assert all(len(line) <= 80 for line in printed.splitlines())
    shown = set(printed.split())
    assert {word for cell in (*head, *row) for word in cell.split()} <= shown


def test_imported_runs_are_counted_once_and_lead_on(lycb, tmp_path):
    first, second = unpack_store("tiny", tmp_path / "first"), tmp_path / "second"
    assert lycb("export", "runs", tmp_path / "runs", "--store", first)[0] == 0
    code, out, _ = lycb("import", "runs", tmp_path / "runs", "--store", second)
    assert (code, "32 run" in out, "imported, 0 already there" in out) == (0, True, True)
    assert "lycb report FILE" in out
    with open_store(second) as store:
        n_new = len(list(store.keys()))
    again = lycb("import", "runs", tmp_path / "runs", "--store", second)[1]
    assert again.startswith(f"nothing imported, {n_new} already there")


@pytest.mark.parametrize("command", ["results", "status"])
def test_a_store_without_a_campaign_says_how_one_gets_there(command, lycb, tmp_path):
    open_store(tmp_path).close()
    code, _, err = lycb(command, "--store", tmp_path)
    assert (code, err.count("\n"), "no campaign is in this store" in err) == (0, 1, True)
    assert_one_line(lycb(command, "nosuch", "--store", tmp_path), "cannot read the campaign")


def test_results_are_asked_for_by_name_or_by_file(lycb, tmp_path):
    address = unpack_store("tiny", tmp_path)
    by_name = lycb("results", "tiny", "--store", address)
    assert by_name[0] == 0
    assert "LYC" in by_name[1]
    assert lycb("results", ROOT / "workflows" / "tiny.yaml", "--store", address)[1] == by_name[1]


def test_a_table_of_any_kind_can_be_read(lycb, tmp_path):
    address = unpack_store("quickstart", tmp_path)
    with open_store(address) as store:
        kinds = store.kinds()
    for kind in kinds:
        code, out, _ = lycb("query", kind, "--store", address)
        assert (code, out.splitlines()[-1] in {"0 rows", "1 row"} or "rows" in out) == (0, True)
        assert max(map(len, out.splitlines())) < 200
        facts = lycb("query", kind, "--json", "--store", address)[1].splitlines()
        assert f"{len(facts)} row" in out


def test_a_text_that_is_cut_says_so():
    assert _cut("li3ybr6_pbe.extxyz") == "li3ybr6_pbe.extxyz"
    assert _cut("word " * 8) == "word " * 8
    assert _cut("word " * 9) == "word " * 7 + "word…"


@pytest.mark.parametrize("command", [("query", "run"), ("results",)])
def test_two_formats_at_once_are_refused(command, lycb, tmp_path):
    open_store(tmp_path).close()
    for how in ("csv", "table"):
        asked = (*command, "--json", "--format", how, "--store", tmp_path)
        assert_one_line(lycb(*asked), "--json contradicts", how)
    assert lycb(*command, "--json", "--format", "json", "--store", tmp_path)[0] == 0
    assert "per row" in lycb(command[0], "--help")[1]

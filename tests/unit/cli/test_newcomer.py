"""What a newcomer tried who wrote campaigns and options wrongly: one line tells each mistake."""

import ase.io
import pytest
import typer
import yaml
from ase.build import bulk
from messages import assert_one_line
from places import CAMPAIGNS, ROOT

from lycb_flows.cli.app import app
from lycb_flows.config import parse_yaml
from lycb_flows.crystals import load_parent
from lycb_flows.errors import InputError
from lycb_flows.labels.foreign.stated_level import _named_theory
from lycb_flows.potentials.models import find_model
from lycb_flows.service.launchpad import load_launchpad
from lycb_flows.store import open_store

TINY = (CAMPAIGNS / "tiny.yaml").read_text()


def edited(tmp_path, section, **fields):
    """Write a small campaign with other fields in a section, named as `learning.test`."""
    content = yaml.safe_load(TINY)
    place = content
    for name in filter(None, section.split(".")):
        place = place.setdefault(name, {})
    place.update(fields)
    path = tmp_path / "edited.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


# -- campaigns -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ("md", "heating_ps"),
        ("md", "equilibration_ps"),
        ("md", "segment_ps"),
        ("md", "sample_interval_fs"),
        ("learning", "npt_ps"),
        ("learning", "nvt_ps"),
        ("learning.selection", "thinning_fs"),
        ("learning.test", "run_ps"),
        ("measure", "npt_ps"),
        ("measure", "nvt_ps"),
        ("measure", "sample_interval_fs"),
        ("measure.student", "run_ps"),
    ],
)
def test_a_length_below_one_time_step_is_refused_with_both_fields(section, field, lycb, tmp_path):
    path = edited(tmp_path, section, **{field: 0.0019 if field.endswith("ps") else 1.9})
    assert_one_line(lycb("plan", path), field, "1.9", "md.time_step_fs = 2")


def test_a_time_step_longer_than_a_run_is_refused(lycb, tmp_path):
    assert_one_line(lycb("plan", edited(tmp_path, "md", time_step_fs=200.0)), "time_step_fs = 200")


@pytest.mark.parametrize(
    "rule",
    [
        {"charges": {"Qq": 2.0}},
        {"forbidden_pairs": [{"species": ["Li", "Na"], "min_distance_ang": 2.0}]},
    ],
)
def test_rules_of_elements_that_the_crystal_lacks_are_refused(rule, lycb, tmp_path):
    systems = [{"name": "LYC", "parent": "Li3YCl6", "enumeration": rule}]
    assert_one_line(lycb("plan", edited(tmp_path, "", systems=systems)), "Li3YCl6", "Cl, Li, Y")


MISTAKES = (
    ("measure", {"nvt_ps": 0.4, "diffusion": {"discard_ps": 5.0}}, ("nvt_ps = 0.4", "_ps = 5")),
    ("learning.selection", {"n_frames": 400}, ("nvt_ps = 0.1", "_fs = 8", "n_frames = 400")),
    ("md", {"sample_interval_fs": 90.0}, ("npt_ps = 0.06", "sample_interval_fs = 90")),
    ("learning", {"max_temperature_k": 100.0}, ("= 100", "start_temperature_k = 200")),
    ("", {"systems": 2 * [{"name": "A", "parent": "Li3YCl6"}]}, ("must differ", "['A', 'A']")),
    ("measure", {"temperatures_k": 600}, ("measure.temperatures_k", "a list, such as [600]")),
    ("measure", {"temperatures_k": {"low": 600}}, ("measure.temperatures_k", "a list")),
    ("measure", {"quantities": {"benchmark": {"models": 3}}}, ("benchmark.models", "such as [3]")),
    ("", {"name": "a campaign"}, ("letters", "digits", "begins", "a campaign")),
    ("", {"systems": [{"name": "é", "parent": "Li3YCl6"}]}, ("letters", "systems.0.name")),
    ("learning", {"model": {"calculator": "LJ"}}, ("a module and a name", "LJ")),
    ("labels.labeler", {"model": "chgnet-r2scam"}, ("neither", "mean chgnet-r2scan?")),
)


@pytest.mark.parametrize(("section", "fields", "words"), MISTAKES)
def test_a_mistake_is_told_by_what_was_found_and_in_words(section, fields, words, lycb, tmp_path):
    result = lycb("plan", edited(tmp_path, section, **fields))
    assert_one_line(result, *words)
    for noise in ("{'", "Value error", "tuple", "pattern", "^", "found=/"):
        assert noise not in result[2]


HUGE = {"supercell": [40, 40, 40]}
LARGE_MATRIX = {
    "matrix": [[40, 0, 0], [0, 40, 0], [0, 0, 40]],
    "cell": "primitive",
    "supercell": [1, 1, 1],
}


@pytest.mark.parametrize(
    ("enumeration", "measure", "words"),
    [
        (HUGE, {}, ("1,280,000 atoms", "to be enumerated", "10,000 atoms at most")),
        (LARGE_MATRIX, {}, ("640,000 atoms", "to be enumerated")),
        ({}, {"repeat": [20, 20, 20]}, ("320,000 atoms", "molecular dynamics", "100,000 atoms")),
    ],
)
def test_a_huge_cell_is_refused_at_once(enumeration, measure, words, lycb, tmp_path):
    systems = [{"name": "LYB", "parent": "Li3YBr6", "enumeration": enumeration}]
    path = edited(tmp_path, "measure", **measure)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"systems": systems}))
    assert_one_line(lycb("plan", path), *words)


def test_commands_refuse_huge_cells_too(lycb, tmp_path):
    assert_one_line(lycb("enumerate", "Li3YBr6", "--supercell", 40, 40, 40), "1,280,000 atoms")
    assert_one_line(lycb("enumerate", "Li3YBr6", "--auto", "--max-atoms", 10**7), "10,000")
    ase.io.write(tmp_path / "salt.cif", bulk("LiCl", "rocksalt", a=5.1, cubic=True))
    x = ("--substitute", "Cl=Br:0.5", "--supercell", 40, 40, 40)
    assert_one_line(lycb("enumerate", tmp_path / "salt.cif", *x), "512,000 atoms")
    md = ("md", tmp_path / "salt.cif", "--out", tmp_path / "run", "--model", "toy-soft")
    assert_one_line(lycb(*md, "--repeat", 40, 40, 40), "512,000 atoms", "molecular dynamics")


# -- options ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--auto", "--supercell", 2, 2, 2), "--supercell"),
        (("--max-atoms", 3), "--max-atoms"),
        (("--charge", "Li=2"), "--charge"),
        (("--auto", "--charge", "Qq=2"), "Qq"),
        (("--forbid", "Li-Na:2"), "Na"),
        (("--forbid", "Li-Li:2", "--charge", "Li=1"), "--charge"),
        (("--x", 1, "--keep", "Li"), "--keep"),
        (("--x", 1, "--min-occupancy", 0.0), "--min-occupancy"),
        (("--x", 1, "--engine", "builtin"), "--engine"),
    ],
)
def test_enumerate_refuses_options_without_effect(options, word, lycb):
    assert_one_line(lycb("enumerate", "Li3YBr6", *options), word)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("enumerate", "Li3YBr6", "--forbid", "Li-Li:-2"), ("option=--forbid,", "found=-2.0")),
        (("enumerate", "Li3YBr6", "--symprec", -1), ("option=--symprec,", "found=-1.0")),
        (("enumerate", "Li3YBr6", "--formula", "Li3YBr7"), ("formula belongs to substitute",)),
        (("enumerate", "Li3YBr6", "--substitute", "Cl=Br:-1"), ("option=--substitute,",)),
        (("enumerate", "Li3YBr6", "--min-occupancy", 2), ("option=--min-occupancy,",)),
        (("tune", __file__, "--model", "a", "--batch-size", 0), ("option=--batch-size,",)),
        (("qadapter", "--queue", "a b"), ("letters", "a b")),
    ],
)
def test_a_wrong_option_is_named_as_it_is_given(command, words, lycb):
    result = lycb(*command)
    assert_one_line(result, *words)
    for noise in ("{'", "Value error", "pattern", "option=--options"):
        assert noise not in result[2]
    if "option=" in result[2]:
        option = result[2].partition("option=")[2].partition(",")[0]
        assert f" {option} " in lycb(command[0], "--help")[1]


def test_a_wrong_field_of_a_settings_file_is_named_there(lycb, tmp_path):
    (tmp_path / "s.yaml").write_text("batch_size: 0\n")
    (tmp_path / "a.xyz").write_text("")
    command = ("train", tmp_path / "a.xyz", "--out", tmp_path / "m.safetensors")
    result = lycb(*command, "--model", "a", "--settings", tmp_path / "s.yaml")
    assert_one_line(result, "file=s.yaml", "at=batch_size", "found=0")
    assert "--batch-size" not in result[2]


def test_init_refuses_options_without_effect(lycb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_one_line(lycb("init", "tiny", "--max-atoms", 3), "--max-atoms")
    assert_one_line(lycb("init", "tiny", "--charge", "Li=3"), "--charge")
    assert_one_line(lycb("init", "--list", "--output", "a.yaml"), "--output")
    assert_one_line(lycb("init", "Li3YBr6", "--charge", "Qq=2"), "Qq", "Br, Li, Y")
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_cannot_be_kept_is_told(lycb, tmp_path):
    assert "--max-atoms 3" in lycb("enumerate", "Li3YBr6", "--auto", "--max-atoms", 3)[1]
    (tmp_path / "my.cif").write_bytes(load_parent("Li3YBr6").cif)
    assert "--max-atoms 3" in lycb("init", tmp_path / "my.cif", "--max-atoms", 3)[1]
    assert "# no cell has --max-atoms 3" in (tmp_path / "my.yaml").read_text()
    assert "--max-atoms" not in lycb("enumerate", "Li3YBr6", "--auto", "--max-atoms", 10)[1]


# -- files -----------------------------------------------------------------------------------


def test_a_key_that_stands_twice_is_refused_in_every_file(lycb, tmp_path, monkeypatch):
    twice = tmp_path / "twice.yaml"
    twice.write_text(TINY + "  nvt_ps: 0.2\n")
    lines = [n for n, line in enumerate(twice.read_text().splitlines(), 1) if "nvt_ps" in line]
    where = f"'nvt_ps' stands in lines {lines[-2]} and {lines[-1]}"
    assert_one_line(lycb("plan", twice), where)
    twice.write_text("time_step_fs: 1.0\n# longer\ntime_step_fs: 2.0\n")
    where = "'time_step_fs' stands in lines 1 and 3"
    md = ("md", tmp_path / "a.cif", "--out", tmp_path / "run", "--protocol", twice)
    assert_one_line(lycb(*md), where)
    with pytest.raises(InputError, match=where):
        _named_theory(str(twice))
    with pytest.raises(InputError, match=where):
        find_model(str(twice))
    with pytest.raises(InputError, match=where):
        load_launchpad(twice)
    monkeypatch.setenv("LYCB_SETTINGS_FILE", str(twice))
    assert_one_line(lycb("query", "run"), where)


@pytest.mark.parametrize("text", ["store_password: [swordfish", "- swordfish", "{a: 1, a: 2}"])
def test_unusable_settings_are_told_without_their_values(text, lycb, tmp_path, monkeypatch):
    (tmp_path / "settings.yaml").write_text(text)
    monkeypatch.setenv("LYCB_SETTINGS_FILE", str(tmp_path / "settings.yaml"))
    result = lycb("query", "run")
    assert_one_line(result, "settings.yaml")
    assert "swordfish" not in result[2]


def test_keys_may_be_the_same_in_different_mappings_and_after_a_merge():
    text = "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  x: 3\n"
    assert parse_yaml(text) == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}


def test_init_gives_a_reason_for_every_choice_and_what_it_drops(lycb, tmp_path):
    page = (ROOT / "docs" / "tutorials" / "own_crystal.md").read_text()
    (tmp_path / "my.cif").write_text(page.partition("END'\n")[2].partition("END")[0])
    code, out, _ = lycb("init", tmp_path / "my.cif")
    assert code == 0
    assert "In 0.05 on Li1" in out
    lines = (tmp_path / "my.yaml").read_text().splitlines()
    for name in ("supercell", "min_occupancy", "forbidden_pairs", "composition", "cap"):
        at = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{name}:"))
        before = lines[at - 1 - (name == "supercell")]  # under the line `enumeration:`
        assert before.strip().startswith("# ")
    assert any(line.startswith("mobile_species: Li   # ") for line in lines)
    assert sum("In 0.05 on Li1" in line for line in lines) == 1


def test_init_of_a_built_in_crystal_can_be_planned(lycb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert lycb("init", "Li3YBr6")[0] == 0
    assert lycb("plan", "Li3YBr6.yaml")[0] == 0


# -- texts -----------------------------------------------------------------------------------


def every_command(group, words=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from every_command(command, (*words, name))
        else:
            yield (*words, name), command


def test_help_breaks_no_line_that_the_terminal_does_not():
    for words, command in every_command(typer.main.get_command(app)):
        broken = [text for text in command.help.split("\n\n") if "\n" in text]
        assert not broken, (words, broken)


def test_campaigns_are_listed_in_whole_sentences_of_80_columns(lycb):
    *lines, _ = lycb("init", "--list")[1].splitlines()
    assert max(map(len, lines)) <= 80
    names = {path.stem for path in (ROOT / "workflows").glob("*.yaml")}
    starts = [i for i, line in enumerate(lines) if not line.startswith(" ")]
    assert {lines[i].split()[0] for i in starts} == names
    assert all(lines[i - 1].endswith(".") for i in [*starts[1:], len(lines)])


def test_init_of_nothing_offers_crystals_and_campaigns(lycb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_one_line(lycb("init", "nonsense"), "nonsense", "CIF", "Li3YBr6", "quickstart")
    assert_one_line(lycb("init", "quikstart"), "mean quickstart?")


def test_what_no_job_made_is_shown_as_such_and_without_attempts(lycb, tmp_path):
    source = find_model("toy-soft")
    with open_store(tmp_path / "store") as store:
        store.blobs.put(source.weights, source.model.weights.media_type)
        store.insert(source.model)
    shown = ("show", source.model.key, "--store", tmp_path / "store")
    code, out, err = lycb(*shown, "--logs", tmp_path / "logs")
    assert code == 0
    assert "no job made it" in out
    assert "made by" not in out
    assert "Attempts" not in out
    assert "no logs are kept" in err
    assert not (tmp_path / "logs").exists()


def test_a_single_thing_is_no_plural(lycb, tmp_path, monkeypatch):
    monkeypatch.setenv("LYCB_PROCESSES", "1")
    monkeypatch.setenv("LYCB_THREADS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("COLUMNS", "200")
    doctor = lycb("doctor", "--store", tmp_path / "store")[1]
    assert "1 process of 1 thread on " in doctor
    assert " 0.0 MB" not in doctor
    with open_store(tmp_path / "other") as store:
        store.insert(find_model("toy-soft").model)
    out = lycb("verify", "--store", tmp_path / "other")[1]
    assert "1 document, " in out

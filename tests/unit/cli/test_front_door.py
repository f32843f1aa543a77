"""What a stranger meets first: version, help, Ctrl-C, and campaigns to begin with."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from messages import assert_one_line
from places import CAMPAIGNS, ROOT

import lycb_flows
from lycb_flows.campaign import submission
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.cli import app as cli, query
from lycb_flows.store import open_store, user_name


def test_the_version_is_printed(lycb):
    code, out, _ = lycb("--version")
    assert code == 0
    assert out == f"lycb_flows {lycb_flows.__version__}\n"


@pytest.mark.parametrize("words", [("-h",), ("query", "-h"), ("export", "-h")])
def test_help_has_a_short_name(lycb, words):
    code, out, _ = lycb(*words)
    assert code == 0
    assert "Usage:" in out


def test_every_command_is_in_a_group():
    commands = typer.main.get_command(cli.app).commands
    assert {name for name, each in commands.items() if not each.rich_help_panel} == set()


def test_help_keeps_what_stands_in_brackets(lycb):
    out = lycb("md", "--help")[1]
    assert "[default: 600.0]" in out
    assert "[required]" in out


def test_ctrl_c_ends_with_one_line(lycb, monkeypatch):
    def interrupt(_address):
        raise KeyboardInterrupt

    monkeypatch.setattr(query, "open_results", interrupt)
    code, out, err = lycb("query", "run")
    assert (code, out) == (130, "")
    assert (
        err.strip() == "lycb: interrupted; finished steps are kept, run the same command to go on"
    )


def test_campaigns_that_come_along_are_listed_and_copied(lycb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listed = lycb("init", "--list")[1]
    assert all(path.stem in listed for path in (ROOT / "workflows").glob("*.yaml"))
    code, out, _ = lycb("init", "quickstart")
    assert code == 0
    assert "lycb plan quickstart.yaml" in out
    assert read_campaign(tmp_path / "quickstart.yaml").name == "quickstart"
    assert_one_line(lycb("init", "quickstart"), "exists")
    assert_one_line(lycb("init", "no-such.cif"), "no-such.cif")


@pytest.mark.parametrize("name", ["argyrodite", "sodium"])
def test_a_copy_brings_its_crystal_and_can_be_planned(name, lycb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert lycb("init", name)[0] == 0
    (parent,) = [system.parent for system in read_campaign(tmp_path / f"{name}.yaml").systems]
    assert parent.startswith(str(tmp_path / "cifs"))
    code, out, _ = lycb("plan", f"{name}.yaml", "--store", tmp_path / "absent")
    assert code == 0
    assert "a student" in out
    (tmp_path / f"{name}.yaml").unlink()
    assert lycb("init", name)[0] == 0  # the same CIF may lie there
    (tmp_path / f"{name}.yaml").unlink()
    (tmp_path / "cifs" / parent.rpartition("/")[2]).write_text("data_mine")
    assert_one_line(lycb("init", name), "another file")


def test_a_wheel_and_the_image_have_them():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"]["force-include"] == {"workflows": "lycb_flows/workflows"}
    assert "COPY workflows ./workflows" in (ROOT / "docker" / "Dockerfile").read_text()


PEROVSKITE = """data_x
_cell_length_a 3.9
_cell_length_b 3.9
_cell_length_c 3.9
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
La1 La 0 0 0 SHARE
Ti1 Ti 0.5 0.5 0.5 1
O1 O 0.5 0.5 0 1
"""


def test_a_campaign_for_a_crystal_that_is_not_neutral(lycb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.cif").write_text(PEROVSKITE.replace("SHARE", "0.565"))
    assert lycb("init", "my.cif")[0] == 0
    assert "1 relaxation of 14 atoms" in " ".join(lycb("plan", "my.yaml")[1].split())
    (tmp_path / "bad.cif").write_text(PEROVSKITE.replace("SHARE", "0.2"))
    assert_one_line(lycb("init", "bad.cif"), "no neutral composition", "--charge none")
    assert not (tmp_path / "bad.yaml").exists()
    assert lycb("init", "bad.cif", "--charge", "none")[0] == 0
    assert "charges: {}" in (tmp_path / "bad.yaml").read_text()
    assert lycb("plan", "bad.yaml")[0] == 0


def test_a_plan_makes_no_store(lycb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = lycb("plan", CAMPAIGNS / "loop.yaml", "--store", tmp_path / "absent")
    assert code == 0
    assert "label r00 200 K" in out
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_campaign_is_told_how_to_become_one(lycb, tmp_path):
    for name, text, words in (
        ("my.cif", "data_my", ("a crystal", "lycb init my.cif")),
        ("list.yaml", "[1, 2]", ("no campaign", "lycb init")),
        ("empty.yaml", "", ("no campaign", "lycb init")),
    ):
        (tmp_path / name).write_text(text)
        assert_one_line(lycb("rank", tmp_path / name), *words)


def test_a_shell_completes_commands():
    asked = {"_LYCB_COMPLETE": "complete_bash", "COMP_WORDS": "lycb sta", "COMP_CWORD": "1"}
    lycb = Path(sys.executable).with_name("lycb")
    done = subprocess.run(
        [lycb], env=os.environ | asked, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["status"]


def test_status_may_show_only_ones_own_campaigns(lycb, loop_campaign, tmp_path, monkeypatch):
    at = ("--store", tmp_path / "store")
    with open_store(tmp_path / "store") as store:
        submit(store, loop_campaign)
        monkeypatch.setattr(submission, "user_name", lambda: "ana")
        submit(store, loop_campaign.model_copy(update={"name": "hers"}))
    listed = [json.loads(line) for line in lycb("status", "--json", *at)[1].splitlines()]
    assert {one["campaign"]: one["owner"] for one in listed} == {
        "hers": "ana",
        "loop": user_name(),
    }
    [mine] = [json.loads(line) for line in lycb("status", "--mine", "--json", *at)[1].splitlines()]
    assert mine["campaign"] == "loop"

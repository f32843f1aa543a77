"""What a stranger meets first: version, help, Ctrl-C, and campaigns to begin with."""

import tomllib

import pytest
import typer
from messages import assert_one_line
from places import ROOT

import lycb_flows
from lycb_flows.campaign.submission import read_campaign
from lycb_flows.cli import app as cli, query


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


def test_a_wheel_and_the_image_have_them():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"]["force-include"] == {"workflows": "lycb_flows/workflows"}
    assert "COPY workflows ./workflows" in (ROOT / "docker" / "Dockerfile").read_text()

"""The tutorials run as printed, from top to bottom: `bash` and `python` blocks, in order.

Blocks marked `sh` need a cluster; `test_docs_blocks.py` parses them.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

TUTORIALS = ROOT / "docs" / "tutorials"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LONGEST_S = 900
pytestmark = [
    pytest.mark.torture,  # a minute each
    pytest.mark.timeout(2 * LONGEST_S),
    pytest.mark.filterwarnings("ignore"),  # of other packages: a reader sees them, too
]


def run_tutorial(name, folder, monkeypatch):
    """Run the blocks of a page in a folder; returns what its commands printed."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("LYCB_STORE", raising=False)
    return run_blocks(name, {})


def run_blocks(name, settings):
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    printed, namespace = [], {}
    for language, text in BLOCK.findall((TUTORIALS / f"{name}.md").read_text()):
        if language == "python":
            exec(compile(text, f"{name}.md", "exec"), namespace)  # noqa: S102 - our own page
        if language != "bash":
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],  # noqa: S607 - as a reader's
            env=os.environ | settings | {"PATH": programs, "COLUMNS": "200"},
            check=False, timeout=LONGEST_S, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        printed.append(done.stdout + done.stderr)
    return "\n".join(printed)


def test_every_tutorial_is_run_here():
    """A page without a test is not run."""
    tested = set(re.findall(r'run_(?:tutorial|blocks)\("(\w+)"', Path(__file__).read_text()))
    assert tested == {page.stem for page in TUTORIALS.glob("*.md")}


def test_a_first_campaign_and_its_model_elsewhere(tmp_path, monkeypatch, capsys):
    printed = run_tutorial("first_campaign", tmp_path, monkeypatch)
    assert (tmp_path / "lycb_store" / "reports" / "tiny" / "report.html").is_file()
    assert "fine-tuned" in printed or "round 0" in printed
    assert "6 labels" in capsys.readouterr().out
    run_tutorial("own_model", tmp_path, monkeypatch)
    assert (tmp_path / "mine.json").is_file()
    assert "frames by LAMMPS" in capsys.readouterr().out


def test_a_crystal_of_ones_own(tmp_path, monkeypatch):
    printed = run_tutorial("own_crystal", tmp_path, monkeypatch)
    assert (tmp_path / "lycb_store" / "reports" / "my" / "report.html").is_file()
    assert "ntp_ps" in printed  # the one line of a mistake


def test_a_trajectory_of_ones_own(tmp_path, monkeypatch, capsys):
    run_tutorial("own_trajectory", tmp_path, monkeypatch)
    assert capsys.readouterr().out.startswith("diffusive")


def test_vasp_on_a_cluster(tmp_path, monkeypatch, mongo_uri, launchpad_file):
    monkeypatch.chdir(tmp_path)
    if launchpad_file.parent != tmp_path:
        shutil.copy(launchpad_file, tmp_path / "launchpad.yaml")
    printed = run_blocks("vasp_cluster", {"LYCB_STORE": mongo_uri})
    assert "srun" not in printed
    assert "report.html" in printed

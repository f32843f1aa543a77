"""Files of the repository that GitHub, pre-commit and citing programs read are valid and agree."""

import re
import subprocess
import sys

import pytest
import yaml
from places import ROOT

import lycb_flows

GITHUB = ROOT / ".github"
SCHEMAS = {
    "vendor.github-workflows": sorted((GITHUB / "workflows").glob("*.yaml")),
    "vendor.github-issue-forms": sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yaml")),
    "vendor.citation-file-format": [ROOT / "CITATION.cff"],
}
MOST_ROOT_ENTRIES = 26


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_fit_their_schemas(schema):
    assert SCHEMAS[schema]
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    done = subprocess.run([*words, *SCHEMAS[schema]], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == lycb_flows.__version__
    assert citation["license"] == "MIT"


def test_pre_commit_runs_what_make_lint_runs():
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {hook["entry"].removeprefix(".venv/bin/") for hook in repo["hooks"]}
    (lint,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = re.findall(r"\$\(BIN\)/(\S+(?: (?:format|check)\b)?)", lint)
    assert hooks == set(made)


def test_workflows_run_targets_that_exist():
    text = "".join(file.read_text() for file in SCHEMAS["vendor.github-workflows"])
    targets = set(re.findall(r"run: make ([a-z]+)$", text, re.MULTILINE))
    assert targets == {"lint", "docs", "test"}
    assert "tests/unit/test_wheel.py" in text


def test_a_release_takes_its_section_of_the_changelog(tmp_path):
    workflow = yaml.safe_load((GITHUB / "workflows" / "release.yaml").read_text())
    (step,) = [
        step for step in workflow["jobs"]["release"]["steps"] if "awk" in step.get("run", "")
    ]
    (tmp_path / "lycb_flows").mkdir()
    (tmp_path / "lycb_flows" / "__init__.py").write_text('__version__ = "0.2.0"\n')
    changes = "# Changelog\n\n## 0.2.0\n\n- new\n\n## 0.1.0\n\n- old\n"
    (tmp_path / "CHANGELOG.md").write_text(changes)

    def release(tag):
        words = ["bash", "-e", "-c", step["run"]]
        done = subprocess.run(
            words, check=False, cwd=tmp_path, env={"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"}
        )
        return done.returncode

    assert release("v0.2.0") == 0
    assert (tmp_path / "notes.md").read_text().strip() == "- new"
    assert release("v0.3.0") != 0  # not the package's version
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n")
    assert release("v0.2.0") != 0  # says nothing of it


def test_the_root_stays_small():
    words = ["git", "-C", str(ROOT), "ls-tree", "--name-only", "HEAD"]
    listed = subprocess.run(words, check=False, capture_output=True, text=True)
    if listed.returncode == 0:  # a copy without .git has none
        assert len(listed.stdout.split()) <= MOST_ROOT_ENTRIES

"""A distribution of its own adds a potential, a labeler and a quantity by entry points."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from messages import assert_one_line
from places import CAMPAIGNS, TESTS

from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import find_submission
from lycb_flows.labels.engine import is_dft
from lycb_flows.schemas import Label, Model
from lycb_flows.store import differences, open_store

pytestmark = pytest.mark.usefixtures("blank_figures")

PLUGIN = TESTS / "plugin"
CAMPAIGN = CAMPAIGNS / "plugin.yaml"
PLACES = ("reach LYC 1 bar 400 K", "reach LYC 1 bar 600 K")
REACHED = [place.removeprefix("reach ") for place in PLACES]
ALL = [word for name in ("light", "gpu", "dft") for word in ("--category", name)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder that pip has installed the distribution into."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(PLUGIN, folder / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--target", str(folder / "site"), str(source)]
    subprocess.run(command, check=True, timeout=120)
    return folder / "site"


@pytest.fixture
def installed(site, monkeypatch):
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return site


def test_without_the_distribution_a_campaign_is_refused_in_one_line(lycb, tmp_path):
    assert_one_line(lycb("plan", CAMPAIGN, "--store", tmp_path / "store"), "lennard-jones")


@pytest.fixture
def embedded(installed, lycb, tmp_path):  # noqa: ARG001 - it must be installed
    """The campaign's report, its store and its submission, run in this process."""
    folder = tmp_path / "store"
    code, out, err = lycb("run", CAMPAIGN, "--store", folder, "--report", tmp_path / "report")
    assert code == 0, err
    store = open_store(folder)
    yield Path(out.strip()).read_text(encoding="utf-8"), store, find_submission(store, "plugin")
    store.close()


@pytest.mark.usefixtures("installed")
def test_a_campaign_with_all_three_is_planned(lycb, tmp_path):
    code, out, err = lycb("plan", CAMPAIGN, "--store", tmp_path / "store", "--json")
    assert code == 0, err
    jobs = {job for step in json.loads(out) for job in step["jobs"]}
    assert {"rank LYC", "label test 0000", *PLACES} <= jobs


def test_it_is_run_and_reported(embedded, lycb):
    page, store, submission = embedded
    assert "farthest ion (Å)" in page
    assert "A rehearsal without DFT" in page
    found = find_results(store, submission.campaign, submission.theory)
    assert [document.temperature_k for document in found.measured["reach"]] == [400.0, 600.0]
    assert all(0 < document.reach_ang < 30 for document in found.measured["reach"])
    assert store.load(Model, submission.campaign.ranking.model).architecture == "lennard-jones"
    assert {label.theory for label in store.find_all(Label)} == {submission.theory.fingerprint}
    assert submission.theory.code == "lennard-jones"
    assert not is_dft(submission.theory.code)
    for document in (*store.find_all(Label), *found.measured["reach"]):
        assert document.made.versions["lycb-example"] == "1.0"
    assert status_of(lycb, "--store", store.address) == REACHED


def test_a_worker_on_a_launchpad_comes_to_the_same_facts(
    embedded, lycb, tmp_path, monkeypatch, mongo_uri, launchpad_file
):
    monkeypatch.setenv("LYCB_STORE", mongo_uri)
    monkeypatch.setenv("LYCB_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("LYCB_MIN_FREE_GB", "0.01")
    pad = ("--launchpad", launchpad_file)
    code, _, err = lycb("submit", CAMPAIGN, *pad)
    assert code == 0, err
    command = [Path(sys.executable).parent / "lycb", "worker", "--nlaunches", "0", *ALL, *pad]
    worker = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert worker.returncode == 0, worker.stdout + worker.stderr
    assert status_of(lycb, *pad) == REACHED
    results = open_store(mongo_uri)
    assert not any(differences(embedded[1], results).values())
    results.close()


def status_of(lycb, *where):
    code, out, err = lycb("status", "plugin", *where, "--json")
    assert code == 0, err
    return json.loads(out)["reach"]

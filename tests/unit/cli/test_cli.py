"""The command line: what it prints, and one line for every mistake."""

import contextlib
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import ase.io
import pytest
import yaml
from messages import assert_one_line
from places import CAMPAIGNS, ROOT

from lycb_flows.crystals import structures
from lycb_flows.errors import PhysicsError
from lycb_flows.machine import progress
from lycb_flows.potentials.models import find_model
from lycb_flows.report.paper_figures import paper_entries
from lycb_flows.schemas import CampaignRecord, Label, Model, Ranking
from lycb_flows.store import open_store

pytestmark = pytest.mark.usefixtures("blank_figures")

LOOP = CAMPAIGNS / "loop.yaml"


@pytest.fixture
def finished(lycb, loop_run, monkeypatch):
    """The store of a finished campaign, which commands then use by default."""
    del lycb  # whose default comes first
    store, _, _ = loop_run
    monkeypatch.setenv("LYCB_STORE", str(store.folder))
    return store


# -- enumerate -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parent", "supercell", "count", "raw"),
    [
        ("Li3YCl6", (1, 1, 2), 5794, 134596),
        ("Li3YBr6", (1, 1, 2), 160, 1820),
        ("Li3YCl6", (1, 1, 1), 24, 220),
        ("Li3YBr6", (1, 1, 1), 10, 28),
    ],
)
def test_enumerate_counts_on_one_line(lycb, parent, supercell, count, raw):
    options = ("--supercell", *supercell, "--count-only", "--json")
    code, out, _ = lycb("enumerate", parent, *options)
    assert code == 0
    assert out.startswith(f'{{"count": {count}, "raw": {raw}')
    assert out.count("\n") == 1


def test_enumerate_lists_and_says_what_was_dropped(lycb):
    code, out, _ = lycb("enumerate", "Li3YBr6", "--supercell", 1, 1, 1, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["count"], found["listed"], found["coverage"]) == (10, 10, 1.0)
    assert found["dropped"]
    code, out, _ = lycb("enumerate", "Li3YBr6", "--supercell", 1, 1, 1)
    assert code == 0
    assert "distinct" in out or "count" in out


def test_enumerate_decorates_an_ordered_cell(lycb, finished, tmp_path):
    ranking = next(iter(finished.find_all(Ranking)))
    code, out, _ = lycb("export", "structures", ranking.key[:10], "--folder", tmp_path)
    assert code == 0
    cif = Path(out.strip())
    assert cif.is_file()
    options = ("--supercell", 1, 1, 1, "--x", 3, "--json")
    code, out, _ = lycb("enumerate", cif, *options)
    found = json.loads(out)
    assert code == 0
    assert found["raw"] == 924  # 6 of 12 halide sites
    assert found["count"] == found["listed"] < 924
    assert_one_line(lycb("enumerate", "Li3YBr6", "--x", 3), "ordered")
    assert_one_line(lycb("enumerate", cif, "--supercell", 1, 1, 1, "--x", 0.3), "x")
    assert_one_line(lycb("enumerate", cif, "--x", 7), "--x")


def test_a_cell_that_cannot_be_made_commensurate_is_one_line(lycb, tmp_path):
    text = Path(cli_file("Li3YCl6_P-3m1_refined.cif")).read_text()
    odd = tmp_path / "odd.cif"
    odd.write_text(text.replace("0.87538", "0.77"))
    assert_one_line(lycb("enumerate", odd, "--supercell", 1, 1, 1), "lycb: ")


def cli_file(name):
    return Path(structures.__file__).parent / name


@pytest.mark.parametrize(
    "content", [b"", b"not a CIF at all", b"\xff\xfe\x00\x01" * 50, b"data_x\n"]
)
def test_an_unreadable_cif_is_one_line(lycb, tmp_path, content):
    bad = tmp_path / "bad.cif"
    bad.write_bytes(content)
    assert_one_line(lycb("enumerate", bad), "CIF")
    assert_one_line(lycb("enumerate", tmp_path / "absent.cif"), "no such parent")


def test_a_bad_option_is_one_line(lycb):
    assert_one_line(lycb("enumerate", "Li3YCl6", "--supercell", 0, 1, 1), "--supercell")
    assert_one_line(lycb("enumerate", "Li3YCl6", "--engine", "magic"), "--engine")


# -- campaigns -------------------------------------------------------------------------------


def changed_campaign(tmp_path, change):
    content = yaml.safe_load(LOOP.read_text())
    change(content)
    path = tmp_path / "campaign.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["learning"].update(npt_pss=1), ("learning.npt_pss", "did you mean 'npt_ps'")),
        (lambda c: c["learning"].update(npt_ps="long"), ("learning.npt_ps", "long")),
        (lambda c: c["learning"].update(npt_ps=-1.0), ("learning.npt_ps", "-1")),
        (lambda c: c["systems"][0].update(parent="Li3YI6"), ("no such parent", "Li3YI6")),
        (lambda c: c["ranking"].update(model="chgnet-9"), ("no such model", "chgnet-9")),
        (lambda c: c["measure"].update(model="555"), ("measure.model", "555")),
        (lambda c: c.update(systems=[]), ("systems",)),
        (lambda c: c["systems"].append(c["systems"][0]), ("must differ",)),
        (lambda c: c["systems"][0]["enumeration"].update(supercel=[1, 1, 1]), ("supercell",)),
    ],
)
def test_a_mistake_in_a_campaign_is_one_line(lycb, tmp_path, change, words):
    path = changed_campaign(tmp_path, change)
    assert_one_line(lycb("run", path, "--store", tmp_path / "store"), *words)
    store = open_store(tmp_path / "store")
    assert list(store.find_all(CampaignRecord)) == []


def test_a_file_that_is_no_campaign_is_one_line(lycb, tmp_path):
    (tmp_path / "a.yaml").write_text("a: [1, 2")
    (tmp_path / "b.yaml").write_text("just words")
    (tmp_path / "c.yaml").write_text("!!python/object/apply:os.system ['touch hacked']")
    for name in ("a.yaml", "b.yaml", "c.yaml", "absent.yaml"):
        assert_one_line(lycb("plan", tmp_path / name, "--store", tmp_path / "store"), name)
    assert not (tmp_path / "hacked").exists()


class Touch:
    """A pickle that would make a file when loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("suffix", [".pth.tar", ".safetensors", ".txt"])
def test_a_model_file_with_code_or_without_a_model_is_one_line_and_does_not_run(
    lycb, tmp_path, suffix
):
    evil = tmp_path / f"evil{suffix}"
    evil.write_bytes(pickle.dumps({"model": Touch(tmp_path / "hacked")}))
    path = changed_campaign(tmp_path, lambda c: c["learning"].update(model=evil.name))
    assert_one_line(lycb("plan", path, "--store", tmp_path / "store"), "evil")
    assert not (tmp_path / "hacked").exists()


@pytest.mark.usefixtures("finished")
def test_run_ends_with_the_path_of_the_report_and_finds_all_results(lycb, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    code, out, err = lycb("run", LOOP, "--report", tmp_path / "report")
    assert code == 0
    assert re.search(r"^\[r01 400 K\] train r01 400 K  \d+/\d+  about .* left$", err, re.MULTILINE)
    assert len(re.findall(r"^round \d at \d+ K: .* MPa$", err, re.MULTILINE)) == 3
    path = Path(out.strip().splitlines()[-1])
    assert path.is_file()
    assert "toy" in path.read_text()


@pytest.mark.usefixtures("finished")
def test_rank_shows_the_candidates(lycb):
    code, out, _ = lycb("rank", LOOP)
    assert code == 0
    assert "10 candidates" in out


def _jobs_of(entry):
    """The jobs that an entry of the paper's list needs: of LYC, LYB, or x = 3 on LYB's lattice."""
    crystal = {"LYCB": "LYB-x3"}.get(entry.about, entry.about)
    both, hot = ("1 bar", "10000 bar"), range(400, 751, 50)
    whole = [f"{quantity} {crystal} {p}" for quantity in ("volumes", "arrhenius") for p in both]
    conducting = [f"arrhenius LYB-x{x:g} 10000 bar" for x in (3, 3.5, 4, 4.5, 5, 5.5)]
    return {
        "errors_before": ["benchmark"],
        "errors_of_models": ["benchmark"],
        "errors_on_set": ["benchmark"],
        "volumes": whole[:2],
        "conduction": whole[2:],
        "whole_table": whole,
        "displacement": [f"transport {crystal} 10000 bar 500 K"],
        "diffusivities": [f"transport {crystal} 10000 bar {kelvin} K" for kelvin in hot],
        "maps": [f"density {crystal} 10000 bar 500 K"],
        "conduction_over_x": ["series", "arrhenius LYB 10000 bar", *conducting],
        "lattices": [f"dft-relax {a}-x{n / 2:g} 00" for a in ("LYC", "LYB") for n in range(13)],
        "relaxed_cells": ["series"],
    }[entry.here]


def test_plan_counts_every_job_of_the_paper(lycb, tmp_path):
    paper = ROOT / "workflows" / "lycb_paper.yaml"
    code, out, _ = lycb("plan", paper, "--store", tmp_path / "store", "--json")
    steps = json.loads(out)
    assert code == 0
    labels = [job for step in steps for job in step["jobs"] if job.startswith("label r")]
    assert len([job for job in labels if "200 K" in job]) == 220
    works = " ".join(step["work"] for step in steps)
    assert "5,794 relaxations of 60 atoms" in works
    assert "200 runs, 183,040 ps together" in works
    tested = [job for step in steps for job in step["jobs"] if job.startswith("label test")]
    own, orderings, parents, mixed = 2 * 50, 24 * 10 + 2, 2 * 9 * 50, 6 * 5 * 10
    assert len(tested) == own + orderings + parents + mixed
    relaxed = [job for step in steps for job in step["jobs"] if job.startswith("dft-relax")]
    assert len(relaxed) == 4 + 2 * 20 + 26
    planned = {job for step in steps for job in step["jobs"]}
    assert len([job for job in planned if job.startswith("transport")]) == 80
    for entry in paper_entries():
        assert set(_jobs_of(entry)) <= planned, entry.panels
    code, out, _ = lycb("plan", paper, "--store", tmp_path / "store")
    assert code == 0
    assert "years" in out or "days" in out


@pytest.mark.usefixtures("finished")
def test_status_says_how_far_a_campaign_has_come(lycb):
    code, out, _ = lycb("status", LOOP, "--json")
    status = json.loads(out)
    assert code == 0
    assert len(status["rounds"]) == 3
    assert status["labels"]["r00 200 K"] == {"done": 4, "failed": 0, "pending": 0, "late": 0}
    assert set(status["attempts"]) == {"done"}
    assert lycb("status", LOOP)[0] == 0
    code, out, _ = lycb("status")
    assert code == 0
    assert "Status of loop" in out
    assert "meV/Å" in out
    assert_one_line(lycb("report", "no-such-campaign"), "no-such-campaign")


# -- the store -------------------------------------------------------------------------------


@pytest.mark.usefixtures("finished")
def test_query_filters_and_show_leads_to_the_cif(lycb):
    code, out, _ = lycb("query", "run", "--where", "ensemble=npt", "--json")
    runs = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert runs
    assert {run["ensemble"] for run in runs} == {"npt"}
    code, out, _ = lycb("query", "run", "--where", "temperature_k=600.0")
    assert code == 0
    assert "600" in out
    code, out, _ = lycb("show", runs[0]["key"][:12], "--json")
    shown = json.loads(out)
    assert shown["kind"] == "run"
    assert "parent" in {kind for kind, _ in shown["ancestors"]}
    code, out, _ = lycb("show", runs[0]["key"])
    assert code == 0
    assert "done" in out


@pytest.mark.usefixtures("finished")
def test_mistakes_with_the_store_are_one_line(lycb, tmp_path):
    assert_one_line(lycb("query", "runs"), "no such kind", "segment")
    assert_one_line(lycb("query", "run", "--where", "temp=1"), "no such field")
    assert_one_line(lycb("query", "run", "--where", "temp"), "FIELD=VALUE")
    assert_one_line(lycb("show", "abc"), "not a key")
    assert_one_line(lycb("show", "abcdef0123"), "must match one")
    assert_one_line(lycb("export", "model", first_key(lycb, "run"), tmp_path / "m.safetensors"))
    assert_one_line(lycb("export", "structures", first_key(lycb, "run")), "not a structure")
    frames = tmp_path / "frames.extxyz"
    assert_one_line(lycb("export", "trajectory", first_key(lycb, "label"), frames), "not a run")
    unknown = lycb("export", "trajectory", first_key(lycb, "run"), tmp_path / "frames.pdf")
    assert_one_line(unknown, "trajectory format", "frames.pdf")
    assert_one_line(lycb("show", "abcdef", "--store", tmp_path / "absent"), "no result store")


@pytest.mark.usefixtures("finished")
def test_a_kind_without_documents_is_no_mistake(lycb):
    assert lycb("query", "benchmark", "--json")[:2] == (0, "")


def test_a_key_that_has_only_failed_shows_its_attempts(lycb, tmp_path):
    store, key = open_store(tmp_path / "store"), "ab" * 32
    with contextlib.suppress(PhysicsError), store.attempt(Label, key):
        raise PhysicsError("no convergence", fix="look at the log")
    store.close()
    code, out, _ = lycb("show", key, "--json", "--store", tmp_path / "store")
    shown = json.loads(out)
    assert (code, shown["key"], shown["kind"]) == (0, key, "label")
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["failed"]
    for shown in (key, key[:12]):
        assert "no convergence" in lycb("show", shown, "--store", tmp_path / "store")[1]


def first_key(lycb, kind):
    return json.loads(lycb("query", kind, "--json")[1].splitlines()[0])["key"]


def test_labels_and_models_go_out_and_come_back(lycb, finished, tmp_path):
    code, out, _ = lycb("export", "labels", tmp_path / "labels.extxyz")
    assert code == 0
    frames = ase.io.read(tmp_path / "labels.extxyz", ":")
    assert f"{len(frames)} labels" in out
    one = lycb("export", "labels", tmp_path / "its.extxyz", "--campaign", "loop")
    assert f"{len(frames)} labels" in one[1]
    label = finished.load_any(frames[0].info["label"])
    assert frames[0].get_potential_energy() == pytest.approx(label.energy_ev, rel=1e-9)
    assert frames[0].get_forces().shape == (20, 3)
    model = next(one for one in finished.find_all(Model) if one.source == "fine-tuned")
    path = tmp_path / "model.safetensors"
    assert lycb("export", "model", model.key, path)[0] == 0
    frames = tmp_path / "frames.extxyz"
    code, out, _ = lycb("export", "trajectory", first_key(lycb, "run"), frames)
    assert code == 0
    assert int(out.split()[0]) == len(ase.io.read(frames, ":")) > 1
    assert find_model(str(path)).model.weights.sha256 == model.weights.sha256


def test_retract_and_diff(lycb, tmp_path):
    one, other = open_store(tmp_path / "one"), open_store(tmp_path / "other")
    for store in (one, other):
        store.insert_all([
            CampaignRecord(key="a" * 64, name="n", text="t"),
            CampaignRecord(key="b" * 64, name="n", text="t", parents=("a" * 64,)),
        ])  # fmt: skip
    assert lycb("diff", one.folder, other.folder)[0] == 0
    code, out, _ = lycb("retract", "a" * 8, "--reason", "wrong", "--store", one.folder)
    assert code == 0
    assert "b" * 64 in out
    code, out, _ = lycb("diff", one.folder, other.folder)
    assert code == 1
    assert "a" * 64 in out


def test_settings_that_make_no_sense_are_one_line(lycb, monkeypatch, tmp_path):
    monkeypatch.setenv("LYCB_THREADS", "many")
    assert_one_line(lycb("query", "run", "--store", tmp_path), "bad setting", "threads")
    monkeypatch.delenv("LYCB_THREADS")
    (tmp_path / "settings.yaml").write_text("proceses: 2\n")
    monkeypatch.setenv("LYCB_SETTINGS_FILE", str(tmp_path / "settings.yaml"))
    assert_one_line(lycb("query", "run", "--store", tmp_path), "bad setting", "proceses")
    (tmp_path / "settings.yaml").write_text("processes: 2\n")
    open_store(tmp_path)
    assert lycb("query", "run", "--store", tmp_path)[0] == 0


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom lycb_flows.cli.app import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "heavy = {'torch', 'numpy', 'scipy', 'pymatgen', 'jobflow', 'ase'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})


@pytest.mark.parametrize(
    "words",
    [
        ("init", "crystal.cif", "--output", "no/such/campaign.yaml"),
        ("distil", "crystal.cif", "--out", "no/such/student.txt"),
    ],
)
def test_a_folder_that_is_missing_is_told_before_any_work(lycb, words):
    assert_one_line(lycb(*words), "no such folder to write into")


def test_help_keeps_what_stands_in_for_an_option(lycb):
    """Rich takes square brackets for markup, and prints nothing of them."""
    assert "(default: the CIF's name)" in lycb("init", "--help")[1]
    assert "(default: LYCB_STORE)" in lycb("status", "--help")[1]

"""A labeler of another package: found by its entry point, planned, run, reported, refused."""

import json
import re
import subprocess
import sys
import textwrap
import tomllib
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import numpy as np
import pytest
from ase.calculators.lj import LennardJones
from campaign_runs import run_campaign
from messages import assert_one_line
from places import CAMPAIGNS, ROOT
from pydantic import Field, ValidationError

from lycb_flows import schemas
from lycb_flows.campaign.cost import plan_campaign
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.stages import StagePlan
from lycb_flows.campaign.submission import find_submission, read_campaign, reopen, submit
from lycb_flows.config import (
    LABELERS,
    NAMES_MODEL,
    NOT_KEYED,
    DftConfig,
    GpawLabeler,
    LabelConfig,
    LabelerConfig,
)
from lycb_flows.crystals.binaries import load_binary
from lycb_flows.crystals.structures import to_ase
from lycb_flows.doctor.examination import examine
from lycb_flows.errors import InputError, MachineError
from lycb_flows.labels.checks import Answer, checked_label
from lycb_flows.labels.engine import Engine, engine_of, is_dft
from lycb_flows.labels.theory import Theory
from lycb_flows.machine.engines import Machine
from lycb_flows.machine.looks import Finding, Look
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.report.page import write_report
from lycb_flows.schemas.keys import make_key
from lycb_flows.store import open_store
from lycb_flows.store.garbage import list_garbage
from lycb_flows.units import EV_PER_ANG3_GPA

pytestmark = pytest.mark.usefixtures("blank_figures")


class ScaledLabeler(LabelerConfig):
    """A model's energies, forces and stresses, all of them scaled."""

    type: Literal["scaled"] = "scaled"
    model: Annotated[str, NAMES_MODEL] = "toy-teacher"
    factor: float = 0.5
    note: Annotated[str, NOT_KEYED] = Field("", description="For people.")


class ScaledEngine(Engine[ScaledLabeler]):
    """A rehearsal that states nothing of DFT."""

    config = ScaledLabeler

    def theory(self, config, find_model):
        parameters = {"factor": config.factor.hex(), "model": find_model(config.model).key}
        return Theory(code="scaled", version="1", functional="none", parameters=parameters)

    def check(self, config, elements, machine):
        assert {"Li", "Y", "Br"} <= set(elements)
        assert machine.threads >= 1
        if config.factor <= 0:
            raise InputError("a factor must be positive", fix="mend it", factor=config.factor)

    def open(self, config, machine, models):
        assert machine.threads == 1
        potential = models.open(config.model)
        assert models.find(config.model).key == config.model
        theory = self.theory(config, models.find)
        return ScaledPotential(theory, potential, config.factor)

    def looks(self):
        return (Look("scale", lambda machine: Finding(ok=True, found=str(machine.threads)), ""),)


class ScaledPotential:
    """The labeler at work."""

    def __init__(self, theory, potential, factor):
        self.theory, self.potential, self.factor = theory, potential, factor

    def label(self, structure):
        (found,) = self.potential.predict([structure])
        answer = Answer(
            species=structure.species,
            lattice_ang=structure.lattice_ang,
            energy_ev=self.factor * found.energy_ev,
            forces_ev_per_ang=(self.factor * found.forces_ev_per_ang).tolist(),
            stress_ev_per_ang3=(
                self.factor * np.asarray(found.stress_gpa) / EV_PER_ANG3_GPA
            ).tolist(),
        )
        return checked_label(structure, self.theory, answer)


class PricedLabeler(LabelerConfig):
    type: Literal["priced"] = "priced"


class PricedEngine(ScaledEngine):
    """DFT, as it states, at a price that it knows."""

    config = PricedLabeler

    def theory(self, _config, _find_model):
        return Theory(code="priced", version="1", functional="PBE", raw_pbe=True)

    def check(self, config, elements, machine):
        """Nothing is needed."""

    def cost_s(self, _config, theory, lattice_ang, n_atoms, force_call_s):
        assert theory.code == "priced"
        assert np.linalg.det(lattice_ang) > 10 * n_atoms
        assert force_call_s(find_model("toy-soft").model.key) > 0
        return 7.0 * n_atoms

    def cost_note(self, _config):
        return "their cost asked of a crystal ball"

    def is_dft(self, code):
        return True if code == "priced" else None


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lets a package with these labelers (name -> attribute) be installed, as pip lays it out."""

    def install(package, **labelers):
        folder = tmp_path / "site" / f"{package}-1.5.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
        lines = [f"{name} = {value}" for name, value in labelers.items()]
        (folder / "entry_points.txt").write_text("[lycb_flows.labelers]\n" + "\n".join(lines))
        place = tmp_path / package
        place.mkdir()
        folder.rename(place / folder.name)
        monkeypatch.syspath_prepend(place)

    return install


@pytest.fixture
def scaled(install):
    install("scales", scaled=f"{__name__}:ScaledEngine", priced=f"{__name__}:PricedEngine")


def with_labeler(tmp_path, labeler, dft=None):
    text = (CAMPAIGNS / "calculator.yaml").read_text()
    before, _, rest = text.partition("  labeler:\n")
    after = rest[rest.index("measure:") :]
    if dft is not None:
        before = before.replace("ranking: {", f"ranking: {{dft: {json.dumps(dft)}, ")
    file = tmp_path / "campaign.yaml"
    file.write_text(f"{before}  labeler: {json.dumps(labeler)}\n{after}")
    return file


# -- in a campaign --------------------------------------------------------------------------------


@pytest.mark.usefixtures("scaled")
def test_a_campaign_with_a_plugin_goes_from_the_yaml_to_the_report(tmp_path):
    dft = {"labeler": {"type": "scaled", "model": "toy-soft"}, "n": 2, "n_decorations": 0}
    dft["relaxation"] = {"fmax_ev_per_ang": 2.0, "max_steps": 5}
    path = with_labeler(tmp_path, {"type": "scaled", "factor": 0.25, "note": "mine"}, dft)
    store = open_store(tmp_path / "store")
    submission, names = run_campaign(store, read_campaign(path))
    labeler = submission.campaign.labels.labeler
    teacher, soft = (find_model(name).model.key for name in ("toy-teacher", "toy-soft"))
    assert labeler == ScaledLabeler(model=teacher, factor=0.25, note="mine")
    assert submission.campaign.ranking.dft.labeler == ScaledLabeler(model=soft)
    assert {teacher, soft} <= set(submission.record.parents)
    assert find_submission(store, "calculator").campaign == submission.campaign
    assert find_submission(store, "calculator").theory == submission.theory

    steps = plan_campaign(store, submission.campaign, submission.theory)
    assert Counter(job.name for step in steps for job in step.jobs) == Counter(names)
    works = [step.work for step in steps]
    assert "4 labels by scaled: none, their cost unknown and not counted" in works
    assert any("2 relaxations by scaled" in w and "cost unknown and not" in w for w in works)
    found = find_results(store, submission.campaign, submission.theory)
    report = write_report(store, "mine", found.document_keys(), tmp_path / "report")
    assert "scaled: none" in report.read_text()
    assert list(store.find_all(schemas.Relaxation))
    check_labels(store, submission)
    check_without_the_plugin(store, submission, tmp_path)


def check_without_the_plugin(store, submission, tmp_path):
    """The same campaign is planned, found and reported; nothing can be labelled."""
    there = find_results(store, submission.campaign, submission.theory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [p for p in sys.path if not p.endswith("scales")])
        record = store.load(schemas.CampaignRecord, submission.record.key)
        again = reopen(store, record)
        assert again.theory == submission.theory
        assert again.campaign.model_dump(mode="json") == json.loads(record.resolved)
        steps = plan_campaign(store, again.campaign, again.theory)
        assert any("4 labels by scaled: none, their cost unknown" in step.work for step in steps)
        found = find_results(store, again.campaign, again.theory)
        assert found.document_keys() == there.document_keys()
        report = write_report(store, "gone", found.document_keys(), tmp_path / "gone")
        assert "scaled: none" in report.read_text()
        later = datetime.now(UTC) + timedelta(days=30)
        assert list_garbage(store, now=later).blobs == ()
        labeler = again.campaign.labels.labeler
        assert LabelConfig(labeler=labeler.model_dump()).labeler == labeler
        with pytest.raises(MachineError, match=r"labeler is not installed here \(labeler=scaled\)"):
            engine_of(labeler).open(labeler, Machine(), StoredModels(store))
    installed = LabelConfig(labeler=labeler.model_dump()).labeler
    assert installed == submission.campaign.labels.labeler


def check_labels(store, submission):
    """Six of them, a quarter of what the named model says."""
    labeler = submission.campaign.labels.labeler
    labels = list(store.find_all(schemas.Label, theory=submission.theory.fingerprint))
    assert len(labels) == 6
    teach = engine_of(labeler).open(labeler, Machine(), StoredModels(store))
    structure = store.load(schemas.Structure, labels[0].structure)
    (unscaled,) = teach.potential.predict([structure])
    assert labels[0].energy_ev == pytest.approx(0.25 * unscaled.energy_ev, rel=1e-12)
    assert labels[0].stress_gpa == pytest.approx(0.25 * np.asarray(unscaled.stress_gpa), rel=1e-9)


class StoredModels:
    def __init__(self, store):
        self.store = store

    def find(self, key):
        return self.store.load(schemas.Model, key)

    def open(self, key):
        model = self.find(key)
        return load_potential(model, self.store.blobs.read(model.weights))


@pytest.mark.usefixtures("scaled")
def test_a_plugin_states_its_cost_and_how_it_knows_it(tmp_path):
    store = open_store(tmp_path / "store")
    submission = submit(store, read_campaign(with_labeler(tmp_path, {"type": "priced"})))
    steps = plan_campaign(store, submission.campaign, submission.theory)
    (labels,) = (step for step in steps if step.work.startswith("4 labels"))
    assert labels.work == "4 labels by priced: PBE, their cost asked of a crystal ball"
    assert labels.cpu_s == 4 * 7.0 * 20


@pytest.mark.usefixtures("scaled")
def test_settings_of_a_plugin_travel_and_are_keyed_by_their_fields(tmp_path):
    campaign = read_campaign(with_labeler(tmp_path, {"type": "scaled", "factor": 0.25}))
    theory = Theory(code="scaled", version="1", functional="none")
    plan = StagePlan(campaign=campaign, theory=theory, starts={}, model="0" * 64)
    assert StagePlan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan
    keys = {
        make_key(schemas.Label, labels=LabelConfig(labeler={"type": "scaled", **fields}))
        for fields in ({}, {"note": "not keyed"}, {"factor": 0.25}, {"model": "toy-soft"})
    }
    assert len(keys) == 3
    plain = {"type": "scaled", "model": "toy-teacher", "factor": 0.5}
    assert make_key(schemas.Label, labeler=ScaledLabeler()) == make_key(
        schemas.Label, labeler=plain
    )
    assert DftConfig(labeler={"type": "scaled"}).labeler == ScaledLabeler()


@pytest.mark.usefixtures("scaled")
def test_a_worker_without_the_plugin_says_so_and_leaves_the_job_to_another(monkeypatch):
    sent = json.loads(json.dumps(LabelConfig(labeler={"type": "scaled"}).as_dict()))
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not p.endswith("scales")])
    with pytest.raises(MachineError, match=r"plug-ins with which.*|unknown labeler") as caught:
        LabelConfig.from_dict(sent)
    assert "unknown labeler (found=scaled)" in str(caught.value)
    assert "\n" not in str(caught.value)


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.usefixtures("scaled")
def test_an_unknown_type_names_the_known_ones_and_a_close_one(lycb, tmp_path):
    file = with_labeler(tmp_path, {"type": "scald"})
    assert_one_line(
        lycb("plan", file, "--store", tmp_path / "store"),
        "unknown labeler (found=scald)",
        "did you mean 'scaled'?",
        "'teacher', 'gpaw', 'vasp', 'ase', 'priced', 'scaled'",
        "at=labels.labeler",
    )
    with pytest.raises(ValidationError, match="needs a type, one of 'teacher'"):
        DftConfig(labeler={"factor": 1.0})


@pytest.mark.usefixtures("scaled")
@pytest.mark.parametrize(
    ("labeler", "words"),
    [
        ({"factr": 0.5}, ["unknown field", "at=labels.labeler.factr", "did you mean 'factor'?"]),
        ({"zzz": 0.5}, ["unknown field", "known here: type, model, factor, note"]),
        ({"factor": "big"}, ["valid number", "at=labels.labeler.factor", "found=big"]),
        ({"factor": -1.0}, ["a factor must be positive (factor=-1.0): mend it"]),
        ({"model": "nowhere.safetensors"}, ["no such model"]),
    ],
)
def test_a_wrong_field_of_a_plugin_is_one_line_with_its_place(lycb, tmp_path, labeler, words):
    file = with_labeler(tmp_path, {"type": "scaled", **labeler})
    assert_one_line(lycb("plan", file, "--store", tmp_path / "store"), *words)
    assert not list(open_store(tmp_path / "store").find_all(schemas.CampaignRecord))


@pytest.mark.usefixtures("scaled")
def test_a_wrong_field_of_a_ranking_labeler_has_its_place_too(lycb, tmp_path):
    file = with_labeler(tmp_path, {"type": "scaled"}, {"labeler": {"type": "gpaw", "theroy": "x"}})
    result = lycb("plan", file, "--store", tmp_path / "store")
    assert_one_line(result, "at=ranking.dft.labeler.theroy", "did you mean 'theory'?")


BROKEN = {
    "lost": ("nowhere.at:all", "ModuleNotFoundError"),
    "other": (f"{__name__}:ScaledEngine", "has another name"),
    "text": ("textwrap:dedent", "is no HasConfig"),
    "typeless": ("typeless:TypelessEngine", "needs a type with a default"),
}


def test_a_broken_plugin_stops_only_who_asks_for_it_and_the_doctor_names_it(
    install, lycb, tmp_path, monkeypatch
):
    install("wrecks", **{name: value for name, (value, _) in BROKEN.items()})
    (tmp_path / "wrecks" / "typeless.py").write_text(
        textwrap.dedent("""
            from lycb_flows.config import LabelerConfig
            from lycb_flows.labels.engine import Engine

            class TypelessEngine(Engine):
                config = LabelerConfig
        """)
    )
    assert LabelConfig(labeler={"type": "gpaw"}).labeler == GpawLabeler()
    file = with_labeler(tmp_path, json.loads(LabelConfig().labeler.model_dump_json()))
    assert lycb("plan", file, "--store", tmp_path / "store")[0] == 0
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LYCB_SCRATCH", str(tmp_path / "scratch"))
    lines = {check.name: check for check in examine(str(tmp_path / "store"))}
    for name, (_, words) in BROKEN.items():
        file = with_labeler(tmp_path, {"type": name})
        assert_one_line(lycb("plan", file, "--store", tmp_path / "store"), name, "wrecks", words)
        line = lines[f"labeler {name}"]
        assert line.ok is False
        assert "wrecks" in line.found
        assert "uninstall its package" in line.fix
    assert not is_dft("anything")


def test_two_labelers_of_one_name_are_refused_with_both_packages(install, tmp_path, monkeypatch):
    install("mine", scaled=f"{__name__}:ScaledEngine", gpaw=f"{__name__}:ScaledEngine")
    install("yours", scaled=f"{__name__}:ScaledEngine")
    with pytest.raises(ValidationError, match="packages=mine and yours"):
        LabelConfig(labeler={"type": "scaled"})
    with pytest.raises(InputError, match="packages=lycb-flows and mine"):
        engine_of(GpawLabeler())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LYCB_SCRATCH", str(tmp_path / "scratch"))
    lines = {check.name: check for check in examine(str(tmp_path / "store"))}
    assert not lines["labeler scaled"].ok
    assert not lines["labeler gpaw"].ok


@pytest.mark.usefixtures("scaled")
def test_the_doctor_looks_at_what_a_plugin_needs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LYCB_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("LYCB_THREADS", "3")
    lines = {check.name: check for check in examine(str(tmp_path / "store"))}
    assert lines["labeler scaled"].ok
    assert lines["labeler scaled"].found == "scales 1.5"
    assert lines["scale"].found == "3"


def test_the_example_of_the_docs_labels(install, tmp_path):
    text = (ROOT / "docs" / "labels.md").read_text()
    section = text.partition("## A labeler of your own")[2]
    code, lines = (
        re.search(f"```{kind}\n(.*?)```", section, re.DOTALL)[1] for kind in ("python", "toml")
    )
    (value,) = tomllib.loads(lines)["project"]["entry-points"]["lycb_flows.labelers"].items()
    install("example", **dict([value]))
    (tmp_path / "example" / "my_labels.py").write_text(code)
    (tmp_path / "example" / "my_code.py").write_text(
        textwrap.dedent("""
            from ase.calculators.lj import LennardJones

            def MyCalculator(basis):
                return LennardJones(rc={"tight": 6.0, "light": 4.0}[basis], sigma=2.4)
        """)
    )
    config = LabelConfig(labeler={"type": "my-code", "basis": "light"}).labeler
    structure = load_binary("LiCl")
    label = engine_of(config).open(config, Machine(), StoredModels(None)).label(structure)
    atoms = to_ase(structure)
    atoms.calc = LennardJones(rc=4.0, sigma=2.4)
    assert label.energy_ev == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    assert label.theory_name == "my-code: PBE"
    assert is_dft("my-code")


# -- what stands behind labels --------------------------------------------------------------------


@pytest.mark.usefixtures("scaled")
def test_no_dft_stands_behind_a_code_unless_its_engine_says_so():
    answers = {"gpaw": True, "vasp": True, "ase emt.EMT": True, "priced": True}
    answers |= {"teacher": False, "vasp stand-in": False, "scaled": False, "never heard of": False}
    assert {code: is_dft(code) for code in answers} == answers
    imported = answers | {"scaled": True, "never heard of": True}
    assert {code: is_dft(code, imported=True) for code in answers} == imported


def test_engines_are_asked_without_torch_and_pymatgens_side_of_vasp():
    script = """
        import sys
        from lycb_flows.config import LABELERS, Campaign
        from lycb_flows.labels.engine import engine_of, find_engine, is_dft

        for name in ("teacher", "gpaw", "vasp", "ase"):
            find_engine(name).looks()
        assert is_dft("gpaw") and not is_dft("scaled")
        loaded = {"torch", "pymatgen.io.vasp", "atomate2", "gpaw"} & set(sys.modules)
        assert not loaded, loaded
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=120)


def test_every_engine_is_found_by_the_type_of_its_settings():
    for name in ("teacher", "gpaw", "vasp", "ase"):
        engine = LABELERS.get(name)
        assert engine.name == name
        assert engine.config.model_fields["type"].default == name
        assert LabelerConfig.class_of({"type": name}) is engine.config

"""Calculators of ASE as models: in another environment, and in no hurry to run what files hold."""

import base64
import hashlib
import json
import os
import pickle
import sys
import venv
from pathlib import Path

import ase
import numpy as np
import pytest
import torch
import yaml
from ase.build import bulk
from ase.calculators.lj import LennardJones
from places import CAMPAIGNS

from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.config import MDConfig, RelaxationConfig, TeacherLabeler
from lycb_flows.crystals.structures import canonical_structure, to_ase
from lycb_flows.errors import InputError, LycbError, MachineError
from lycb_flows.jobs.given import portable_model
from lycb_flows.labels.teacher import Teacher
from lycb_flows.md.protocol import run_segments
from lycb_flows.potentials.calculators import Calculators, absolute_model
from lycb_flows.potentials.models import find_model, load_potential, write_model
from lycb_flows.potentials.trainable import require_trainable
from lycb_flows.relaxation.by_model import relax
from lycb_flows.schemas import Model
from lycb_flows.store import open_store

PACKAGE = '''
"""A package whose calculators state their properties on the instance, as SevenNet's do."""
import os, pickle
from ase.calculators.lj import LennardJones

class Soft(LennardJones):
    implemented_properties = []

    def __init__(self, weights=None, epsilon=0.02, states=("energy", "forces", "stress")):
        if weights is not None:
            with open(weights, "rb") as file:
                epsilon = pickle.load(file)["epsilon"]
        super().__init__(sigma=2.3, epsilon=epsilon, rc=6.0)
        self.implemented_properties = list(states)

    def calculate(self, atoms=None, *rest, **names):
        if 47 in atoms.numbers:
            os.kill(os.getpid(), 9)
        if 79 in atoms.numbers:
            raise ValueError("this model\\ndoes not know gold")
        print("packages print")
        super().calculate(atoms, *rest, **names)

def soft(**arguments):
    return Soft(**arguments)

def discreet(weights):
    try:
        return Soft(weights)
    except Exception as err:
        raise RuntimeError("something went wrong") from err
'''
SOFT = "soft_package.Soft"


def digest_of(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def write_version(packages, version):
    (packages / "soft_package-2.0.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: soft-package\nVersion: {version}\n"
    )


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The packages of an environment that has numpy, ASE and one that we have not."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, symlinks=True)
    (packages,) = home.glob("lib/python*/site-packages")
    shared = {str(Path(module.__file__).parents[1]) for module in (ase, np)}
    (packages / "shared.pth").write_text("\n".join(shared))
    (packages / "soft_package").mkdir()
    (packages / "soft_package" / "__init__.py").write_text(PACKAGE)
    own = packages / "soft_package" / "own.pkl"
    own.write_bytes(pickle.dumps({"epsilon": 0.03}))
    record = base64.urlsafe_b64encode(hashlib.sha256(own.read_bytes()).digest()).decode()
    information = packages / "soft_package-2.0.dist-info"
    information.mkdir()
    (information / "RECORD").write_text(
        f"soft_package/__init__.py,,\nsoft_package/own.pkl,sha256={record.rstrip('=')},9\n"
    )
    write_version(packages, "2.0")
    return packages


@pytest.fixture
def python(packages, monkeypatch):
    """Its Python, as this machine's settings name it."""
    path = str(packages.parents[2] / "bin" / "python")
    monkeypatch.setenv("LYCB_PYTHONS", json.dumps({"soft_package": path}))
    return path


def named(**fields):
    return json.dumps({"calculator": SOFT, **fields})


@pytest.fixture(scope="module")
def soft(packages):
    """The calculator at work, one process for many tests."""
    with pytest.MonkeyPatch.context() as patch:
        path = str(packages.parents[2] / "bin" / "python")
        patch.setenv("LYCB_PYTHONS", json.dumps({"soft_package": path}))
        source = Calculators().find_model(SOFT)
        yield load_potential(source.model, source.weights)


def crystal(symbol="Cu", rattle_ang=0.1, **size):
    atoms = bulk(symbol, cubic=True, a=3.6, **size)
    atoms.rattle(rattle_ang, seed=0)
    return atoms


def reference(atoms):
    atoms.calc = LennardJones(sigma=2.3, epsilon=0.02, rc=6.0)
    return atoms


# -- at work ---------------------------------------------------------------------------------------


def test_it_predicts_what_it_predicts_in_its_own_environment(soft):
    crystals = [crystal(), crystal("Ni"), crystal("Pd", 0.2)]
    for atoms, found in zip(
        crystals, soft.predict(list(map(canonical_structure, crystals))), strict=True
    ):
        expected = reference(to_ase(canonical_structure(atoms)))
        assert found.energy_ev == pytest.approx(expected.get_potential_energy(), abs=1e-12)
        assert found.forces_ev_per_ang == pytest.approx(expected.get_forces(), abs=1e-12)
        stress_ev_per_ang3 = found.stress_gpa / 160.21766208
        assert stress_ev_per_ang3 == pytest.approx(expected.get_stress(voigt=False), rel=1e-6)


def test_a_crystal_without_numbers_is_lost_alone(soft):
    atoms = crystal()
    evaluate = soft.evaluator([atoms.numbers] * 3)
    positions = torch.from_numpy(np.concatenate([atoms.positions] * 3))
    cells = torch.from_numpy(np.array([atoms.cell.array] * 3))
    positions[5], cells[2] = torch.nan, 0.0
    found = evaluate(positions, cells)
    assert torch.isfinite(found.energies_ev).tolist() == [True, False, False]
    assert torch.isfinite(found.forces_ev_per_ang[:4]).all()
    assert torch.isnan(found.forces_ev_per_ang[4:]).all()
    assert torch.isnan(found.stresses_gpa[1:]).all()


def test_it_relaxes_runs_md_and_labels(soft):
    structure = canonical_structure(crystal())
    relaxed = relax(structure, soft, RelaxationConfig(fmax_ev_per_ang=0.05))
    assert relaxed.energy_ev < relaxed.static_energy_ev
    protocol = MDConfig(sample_interval_fs=10.0).nvt(300.0, ramp=False)
    (segment,) = run_segments(structure, soft, protocol, seed=0, n_steps=20)
    assert segment.health.healthy
    source = find_model("toy-soft")
    label = Teacher(source.model, soft).label(structure)
    expected = reference(to_ase(structure)).get_potential_energy()
    assert label.energy_ev == pytest.approx(expected, abs=1e-12)


def test_a_process_that_dies_is_one_line_and_the_next_question_starts_another(soft):
    with pytest.raises(MachineError, match=r"died.*SIGKILL") as caught:
        soft.predict_atoms(crystal("Ag"))
    assert "\n" not in str(caught.value)
    assert np.isfinite(soft.predict_atoms(crystal()).energy_ev)


def test_what_the_calculator_raises_at_first_is_told_in_one_line(soft):
    with pytest.raises(InputError, match="does not know gold") as caught:
        soft.predict_atoms(crystal("Au"))
    assert "\n" not in str(caught.value)


def test_it_cannot_be_trained(soft):
    with pytest.raises(InputError, match="cannot be trained"):
        require_trainable(soft)


# -- names and keys ----------------------------------------------------------------------------


def test_however_it_is_written_it_is_one_model(python, tmp_path, monkeypatch):
    find = Calculators().find_model
    called = find(f'{SOFT}(epsilon=0.02, states=["energy", "forces", "stress"])')
    arguments = {"epsilon": 0.02, "states": ["energy", "forces", "stress"]}
    monkeypatch.delenv("LYCB_PYTHONS")
    card = {"calculator": SOFT, "arguments": arguments, "python": python}
    (tmp_path / "soft.yaml").write_text(yaml.safe_dump(card))
    in_file = find_model(str(tmp_path / "soft.yaml"))
    assert in_file.model.key == called.model.key
    assert python not in in_file.model.model_dump_json()
    assert called.model.architecture_args["version"] == "2.0"
    assert find(f"{SOFT}(epsilon=0.03)").model.key != find(SOFT).model.key


def test_paths_of_a_written_out_model_are_relative_to_its_campaign(tmp_path):
    text = absolute_model(named(weights="a.pkl", python="bin/python"), tmp_path)
    assert json.loads(text)["weights"] == str(tmp_path / "a.pkl")
    assert json.loads(text)["python"] == str(tmp_path / "bin/python")
    assert absolute_model("ase.calculators.emt.EMT", tmp_path) == "ase.calculators.emt.EMT"
    assert absolute_model("weights.pth:mpa", tmp_path) == str(tmp_path / "weights.pth:mpa")
    assert portable_model("ase.calculators.emt.EMT") == "ase.calculators.emt.EMT"
    with pytest.raises(InputError, match="no such model"):
        portable_model("nothing.pth:mpa")


@pytest.mark.usefixtures("python")
def test_a_campaign_writes_a_calculator_out_and_keeps_its_key(tmp_path):
    content = yaml.safe_load((CAMPAIGNS / "tiny.yaml").read_text())
    model = {"calculator": SOFT, "arguments": {"epsilon": 0.02}}
    content["ranking"] = content.get("ranking", {}) | {"model": model}
    content["labels"]["labeler"] = {"type": "teacher", "model": model}
    (tmp_path / "campaign.yaml").write_text(yaml.safe_dump(content))
    store = open_store(str(tmp_path / "store"))
    submission = submit(store, read_campaign(tmp_path / "campaign.yaml"))
    found = store.load(Model, submission.campaign.ranking.model)
    assert found.architecture_args["calculator"] == SOFT
    assert isinstance(submission.campaign.labels.labeler, TeacherLabeler)
    assert submission.campaign.labels.labeler.model == found.key
    store.close()


@pytest.mark.usefixtures("python")
def test_another_version_of_the_package_is_refused(packages):
    source = Calculators().find_model(SOFT)
    write_version(packages, "2.1")
    try:
        with pytest.raises(MachineError, match=r"wanted=2.0, found=2.1") as caught:
            load_potential(source.model, source.weights)
        assert "\n" not in str(caught.value)
    finally:
        write_version(packages, "2.0")


# -- files that are programs ---------------------------------------------------------------------


class Told:
    """A pickle that writes down which process opened it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        code = f"(open({str(self.path)!r}, 'w').write(str(__import__('os').getpid())), 0.02)[1]"
        return (eval, (code,))


@pytest.mark.usefixtures("python")
def test_a_file_runs_in_no_process_before_someone_vouches_for_it(tmp_path):
    file, told = tmp_path / "mine.model", tmp_path / "pid"
    file.write_bytes(pickle.dumps({"epsilon": Told(told)}))
    fields = {"weights": str(file), "arguments": {"weights": "{weights}"}}
    with pytest.raises(InputError, match=r"is a program.*trust_sha256") as caught:
        find_model(named(**fields))
    assert "\n" not in str(caught.value)
    assert digest_of(file) in str(caught.value)
    assert not told.exists()
    source = Calculators().find_model(named(**fields, trust_sha256=[digest_of(file)]))
    assert not told.exists()
    potential = load_potential(source.model, source.weights)
    assert int(told.read_text()) != os.getpid()
    assert potential.predict_atoms(crystal()).energy_ev == pytest.approx(
        reference(crystal()).get_potential_energy(), abs=1e-12
    )
    told.unlink()
    write_model(source.model, source.weights, tmp_path / "sent.model")  # to someone else
    with pytest.raises(InputError, match="nobody vouched for"):
        find_model(str(tmp_path / "sent.model"))
    assert not told.exists()


@pytest.mark.usefixtures("python")
def test_the_packages_own_file_needs_no_trust(packages):
    own = packages / "soft_package" / "own.pkl"
    source = Calculators().find_model(named(weights=str(own), arguments={"weights": "{weights}"}))
    found = load_potential(source.model, source.weights).predict_atoms(crystal()).energy_ev
    assert found == pytest.approx(1.5 * reference(crystal()).get_potential_energy(), abs=1e-12)


@pytest.mark.usefixtures("python")
def test_a_file_that_the_package_looks_up_itself_is_watched_too(tmp_path):
    file = tmp_path / "cached.pt"
    file.write_bytes(pickle.dumps({"epsilon": 0.04}))
    arguments = {"weights": str(file)}
    with pytest.raises(InputError, match="is a program nobody vouched for") as caught:
        find_model(named(arguments=arguments))
    assert "\n" not in str(caught.value)
    assert digest_of(file) in str(caught.value)
    trusted = find_model(named(arguments=arguments, trust_sha256=[digest_of(file)]))
    assert trusted.model.architecture_args["files"] == [digest_of(file)]


@pytest.mark.usefixtures("python")
def test_a_package_that_says_something_else_does_not_hide_the_refusal(tmp_path):
    """As matgl does, whose `load_model` reports an unknown error."""
    file = tmp_path / "cached.pt"
    file.write_bytes(pickle.dumps({"epsilon": 0.04}))
    with pytest.raises(InputError, match="add its SHA-256 to trust_sha256") as caught:
        find_model(named(calculator="soft_package.discreet", arguments={"weights": str(file)}))
    assert digest_of(file) in str(caught.value)


# -- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_package.Thing", "not in this environment.*no module named no_such_package"),
        ("soft_package.Stiff", "no such calculator|does not open.*Stiff"),
        ("subprocess.Popen(args='true')", "Python's own library has no calculators"),
        ("soft_package.Soft(0.1)", "keyword arguments only"),
        ("soft_package.Soft(states=['energy', 'forces'])", "without energy, forces and stress"),
        ("soft_package.soft(states=['forces', 'stress'])", "missing=energy"),
        ('{"calculator": "one"}', "not the settings of a calculator"),
        (named(weights="/no/such/file"), "no such file of weights"),
    ],
)
@pytest.mark.usefixtures("python")
def test_what_cannot_work_is_one_line_before_anything_is_queued(name, words):
    with pytest.raises(LycbError, match=words) as caught:
        find_model(name)
    assert "\n" not in str(caught.value)


def test_a_python_that_is_none_is_one_line(monkeypatch, tmp_path):
    for path in (tmp_path / "none", Path("/bin/true")):
        monkeypatch.setenv("LYCB_PYTHONS", json.dumps({"soft_package": str(path)}))
        with pytest.raises(InputError, match="not in this environment") as caught:
            find_model(SOFT)
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("python")
def test_weights_that_are_no_weights_are_one_line(tmp_path):
    file = tmp_path / "empty.model"
    file.write_text("nothing of the kind")
    fields = {"weights": str(file), "arguments": {"weights": "{weights}"}}
    with pytest.raises(InputError, match=r"does not open.*Unpickling") as caught:
        find_model(named(**fields, trust_sha256=[digest_of(file)]))
    assert "\n" not in str(caught.value)
    (tmp_path / "card.yaml").write_text("calculator: [1]")
    with pytest.raises(InputError, match="not the file of a calculator") as caught:
        find_model(str(tmp_path / "card.yaml"))
    assert "\n" not in str(caught.value)


def test_a_calculator_of_this_environment_needs_no_settings():
    source = Calculators().find_model(
        "ase.calculators.lj.LennardJones(sigma=2.3, epsilon=0.02, rc=6.0)"
    )
    assert source.model.architecture_args["package"] == "ase"
    found = load_potential(source.model, source.weights).predict_atoms(crystal())
    assert found.energy_ev == pytest.approx(reference(crystal()).get_potential_energy(), abs=1e-12)
    assert sys.executable not in source.model.model_dump_json()

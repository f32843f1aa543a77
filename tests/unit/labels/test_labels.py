"""Levels of theory, and labels by any calculator: what is checked, named and refused."""

import json
import math
import pickle
from collections import Counter
from importlib import util

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from campaign_runs import run_campaign
from messages import assert_one_line
from places import CAMPAIGNS, ROOT
from pydantic import ValidationError
from pymatgen.io.vasp.inputs import Kpoints

from lycb_flows import schemas
from lycb_flows.campaign.cost import plan_campaign
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.rounds import refuse_mixture
from lycb_flows.campaign.submission import read_campaign, reopen, submit
from lycb_flows.config import AseLabeler, GpawLabeler, LabelConfig, TeacherLabeler
from lycb_flows.crystals.structures import canonical_structure, load_parent, to_ase
from lycb_flows.errors import InputError, LabelError, LycbError
from lycb_flows.labels.ase import AseCalculator, AseEngine, find_calculator
from lycb_flows.labels.checks import Answer, checked_label
from lycb_flows.labels.gpaw.engine import GpawEngine
from lycb_flows.labels.kpoints import DensityRule, GridRule, SpacingRule, heights_ang
from lycb_flows.labels.plane_waves import plane_wave_s
from lycb_flows.labels.teacher import Teacher
from lycb_flows.labels.theory import Theory, ase_theory, gpaw_theory
from lycb_flows.machine import Machine
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.report.page import write_report
from lycb_flows.store import open_store
from lycb_flows.units import EV_PER_ANG3_GPA

pytestmark = pytest.mark.usefixtures("blank_figures")

CALCULATOR = CAMPAIGNS / "calculator.yaml"
LJ = AseLabeler(
    calculator="ase.calculators.lj.LennardJones",
    version="3.29",
    functional="Lennard-Jones",
    parameters={"sigma": 2.4, "epsilon": 0.05, "rc": 6.0, "smooth": True},
)
EMT = AseLabeler(calculator="ase.calculators.emt.EMT", version="3.29", functional="EMT")
LEVELS = {  # name -> fingerprint; a level never changes, another one gets another name
    "paper-static": "fb4dec773727e8556f533687daf208028ac465f705fcdf1fcb88b0f405585c3b",
    "paper-pool": "4fef3a97fd8cc22cc8f4177a34d2fe036bca86c234bf6f22b22ba13dcb076201",
    "paper-relax": "2a6adcc25b9e834deae09653d208f6d0878ab9762f6e6d31a7acea1698ed4a8f",
    "mp-compatible": "eba4b2ed95aa3530135e8852628c9ead9fdd56894d1aa65cf01a3fa690dd4809",
    "rehearsal": "8b494a04388cc14f37af5b365595671629ec6c94a590fffaa44f8a7038337d69",
}


def lattice_of(parent, supercell=(1, 1, 1)):
    return (load_parent(parent).structure.lattice.matrix * np.array(supercell)[:, None]).tolist()


def copper(rattle_ang=0.05):
    atoms = bulk("Cu", cubic=True, a=3.5)
    atoms.rattle(rattle_ang, seed=0)
    return canonical_structure(atoms)


# -- levels of theory --------------------------------------------------------------------------


def test_a_level_states_everything_and_is_raw_pbe():
    for level in LEVELS:
        theory = gpaw_theory(level)
        left_out = {name for name, value in dict(theory).items() if value is None}
        assert left_out == {"unknown"}
        assert theory.raw_pbe
        assert Theory.from_dict(theory.as_dict()) == theory
        assert level in theory.name
    with pytest.raises(InputError, match="paper-static"):
        gpaw_theory("paper-sttic")


def test_a_fingerprint_is_the_numbers_and_not_the_name():
    static = gpaw_theory("paper-static")
    assert {level: gpaw_theory(level).fingerprint for level in LEVELS} == LEVELS
    assert static.model_copy(update={"level": "mine"}).fingerprint == static.fingerprint
    other = static.model_copy(update={"cutoff_ev": 351.0})
    assert other.fingerprint != static.fingerprint


@pytest.mark.parametrize(("parent", "axes"), [("Li3YCl6", 2), ("Li3YBr6", 2)])
def test_the_papers_grid_is_3x3x3_for_both_its_cells_and_strain_changes_none(parent, axes):
    rule = gpaw_theory("paper-static").kpoints
    cell = np.array(lattice_of(parent, (1, 1, axes)))
    for strain in (-0.05, 0.0, 0.05):
        assert rule.mesh_for((cell * (1 + strain)).tolist()) == (3, 3, 3)


@pytest.mark.parametrize("strain", [-0.04, 0.0, 0.04])
def test_the_pools_meshes_are_one_per_cell_whatever_its_strain(strain):
    rule = gpaw_theory("paper-pool").kpoints

    def mesh_of(parent, supercell=(1, 1, 1)):
        return rule.mesh_for((np.array(lattice_of(parent, supercell)) * (1 + strain)).tolist())

    for height_ang in (5.0, 5.8, 6.5):
        assert rule.mesh_for((np.eye(3) * height_ang).tolist()) == (3, 3, 3)
    assert mesh_of("Li3YBr6") == (3, 2, 3)
    assert mesh_of("Li3YCl6") == (2, 2, 3)
    assert mesh_of("Li3YCl6", (1, 1, 2)) == (2, 2, 2)


def test_a_level_admits_labels_of_another_with_the_same_mesh_and_all_else_equal():
    static, pool, relax = map(gpaw_theory, ("paper-static", "paper-pool", "paper-relax"))
    small = (np.eye(3) * 5.8).tolist()
    large = (np.eye(3) * 9.7).tolist()
    assert pool.differs_in_kpoints_alone(static)
    assert not pool.differs_in_kpoints_alone(pool)
    assert not relax.differs_in_kpoints_alone(static)  # its cutoff is another one, too
    for level, other in ((pool, static), (static, pool)):
        assert level.admits(other, small, (3, 3, 3))
        assert not level.admits(other, small, (2, 2, 2))
        assert not level.admits(other, small, None)
    assert not pool.admits(static, large, (3, 3, 3))
    assert not static.admits(pool, large, (2, 2, 2))
    assert not relax.admits(static, small, (3, 3, 3))
    assert pool.admits(pool, large, None)


def test_beyond_its_range_the_grids_density_stays():
    rule = GridRule(mesh=(3, 3, 3), heights_ang=(5.0, 14.0))
    assert rule.mesh_for(np.diag([28.0, 14.0, 50.0]).tolist()) == (2, 3, 1)
    assert rule.mesh_for(np.diag([2.5, 5.0, 4.9]).tolist()) == (6, 3, 4)


def test_the_spacing_of_the_relaxations_gives_3x3x3_for_lyc0():
    rule = gpaw_theory("paper-relax").kpoints
    assert rule == SpacingRule(spacing_per_ang=0.2)
    assert rule.mesh_for(lattice_of("Li3YCl6", (1, 1, 2))) == (3, 3, 3)


@pytest.mark.parametrize("parent", ["Li3YCl6", "Li3YBr6"])
@pytest.mark.parametrize("supercell", [(1, 1, 1), (1, 1, 2), (2, 1, 3)])
def test_the_materials_projects_density_is_pymatgens(parent, supercell):
    structure = load_parent(parent).structure.copy()
    structure.make_supercell(supercell)
    theirs = Kpoints.automatic_density_by_vol(structure, 64, force_gamma=True).kpts[0]
    ours = DensityRule(points_ang3=64.0).mesh_for(structure.lattice.matrix.tolist())
    assert ours == tuple(theirs)


def test_heights_are_distances_of_faces():
    cell = [[4.0, 0.0, 0.0], [2.0, 3.0, 0.0], [0.0, 0.0, 5.0]]
    volume = 60.0
    areas = [np.linalg.norm(np.cross(cell[i - 2], cell[i - 1])) for i in range(3)]
    assert heights_ang(cell) == pytest.approx([volume / area for area in areas], rel=1e-12)


def test_a_changed_table_of_data_sets_is_refused():
    paw = gpaw_theory("paper-static").paw
    assert {"Li", "Y", "Cl", "Br"} <= paw.hashes().keys()
    with pytest.raises(InputError, match="table of PAW data sets was changed"):
        paw.model_copy(update={"table_sha256": "0" * 64}).hashes()


def test_two_levels_of_theory_in_one_training_set_are_refused_with_both(tmp_path):
    store = open_store(tmp_path)
    labels = []
    for config, rattle_ang in ((LJ, 0.01), (EMT, 0.02)):
        structure = copper(rattle_ang)
        label = AseCalculator(config).label(structure)
        store.insert_all([structure, label])
        labels.append(label)
    refuse_mixture(store, [labels[0].key])
    with pytest.raises(LycbError, match="never meet") as caught:
        refuse_mixture(store, [label.key for label in labels])
    for label in labels:
        assert label.theory in str(caught.value)
        assert label.theory_name in str(caught.value)


# -- the labeler in a campaign --------------------------------------------------------------------


def test_a_labeler_is_one_of_four_and_without_a_type_a_teacher():
    assert LabelConfig().labeler == TeacherLabeler()
    assert LabelConfig(labeler={"model": "toy-soft"}).labeler.model == "toy-soft"
    assert LabelConfig(labeler={"type": "gpaw"}).labeler == GpawLabeler(theory="paper-static")
    assert LabelConfig(labeler=LJ).labeler == LJ
    with pytest.raises(ValidationError, match="'teacher', 'gpaw', 'vasp', 'ase'"):
        LabelConfig(labeler={"type": "magic"})


def with_labeler(tmp_path, labeler):
    text = CALCULATOR.read_text()
    before, _, rest = text.partition("  labeler:\n")
    after = rest[rest.index("measure:") :]
    file = tmp_path / "campaign.yaml"
    file.write_text(f"{before}  labeler: {json.dumps(labeler)}\n{after}")
    return file


@pytest.mark.parametrize(
    ("labeler", "words"),
    [
        ({"type": "gpaw", "theroy": "paper-static"}, ["did you mean 'theory'"]),
        ({"type": "gpaw", "theory": "paper"}, ["no such level of theory", "paper-static"]),
        ({"type": "magic"}, ["teacher", "gpaw", "ase", "labels.labeler"]),
        ({**LJ.model_dump(), "calculator": "os.system"}, ["not a calculator of ASE's"]),
        ({**LJ.model_dump(), "calculator": "ase.calculators.lj.Lenard"}, ["no such calculator"]),
        ({**LJ.model_dump(), "calculator": "nowhere.Nothing"}, ["no such calculator", "install"]),
        (
            {**LJ.model_dump(), "calculator": "ase.calculators.acn.ACN"},
            ["no label without energy, forces and stress", "stress"],
        ),
    ],
)
def test_a_labeler_that_cannot_label_is_one_line_before_anything_is_queued(
    lycb, tmp_path, labeler, words
):
    file = with_labeler(tmp_path, labeler)
    assert_one_line(lycb("run", file, "--store", tmp_path / "store"), *words)
    assert not list(open_store(tmp_path / "store").find_all(schemas.CampaignRecord))


def test_gpaw_that_is_not_there_is_one_line_before_anything_is_queued(lycb, tmp_path, monkeypatch):
    monkeypatch.setattr(util, "find_spec", lambda _name: None)
    file = with_labeler(tmp_path, {"type": "gpaw"})
    result = lycb("run", file, "--store", tmp_path / "store")
    assert_one_line(result, "GPAW is not installed", "scripts/install_gpaw.sh")
    assert not list(open_store(tmp_path / "store").find_all(schemas.CampaignRecord))
    assert lycb("plan", file, "--store", tmp_path / "store")[0] == 0  # it may run elsewhere


def test_a_campaign_with_a_calculator_goes_from_the_yaml_to_the_report(tmp_path):
    store = open_store(tmp_path / "store")
    submission, names = run_campaign(store, read_campaign(CALCULATOR))
    assert submission.theory == ase_theory(submission.campaign.labels.labeler)
    assert reopen(store, submission.record).theory == submission.theory
    steps = plan_campaign(store, submission.campaign, submission.theory)
    assert Counter(job.name for step in steps for job in step.jobs) == Counter(names)
    assert any("cost unknown" in step.work for step in steps)
    found = find_results(store, submission.campaign, submission.theory)
    assert len(found.rounds) == 1
    labels = list(store.find_all(schemas.Label))
    assert len(labels) == 6
    assert {label.theory for label in labels} == {submission.theory.fingerprint}
    report = write_report(store, "calculator", found.document_keys(), tmp_path / "report")
    assert "user&#39;s word" in report.read_text()


def test_the_plan_of_dft_labels_counts_atoms_points_and_plane_waves(tmp_path, monkeypatch):
    monkeypatch.setattr(GpawEngine, "check", lambda *_: None)
    store = open_store(tmp_path)
    campaign = read_campaign(with_labeler(tmp_path, {"type": "gpaw"}))
    submission = submit(store, campaign)
    steps = plan_campaign(store, submission.campaign, submission.theory)
    (labels,) = (step for step in steps if step.stage.startswith("r00") and "labels" in step.work)
    assert labels.cpu_s == pytest.approx(4 * plane_wave_s(20, (3, 3, 3), 350.0), rel=1e-9)
    # measured: 40 s for 10 atoms with 3x3x3, 114 s for 60 atoms at Gamma
    assert 20 < plane_wave_s(10, (3, 3, 3), 350.0) < 80
    assert 57 < plane_wave_s(60, (1, 1, 1), 350.0) < 228


# -- checks of an answer --------------------------------------------------------------------------


def assert_stress_is_the_strain_derivative(engine, structure, step):
    """In sign and to 2 % or 0.1 GPa; returns the label of the compressed structure."""
    label = engine.label(structure)
    stress = np.array(label.stress_gpa)
    assert np.trace(stress) / 3 < -5.0  # compressed; tension is positive
    atoms = to_ase(structure)
    for i, j in ((0, 0), (1, 1), (0, 1), (1, 2)):
        energies = []
        for sign in (-1, 1):
            strain = np.zeros((3, 3))
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            energies.append(engine.label(canonical_structure(strained)).energy_ev)
        slope_gpa = (energies[1] - energies[0]) / (2 * step) / atoms.get_volume() * EV_PER_ANG3_GPA
        assert stress[i, j] == pytest.approx(slope_gpa, rel=0.02, abs=0.1)
    return label


@pytest.mark.parametrize("config", [LJ, EMT])
def test_stress_of_a_calculator_is_the_strain_derivative_of_its_energy(config):
    label = assert_stress_is_the_strain_derivative(AseCalculator(config), copper(), 1e-4)
    assert label.theory_name.startswith(f"ase {config.calculator}")
    assert "user's word" in label.warnings[0]


def test_stress_of_chgnets_labels_is_the_strain_derivative_of_its_energy():
    source = find_model("chgnet-0.3.0")
    engine = Teacher(source.model, load_potential(source.model, source.weights))
    atoms = bulk("LiBr", "rocksalt", a=5.0, cubic=True)
    atoms.rattle(0.05, seed=1)
    shear = np.array([[0.0, 0.02, 0.0], [0.02, 0.0, 0.01], [0.0, 0.01, 0.0]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + shear), scale_atoms=True)
    # single precision: steps of 0.004 keep its noise below 0.01 GPa
    assert_stress_is_the_strain_derivative(engine, canonical_structure(atoms), 4e-3)


def good_answer(structure, **changes):
    n_atoms = len(structure.species)
    facts = {
        "species": structure.species,
        "lattice_ang": structure.lattice_ang,
        "energy_ev": -3.0 * n_atoms,
        "forces_ev_per_ang": ((0.0, 0.1, 0.0),) * n_atoms,
        "stress_ev_per_ang3": ((0.01, 0.0, 0.0), (0.0, 0.02, 0.0), (0.0, 0.0, 0.03)),
    }
    return Answer.model_validate(facts | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"energy_ev": math.nan}, "not finite.*energy"),
        ({"energy_ev": -3e4}, "beyond all sense.*energy"),
        ({"forces_ev_per_ang": ((0.0, math.inf, 0.0),) * 4}, "not finite.*force"),
        ({"forces_ev_per_ang": ((0.0, 1e3, 0.0),) * 4}, "beyond all sense.*force"),
        ({"forces_ev_per_ang": ((0.0, 0.0, 0.0),) * 3}, "another shape.*forces"),
        ({"stress_ev_per_ang3": ()}, "another shape.*stress"),
        ({"stress_ev_per_ang3": ((math.nan,) * 3,) * 3}, "not finite.*stress"),
        ({"stress_ev_per_ang3": ((9.0,) * 3,) * 3}, "beyond all sense.*stress"),
        ({"species": ("Cu", "Cu", "Cu", "Ag")}, "another composition"),
        ({"lattice_ang": tuple(map(tuple, np.diag([3.51] * 3).tolist()))}, "changed the cell"),
    ],
)
def test_an_answer_that_nobody_should_trust_is_no_label(changes, words):
    structure, theory = copper(), gpaw_theory("paper-static")
    label = checked_label(structure, theory, good_answer(structure), kpoint_mesh=(3, 3, 3))
    assert np.diag(label.stress_gpa) == pytest.approx(np.array([1, 2, 3]) * 1.602177, rel=1e-6)
    assert label.kpoint_mesh == (3, 3, 3)
    with pytest.raises(LabelError, match=words) as caught:
        checked_label(structure, theory, good_answer(structure, **changes))
    assert "\n" not in str(caught.value)


class NoStress(Calculator):
    """Promises a stress and has none."""

    implemented_properties = ("energy", "forces", "stress")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


class Unlucky(LennardJones):
    """Fails as programs do."""

    def calculate(self, *_arguments, **_keywords):
        message = "cp2k ended with\nexit code 137"
        raise RuntimeError(message)


@pytest.mark.parametrize(
    ("name", "words"), [("NoStress", "without energy, forces and stress"), ("Unlucky", "137")]
)
def test_a_calculator_that_fails_is_a_reason_on_one_line(name, words):
    config = AseLabeler(calculator=f"{__name__}.{name}", version="1", functional="none")
    with pytest.raises(LabelError, match=words) as caught:
        AseCalculator(config).label(copper())
    assert "\n" not in str(caught.value)


class OnInstance(LennardJones):
    """States its properties when it is made, as potentials of many packages do."""

    implemented_properties = ()

    def __init__(self, states=("energy", "forces", "stress"), weights=None, **parameters):
        super().__init__(**parameters)
        self.implemented_properties = list(states)


def test_a_calculator_may_state_its_properties_when_it_is_made(tmp_path):
    def config(**parameters):
        path = f"{__name__}.OnInstance"
        return AseLabeler(calculator=path, version="1", functional="none", parameters=parameters)

    AseEngine().check(config(sigma=2.3), {"Cu"}, Machine())
    assert AseCalculator(config(sigma=2.3)).label(copper()).converged
    with pytest.raises(InputError, match=r"without energy, forces and stress.*stress"):
        AseEngine().check(config(states=["energy", "forces"]), {"Cu"}, Machine())
    with pytest.raises(InputError, match="cannot be made"):
        AseEngine().check(config(states=1), {"Cu"}, Machine())
    program = tmp_path / "some.model"
    program.write_bytes(pickle.dumps({}))
    with pytest.raises(InputError, match=r"is a program.*teacher"):
        AseEngine().check(config(weights=str(program)), {"Cu"}, Machine())


def test_a_calculator_is_named_by_path_version_and_parameters():
    theories = [
        ase_theory(LJ.model_copy(update=update))
        for update in ({}, {"version": "4"}, {"calculator": "a.B"}, {"parameters": {"sigma": 2.5}})
    ]
    assert len({theory.fingerprint for theory in theories}) == len(theories)
    assert find_calculator(LJ) is LennardJones


def test_the_committed_data_set_is_of_the_level_that_it_names():
    path = ROOT / "docs" / "dft_labels" / "li3ybr6_pbe.extxyz"
    frames = ase.io.read(path, ":")
    theory = gpaw_theory("paper-static").fingerprint
    assert len(frames) == 28
    assert {frame.info["theory"] for frame in frames} == {theory}
    for frame in frames:
        structure = canonical_structure(frame)
        assert frame.get_chemical_formula() == "Br6Li3Y"
        assert np.abs(frame.get_forces().sum(axis=0)).max() < 0.1  # eV/Å, of a grid's egg box
        assert frame.get_stress(voigt=False).shape == (3, 3)
        assert structure.species == tuple(frame.get_chemical_symbols())
    splits = {frame.info["split"]: None for frame in frames}
    assert set(splits) == {"train", "validation", "test"}

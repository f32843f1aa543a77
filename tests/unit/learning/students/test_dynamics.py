"""Volumes and D of a student beside its teacher's: ratios, errors, resumed runs, one line."""

import json

import ase.io
import numpy as np
import pytest
import yaml
from ase.build import bulk
from messages import assert_one_line
from neps import STUDENT

import lycb_flows as lf
from lycb_flows.config import DiffusionConfig, RelaxationConfig
from lycb_flows.crystals import canonical_structure, to_ase
from lycb_flows.errors import InputError
from lycb_flows.learning.students.dynamics import DynamicsPlan, DynamicsRuns, Ratio, _ratio_of
from lycb_flows.learning.students.frames import label, rattled
from lycb_flows.learning.students.training import StudentRecipe, train_student
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.quantities.trajectory import config_for
from lycb_flows.testing import lattice_walkers
from lycb_flows.transport.diffusion import analyse_diffusion

SALT = canonical_structure(bulk("LiCl", "rocksalt", a=5.1, cubic=True))
SHORT = {
    "time_step_fs": 2.0, "heating_ps": 0.02, "equilibration_ps": 0.02, "segment_ps": 0.1,
    "sample_interval_fs": 4.0,
}  # fmt: skip
LENGTHS = ("--duration-ps", "0.2", "--npt-ps", "0.2", "--replicas", "2", "--temperature-k", "200")


@pytest.fixture(scope="module")
def teacher():
    source = find_model("toy-soft")
    return load_potential(source.model, source.weights)


@pytest.fixture(scope="module")
def salt(teacher):
    """LiCl at the teacher's own volume."""
    return lf.relax(SALT, teacher, RelaxationConfig(fmax_ev_per_ang=0.02)).structure


@pytest.fixture(scope="module")
def student(teacher, salt):
    labelled = label(teacher, rattled(salt, 40, seed=0))
    return train_student(STUDENT, labelled, StudentRecipe(updates=150, atoms_per_batch=64))


@pytest.fixture
def files(tmp_path, student, salt):
    crystal, path, protocol = (tmp_path / name for name in ("salt.cif", "s.txt", "md.yaml"))
    ase.io.write(crystal, to_ase(salt))
    path.write_bytes(student.weights_bytes())
    protocol.write_text(yaml.safe_dump(SHORT))
    return path, crystal, protocol


def certify(lycb, files, out, *options):
    student, crystal, protocol = files
    return lycb(
        "certify", student, crystal, "--out", out, "--teacher", "toy-soft", "--protocol", protocol,
        *LENGTHS, *options,
    )  # fmt: skip


def estimates(diffusivity_m2_per_s, seeds):
    return [
        analyse_diffusion(
            np.pad(
                lattice_walkers(18, diffusivity_m2_per_s, 50, 0.5, seed), [(0, 0), (0, 1), (0, 0)]
            ),
            0.5,
            [True] * 18 + [False],
            [[12, 0, 0], [0, 12, 0], [0, 0, 12]],
            600.0,
            DiffusionConfig(discard_ps=0),
        ).estimate
        for seed in seeds
    ]


def test_ratios_carry_the_errors_of_both():
    found = Ratio(student=2.0, student_err=0.06, teacher=4.0, teacher_err=0.16)
    assert found.ratio == 0.5
    assert found.ratio_err == pytest.approx(0.5 * 0.05)
    assert found.differs_by == pytest.approx(20.0)


def test_the_ratio_of_known_walks_is_theirs():
    sides = {"student": estimates(2e-9, range(3)), "teacher": estimates(1e-9, range(3, 6))}
    found, reason = _ratio_of(sides, 50.0)
    assert not reason
    assert abs(found.ratio - 2) < 3 * found.ratio_err < 0.8


def test_ions_that_stay_have_no_ratio_but_a_reason():
    sides = {"student": estimates(1e-16, range(2)), "teacher": estimates(1e-9, range(2))}
    found, reason = _ratio_of(sides, 50.0)
    assert found is None
    assert reason.startswith("the runs of the student have no D to pool: ")


def test_a_student_that_is_its_teacher_has_its_volumes_exactly(student, salt, tmp_path):
    plan = DynamicsPlan(
        temperature_k=200.0, volume_temperatures_k=(100.0,), n_replicas=2, nvt_ps=0.2, npt_ps=0.2
    )
    plan = DynamicsPlan(**{**plan.__dict__, "md": plan.md.model_copy(update=SHORT)})
    found = DynamicsRuns(tmp_path, student, student, salt, plan).compare(config_for(salt.species))
    assert list(found.volumes_ang3_per_atom) == [100.0, 200.0]
    assert all(ratio.ratio == 1 for ratio in found.volumes_ang3_per_atom.values())
    assert found.regimes["student"] == found.regimes["teacher"]


def test_longer_npt_runs_go_on_and_what_diffuses_in_their_cell_is_new(student, salt, tmp_path):
    def compare(npt_ps):
        md = DynamicsPlan().md.model_copy(update=SHORT)
        plan = DynamicsPlan(200.0, (), n_replicas=2, nvt_ps=0.2, npt_ps=npt_ps, md=md)
        found = DynamicsRuns(tmp_path, student, student, salt, plan).compare(
            config_for(salt.species)
        )
        return found, {path.name for path in tmp_path.iterdir()}

    first, begun = compare(0.2)
    longer, folders = compare(0.3)
    volumes = [found.volumes_ang3_per_atom[200.0].student for found in (first, longer)]
    assert volumes[0] != volumes[1]
    assert len(begun) == 6
    assert len(folders - begun) == 4
    assert all("-nvt-200K-" in name for name in folders - begun)


def test_the_price_comes_first_and_runs_nothing(lycb, files, tmp_path):
    code, out, err = certify(lycb, files, tmp_path / "runs")
    assert code == 0
    assert not out
    assert "Runs of 8 atoms cost about: student" in err
    assert not (tmp_path / "runs").exists()


def test_what_is_found_joins_the_certificate_and_is_not_run_again(lycb, files, tmp_path):
    certificate = files[0].with_suffix(".certificate.json")
    certificate.write_text('{"frames": 40}')
    code, out, _ = certify(lycb, files, tmp_path / "runs", "--dynamics", "--json")
    assert code == 0
    found = json.loads(out)
    assert json.loads(certificate.read_text()) == {"frames": 40, "dynamics": found}
    assert found["atoms"] == 8
    for volume in found["volumes_ang3_per_atom"].values():
        assert volume["ratio"] == pytest.approx(1, abs=0.03)
    files_of_runs = sorted((tmp_path / "runs").glob("*/trajectory.h5"))
    assert len(files_of_runs) == 8
    before = [path.read_bytes() for path in files_of_runs]
    assert certify(lycb, files, tmp_path / "runs", "--dynamics", "--json")[1] == out
    assert [path.read_bytes() for path in files_of_runs] == before


def test_folders_of_another_teacher_or_of_the_student_before_its_training_are_refused(
    lycb, files, teacher, salt, tmp_path
):
    assert certify(lycb, files, tmp_path / "runs", "--dynamics")[0] == 0
    code, out, err = certify(
        lycb, files, tmp_path / "runs", "--dynamics", "--teacher", "toy-teacher"
    )
    after_price = (code, out, err.splitlines()[-1])
    assert_one_line(after_price, "another run", "differs_in=model", "teacher-npt")
    labelled = label(teacher, rattled(salt, 4, seed=1))
    again = train_student(STUDENT, labelled, StudentRecipe(updates=4, atoms_per_batch=64))
    files[0].write_bytes(again.weights_bytes())
    code, out, err = certify(lycb, files, tmp_path / "runs", "--dynamics")
    after_price = (code, out, err.splitlines()[-1])
    assert_one_line(after_price, "another run", "differs_in=model", "student-npt")


def test_a_single_replica_is_refused_in_one_line(lycb, files, tmp_path):
    with pytest.raises(InputError, match="a single run has no scatter"):
        DynamicsPlan(n_replicas=1)
    assert_one_line(
        certify(lycb, files, tmp_path / "runs", "--replicas", "1"), "a single run has no scatter"
    )

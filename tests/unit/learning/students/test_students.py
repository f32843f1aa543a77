"""Students: the trainer, the extrapolation grade, and distillation with its certificate."""

import json

import numpy as np
import pytest
from ase.build import bulk
from neps import SHAPES, STUDENT
from typer.testing import CliRunner

from lycb_flows.cli.app import app
from lycb_flows.crystals import canonical_structure, to_ase
from lycb_flows.errors import InputError
from lycb_flows.learning.students.certificate import errors_of
from lycb_flows.learning.students.distillation import Plan, distil
from lycb_flows.learning.students.extrapolation import find_active_set
from lycb_flows.learning.students.frames import label, rattled
from lycb_flows.learning.students.training import StudentRecipe, train_student
from lycb_flows.machine import Stage, pause_s
from lycb_flows.potentials.models import find_model, load_potential

SALT = canonical_structure(bulk("LiCl", "rocksalt", a=5.1, cubic=True))


@pytest.fixture(scope="module")
def teacher():
    source = find_model("toy-soft")
    return load_potential(source.model, source.weights)


@pytest.fixture(scope="module")
def labelled(teacher):
    return label(teacher, rattled(SALT, 24, seed=0)[:16])


def test_a_student_learns_what_its_teacher_says(teacher, labelled):
    losses = []
    recipe = StudentRecipe(updates=200, atoms_per_batch=64)
    student = train_student(STUDENT, labelled, recipe, watch=lambda _, loss: losses.append(loss))
    unseen = label(teacher, rattled(SALT, 24, seed=5)[:16:3])
    rms = np.sqrt(np.mean([np.mean(each.forces_ev_per_ang**2) for each in unseen]))
    errors = errors_of(student, unseen)
    assert errors.force_rmse_ev_per_ang < 0.35 * rms
    assert 0.9 < errors.force_slope < 1.1
    assert errors.energy_mae_ev_per_atom < 0.2 * np.std(
        [each.energy_ev / each.n_atoms for each in unseen]
    )
    assert np.mean(losses[-9:]) < 0.1 * np.mean(losses[:9])


def test_a_compiled_training_is_that_of_torch(labelled, monkeypatch):
    recipe = StudentRecipe(updates=6, atoms_per_batch=64)
    by_torch = train_student(SHAPES["three-body"], labelled, recipe)
    monkeypatch.setattr("lycb_flows.learning.students.training._WORTH_COMPILING", 0)
    compiled = train_student(SHAPES["three-body"], labelled, recipe)
    ours, theirs = compiled.predict([SALT])[0], by_torch.predict([SALT])[0]
    assert compiled.weights_bytes() != by_torch.weights_bytes()
    np.testing.assert_allclose(ours.energy_ev, theirs.energy_ev, atol=1e-3)
    np.testing.assert_allclose(ours.stress_gpa, theirs.stress_gpa, atol=1e-3)


def test_equal_seeds_give_equal_students(labelled):
    students = [
        train_student(STUDENT, labelled[:6], StudentRecipe(updates=5, seed=seed)).weights_bytes()
        for seed in (0, 0, 1)
    ]
    assert students[0] == students[1]
    assert students[0] != students[2]


def test_a_student_without_labels_is_refused():
    with pytest.raises(InputError, match="labels"):
        train_student(STUDENT, [], StudentRecipe())


def test_frames_like_the_training_are_interpolations_and_a_squeezed_crystal_is_none(labelled):
    student = train_student(STUDENT, labelled, StudentRecipe(updates=3))
    trained = [each.structure for each in labelled]
    active = find_active_set(student, trained)
    assert active.grades(student, trained).max() < 1.05
    atoms = to_ase(SALT)
    atoms.set_cell(0.75 * atoms.cell.array, scale_atoms=True)
    atoms.rattle(0.2, seed=0)
    (grade,) = active.grades(student, [canonical_structure(atoms)])
    assert grade > 3


def test_lycb_distil_writes_a_student_and_its_certificate(tmp_path):
    to_ase(SALT).write(tmp_path / "salt.cif")
    out = tmp_path / "student.txt"
    result = CliRunner().invoke(
        app,
        f"distil {tmp_path / 'salt.cif'} --out {out} --teacher toy-soft --temperature-k 150 "
        "--rounds 1 --updates 150 --neurons 10",
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    assert "meV/Å" in result.output
    facts = json.loads((tmp_path / "student.certificate.json").read_text())
    assert facts["teacher"]["name"] == "toy-soft"
    assert [each["ensemble"] for each in facts["conditions"]] == ["nvt", "npt"]
    assert all(each["errors"]["n_labels"] >= 20 for each in facts["conditions"])
    assert abs(facts["drift_ev_per_atom_per_ps"]) < 1e-3
    source = find_model(str(out))
    (point,) = load_potential(source.model, source.weights).predict([SALT])
    assert np.isfinite(point.energy_ev)


def test_a_long_stage_tells_what_is_left_and_a_short_one_nothing(monkeypatch):
    clock, lines = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    stage = Stage(lines.append, "labelling", 40)
    for done, clock[0] in enumerate((2.0, 4.0, 6.0, 8.0, 12.0, 80.0), 1):
        stage.reach(done if clock[0] < 80 else 40, "loss 3")
    assert lines == [
        "labelling: 3 of 40, loss 3, about 74 s left",
        "labelling: 5 of 40, loss 3, about 84 s left",
    ]


@pytest.mark.parametrize(("elapsed_s", "expected_s"), [(0, 5), (100, 5), (400, 20), (9000, 60)])
def test_long_work_is_told_of_less_often(elapsed_s, expected_s):
    assert pause_s(elapsed_s) == expected_s


def test_every_stage_of_a_distillation_tells_how_far_it_is(teacher, monkeypatch):
    monkeypatch.setattr("lycb_flows.machine.progress.EVERY_S", 0.0)
    lines = []
    recipe = StudentRecipe(updates=8, atoms_per_batch=64)
    plan = Plan((150.0, 200.0), rattled_per_start=3, rounds=1, run_ps=0.1, recipe=recipe)
    distil([SALT], teacher, STUDENT, plan, tell=lines.append)
    stages = {line.split(":")[0] for line in lines if line.endswith(" left")}
    assert stages == {"labelling frames", "round 1", "conditions", "last", "certificate"}
    assert "last: training on" in " ".join(lines)

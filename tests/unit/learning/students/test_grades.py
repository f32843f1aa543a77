"""The extrapolation grade at every step of a student's dynamics, and its limit."""

from functools import partial

import numpy as np
import pytest
from ase.build import bulk
from neps import STUDENT
from springs import frames_of, protocol, run

from lycb_flows.config import HealthConfig, MDConfig
from lycb_flows.crystals import canonical_structure, structure_from_arrays
from lycb_flows.errors import InputError
from lycb_flows.learning.students.certificate import OwnRuns, certify_statics
from lycb_flows.learning.students.distillation import Plan, teach_student
from lycb_flows.learning.students.extrapolation import find_active_set
from lycb_flows.learning.students.frames import (
    OwnFrames,
    _spread,
    frames_of_runs,
    label,
    needed_ps,
    rattled,
    short_protocols,
    short_settings,
)
from lycb_flows.learning.students.training import StudentRecipe, train_student
from lycb_flows.md import production_start
from lycb_flows.potentials.models import find_model, load_potential

SALT = canonical_structure(bulk("LiCl", "rocksalt", a=5.1, cubic=True))
EVERY_STEP = {"temperature_k": 300.0, "start_temperature_k": 300.0, "sample_interval_steps": 1}


@pytest.fixture(scope="module")
def teacher():
    source = find_model("toy-soft")
    return load_potential(source.model, source.weights)


@pytest.fixture(scope="module")
def taught(teacher):
    """A student that knows cold crystals only, and what its grades are measured by."""
    labelled = label(teacher, rattled(SALT, 40, seed=0)[:12])
    student = train_student(STUDENT, labelled, StudentRecipe(updates=150, atoms_per_batch=64))
    active = find_active_set(student, [each.structure for each in labelled])
    return student, active, student.graded_by(active.transforms)


@pytest.fixture(scope="module")
def free(taught):
    """Frames of every step of a run without a limit, and their grades."""
    student, active, graded = taught
    segments = run(SALT, protocol(**EVERY_STEP, segment_steps=60), 60, potential=graded)
    found = frames_of(segments)
    structures = [
        structure_from_arrays(cell, list(SALT.species), coords)
        for cell, coords in zip(found.cells_ang, found.frac_coords, strict=True)
    ]
    return segments, active.grades(student, structures)


def test_the_grade_of_a_run_is_the_largest_of_its_frames(free):
    (segment,), grades = free
    assert segment.largest_grade == pytest.approx(grades.max(), rel=1e-3)
    assert grades.max() > 1.2 * grades[0]


def test_a_run_ends_at_the_step_that_passes_the_limit(taught, free):
    _, grades = free
    limit = (grades[0] + grades.max()) / 2
    how = protocol(**EVERY_STEP, segment_steps=60, health=HealthConfig(extrapolation_limit=limit))
    (segment,) = run(SALT, how, 60, potential=taught[2])
    assert segment.health.failed_step == np.flatnonzero(grades > limit)[0]
    assert segment.health.reason.startswith("extrapolation grade")
    assert segment.largest_grade > limit
    assert segment.end.step == segment.health.failed_step


def test_the_frame_that_passes_the_limit_is_kept_for_the_teacher(taught, free):
    student, active, graded = taught
    limit = (free[1][0] + free[1].max()) / 2
    md = MDConfig(health=HealthConfig(extrapolation_limit=limit))
    constant = short_protocols(300.0, config=short_settings(md))[0]
    own = frames_of_runs([SALT], graded, constant, duration_ps=0.5, per_run=2, seed=0)
    assert active.grades(student, own.frames[-1:])[0] > limit
    assert own.failures == []
    assert own.largest_grade > limit


@pytest.mark.parametrize(("n_frames", "long_ps"), [(50, 4.0), (120, 4.0), (200, 6.7)])
def test_the_runs_of_a_certificate_are_as_long_as_its_frames_need(
    taught, teacher, n_frames, long_ps, monkeypatch
):
    lengths_ps = []

    def instead_of_runs(_starts, _potential, _how, *, duration_ps, per_run, seed):
        lengths_ps.append(duration_ps)
        return OwnFrames(rattled(SALT, per_run, seed), [], 1.0)

    monkeypatch.setattr(f"{certify_statics.__module__}.frames_of_runs", instead_of_runs)
    certify_statics(
        taught[0], partial(label, teacher), [SALT], OwnRuns((50.0,), n_frames=n_frames),
        trained_on=[SALT],
    )  # fmt: skip
    assert lengths_ps == pytest.approx([long_ps] * 2)


@pytest.mark.parametrize("time_step_fs", [0.7, 1.0, 2.0, 3.0])
def test_a_run_of_the_needed_length_has_the_frames(time_step_fs):
    md = short_settings(MDConfig(time_step_fs=time_step_fs))
    for how in short_protocols(300.0, config=md):
        every, heated = how.sample_interval_steps, production_start(how)
        for per_run in range(1, 80):
            last = heated + round(needed_ps(how, per_run) * 1000 / time_step_fs)
            frames = [step for step in range(heated + 1, last + 1) if step % every == 0]
            assert len(_spread(frames, per_run)) == per_run


def test_frames_beyond_the_limit_join_the_training(teacher):
    md = MDConfig(health=HealthConfig(extrapolation_limit=0.5))  # any run passes it at once
    recipe = StudentRecipe(updates=200, atoms_per_batch=64)
    plan = Plan((150.0,), 8, 1, 1, run_ps=0.2, recipe=recipe, md=md)
    asked = []

    def teach(structures):
        asked.append(len(structures))
        return label(teacher, structures)

    _, labelled = teach_student([SALT], teach, STUDENT, plan)
    assert asked == [8, 2]  # one from NVT and one from NpT
    assert len(labelled) == 10


def test_a_limit_needs_a_potential_that_has_a_grade(taught, teacher):
    how = protocol(**EVERY_STEP, health=HealthConfig(extrapolation_limit=2.0))
    for potential in (teacher, taught[0]):
        with pytest.raises(InputError, match="extrapolation grade") as caught:
            run(SALT, how, 10, potential=potential)
        assert "campaign's student" in caught.value.fix


def test_a_potential_without_a_grade_tells_none(teacher, taught):
    for potential in (teacher, taught[0]):
        (segment,) = run(SALT, protocol(**EVERY_STEP, segment_steps=5), 5, potential=potential)
        assert segment.largest_grade is None

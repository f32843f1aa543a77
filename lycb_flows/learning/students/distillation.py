"""A student of any potential: frames, labels, training, certificate, without any DFT.

The first frames are rattled crystals; each round then adds frames of runs of the student so far,
in NVT and NpT at every temperature, labelled by the teacher, and trains on all of them. So a
student learns where its own dynamics lead it, and the teacher is asked for labels only, never for
a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from lycb_flows.config import MDConfig
from lycb_flows.errors import InputError
from lycb_flows.learning.labelled import LabelledStructure
from lycb_flows.learning.students.certificate import (
    Certificate,
    OwnRuns,
    certify_statics,
    errors_of,
)
from lycb_flows.learning.students.extrapolation import find_active_set
from lycb_flows.learning.students.frames import (
    Teach,
    frames_of_runs,
    label,
    rattled,
    short_protocols,
    short_settings,
)
from lycb_flows.learning.students.training import StudentRecipe, train_student
from lycb_flows.machine import Stage, Tell, no_tell
from lycb_flows.potentials import NepPotential, NepShape, Potential
from lycb_flows.schemas import Structure


@dataclass(frozen=True)
class Plan:
    """How a student is made.

    Attributes
    ----------
    temperatures_k
        Of its runs.
    rattled_per_start
        First frames of each crystal.
    rounds
        How often frames of its runs are added.
    frames_per_run
        Taken of each run: a crystal at one temperature in one ensemble.
    run_ps
        Length of these runs.
    recipe
        Of the last training; those before it take a quarter of its updates.
    pressures_bar
        Of its NpT runs.
    md
        Of the runs that the student is for. With `health.extrapolation_limit` a run for training
        ends where it passes it, and that frame goes to the teacher.
    """

    temperatures_k: tuple[float, ...] = (300.0, 600.0, 900.0)
    rattled_per_start: int = 16
    rounds: int = 3
    frames_per_run: int = 5
    run_ps: float = 2.0
    recipe: StudentRecipe = StudentRecipe()  # noqa: RUF009 - frozen
    pressures_bar: tuple[float, ...] = (1.0,)
    md: MDConfig = MDConfig()  # noqa: RUF009 - frozen


@dataclass(frozen=True)
class Student:
    """A student with what it was trained on and what is known of it."""

    potential: NepPotential
    labelled: tuple[LabelledStructure, ...]
    certificate: Certificate


def distil(
    starts: Sequence[Structure],
    teacher: Potential,
    shape: NepShape,
    plan: Plan,
    *,
    labels: Sequence[LabelledStructure] = (),
    tell: Tell = no_tell,
) -> Student:
    """Return a student of a teacher for some crystals.

    Parameters
    ----------
    starts
        Ordered crystals near their minima.
    teacher
        Labels frames.
    shape
        Sizes of the student.
    plan
        Frames and training.
    labels
        Labels of a level of theory, for the certificate only.
    tell
        Called as it goes on.

    Raises
    ------
    InputError
        Without crystals.
    """
    teach = partial(label, teacher, tell=tell)
    student, labelled = teach_student(starts, teach, shape, plan, tell=tell)
    certificate = certify_statics(
        student,
        teach,
        starts,
        OwnRuns(plan.temperatures_k, plan.pressures_bar, md=plan.md),
        trained_on=[each.structure for each in labelled],
        tell=tell,
    )
    if labels:
        certificate = replace(certificate, on_labels=errors_of(student, labels))
    return Student(student, tuple(labelled), certificate)


def teach_student(
    starts: Sequence[Structure],
    teach: Teach,
    shape: NepShape,
    plan: Plan,
    *,
    given: Sequence[Structure] = (),
    tell: Tell = no_tell,
) -> tuple[NepPotential, list[LabelledStructure]]:
    """Return a student without a certificate, and the labels that it was trained on.

    Parameters
    ----------
    starts
        Ordered crystals near their minima.
    teach
        Labels by the teacher.
    shape
        Sizes of the student.
    plan
        Frames and training.
    given
        Further frames to learn from, such as those of other runs.
    tell
        Called as it goes on.

    Raises
    ------
    InputError
        Without crystals.
    """
    if not starts:
        raise InputError("a student needs crystals", fix="give ordered structures")
    seed = plan.recipe.seed
    frames = [
        frame
        for i, start in enumerate(starts)
        for frame in rattled(start, plan.rattled_per_start, seed + i)
    ]
    tell(f"labelling {len(frames) + len(given)} rattled crystals and given frames")
    labelled = teach([*frames, *given])
    first = replace(plan.recipe, updates=plan.recipe.updates // 4)
    for i in range(plan.rounds):
        round_ = f"round {i + 1}"
        student = _train(shape, labelled, first, round_, tell)
        if plan.md.health.extrapolation_limit is not None:
            student = student.graded_by(
                find_active_set(student, [each.structure for each in labelled]).transforms
            )
        tell(f"{round_}: runs of the student")
        frames, n_lost = _frames_of_student(student, starts, plan, seed + 1000 * (i + 1), tell)
        new = teach(frames)
        if new:
            force_mae = 1e3 * errors_of(student, new).force_mae_ev_per_ang
            tell(
                f"{round_}: {len(new)} frames of the student's runs labelled, its forces "
                f"were off by {force_mae:.1f} meV/Å there; {n_lost} runs left physics"
            )
        labelled += new
    return _train(shape, labelled, plan.recipe, "last", tell), labelled


def _train(
    shape: NepShape,
    labelled: Sequence[LabelledStructure],
    recipe: StudentRecipe,
    which: str,
    tell: Tell,
) -> NepPotential:
    tell(f"{which}: training on {len(labelled)} frames, {recipe.updates} updates")
    stage = Stage(tell, f"{which}: updates", recipe.updates)
    return train_student(
        shape, labelled, recipe, watch=lambda done, loss: stage.reach(done, f"loss {loss:.2g}")
    )


def _frames_of_student(
    student: NepPotential, starts: Sequence[Structure], plan: Plan, seed: int, tell: Tell
) -> tuple[list[Structure], int]:
    frames, n_lost, config = list[Structure](), 0, short_settings(plan.md)
    protocols = [
        protocol
        for temperature_k in plan.temperatures_k
        for protocol in short_protocols(temperature_k, plan.pressures_bar, config)
    ]
    stage = Stage(tell, "conditions", len(protocols))
    for done, protocol in enumerate(protocols, 1):
        own = frames_of_runs(
            starts,
            student,
            protocol,
            duration_ps=plan.run_ps,
            per_run=plan.frames_per_run,
            seed=seed,
        )
        frames += own.frames
        n_lost += len(own.failures)
        stage.reach(done)
    return frames, n_lost

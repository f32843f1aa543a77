"""What a report says of the student that measures: its statics, and what nobody looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lycb_flows.report import (
    MISSING,
    Cell,
    Part,
    ReportData,
    Section,
    Statement,
    Table,
    counted,
    fixed,
    mae_triple,
    number,
    ours,
)
from lycb_flows.schemas import ModelErrors, Run, Student, StudentCondition
from lycb_flows.units import EV_MEV

_FEW: Final = 50
"""Frames at a temperature below which the statics are a trial."""
_COLUMNS: Final = (
    "T (K)", "p (bar)", "frames", "energy (meV/atom)", "forces (meV/Å)", "stress (MPa)",
    "force slope", "largest grade", "runs that left physics",
)  # fmt: skip


def student_sections(data: ReportData) -> Iterator[Section]:
    """Yield the chapter on the student, where one measures.

    Parameters
    ----------
    data
        What the report rests on.
    """
    if data.students:
        parts = tuple(_part(data, student) for student in data.students)
        yield Section("student", "Student", (), parts)


def _part(data: ReportData, student: Student) -> Part:
    teacher = data.model_name(student.teacher)
    rows = [_row(student, condition) for condition in student.conditions]
    if student.on_labels is not None:
        texts = ("test labels", MISSING, *_errors(student.on_labels), MISSING, MISSING)
        rows.append(ours(student.key, texts))
    learned = (
        f"Its teacher labelled {counted(student.n_frames, 'frame')}: {student.n_given} chosen by "
        "the rounds, the others rattled crystals and frames of its own runs."
    )
    drift_mev = student.drift_ev_per_atom_per_ps * EV_MEV
    return Part(
        data.model_name(student.model),
        lead=(
            f"A NEP that repeats {teacher}.",
            learned,
            _UNCOMPARED.format(teacher=teacher),
        ),
        tables=(
            Table(
                "Statics",
                _COLUMNS,
                tuple(rows),
                f"Mean absolute errors against {teacher} on frames of the student's own runs, none "
                "of the training's; on test labels after one shift of the reference energies. "
                "Grade: MaxVol's, up to 1 an interpolation. "
                f"Energy drifts by {number(drift_mev, 2)} meV/atom/ps in NVE.",
            ),
        ),
    )


_UNCOMPARED: Final = "Its dynamics were not compared with those of {teacher}."


def _row(student: Student, condition: StudentCondition) -> tuple[Cell, ...]:
    pressure = "NVT" if condition.pressure_bar is None else f"{condition.pressure_bar:g}"
    texts = (
        f"{condition.temperature_k:g}",
        pressure,
        *_errors(condition.errors),
        fixed(condition.largest_grade),
        str(len(condition.failures)),
    )
    return ours(student.key, texts)


def _errors(errors: ModelErrors | None) -> tuple[str, ...]:
    if errors is None:
        return ("0", *[MISSING] * 4)
    maes = (number(mae) for mae in mae_triple(errors))
    return (str(errors.n_labels), *maes, fixed(errors.force_slope))


def student_doubts(data: ReportData) -> Iterator[Statement]:
    """Yield what is not known of the student that measures.

    Parameters
    ----------
    data
        What the report rests on.
    """
    for student in data.students:
        teacher = data.model_name(student.teacher)
        yield Statement(
            f"What measures is a student of {teacher}. {_UNCOMPARED.format(teacher=teacher)}",
            (student.key,),
        )
        fewest = min(_frames_by_temperature(student).values())
        if fewest < _FEW:
            yield Statement(
                f"The student's statics rest on {counted(fewest, 'frame')} at a temperature, "
                f"fewer than {_FEW}.",
                (student.key,),
            )
        lost = sum(len(condition.failures) for condition in student.conditions)
        if lost:
            yield Statement(
                f"{counted(lost, 'run')} of the student's certificate left physics.", (student.key,)
            )

        yield from _beyond_the_certificate(data, student)


def _beyond_the_certificate(data: ReportData, student: Student) -> Iterator[Statement]:
    """Yield that runs went where the certificate did not look, by their extrapolation grades."""
    graded = [
        (run.largest_grade, run)
        for run in data.documents.values()
        if isinstance(run, Run) and run.model == student.model and run.largest_grade is not None
    ]
    beyond = [(grade, run) for grade, run in graded if grade > student.largest_grade]
    if beyond:
        grade, farthest = max(beyond, key=lambda pair: pair[0])
        yield Statement(
            f"{len(beyond)} of {counted(len(graded), 'run')} of the student went beyond the grades "
            f"of its certificate (up to {fixed(student.largest_grade)}): up to {fixed(grade)} in "
            f"{farthest.name}. Its errors there are not known.",
            tuple(run.key for _, run in beyond),
        )


def _frames_by_temperature(student: Student) -> dict[float, int]:
    frames = dict.fromkeys((found.temperature_k for found in student.conditions), 0)
    for condition in student.conditions:
        if condition.errors is not None:
            frames[condition.temperature_k] += condition.errors.n_labels
    return frames

"""`lycb distil`: a small fast potential that repeats a large one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lycb_flows.cli.dynamics import read_ordered
from lycb_flows.cli.terminal import check_folder_of, print_table
from lycb_flows.errors import InputError

if TYPE_CHECKING:
    from lycb_flows.learning import Certificate


def distil(
    structures: Annotated[
        list[Path], typer.Argument(help="Ordered crystals near their minima: CIF, or ASE's.")
    ],
    out: Annotated[Path, typer.Option(help="File of the student, *.txt; GPUMD reads it too.")],
    teacher: Annotated[str, typer.Option(help="Name or file of a potential.")] = "chgnet-0.3.0",
    temperatures_k: Annotated[
        list[float] | None,
        typer.Option("--temperature-k", help="Of its runs (default: 300 600 900)."),
    ] = None,
    rounds: Annotated[int, typer.Option(help="How often frames of its own runs are added.")] = 2,
    updates: Annotated[int, typer.Option(help="Steps of the last training.")] = 6000,
    neurons: Annotated[int, typer.Option(help="Of the hidden layer.")] = 40,
    seed: Annotated[int, typer.Option(help="Of frames, velocities and weights.")] = 0,
) -> None:
    """Train a NEP on frames that a teacher labels, and certify its statics.

    Beside the file stands what is known of it, *.certificate.json.
    """
    from lycb_flows.learning import StudentRecipe
    from lycb_flows.learning.students.distillation import Plan, distil
    from lycb_flows.machine.settings import load_settings
    from lycb_flows.potentials import NepShape, find_model, load_potential

    if out.suffix != ".txt":
        raise InputError("a student is a text file", fix="end it in .txt", found=out.name)
    check_folder_of(out)
    starts = [read_ordered(path) for path in structures]
    species = sorted({symbol for start in starts for symbol in start.species})
    source = find_model(teacher)
    plan = Plan(
        temperatures_k=tuple(temperatures_k or Plan.temperatures_k),
        rounds=rounds,
        recipe=StudentRecipe(updates=updates, seed=seed),
    )
    student = distil(
        starts,
        load_potential(source.model, source.weights, load_settings().device),
        NepShape(tuple(species), neurons=neurons),
        plan,
        tell=typer.echo,
    )
    out.write_bytes(student.potential.weights_bytes())
    facts = {
        "teacher": source.model.facts(),
        "frames": len(student.labelled),
        **student.certificate.as_dict(),
    }
    out.with_suffix(".certificate.json").write_text(json.dumps(facts, indent=2) + "\n")
    _print(student.certificate, source.model.name)


def _print(certificate: Certificate, teacher: str) -> None:
    head = [
        "T (K)",
        "ensemble",
        "frames",
        "meV/atom",
        "meV/Å",
        "GPa",
        "slope",
        "grade",
        "left physics",
    ]
    rows = []
    for condition in certificate.conditions:
        errors = condition.errors
        numbers = ["0", "-", "-", "-", "-"]
        if errors is not None:
            numbers = [
                str(errors.n_labels),
                f"{1e3 * errors.energy_mae_ev_per_atom:.2f}",
                f"{1e3 * errors.force_mae_ev_per_ang:.1f}",
                f"{errors.stress_mae_gpa:.3f}",
                f"{errors.force_slope:.3f}",
            ]
        rows.append(
            [
                f"{condition.temperature_k:g}",
                condition.ensemble,
                *numbers,
                f"{condition.largest_grade:.2f}",
                str(len(condition.failures)),
            ]
        )
    drift = 1e3 * certificate.drift_ev_per_atom_per_ps
    print_table(f"Mean errors against {teacher}; its dynamics were not compared", head, rows)
    typer.echo(f"NVE drifts by {drift:.2g} meV/atom/ps.")

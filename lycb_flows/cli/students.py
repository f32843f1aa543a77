"""`lycb distil` and `lycb certify`: a small fast potential that repeats a large one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lycb_flows.cli.dynamics import read_md_config, read_ordered, telling
from lycb_flows.cli.numbers import above_zero, not_negative
from lycb_flows.cli.terminal import JsonOption, check_folder_of, open_potential, print_table
from lycb_flows.errors import InputError
from lycb_flows.machine import duration_text

if TYPE_CHECKING:
    from lycb_flows.learning import Certificate, DynamicsComparison


def distil(
    structures: Annotated[
        list[Path], typer.Argument(help="Ordered crystals near their minima: CIF, or ASE's.")
    ],
    out: Annotated[Path, typer.Option(help="File of the student, *.txt; GPUMD reads it too.")],
    teacher: Annotated[str, typer.Option(help="Name or file of a potential.")] = "chgnet-0.3.0",
    temperatures_k: Annotated[
        list[float] | None,
        typer.Option(
            "--temperature-k", help="Of its runs (default: 300 600 900).", callback=above_zero
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option(help="How often frames of its own runs are added.", callback=not_negative)
    ] = 3,
    updates: Annotated[
        int, typer.Option(help="Steps of the last training.", callback=above_zero)
    ] = 6000,
    neurons: Annotated[int, typer.Option(help="Of the hidden layer.", callback=above_zero)] = 40,
    seed: Annotated[
        int, typer.Option(help="Of frames, velocities and weights.", callback=not_negative)
    ] = 0,
) -> None:
    """Train a NEP on frames that a teacher labels, and certify its statics.

    Beside the file stands what is known of it, *.certificate.json.
    """
    from lycb_flows.learning import Plan, StudentRecipe, distil
    from lycb_flows.potentials import NepShape, find_model, write_licences

    if out.suffix != ".txt":
        raise InputError("a student is a text file", fix="end it in .txt", found=out.name)
    check_folder_of(out)
    starts = [read_ordered(path) for path in structures]
    species = sorted({symbol for start in starts for symbol in start.species})
    source = find_model(teacher)
    plan = Plan(
        temperatures_k=tuple(temperatures_k or Plan.temperatures_k),
        rounds=rounds,
        recipe=StudentRecipe(updates=updates, seed=seed, optimizer="soap"),
    )
    student = distil(
        starts,
        open_potential(source),
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
    write_licences([source.model], out)
    _print(student.certificate, source.model.name)


def certify(
    student: Annotated[Path, typer.Argument(help="The student's file, *.txt.")],
    crystal: Annotated[Path, typer.Argument(help="An ordered crystal: a CIF, or what ASE reads.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs; the same command goes on there.")],
    teacher: Annotated[str, typer.Option(help="Name or file of its teacher.")] = "chgnet-0.3.0",
    dynamics: Annotated[
        bool, typer.Option("--dynamics", help="Run; without it only the price is printed.")
    ] = False,
    temperature_k: Annotated[
        float, typer.Option(help="Where both diffuse.", callback=above_zero)
    ] = 600.0,
    volume_temperature_k: Annotated[
        list[float] | None,
        typer.Option(help="Where volumes are compared, too (default: 300).", callback=above_zero),
    ] = None,
    replicas: Annotated[int, typer.Option(help="Runs of each in which ions diffuse.")] = 3,
    duration_ps: Annotated[
        float, typer.Option(help="Of a run in which ions diffuse.", callback=above_zero)
    ] = 60.0,
    npt_ps: Annotated[
        float, typer.Option(help="Of a run in which the cell moves.", callback=above_zero)
    ] = 20.0,
    repeat: Annotated[
        tuple[int, int, int], typer.Option(help="Repeats of a, b, c.", callback=above_zero)
    ] = (1, 1, 1),
    protocol: Annotated[
        Path | None, typer.Option(help="YAML with fields of a campaign's `md` section.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the velocities.", callback=not_negative)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare a student's volumes and diffusivity with its teacher's, in runs of both.

    What is found is added to the certificate beside the student's file.
    """
    from lycb_flows.learning import DynamicsPlan, DynamicsRuns
    from lycb_flows.md import prepare_start
    from lycb_flows.potentials import find_model
    from lycb_flows.quantities.trajectory import config_for

    plan = DynamicsPlan(
        temperature_k=temperature_k,
        volume_temperatures_k=tuple(volume_temperature_k or DynamicsPlan.volume_temperatures_k),
        n_replicas=replicas,
        nvt_ps=duration_ps,
        npt_ps=npt_ps,
        md=read_md_config(protocol),
        seed=seed,
    )
    start = prepare_start(read_ordered(crystal), repeat=repeat)
    sources = [find_model(str(student)), find_model(teacher)]
    small, large = map(open_potential, sources)
    config = config_for(start.species)
    with telling(plan.md.time_step_fs) as tell:
        runs = DynamicsRuns(
            out,
            small,
            large,
            start,
            plan,
            tell=lambda _label, now: tell(now),
            models={"student": sources[0].model.key, "teacher": sources[1].model.key},
        )
        price = runs.price_s()
        typer.echo(_price_text(price, len(start.species)), err=True)
        if not dynamics:
            typer.echo("--dynamics runs them.", err=True)
            return
        found = runs.compare(config)
    facts = {"atoms": len(start.species), "teacher": sources[1].model.facts(), **found.as_dict()}
    _add_to_certificate(student, facts)
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        _print_dynamics(found, temperature_k)


def _price_text(price_s: dict[str, float], n_atoms: int) -> str:
    parts = (f"{name} {duration_text(seconds)}" for name, seconds in price_s.items())
    return f"Runs of {n_atoms} atoms cost about: {', '.join(parts)}."


def _add_to_certificate(student: Path, dynamics: dict[str, Any]) -> None:
    from lycb_flows.machine import write_durably

    path = student.with_suffix(".certificate.json")
    facts = json.loads(path.read_text()) if path.exists() else {}
    write_durably(path, (json.dumps(facts | {"dynamics": dynamics}, indent=2) + "\n").encode())


def _print_dynamics(found: DynamicsComparison, temperature_k: float) -> None:
    ratios = [
        (f"volume at {t:g} K (Å³/atom)", ratio, ".3f")
        for t, ratio in found.volumes_ang3_per_atom.items()
    ]
    if found.diffusivity_m2_per_s:
        ratios.append((f"D at {temperature_k:g} K (m²/s)", found.diffusivity_m2_per_s, ".2e"))
    rows = [
        [
            what,
            f"{ratio.student:{form}} ± {ratio.student_err:{form}}",
            f"{ratio.teacher:{form}} ± {ratio.teacher_err:{form}}",
            f"{ratio.ratio:.4f} ± {ratio.ratio_err:.4f}",
            f"{ratio.differs_by:.1f}",
        ]
        for what, ratio, form in ratios
    ]
    head = ["", "student", "teacher", "ratio", "errors from one"]
    print_table("Student beside teacher", head, rows)
    if found.reason:
        typer.echo(f"D is not compared: {found.reason}.")


def _print(certificate: Certificate, teacher: str) -> None:
    head = [
        "K",
        "ensemble",
        "frames",
        "meV/atom",
        "meV/Å",
        "GPa",
        "slope",
        "grade",
        "lost runs",
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

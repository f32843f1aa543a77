"""`lycb md`: molecular dynamics of one crystal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from lycb_flows.cli.numbers import above_zero, not_negative
from lycb_flows.cli.terminal import PlainProgress, checked, open_potential, read_fields
from lycb_flows.errors import InputError, PhysicsError

if TYPE_CHECKING:
    from ase import Atoms

    from lycb_flows.config import MDConfig, MDProtocol
    from lycb_flows.md import Progress
    from lycb_flows.schemas import Structure


def md(
    structure: Annotated[
        Path, typer.Argument(help="An ordered crystal: a CIF, or what ASE reads.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of trajectory and checkpoint.")],
    temperature_k: Annotated[
        float, typer.Option(help="Target temperature.", callback=above_zero)
    ] = 600.0,
    duration_ps: Annotated[float, typer.Option(help="Length after ramp and equilibration.")] = 10.0,
    pressure_bar: Annotated[
        float | None, typer.Option(help="NpT at this pressure; without it the cell is fixed.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name or file of the potential.")] = "chgnet-0.3.0",
    protocol: Annotated[
        Path | None, typer.Option(help="YAML with fields of a campaign's `md` section.")
    ] = None,
    repeat: Annotated[
        tuple[int, int, int], typer.Option(help="Repeats of a, b, c.", callback=above_zero)
    ] = (1, 1, 1),
    seed: Annotated[int, typer.Option(help="Seed of the velocities.", callback=not_negative)] = 0,
    export: Annotated[
        Path | None, typer.Option(help="Also write .extxyz, .traj, .lammpstrj or XDATCAR.")
    ] = None,
) -> None:
    """Run molecular dynamics; the same command again goes on where it was stopped.

    The trajectory is HDF5 and readable while the run goes on. A larger
    --duration-ps lengthens a finished run, a smaller one is refused. So is a
    folder of another run or model, one that does not say which model ran it,
    and one in which another process runs.
    """
    from lycb_flows.md import (
        TRAJECTORY_NAME,
        SingleRun,
        prepare_start,
        production_start,
        run_in_folder,
    )
    from lycb_flows.potentials.models import find_model

    config = read_md_config(protocol)
    how = _protocol(config, temperature_k, pressure_bar)
    if (n_steps := config.steps(duration_ps)) < 1:
        raise InputError(
            "the run is shorter than one time step", fix="lengthen it", duration_ps=duration_ps
        )
    start = prepare_start(read_ordered(structure), repeat=repeat)
    source = find_model(model)
    run = SingleRun(start, how, seed, production_start(how) + n_steps, source.model.key)
    potential = open_potential(source)
    typer.echo(_length_text(how, run.n_steps), err=True)
    with telling(how.time_step_fs) as tell:
        health = run_in_folder(out, run, potential, device=str(potential.device), tell=tell)
    if not health.healthy:
        raise PhysicsError(
            "the run left physics", fix="look at its last frames", reason=health.reason
        )
    if export:
        _export(out / TRAJECTORY_NAME, export)
    typer.echo(out / TRAJECTORY_NAME)


def _length_text(how: MDProtocol, n_steps: int) -> str:
    """Return how long a run is, and how much of it comes before production."""
    ps = how.time_step_fs / 1000
    before = (
        f"{how.heating_steps * ps:g} ps of heating, {how.equilibration_steps * ps:g} ps to settle"
    )
    production_ps = (n_steps - how.heating_steps - how.equilibration_steps) * ps
    return f"{n_steps * ps:g} ps: {before}, {production_ps:g} ps of production"


def read_md_config(path: Path | None) -> MDConfig:
    """Return the settings of a YAML file with fields of `md`; the defaults without one.

    Raises
    ------
    InputError
        When it cannot be read, or a field is wrong.
    """
    from lycb_flows.config import MDConfig

    if path is None:
        return MDConfig()
    return checked(MDConfig, read_fields(path), file=path)


def _protocol(config: MDConfig, temperature_k: float, pressure_bar: float | None) -> MDProtocol:
    if pressure_bar is None:
        return config.nvt(temperature_k, ramp=True)
    return config.npt(temperature_k, pressure_bar)


def read_ordered(path: Path) -> Structure:
    """Return the ordered crystal of a file.

    Raises
    ------
    InputError
        When it cannot be read, or a CIF is disordered.
    """
    import ase.io
    from ase.io.formats import UnknownFileTypeError

    from lycb_flows.crystals import canonical_structure, load_parent

    if path.suffix.lower() == ".cif":
        crystal = load_parent(str(path))
        if not crystal.structure.is_ordered:
            raise InputError(
                "MD needs an ordered crystal",
                fix="order it with `lycb rank` and `lycb export structures`",
                found=path.name,
            )
        return canonical_structure(crystal.structure)
    try:
        return canonical_structure(cast("Atoms", ase.io.read(path, index=-1)))
    except (OSError, ValueError, LookupError, StopIteration, UnknownFileTypeError) as err:
        raise InputError(
            "unreadable structure",
            fix="give a CIF or another format of ASE's",
            file=path,
            reason=str(err) or type(err).__name__,
        ) from err


@contextmanager
def telling(time_step_fs: float) -> Iterator[Callable[[Progress], None]]:
    """Yield what shows time, temperature, ns/day and what remains: a live line, or lines."""
    from rich.console import Console
    from rich.live import Live

    def text(now: Progress) -> str:
        frame, step_ps = now.frame, time_step_fs / 1000
        return (
            f"{frame.steps * step_ps:.2f} of {now.n_steps * step_ps:g} ps"
            f"   {frame.temperature_k:.0f} K   {now.ns_per_day:.3g} ns/day"
            f"   {timedelta(seconds=round(now.remaining_s))} left"
        )

    console = Console()
    if not console.is_terminal:
        plain = PlainProgress()
        yield lambda now: plain.show(text(now))
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield lambda now: live.update(text(now))


def _export(trajectory: Path, target: Path) -> None:
    from lycb_flows.md import export_trajectory, read_trajectory_file

    export_trajectory(read_trajectory_file(trajectory), target)

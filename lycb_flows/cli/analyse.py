"""`lycb analyse`: diffusivity, conductivity and Haven ratio of anybody's trajectory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lycb_flows.cli.numbers import above_zero
from lycb_flows.cli.terminal import JsonOption, print_json, print_table, share_progress
from lycb_flows.errors import InputError

if TYPE_CHECKING:
    from lycb_flows.md.foreign import UnwrappedTrajectory
    from lycb_flows.quantities.trajectory import IonPlaces, TrajectoryAnalysis

_UNKNOWN = {"run", "model", "pressure_bar", "healthy"}
"""Fields of a Transport that only a campaign knows."""


def analyse(
    trajectory: Annotated[
        Path,
        typer.Argument(help="Extended XYZ, .traj, XDATCAR, vasprun.xml, LAMMPS dump, our HDF5."),
    ],
    time_step_fs: Annotated[
        float | None,
        typer.Option(
            help="Between stored frames; LAMMPS: per MD step (default: the file's).",
            callback=above_zero,
        ),
    ] = None,
    temperature_k: Annotated[
        float | None,
        typer.Option(
            help="Of the run, for the conductivity (default: the file's).", callback=above_zero
        ),
    ] = None,
    mobile: Annotated[
        str | None,
        typer.Option(help="The ion that moves (default: the only one of Li, Na, K, Ag, Cu)."),
    ] = None,
    charge: Annotated[
        int | None, typer.Option(help="Its charge in e (default: its common one).")
    ] = None,
    species: Annotated[
        str | None, typer.Option(help="Elements of a dump's types 1, 2, ..., as in Li,Y,Cl.")
    ] = None,
    start_ps: Annotated[
        float | None, typer.Option(help="Leave out what is before; from the file's first frame.")
    ] = None,
    stop_ps: Annotated[float | None, typer.Option(help="Leave out what is after.")] = None,
    parent: Annotated[
        str | None,
        typer.Option(help="Disordered crystal whose sites are occupied: a CIF, or a built-in one."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for figures and all numbers.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Diffusivity, conductivity and Haven ratio of a trajectory of any program.

    The motion's regime comes first: a diffusivity is given where the motion
    is diffusive, an upper bound where too little moved, and else neither.
    """
    from lycb_flows.crystals import load_parent
    from lycb_flows.md.foreign import ReadingOptions, read_any_trajectory
    from lycb_flows.quantities.trajectory import analyse_trajectory, config_for, places_of

    crystal = None if parent is None else load_parent(parent)
    if charge == 0:
        raise InputError("what conducts has a charge", fix="see --help", option="--charge", found=0)
    options = ReadingOptions(time_step_fs, species, start_ps, stop_ps)
    with share_progress("reading") as tell:
        frames = read_any_trajectory(trajectory, options, tell)
    config = config_for(frames.species, mobile, charge)
    found = analyse_trajectory(frames, temperature_k, config)
    places = None
    if out is not None or crystal is not None:
        places = places_of(frames, config.mobile_species, crystal)
    if out is not None and places is not None:
        _write(found, places, trajectory.name, out)
    if as_json:
        print_json(_numbers(found))
        return
    print_table(_title(found, frames, trajectory.name), ["", ""], _rows(found, frames))
    if places is not None:
        _print_sites(places)


def _numbers(found: TrajectoryAnalysis) -> dict[str, str | float | None]:
    estimate = found.estimate
    high = estimate.diffusivity_high_m2_per_s
    return {
        "regime": estimate.regime,
        "diffusivity_m2_per_s": estimate.diffusivity_m2_per_s,
        "diffusivity_low_m2_per_s": estimate.diffusivity_low_m2_per_s,
        "diffusivity_high_m2_per_s": estimate.diffusivity_upper_m2_per_s if high is None else high,
        "conductivity_ms_per_cm": found.conductivity_ms_per_cm,
        "haven_ratio": found.charge.haven_ratio,
    }


def _write(found: TrajectoryAnalysis, places: IonPlaces, name: str, folder: Path) -> None:
    """Write the MSD with its fit, the density of the mobile ion, its sites, and all numbers."""
    from lycb_flows.quantities.figures import single_msd_figure
    from lycb_flows.quantities.maps import density_figure
    from lycb_flows.report import save
    from lycb_flows.transport.density import write_density

    folder.mkdir(parents=True, exist_ok=True)
    transport = found.to_transport(name)
    save(single_msd_figure(transport), folder / "msd.svg")
    save(density_figure(places.grid), folder / "density.svg")
    write_density(places.grid, folder / "density.cube")
    (folder / "sites.json").write_text(json.dumps(_site_facts(places), indent=1) + "\n")
    cif = places.cif(f"{name}: simulated occupancies")
    if cif is not None:
        (folder / "sites.cif").write_text(cif)
    facts = transport.facts() | {"charge": found.charge.model_dump(mode="json")}
    known = {name: value for name, value in facts.items() if name not in _UNKNOWN}
    (folder / "transport.json").write_text(json.dumps(known, indent=1) + "\n")


def _site_facts(places: IonPlaces) -> dict[str, object]:
    """Return occupancies, kinds of jump, reach and the whole network as plain data."""
    sites = places.sites
    if sites is None:
        return {"reason": places.reason}
    return {
        "orbits": [orbit.model_dump(mode="json") for orbit in sites.orbits],
        "steps": [step.model_dump(mode="json") for step in sites.steps],
        "percolates_in": sites.percolation.dimensions,
        "correlation_factor": sites.correlation_factor,
        "correlation_factor_err": sites.correlation_factor_err,
        **sites.network(),
    }


# -- the tables --------------------------------------------------------------------------------


def _print_sites(places: IonPlaces) -> None:
    """Print the occupancies of the simulation beside the refined ones."""
    from lycb_flows.quantities.sites import residence_text
    from lycb_flows.report import fixed, with_error

    sites = places.sites
    if sites is None:
        typer.echo(f"No sites: {places.reason}")
        return
    rows = [
        [
            orbit.label if orbit.shape in orbit.label else f"{orbit.label}, {orbit.shape}",
            str(orbit.n_sites),
            with_error(orbit.occupancy, orbit.occupancy_err),
            fixed(orbit.refined_occupancy, 3),
            residence_text(orbit),
            str(orbit.n_departures),
        ]
        for orbit in sites.orbits
    ]
    reach = f"jumps lead through the crystal in {sites.percolation.dimensions} dimensions"
    title = f"Sites of {places.grid.mobile_species}; {reach}"
    columns = ["site", "sites", "occupancy", "refined", "stay (ps)", "departures"]
    print_table(title, columns, rows)


def _title(found: TrajectoryAnalysis, frames: UnwrappedTrajectory, name: str) -> str:
    temperature = "" if found.temperature_k is None else f", {found.temperature_k:g} K"
    return (
        f"{name}: {found.n_mobile} {found.config.mobile_species} of {found.n_atoms} atoms, "
        f"{found.duration_ps:g} ps in frames every {frames.frame_interval_ps:g} ps{temperature}"
    )


def _rows(found: TrajectoryAnalysis, frames: UnwrappedTrajectory) -> list[list[str]]:
    from lycb_flows.quantities.transports import diffusivity_text
    from lycb_flows.report import confidence_text, fixed

    estimate, charge = found.estimate, found.charge
    confidence = confidence_text([found.config.confidence])
    interval = estimate.diffusivity_low_m2_per_s, estimate.diffusivity_high_m2_per_s
    haven = fixed(charge.haven_ratio)
    if charge.haven_ratio_low is not None and charge.haven_ratio_high is not None:
        haven += (
            f" ({confidence}: {fixed(charge.haven_ratio_low)} to {fixed(charge.haven_ratio_high)})"
        )
    rows = [
        ["regime", f"{estimate.regime}{': ' if estimate.reason else ''}{estimate.reason}"],
        ["D (m²/s)", diffusivity_text(estimate)],
        [f"{confidence} interval (m²/s)", _interval(interval)],
        ["σ (mS/cm), independent ions", _conductivity(found)],
        ["Haven ratio", haven if charge.resolved else f"not resolved: {charge.reason}"],
        ["D along a, b, c (m²/s)", _directions(found)],
        ["charge", f"{found.config.charge_number:+d} e"],
    ]
    return rows + [["note", remark] for remark in frames.remarks]


def _directions(found: TrajectoryAnalysis) -> str:
    from lycb_flows.report import MISSING, scientific

    along, errors = found.lattice_diffusivities_m2_per_s, found.lattice_errors_m2_per_s
    if along is None or errors is None:
        return MISSING
    return ", ".join(map(scientific, along, errors))


def _interval(ends: tuple[float | None, float | None]) -> str:
    from lycb_flows.report import MISSING, together

    low, high = ends
    return MISSING if low is None or high is None else together((low, high), " to ")


def _conductivity(found: TrajectoryAnalysis) -> str:
    from lycb_flows.report import MISSING, number, with_error

    if found.temperature_k is None:
        return f"{MISSING} (give --temperature-k)"
    if found.conductivity_upper_ms_per_cm is not None:
        return f"< {number(found.conductivity_upper_ms_per_cm)}"
    return with_error(found.conductivity_ms_per_cm, found.conductivity_err_ms_per_cm)

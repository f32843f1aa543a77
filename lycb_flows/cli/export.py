"""`lycb export`: labels, models, trajectories and structures to files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lycb_flows.cli.terminal import Key, StoreOption, open_results
from lycb_flows.machine import counted, size_text


def export_labels(
    path: Annotated[Path, typer.Argument(help="File to write, or folder (deepmd).")],
    file_format: Annotated[
        str, typer.Option("--format", help="extxyz, ase-db, mace, chgnet, matgl or deepmd.")
    ] = "extxyz",
    theory: Annotated[
        str, typer.Option(help="First digits of the fingerprint of the level to write.")
    ] = "",
    campaign: Annotated[
        str, typer.Option(help="Name of a campaign (default: labels of all in the store).")
    ] = "",
    store: StoreOption = None,
) -> None:
    """Write labels for others to train on.

    Labels of several levels of theory go into one file only in formats that can
    tell them apart; --theory chooses a level.
    """
    from lycb_flows.campaign import write_labels

    results = open_results(store)
    n_labels = write_labels(
        results, path, file_format=file_format, theory=theory, campaign=campaign
    )
    typer.echo(f"{counted(n_labels, 'label')} in {path}")


def export_model(
    key: Key,
    path: Annotated[Path, typer.Argument(help=".safetensors file; a .json card goes beside it.")],
    store: StoreOption = None,
) -> None:
    """Write a model's weights and card.

    The weights are safetensors, which cannot carry code; the card is JSON.
    """
    from lycb_flows.campaign import write_stored_model

    write_stored_model(open_results(store), key, path)
    typer.echo(path)


def export_trajectory(
    key: Key,
    path: Annotated[Path, typer.Argument(help=".extxyz, .traj, .lammpstrj file, or XDATCAR.")],
    store: StoreOption = None,
) -> None:
    """Write all frames of a run.

    The format follows from the file's name.
    """
    from lycb_flows.campaign import write_run

    typer.echo(f"{counted(write_run(open_results(store), key, path), 'frame')} in {path}")


def export_structures(
    keys: Annotated[
        list[str], typer.Argument(help="Keys of structures, rankings or ground states.")
    ],
    folder: Annotated[Path, typer.Option(help="Folder for one CIF per structure.")] = Path(),
    store: StoreOption = None,
) -> None:
    """Write structures as CIF; of a ranking or a decision, its ground state.

    Each file is named by its key.
    """
    from lycb_flows.campaign import write_structure

    results = open_results(store)
    for key in keys:
        typer.echo(write_structure(results, key, folder))


def export_runs(
    folder: Annotated[Path, typer.Argument(help="Folder for one JSON file per document.")],
    campaign: Annotated[
        str, typer.Option(help="Name of a campaign (default: runs of all in the store).")
    ] = "",
    store: StoreOption = None,
) -> None:
    """Write finished runs, their student and what was measured from them as small JSON files.

    Trajectories stay behind. `lycb import runs` puts them under their keys in
    another store, whose campaign then runs none of them again.
    """
    from lycb_flows.campaign import export_runs as into

    done = into(open_results(store), folder, campaign)
    counts = ", ".join(f"{n} {kind}" for kind, n in sorted(done.n_written.items()))
    typer.echo(f"{counts} in {folder}, {size_text(done.n_bytes)}")
    for key, reason in done.left_out.items():
        typer.echo(f"left out {key[:12]}: {reason}")


def export_sites(
    keys: Annotated[list[str], typer.Argument(help="Keys of densities, or of sites.")],
    folder: Annotated[Path, typer.Option(help="Folder for the files.")] = Path(),
    store: StoreOption = None,
) -> None:
    """Write the density of the mobile ion as .cube and CHGCAR, and its sites as a CIF.

    The CIF is the parent's with the occupancies of the simulation. A .json file
    holds every site and every jump. Each file is named by its key.
    """
    from lycb_flows.campaign import write_sites

    results = open_results(store)
    for key in keys:
        for path in write_sites(results, key, folder):
            typer.echo(path)

"""`lycb import`: labels of other programs and projects, and finished runs, into the store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lycb_flows.cli.terminal import JsonOption, StoreOption, checked, open_results, print_json
from lycb_flows.errors import InputError

if TYPE_CHECKING:
    from lycb_flows.campaign import Summary

_KEYS = (None, "plain", "REF")
_FORMATS = {"auto": None, "vasp": "vasp", "extxyz": "extxyz", "ase-db": "ase-db", "mptrj": "mptrj"}


def import_labels(
    path: Annotated[
        Path, typer.Argument(help="File, tree with vasprun.xml, or folder of .extxyz files.")
    ],
    file_format: Annotated[
        str, typer.Option("--format", help=f"One of {', '.join(_FORMATS)}.")
    ] = "auto",
    name: Annotated[
        str | None, typer.Option(help="Name of the set, for labels.imported (default: the path's).")
    ] = None,
    theory: Annotated[
        str | None, typer.Option(help="Level of theory, e.g. gpaw/paper-static, or a YAML file.")
    ] = None,
    code: Annotated[str | None, typer.Option(help="Code that made the labels.")] = None,
    version: Annotated[str | None, typer.Option(help="Version of the code.")] = None,
    functional: Annotated[str | None, typer.Option(help="Functional, e.g. PBE.")] = None,
    raw_pbe: Annotated[
        bool | None, typer.Option("--raw-pbe/--corrected", help="Uncorrected PBE energies.")
    ] = None,
    steps: Annotated[str, typer.Option(help="Steps of VASP's runs to take: last or all.")] = "last",
    keys: Annotated[
        str | None, typer.Option(help="plain (energy, ...) or REF (REF_energy, ...) of a frame.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check only.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Labels of others into the store; what cannot be known of them is marked unknown.

    A level of theory is known from VASP's own files, or stated by --theory or
    by --code, --version, --functional and --raw-pbe. Labels whose level is
    unknown do not train unless a campaign allows it.
    """
    from lycb_flows.campaign import import_labels as into
    from lycb_flows.labels.foreign.stated_level import Statement

    if file_format not in _FORMATS or steps not in {"last", "all"} or keys not in _KEYS:
        raise InputError(
            "no such choice",
            fix=f"--format {'|'.join(_FORMATS)}, --steps last|all, --keys plain|REF",
            format=file_format,
            steps=steps,
            keys=keys or "none",
        )
    options = {
        "theory": theory,
        "code": code,
        "version": version,
        "functional": functional,
        "raw_pbe": raw_pbe,
    }
    summary = into(
        open_results(store, create=True),
        path,
        file_format=_FORMATS[file_format],  # type: ignore[arg-type]  # looked up just above
        name=name,
        statement=checked(Statement, options),
        all_steps=steps == "all",
        dry_run=dry_run,
        keys=keys,  # type: ignore[arg-type]  # checked above
    )
    if as_json:
        found = {"levels": _levels(summary), "dry_run": dry_run}
        files = [asdict(file) | {"levels": _levels(file)} for file in summary.files]
        print_json(asdict(summary) | found | {"files": files})
    else:
        _tell(summary, dry_run=dry_run)
    if summary.refused and not (summary.new or summary.known):
        raise typer.Exit(1)


def import_runs(
    folder: Annotated[Path, typer.Argument(help="Folder of `lycb export runs`, or a file.")],
    store: StoreOption = None,
) -> None:
    """Finished runs of another store, under their keys: a campaign runs none of them again.

    A file whose documents are of another method version is refused, and so is
    one that the store has with other facts.
    """
    from lycb_flows.campaign import import_runs as into

    done = into(open_results(store, create=True), folder)
    for name, reason in done.refused.items():
        typer.echo(f"refused {name}: {reason}")
    counts = ", ".join(f"{n} {kind}" for kind, n in sorted(done.n_new.items())) or "nothing"
    typer.echo(f"{counts} imported, {done.n_known} already there, {len(done.refused)} refused")
    if done.n_new:
        typer.echo(
            "`lycb query run` lists runs; `lycb report FILE` finds those of a campaign's file"
        )
    if done.refused and not (done.n_new or done.n_known):
        raise typer.Exit(1)


def _levels(summary: Summary) -> dict[str, dict[str, object]]:
    return {
        level.fingerprint: {"name": level.name, "unknown": level.unknown, "note": level.note}
        for level in summary.levels.values()
    }


def _tell(summary: Summary, *, dry_run: bool) -> None:
    for refusal in summary.refused:
        place = "" if refusal.place is None else f"[{refusal.place}]"
        typer.echo(f"refused {refusal.file}{place}: {refusal.reason}")
    for level in summary.levels.values():
        typer.echo(f"level of theory {level.name} [{level.fingerprint}]")
        if level.note:
            typer.echo(f"  {level.note}")
        if level.unknown:
            typer.echo(
                f"  not stated: {', '.join(level.unknown)}; trains with labels.allow_unknown only"
            )
    verb = "would be imported" if dry_run else "imported"
    for counted in (*summary.files, summary):
        names = ", ".join(level.name for level in counted.levels.values())
        where = counted.name if counted is summary or not names else f"{counted.name} ({names})"
        typer.echo(
            f"{where}: {len(counted.new)} {verb}, {len(counted.known)} already there, "
            f"{len(counted.refused)} refused"
        )

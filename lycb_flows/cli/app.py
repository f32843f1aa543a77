"""The `lycb` command. User errors are one line: what, found, do.

Imports that cost time stand inside the commands, so that `lycb --help` is quick.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lycb_flows.cli import dynamics, labels, service
from lycb_flows.cli.output import (
    AT_THE_END,
    CampaignFile,
    JsonOption,
    StoreOption,
    checked,
    open_results,
    open_submission,
    print_attempts,
    print_json,
    print_table,
)
from lycb_flows.errors import InputError, LycbError

if TYPE_CHECKING:
    from lycb_flows.campaign.submission import Submission
    from lycb_flows.config import DecorationConfig, EnumerationConfig
    from lycb_flows.crystals.enumeration import EnumerationResult
    from lycb_flows.crystals.structures import DisorderedCrystal
    from lycb_flows.schemas import Document, GroundState
    from lycb_flows.store import ResultStore

app = typer.Typer(
    help="Disordered crystal in, ionic conductivity with an error bar out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
export_app = typer.Typer(
    help="Write labels, a model, structures or a trajectory to files.", no_args_is_help=True
)
app.add_typer(export_app, name="export")
import_app = typer.Typer(help="Labels of others into the store.", no_args_is_help=True)
app.add_typer(import_app, name="import")

ReportOption = Annotated[
    Path | None, typer.Option("--report", help="Report folder [default: in the store].")
]
Key = Annotated[str, typer.Argument(help="Key, or its first digits (6 or more).")]


def main() -> None:
    """Run the command line; a known failure is one line on stderr and exit code 1."""
    os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("LYCB_THREADS", "1"))
    try:
        with AT_THE_END:
            app()
    except LycbError as err:
        sys.exit(f"lycb: {err}")
    except KeyboardInterrupt:
        sys.exit("lycb: interrupted; finished steps are kept, run the same command to go on")
    except BrokenPipeError:  # e.g. `lycb query label | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# -- structures -------------------------------------------------------------------------------


@app.command("enumerate")
def enumerate_(
    parent: Annotated[str, typer.Argument(help="Li3YCl6, Li3YBr6, or the path of a CIF.")],
    supercell: Annotated[tuple[int, int, int], typer.Option(help="Multiples of a, b, c.")] = (
        1,
        1,
        2,
    ),
    x: Annotated[
        float | None, typer.Option(help="Decorate an ordered cell with x Br per Li3YX6.")
    ] = None,
    min_occupancy: Annotated[
        float | None, typer.Option(help="Drop occupants below this share.")
    ] = None,
    engine: Annotated[str, typer.Option(help="builtin or enumlib.")] = "builtin",
    count_only: Annotated[bool, typer.Option("--count-only", help="Count, do not list.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Count and list the symmetry-distinct orderings of a disordered crystal."""
    from lycb_flows.config import DecorationConfig, EnumerationConfig
    from lycb_flows.crystals.structures import load_parent

    crystal = load_parent(parent)
    if x is None:
        options = {"supercell": supercell, "min_occupancy": min_occupancy, "engine": engine}
        config = checked(EnumerationConfig, options)
        summary = _describe_orderings(crystal, config, list_members=not count_only)
    else:
        summary = _describe_decorations(crystal, supercell, checked(DecorationConfig, {"x": x}))
    summary = {"parent": crystal.name, "supercell": supercell} | summary
    if as_json:
        print_json({"count": summary.pop("count"), "raw": summary.pop("raw")} | summary)
        return
    rows = [[name, _as_text(value)] for name, value in summary.items() if value is not None]
    print_table(f"Orderings of {parent}", ["", ""], rows)


def _as_text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _describe_orderings(
    crystal: DisorderedCrystal, config: EnumerationConfig, *, list_members: bool
) -> dict[str, Any]:
    from lycb_flows.crystals.enumeration import count_orderings, enumerate_orderings

    if not list_members:
        count, raw = count_orderings(crystal, config)
        return {"count": count, "raw": raw}
    return _describe(enumerate_orderings(crystal, config))


def _describe_decorations(
    crystal: DisorderedCrystal, supercell: tuple[int, int, int], config: DecorationConfig
) -> dict[str, Any]:
    from lycb_flows.crystals.enumeration import enumerate_decorations
    from lycb_flows.crystals.structures import canonical_structure

    if not crystal.structure.is_ordered:
        raise InputError(
            "--x decorates an ordered cell",
            fix="give the CIF of one, e.g. from `lycb export structures`",
            found=f"{crystal.name}, which is disordered",
        )
    cell = canonical_structure(crystal.structure * supercell)
    return {"x": config.x} | _describe(enumerate_decorations(cell, config))


def _describe(result: EnumerationResult) -> dict[str, Any]:
    return {
        "count": result.count,
        "raw": result.raw_count,
        "listed": len(result.members),
        "coverage": result.coverage,
        "formula": result.formula,
        "atoms": result.n_atoms,
        "dropped": [
            f"{one.species} {one.occupancy:g} on {one.site_label}" for one in result.dropped
        ],
        "subgroup_order": result.subgroup_order,
        "subgroup_orbit_sizes": result.subgroup_orbit_sizes,
        "engine": result.engine,
    }


# -- dynamics ---------------------------------------------------------------------------------

app.command()(dynamics.md)
app.command()(dynamics.bench)


# -- campaigns ------------------------------------------------------------------------------


@app.command()
def rank(campaign: CampaignFile, store: StoreOption = None) -> None:
    """Enumerate and rank a campaign's systems; `lycb run` then goes on from there."""
    from lycb_flows.campaign.results import find_results
    from lycb_flows.cli.progress import live_progress
    from lycb_flows.flows.embedded import run_embedded
    from lycb_flows.flows.structures import ranking_flow

    results = open_results(store, create=True)
    submission = open_submission(campaign, results)
    with live_progress(results, submission) as listener:
        run_embedded(results, ranking_flow(submission.campaign), listener)
    found = find_results(results, submission.campaign, submission.theory)
    for name, ranking in found.rankings.items():
        rows = [
            [
                str(i),
                f"{row.above_best_ev_per_atom * 1000:.2f}",
                row.space_group,
                f"{row.volume_ang3_per_atom:.2f}" + (" !" if row.volume_flag else ""),
                str(row.refined_cell_rank),
                "tie" if row.tied_with_best else "",
                row.structure[:12],
            ]
            for i, row in enumerate(ranking.best, start=1)
        ]
        columns = [
            "rank",
            "meV/atom",
            "space group",
            "Å³/atom",
            "refined-cell rank",
            "",
            "structure",
        ]
        print_table(f"{name}: {ranking.n_candidates} candidates", columns, rows)
        typer.echo(ranking.ground_state_note)
        for decided in found.by_dft.get(name, []):
            _print_dft_order(decided)


def _print_dft_order(found: GroundState) -> None:
    rows = [
        [
            str(i),
            str(row.model_rank),
            "" if (above := row.above_best_ev_per_atom) is None else f"{above * 1000:.2f}",
            f"{row.model_above_best_ev_per_atom * 1000:.2f}",
            row.space_group or "",
            "tie" if row.tied_with_best else row.reason,
            (row.structure or "")[:12],
        ]
        for i, row in enumerate(found.candidates, start=1)
    ]
    columns = ["DFT", "model", "meV/atom", "model's", "space group", "", "structure"]
    print_table(f"{found.system}: best {found.n} by {found.theory_name}", columns, rows)
    typer.echo(found.note)


@app.command()
def run(
    campaign: CampaignFile,
    store: StoreOption = None,
    folder: ReportOption = None,
) -> None:
    """Run a campaign here, to its report; run it again to go on after an interruption."""
    from lycb_flows.cli.progress import live_progress
    from lycb_flows.flows.campaign import campaign_flow
    from lycb_flows.flows.embedded import run_embedded

    results = open_results(store, create=True)
    submission = open_submission(campaign, results)
    with live_progress(results, submission) as listener:
        run_embedded(results, campaign_flow(submission.campaign, submission.theory), listener)
    _write_report(results, submission, folder)


@app.command()
def report(
    campaign: CampaignFile,
    store: StoreOption = None,
    folder: ReportOption = None,
) -> None:
    """Write the report of a campaign as far as it has come."""
    results = open_results(store)
    _write_report(results, open_submission(campaign, results), folder)


def _write_report(results: ResultStore, submission: Submission, folder: Path | None) -> None:
    from lycb_flows.campaign.results import find_results
    from lycb_flows.quantities.registry import quantity_names
    from lycb_flows.report.page import write_report

    name = submission.campaign.name
    keys = find_results(results, submission.campaign, submission.theory).document_keys()
    chosen = quantity_names(submission.campaign.measure)
    path = write_report(results, name, keys, folder or _report_folder(results) / name, chosen)
    typer.echo(path)


def _report_folder(results: ResultStore) -> Path:
    from lycb_flows.store.sqlite import SqliteStore

    return results.folder / "reports" if isinstance(results, SqliteStore) else Path("reports")


@app.command()
def plan(campaign: CampaignFile, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show every job, how many, and what they would cost; nothing runs."""
    from dataclasses import asdict

    from lycb_flows.campaign.cost import plan_campaign

    results = open_results(store, create=True)
    submission = open_submission(campaign, results)
    steps = plan_campaign(results, submission.campaign, submission.theory)
    if as_json:
        print_json([asdict(step) for step in steps])
        return
    rows = [
        [step.stage, step.jobs[0], str(len(step.jobs)), step.work, _duration(step.cpu_s)]
        for step in steps
    ]
    n_jobs, cpu_s = sum(len(step.jobs) for step in steps), sum(step.cpu_s for step in steps)
    rows.append(["all", "", str(n_jobs), "", _duration(cpu_s)])
    columns = ["stage", "first job", "jobs", "work", "CPU time, one core (estimate)"]
    print_table(f"Plan of {submission.campaign.name}", columns, rows)


def _duration(seconds: float) -> str:
    for unit, length in (("years", 365.25 * 86400), ("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} s"


# -- the service ------------------------------------------------------------------------------

app.command()(service.submit)
app.command()(service.status)
app.command()(service.watch)
app.command()(service.cancel)
app.command()(service.pause)
app.command()(service.resume)
app.command()(service.relabel)
app.command()(service.worker)
app.command()(service.reap)
app.command("serve-reaper")(service.serve_reaper)
app.command()(service.qadapter)
app.command()(service.doctor)
app.command()(service.gc)


# -- the store --------------------------------------------------------------------------------


@app.command()
def query(
    kind: Annotated[str, typer.Argument(help="Kind of document, e.g. label, run, model.")],
    where: Annotated[
        list[str] | None, typer.Option(help="FIELD=VALUE; may be given several times.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the documents of a kind."""
    from lycb_flows.schemas import KINDS
    from lycb_flows.store.kinds import document_class

    results, of_kind = open_results(store), document_class(kind)
    if kind not in {*KINDS, *results.kinds()}:
        raise InputError("no such kind", fix=f"one of {', '.join(KINDS)}", found=kind)
    found = results.find_all(of_kind, **dict(map(_condition, where or [])))
    if as_json:
        for document in found:
            print_json({"key": document.key, **document.facts()})
        return
    rows = [[document.key[:12], _short_facts(document)] for document in found]
    print_table(f"{len(rows)} {kind}", ["key", "facts"], rows)


def _condition(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError("a condition is FIELD=VALUE", fix="e.g. --where system=LYC", found=text)
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _short_facts(document: Document) -> str:
    simple = {
        name: value[:16] if isinstance(value, str) else value
        for name, value in document.facts().items()
        if isinstance(value, str | int | float | bool)
    }
    return ", ".join(f"{name}={value}" for name, value in simple.items())


@app.command()
def show(
    key: Key,
    store: StoreOption = None,
    as_json: JsonOption = False,
    logs: Annotated[
        Path | None, typer.Option(help="Write into this folder what VASP or GPAW wrote.")
    ] = None,
) -> None:
    """Show a document, its attempts, and its ancestry down to the CIF."""
    results = open_results(store)
    attempts = results.attempts(key)
    if attempts and results.find_document(key) is None:  # it has only failed so far
        print_attempts(results, attempts, logs)
        return
    document = results.load_any(key)
    ancestors = list(filter(None, map(results.find_document, results.ancestors(document.key))))
    if as_json:
        print_json(
            document.model_dump(mode="json")
            | {"kind": document.kind, "ancestors": [[one.kind, one.key] for one in ancestors]}
        )
        return
    typer.echo(f"{document.kind} {document.key}")
    typer.echo(json.dumps(document.facts(), indent=1)[:4000])
    made = document.made
    typer.echo(f"made by {made.worker} on {made.host}, {made.ended_at}, {made.wall_s:.1f} s")
    if made.job:
        typer.echo(f"job: {made.job}")
    print_attempts(results, results.attempts(document.key), logs)
    rows = [[one.kind, one.key[:12], _short_facts(one)] for one in ancestors]
    print_table("Rests on, nearest first", ["kind", "key", "facts"], rows)


@app.command()
def retract(
    key: Key,
    reason: Annotated[str, typer.Option(help="Why the result is withdrawn.")],
    store: StoreOption = None,
) -> None:
    """Withdraw a result: look-ups treat it as absent. Lists what rests on it."""
    results = open_results(store)
    descendants = results.retract(key, reason)
    typer.echo(f"retracted; {len(descendants)} live results rest on it")
    for document in filter(None, map(results.find_document, descendants)):
        typer.echo(f"{document.kind} {document.key}")


@app.command()
def diff(
    one: Annotated[str, typer.Argument(help="Store: a folder or mongodb://...")],
    other: Annotated[str, typer.Argument(help="Store: a folder or mongodb://...")],
) -> None:
    """Compare the facts of two stores; exit code 1 when they differ."""
    from lycb_flows.store import differences

    found = differences(open_results(one), open_results(other))
    for name, keys in found.items():
        typer.echo(f"{len(keys)} {name}")
        for key in keys[:20]:
            typer.echo(f"  {key}")
    if any(found.values()):
        raise typer.Exit(1)


# -- import and export ------------------------------------------------------------------------


export_app.command("labels")(labels.export_labels)
import_app.command("labels")(labels.import_labels)


@export_app.command("model")
def export_model(
    key: Key,
    path: Annotated[Path, typer.Argument(help=".safetensors file; a .json card goes beside it.")],
    store: StoreOption = None,
) -> None:
    """Write a model's weights and card."""
    from lycb_flows.campaign.export import write_stored_model

    write_stored_model(open_results(store), key, path)
    typer.echo(path)


@export_app.command("trajectory")
def export_trajectory(
    key: Key,
    path: Annotated[Path, typer.Argument(help=".extxyz, .traj, .lammpstrj file, or XDATCAR.")],
    store: StoreOption = None,
) -> None:
    """Write all frames of a run."""
    from lycb_flows.campaign.export import write_run

    typer.echo(f"{write_run(open_results(store), key, path)} frames in {path}")


@export_app.command("structures")
def export_structures(
    keys: Annotated[list[str], typer.Argument(help="Keys of structures, or of rankings.")],
    folder: Annotated[Path, typer.Option(help="Folder for one CIF per structure.")] = Path(),
    store: StoreOption = None,
) -> None:
    """Write structures as CIF; of a ranking, its ground state."""
    from lycb_flows.campaign.export import write_structure

    results = open_results(store)
    for key in keys:
        typer.echo(write_structure(results, key, folder))


if __name__ == "__main__":
    main()

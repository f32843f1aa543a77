"""`lycb enumerate` and `lycb rank`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lycb_flows.cli.terminal import (
    CampaignFile,
    JsonOption,
    StoreOption,
    checked,
    open_results,
    open_submission,
    print_json,
    print_table,
)
from lycb_flows.errors import InputError

if TYPE_CHECKING:
    from lycb_flows.config import DecorationConfig, EnumerationConfig
    from lycb_flows.crystals import DisorderedCrystal, EnumerationResult
    from lycb_flows.schemas import GroundState


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
    """Count and list the symmetry-distinct orderings of a disordered crystal.

    The counts are exact, however many orderings there are. Beyond a cap only a
    symmetric stratum and a sample are listed; `coverage` is their share.
    """
    from lycb_flows.config import DecorationConfig, EnumerationConfig
    from lycb_flows.crystals import load_parent

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
    from lycb_flows.crystals import count_orderings, enumerate_orderings

    if not list_members:
        count, raw = count_orderings(crystal, config)
        return {"count": count, "raw": raw}
    return _describe(enumerate_orderings(crystal, config))


def _describe_decorations(
    crystal: DisorderedCrystal, supercell: tuple[int, int, int], config: DecorationConfig
) -> dict[str, Any]:
    from lycb_flows.crystals import canonical_structure, enumerate_decorations

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
            f"{occupant.species} {occupant.occupancy:g} on {occupant.site_label}"
            for occupant in result.dropped
        ],
        "subgroup_order": result.subgroup_order,
        "subgroup_orbit_sizes": result.subgroup_orbit_sizes,
        "engine": result.engine,
    }


def rank(campaign: CampaignFile, store: StoreOption = None) -> None:
    """Enumerate and rank a campaign's systems; `lycb run` then goes on from there.

    Every candidate is relaxed by the campaign's ranking model, the best again
    to the final force; with `ranking.dft` the best are then relaxed at that
    level of theory.
    """
    from lycb_flows.campaign import find_results
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

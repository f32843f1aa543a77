"""`lycb enumerate` and `lycb rank`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
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
    share_progress,
)
from lycb_flows.errors import InputError
from lycb_flows.machine import counted

if TYPE_CHECKING:
    from lycb_flows.config import DecorationConfig, EnumerationConfig
    from lycb_flows.crystals import DisorderedCrystal, EnumerationResult
    from lycb_flows.schemas import GroundState

Charges = Annotated[
    list[str] | None,
    typer.Option(help="An oxidation state, as Ti=4, or none; default: guessed."),
]

OPTION_NAMES = {
    "forbidden_pairs": "forbid",
    "charges": "charge",
    "symprec_ang": "symprec",
    "keep_occupancies": "keep",
}
"""Fields of `EnumerationConfig` whose options have shorter names."""


def enumerate_(
    parent: Annotated[str, typer.Argument(help="Li3YCl6, Li3YBr6, or the path of a CIF.")],
    supercell: Annotated[
        tuple[int, int, int] | None, typer.Option(help="Multiples of a, b, c; default 1 1 2.")
    ] = None,
    auto: Annotated[
        bool, typer.Option("--auto", help="Choose cell, supercell, composition and rules.")
    ] = False,
    max_atoms: Annotated[
        int | None, typer.Option(min=1, help="Atoms of the cell that --auto chooses; default 120.")
    ] = None,
    x: Annotated[
        float | None, typer.Option(help="Decorate an ordered cell with x Br per Li3YX6.")
    ] = None,
    substitute: Annotated[
        list[str] | None,
        typer.Option(help="What replaces what, and how much per formula unit, as Cl=Br:0.5."),
    ] = None,
    formula: Annotated[
        str | None, typer.Option(help="The formula unit of --substitute, as Li6PS5Cl.")
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="A species whose mixing over the sites stays as refined, as S."),
    ] = None,
    sqs: Annotated[
        list[str] | None,
        typer.Option(help="A species whose arrangement is special quasi-random, as S; keeps it."),
    ] = None,
    min_occupancy: Annotated[
        float | None, typer.Option(help="Drop occupants below this share.")
    ] = None,
    forbid: Annotated[
        list[str] | None,
        typer.Option(
            help="Two species and their smallest distance in Å, as Li-Li:2.5, or none; in place "
            "of all rules found."
        ),
    ] = None,
    charge: Charges = None,
    symprec: Annotated[
        float | None, typer.Option(help="How far a site may lie from its image, in Å.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="builtin or enumlib; default builtin.")] = None,
    count_only: Annotated[bool, typer.Option("--count-only", help="Count, do not list.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Count and list the symmetry-distinct orderings of a disordered crystal.

    The counts are exact, however many orderings there are. Beyond a cap only a
    symmetric stratum and a sample are listed; `coverage` is their share. What cannot
    be counted in bounded time and memory is searched.
    """
    from lycb_flows.config import DecorationConfig, EnumerationConfig
    from lycb_flows.crystals import check_elements, load_parent

    crystal = load_parent(parent)
    decorates = x is not None or bool(substitute and crystal.structure.is_ordered and not auto)
    _refuse_without_effect(
        crystal, decorates=decorates, auto=auto, supercell=supercell, max_atoms=max_atoms,
        keep=keep, sqs=sqs, min_occupancy=min_occupancy, forbid=forbid, charge=charge,
        symprec=symprec, engine=engine, count_only=count_only,
    )  # fmt: skip
    for note in crystal.notes:
        typer.echo(f"note: {note}", err=True)
    replaced = {"substitute": _substitutes(substitute), "formula": formula}
    if decorates:
        decoration = checked(DecorationConfig, {"x": x} | replaced)
        cells = checked(EnumerationConfig, {"supercell": supercell or (1, 1, 2)})
        summary = _describe_decorations(crystal, cells, decoration)
    else:
        options: dict[str, Any] = {
            "supercell": supercell or (1, 1, 1 if auto else 2),
            "engine": engine or "builtin",
            "min_occupancy": min_occupancy,
            "symprec_ang": symprec,
            "forbidden_pairs": _pairs(forbid),
            "charges": read_charges(charge),
            "keep_occupancies": keep,
            "sqs": sqs,
        } | replaced
        describe = _describe_orderings
        if auto:
            describe = partial(_describe_choice, max_atoms=max_atoms)
        config = checked(EnumerationConfig, options, named=OPTION_NAMES)
        check_elements(crystal, config)
        summary = describe(crystal, config, list_members=not count_only)
    summary = {"parent": crystal.name} | summary | {"notes": list(crystal.notes) or None}
    if as_json:
        print_json({"count": summary.pop("count"), "raw": summary.pop("raw")} | summary)
        return
    rows = [[name, _as_text(value)] for name, value in summary.items() if value is not None]
    print_table(f"Orderings of {parent}", ["", ""], rows)


def _refuse_without_effect(
    crystal: DisorderedCrystal,
    *,
    decorates: bool,
    **options: Any,  # noqa: ANN401 - as given
) -> None:
    """Refuse the options of `lycb enumerate` that were given and would change nothing."""
    if decorates:
        others = {name: value for name, value in options.items() if name != "supercell"}
        refuse("has no effect where an ordered cell is decorated", **others)
    if options["auto"]:
        refuse("contradicts --auto, which chooses one", supercell=options["supercell"])
        return
    refuse("has no effect without --auto", max_atoms=options["max_atoms"])
    if options["forbid"] or crystal.is_built_in:
        reason = "has no effect without --auto where rules are given or built in"
        refuse(reason, charge=options["charge"])


def refuse(reason: str, **options: object) -> None:
    """Refuse options that were given although nothing would come of them.

    Parameters
    ----------
    reason
        Why, after the name of the option.
    **options
        Values by name; those not given are None, False or empty.

    Raises
    ------
    InputError
        At the first that was given.
    """
    for name, value in options.items():
        if value is not None and value is not False and value != []:
            message = f"--{name.replace('_', '-')} {reason}"
            raise InputError(message, fix="leave it out")


def _pairs(texts: list[str] | None) -> list[dict[str, Any]] | None:
    """Return distance rules given by hand; `none` alone is a list without rules."""
    if not texts:
        return None
    found = []
    for text in texts:
        names, _, distance = text.partition(":")
        species = names.split("-")
        if text == "none":
            continue
        if names.count("-") != 1 or not _is_number(distance):
            raise InputError("no distance rule", fix="write it as Li-Li:2.5", found=text)
        found.append({"species": species, "min_distance_ang": float(distance)})
    return found


def _substitutes(texts: list[str] | None) -> dict[str, dict[str, float]] | None:
    """Return element -> what replaces it -> atoms per formula unit."""
    found: dict[str, dict[str, float]] = {}
    for text in texts or ():
        element, _, by = text.partition("=")
        species, _, amount = by.partition(":")
        if not (element and species and _is_number(amount)):
            raise InputError("no substitution", fix="write it as Cl=Br:0.5", found=text)
        found.setdefault(element, {})[species] = float(amount)
    return found or None


def read_charges(texts: list[str] | None) -> dict[str, float] | None:
    """Return oxidation states given by hand; `none` alone leaves charges aside."""
    if not texts:
        return None
    if texts == ["none"]:
        return {}
    pairs = [text.partition("=")[::2] for text in texts]
    wrong = [species for species, charge in pairs if not _is_number(charge)]
    if wrong:
        raise InputError("no oxidation state", fix="write it as Ti=4", found=", ".join(wrong))
    return {species: float(charge) for species, charge in pairs}


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) < float("inf")
    except ValueError:
        return False


def _as_text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry:+.4f}" for name, entry in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(map(_as_line, value))
    return str(value)


def _as_line(entry: object) -> str:
    """Return an entry of a list; a shell of pairs is a mapping."""
    if isinstance(entry, dict):
        shown = "{sites} {distance_ang} Å: {n_pairs} pairs, off by {deviation:.4f}"
        return shown.format(**entry)
    return str(entry)


def _describe_orderings(
    crystal: DisorderedCrystal, config: EnumerationConfig, *, list_members: bool
) -> dict[str, Any]:
    from lycb_flows.crystals import count_orderings, enumerate_orderings, supercell_text, with_rules

    config = with_rules(crystal, config)
    rules = {"supercell": supercell_text(config), "excluded": _rules_text(config)}
    if not list_members and not config.sqs:
        count, raw = count_orderings(crystal, config)
        return {"count": count, "raw": raw, "method": "exact"} | rules
    with share_progress("searching") as tell:
        return _describe(enumerate_orderings(crystal, config, lambda n, of: tell(n / of))) | rules


def _rules_text(config: EnumerationConfig) -> list[str]:
    pairs = config.forbidden_pairs or ()
    return [f"{'-'.join(pair.species)} < {pair.min_distance_ang:g} Å" for pair in pairs]


def _describe_choice(
    crystal: DisorderedCrystal,
    config: EnumerationConfig,
    *,
    max_atoms: int | None = None,
    list_members: bool,
) -> dict[str, Any]:
    """Return what --auto chose, and the orderings of it."""
    from lycb_flows.crystals import MAX_ATOMS, choose, enumerate_orderings, supercell_text

    choice = choose(crystal, config, max_atoms or MAX_ATOMS)
    cell = "primitive cell" if choice.config.cell else "cell of the CIF"
    count, raw = choice.exact or (None, None)
    chosen: dict[str, Any] = {
        "count": count,
        "raw": raw,
        "method": "search" if choice.exact is None else "exact",
        "n_atoms": sum(choice.composition.atoms.values()),
        "supercell": f"{supercell_text(choice.config)} of the {cell}",
        "formula": " ".join(f"{s}{n}" for s, n in choice.composition.atoms.items()),
        "deviation": {s: round(d, 6) for s, d in choice.composition.deviation.items()},
        "charge": round(choice.composition.charge, 6),
        "charges": dict(choice.composition.charges),
        "min_occupancy": choice.config.min_occupancy,
        "excluded": _rules_text(choice.config),
        "reasons": list(choice.reasons),
    }
    if not list_members:
        return chosen
    with share_progress("searching") as tell:
        found = enumerate_orderings(crystal, choice.config, lambda n, of: tell(n / of))
    listed = _describe(found)
    keep = ("method", "listed", "coverage", "dropped", "search", "sqs", "stratum")
    return chosen | {name: listed[name] for name in keep}


def _describe_decorations(
    crystal: DisorderedCrystal, cells: EnumerationConfig, config: DecorationConfig
) -> dict[str, Any]:
    from lycb_flows.crystals import canonical_structure, check_size, enumerate_decorations

    if not crystal.structure.is_ordered:
        raise InputError(
            "--x decorates an ordered cell",
            fix="give the CIF of one, e.g. from `lycb export structures`, or --substitute",
            found=f"{crystal.name}, which is disordered",
        )
    check_size(crystal, cells)
    cell = canonical_structure(crystal.structure * cells.supercell)
    shown = {"x": config.x, "supercell": cells.supercell}
    return shown | _describe(enumerate_decorations(cell, config))


def _describe(result: EnumerationResult) -> dict[str, Any]:
    return {
        "count": result.count,
        "raw": result.raw_count,
        "method": result.method,
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
        "search": result.search_note,
        "sqs": None if result.shells is None else [asdict(shell) for shell in result.shells],
        "stratum": result.stratum_note,
    }


def rank(campaign: CampaignFile, store: StoreOption = None) -> None:
    """Enumerate and rank a campaign's systems; `lycb run` then goes on from there.

    Every candidate is relaxed by the campaign's ranking model, the best again
    to the final force; with `ranking.dft` the best are then relaxed at that
    level of theory.
    """
    from lycb_flows.campaign import find_results
    from lycb_flows.cli.progress import live_progress
    from lycb_flows.flows import ranking_flow, run_embedded

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
        print_table(f"{name}: {counted(ranking.n_candidates, 'candidate')}", columns, rows)
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

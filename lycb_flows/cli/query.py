"""Questions to the store: `lycb query`, `lycb results`, `lycb show`, `lycb index`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lycb_flows.cli.attempts import print_attempts, write_logs
from lycb_flows.cli.model_cards import show_card
from lycb_flows.cli.rows import (
    Format,
    FormatOption,
    JsonRowsOption,
    format_of,
    print_aligned,
    print_rows,
    text_of,
)
from lycb_flows.cli.terminal import (
    JsonOption,
    StoreOption,
    open_results,
    open_submission,
    print_json,
    print_table,
    share_progress,
    tell_of_no_campaign,
)
from lycb_flows.errors import InputError

if TYPE_CHECKING:
    from lycb_flows.schemas import Document
    from lycb_flows.store import Attempt, ResultStore

AsIsOption = Annotated[
    bool,
    typer.Option("--as-is", help="Do not bring the catalogue up to date before the query."),
]
_SHOWN_OF_ALL = ("key", "campaign", "system", "round", "temperature_k", "reduced_formula")
_N_OWN, _N_KEYS, _N_LETTERS = 8, 3, 40
_SHORTEST_KEY = 6


def query(
    kind: Annotated[
        str | None, typer.Argument(help="Kind of document, e.g. label, run, model.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="FIELD=VALUE, or with != < <= > >= ~ (contains); may be given several times."
        ),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(help="Column to sort by; -COLUMN for the largest first.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="Largest number of rows.")] = None,
    columns: Annotated[str | None, typer.Option(help="Columns, separated by commas.")] = None,
    how: FormatOption = None,
    kinds: Annotated[
        bool, typer.Option("--kinds", help="List the kinds, or the columns of a kind.")
    ] = False,
    as_is: AsIsOption = False,
    store: StoreOption = None,
    as_json: JsonRowsOption = False,
) -> None:
    """List the documents of a kind that meet all conditions.

    A row has formula, campaign, round, temperature and the first numbers of a document;
    they are those of the catalogue, which is brought up to date first. With --json, and
    nothing but one --where FIELD=VALUE for each of some fields of the document, all facts
    of each document are printed instead. A VALUE is read as JSON, or as text where it is
    none.
    """
    from lycb_flows.schemas import COMMON_COLUMNS, KINDS
    from lycb_flows.store import all_kinds, check_columns

    if kinds or kind is None:
        _print_kinds(kind)
        return
    results = open_results(store)
    if kind not in {*KINDS, *results.kinds()} and kind not in all_kinds():
        raise InputError("no such kind", fix=f"one of {', '.join(all_kinds())}", found=kind)
    shape = format_of(how, as_json=as_json)
    results.query(kind, *(where or ()), sort=sort, limit=0)  # checks names and values first
    equal = _facts_asked_for(kind, where or [])
    if as_json and equal is not None and all(each is None for each in (sort, limit, columns, how)):
        for key, facts in results.list_facts(kind, **equal):
            print_json({"key": key, **facts})
        return
    own = _own_columns(results, kind)
    if columns is not None:
        chosen = [name.strip() for name in columns.split(",")]
        check_columns(kind, chosen)
    elif shape == Format.TABLE:
        chosen = _table_columns(kind, own, where or [], sort)
    else:
        chosen = list(dict.fromkeys([*(column.name for column in COMMON_COLUMNS), *own]))
    bring_up_to_date(results, as_is=as_is)
    rows = results.query(kind, *(where or ()), sort=sort, limit=limit)
    print_rows(rows, chosen, shape, title=kind, whole=columns is not None)


def bring_up_to_date(results: ResultStore, *, as_is: bool) -> None:
    """Bring the catalogue up to date, or warn on stderr that it is not.

    Parameters
    ----------
    results
        The store.
    as_is
        Whether to leave the catalogue as it is.
    """
    from lycb_flows.store import is_behind

    if not is_behind(results):
        return
    if as_is or results.read_only:
        hint = "" if as_is else "; this user cannot write: ask its owner to run `lycb index`"
        typer.echo(f"the catalogue lacks the newest documents{hint}", err=True)
        return
    _update(results, rebuild=False)


def _update(results: ResultStore, *, rebuild: bool) -> str:
    from lycb_flows.campaign.catalogue import update_catalogue

    with share_progress("catalogue") as tell:
        updated = update_catalogue(results, rebuild=rebuild, tell=tell)
    for name, reason in updated.left_out.items():
        typer.echo(f"campaign {name} cannot be read here: {reason}", err=True)
    return f"{updated.n_written} rows written, {updated.n_removed} removed"


def index(store: StoreOption = None) -> None:
    """Rebuild the catalogue, which queries read, from the documents.

    It can be rebuilt at any time, as no job reads it.
    """
    typer.echo(_update(open_results(store), rebuild=True))


# -- which columns ---------------------------------------------------------------------------


def _own_columns(results: ResultStore, kind: str) -> list[str]:
    """Return the columns of a kind beside those of every row, or what a document of it holds."""
    from lycb_flows.schemas import Scalar, columns_of
    from lycb_flows.store import document_class

    columns = [column.name for column in columns_of(document_class(kind))]
    if columns:
        return columns
    _, facts = next(results.list_facts(kind), ("", {}))  # its package is not installed
    return [name for name, value in facts.items() if isinstance(value, Scalar)]


def _table_columns(
    kind: str, own: Sequence[str], where: Sequence[str], sort: str | None
) -> list[str]:
    """Return the columns that a table shows of itself, with those of --where and --sort.

    Keys of what a document was made from, which are called after its kind, are left out.
    """
    from lycb_flows.store import all_kinds, document_class, read_condition

    left_out = {*all_kinds(), *_SHOWN_OF_ALL}
    telling = [name for name in own if name not in left_out][:_N_OWN]
    named = [read_condition(text).name for text in where]
    named += [sort.removeprefix("-")] if sort else []
    shown = document_class(kind).table_columns or telling
    return list(dict.fromkeys([*_SHOWN_OF_ALL, *shown, *named]))


def _print_kinds(kind: str | None) -> None:
    """Print every kind, or the columns of one."""
    from lycb_flows.store import all_kinds, catalogue_columns

    kinds = all_kinds()
    if kind is None:
        rows = [[name, first_line(of_kind)] for name, of_kind in sorted(kinds.items())]
        print_aligned(rows)
        typer.echo("`lycb query KIND --kinds` lists the columns of one")
        return
    if kind not in kinds:
        raise InputError("no such kind", fix=f"one of {', '.join(kinds)}", found=kind)
    columns = [[c.name, c.type, c.description] for c in catalogue_columns(kind)]
    typer.echo(f"{kind}: {first_line(kinds[kind])}")
    print_aligned(columns, head=["column", "is", ""])


def first_line(of_kind: type[Document]) -> str:
    """Return the first line of the docstring of a class of documents."""
    return (inspect.getdoc(of_kind) or "").partition("\n")[0]


# -- facts -------------------------------------------------------------------------------------


def _facts_asked_for(kind: str, where: Sequence[str]) -> dict[str, Any] | None:
    """Return the wanted values by field, or None when only the catalogue has an answer."""
    from lycb_flows.schemas import Document
    from lycb_flows.store import document_class, read_condition

    conditions = [read_condition(text) for text in where]
    fields = document_class(kind).model_fields.keys() - Document.model_fields.keys()
    if any(c.operator != "=" or c.name not in fields for c in conditions):
        return None
    equal = {condition.name: condition.value for condition in conditions}
    return equal if len(equal) == len(conditions) else None


def _short(facts: dict[str, Any]) -> str:
    """Return single facts, and those of parts such as a transport's estimate, in one line."""
    parts = [part for part in facts.values() if isinstance(part, dict)]
    values = {
        name: _cut(value) if isinstance(value, str) else value
        for some in (facts, *parts)
        for name, value in some.items()
        if isinstance(value, str | int | float | bool)
    }
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _cut(text: str) -> str:
    """Return a text as part of a line, with a mark where it goes on; keys are cut as in tables."""
    shown = text_of(text)
    return shown if len(shown) <= _N_LETTERS else f"{shown[: _N_LETTERS - 1]}…"


# -- one document ------------------------------------------------------------------------------


def show(
    key: Annotated[
        str, typer.Argument(help="Key, its first digits (6 or more), or a shipped model's name.")
    ],
    facts: Annotated[bool, typer.Option("--facts", help="Print all facts, as JSON.")] = False,
    ancestry: Annotated[
        bool, typer.Option("--ancestry", help="List every document that it was made from.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    logs: Annotated[
        Path | None, typer.Option(help="Folder to write the logs of VASP or GPAW to.")
    ] = None,
) -> None:
    """Show the numbers of a document, who made it, and its ancestors, down to the CIF.

    For a key that has only failed so far, show its attempts. For the name of a
    model that this package ships, show what trained it, its errors and its robustness.
    """
    if show_card(key, as_json=as_json):
        return
    results = open_results(store)
    try:
        document = results.load_any(key)
    except InputError:
        if not _show_failed(results, key, logs, as_json=as_json):
            raise
        return
    attempts = results.attempts(document.key)
    write_logs(results, attempts, logs)
    ancestors = results.find_documents(results.ancestors(document.key))
    if as_json:
        print_json(
            document.model_dump(mode="json")
            | {
                "kind": document.kind,
                "ancestors": [[ancestor.kind, ancestor.key] for ancestor in ancestors],
                "attempts": _as_data(attempts),
            }
        )
        return
    _print_summary(document, facts=facts)
    if (facts_of := document.facts()).get("source") == "pretrained":
        show_card(str(facts_of["name"]))
    if attempts:
        print_attempts(attempts)
    if ancestry:
        rows = [[found.kind, found.key[:12], _short(found.facts())] for found in ancestors]
        print_table("Rests on, nearest first", ["kind", "key", "facts"], rows)
    else:
        _print_ancestors(ancestors)


def _show_failed(results: ResultStore, prefix: str, logs: Path | None, *, as_json: bool) -> bool:
    """Show the attempts at a key that no document has; False where no single key matches."""
    tried = results.tried_keys(prefix) if len(prefix) >= _SHORTEST_KEY else []
    if len(tried) != 1:
        return False
    attempts = results.attempts(tried[0])
    if as_json:
        print_json({"key": tried[0], "kind": attempts[0].kind, "attempts": _as_data(attempts)})
    else:
        print_attempts(attempts)
    write_logs(results, attempts, logs)
    return True


def _as_data(attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    return [attempt.model_dump(mode="json") for attempt in attempts]


def _print_summary(document: Document, *, facts: bool) -> None:
    from lycb_flows.schemas import columns_of, values_of

    typer.echo(f"{document.kind} {document.key}")
    typer.echo(first_line(type(document)))
    if facts:
        typer.echo(json.dumps(document.facts(), indent=1))
    else:
        descriptions = {column.name: column.description for column in columns_of(type(document))}
        values = values_of(document).items()
        print_aligned(
            [[f"  {name}", text_of(value), descriptions.get(name, "")] for name, value in values]
        )
    made = document.made
    if made.ended_at:
        typer.echo(f"made by {made.worker} on {made.host}, {made.ended_at}, {made.wall_s:.1f} s")
    else:
        typer.echo("no job made it: it was given, or comes with the package")
    if made.job:
        typer.echo(f"job: {made.job}")


def _print_ancestors(ancestors: Iterable[Document]) -> None:
    """Print the number of ancestors of each kind, with the keys of the nearest ones."""
    by_kind: dict[str, list[str]] = {}
    for document in ancestors:
        by_kind.setdefault(document.kind, []).append(document.key[:12])
    rows = [
        [kind, str(len(keys)), ", ".join([*keys[:_N_KEYS], *["..."] * (len(keys) > _N_KEYS)])]
        for kind, keys in by_kind.items()
    ]
    typer.echo("rests on, nearest first (--ancestry lists all):")
    print_aligned([[f"  {n} {kind}", keys] for kind, n, keys in rows])


# -- results of campaigns ------------------------------------------------------------------------


def results(
    campaign: Annotated[
        str | None, typer.Argument(help="File or submitted name (default: every campaign).")
    ] = None,
    how: FormatOption = None,
    as_is: AsIsOption = False,
    store: StoreOption = None,
    as_json: JsonRowsOption = False,
) -> None:
    """Show the results of campaigns with their errors: D, sigma, E_A, volumes.

    There is a row for each number. An upper bound is a row with a `high` and no value.
    """
    from lycb_flows.quantities.results import RESULT_COLUMNS, measured_numbers
    from lycb_flows.schemas import CampaignRecord

    shape = format_of(how, as_json=as_json)
    opened = open_results(store)
    names = {record.name for record in opened.find_all(CampaignRecord)}
    if campaign is not None and (campaign not in names or Path(campaign).is_file()):
        campaign = open_submission(campaign, opened).campaign.name
    elif not names:
        tell_of_no_campaign()
    bring_up_to_date(opened, as_is=as_is)
    rows = measured_numbers(opened, campaign)
    print_rows(rows, RESULT_COLUMNS, shape, title="Results", whole=False)

"""Commands on the result store: show results, compare stores, withdraw, sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lycb_flows.cli.terminal import (
    JsonOption,
    Key,
    StoreOption,
    open_results,
    print_attempts,
    print_json,
    print_table,
)
from lycb_flows.errors import InputError

if TYPE_CHECKING:
    from lycb_flows.schemas import Document


def query(
    kind: Annotated[str, typer.Argument(help="Kind of document, e.g. label, run, model.")],
    where: Annotated[
        list[str] | None, typer.Option(help="FIELD=VALUE; may be given several times.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the documents of a kind.

    With --where only those whose facts have these values, which are read as
    JSON.
    """
    from lycb_flows.schemas import KINDS
    from lycb_flows.store import document_class

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


def show(
    key: Key,
    store: StoreOption = None,
    as_json: JsonOption = False,
    logs: Annotated[
        Path | None, typer.Option(help="Write into this folder what VASP or GPAW wrote.")
    ] = None,
) -> None:
    """Show a document, its attempts, and its ancestry down to the CIF.

    For a key that has only failed so far, its attempts are shown.
    """
    results = open_results(store)
    attempts = results.attempts(key)
    if attempts and results.find_document(key) is None:  # it has only failed so far
        print_attempts(results, attempts, logs)
        return
    document = results.load_any(key)
    ancestors = list(results.find_documents(results.ancestors(document.key)))
    if as_json:
        print_json(
            document.model_dump(mode="json")
            | {
                "kind": document.kind,
                "ancestors": [[ancestor.kind, ancestor.key] for ancestor in ancestors],
            }
        )
        return
    typer.echo(f"{document.kind} {document.key}")
    typer.echo(json.dumps(document.facts(), indent=1)[:4000])
    made = document.made
    typer.echo(f"made by {made.worker} on {made.host}, {made.ended_at}, {made.wall_s:.1f} s")
    if made.job:
        typer.echo(f"job: {made.job}")
    print_attempts(results, results.attempts(document.key), logs)
    rows = [[ancestor.kind, ancestor.key[:12], _short_facts(ancestor)] for ancestor in ancestors]
    print_table("Rests on, nearest first", ["kind", "key", "facts"], rows)


def retract(
    key: Key,
    reason: Annotated[str, typer.Option(help="Why the result is withdrawn.")],
    store: StoreOption = None,
) -> None:
    """Withdraw a result: look-ups treat it as absent. Lists what rests on it.

    Nothing is overwritten. The results that rest on it stay, for you to decide
    about.
    """
    results = open_results(store)
    descendants = results.retract(key, reason)
    typer.echo(f"retracted; {len(descendants)} live results rest on it")
    for document in filter(None, map(results.find_document, descendants)):
        typer.echo(f"{document.kind} {document.key}")


def diff(
    first: Annotated[str, typer.Argument(help="Store: a folder or mongodb://...")],
    second: Annotated[str, typer.Argument(help="Store: a folder or mongodb://...")],
) -> None:
    """Compare the facts of two stores; exit code 1 when they differ.

    Who made a result, where and when, is not compared.
    """
    from lycb_flows.store import differences

    found = differences(open_results(first), open_results(second))
    for name, keys in found.items():
        typer.echo(f"{len(keys)} {name}")
        for key in keys[:20]:
            typer.echo(f"  {key}")
    if any(found.values()):
        raise typer.Exit(1)


def gc(
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Remove what was listed a day ago or earlier.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --sweep: remove them, do not only show them.")
    ] = False,
    store: StoreOption = None,
) -> None:
    """List blobs that nothing names; a day later --sweep --yes removes them.

    Younger blobs than a week are left alone: their documents may be still to
    come.
    """
    from datetime import UTC, datetime

    from lycb_flows.store import garbage

    results, now = open_results(store), datetime.now(UTC)
    if not sweep:
        listed = garbage.list_garbage(results, now=now)
        rows = [[blob.name, f"{blob.size:,}", f"{blob.listed_at:%F %R}"] for blob in listed.blobs]
        print_table(
            f"{len(rows)} blobs that nothing names, {listed.n_bytes:,} bytes",
            ["name", "bytes", "on the list since"],
            rows,
        )
        return
    swept = garbage.sweep(results, now=now, dry=not yes)
    rows = [[blob.name, f"{blob.size:,}"] for blob in swept.removed]
    verb = "to be removed with --yes" if swept.dry else "removed"
    print_table(f"{len(rows)} blobs {verb}, {swept.n_bytes:,} bytes", ["name", "bytes"], rows)
    typer.echo(f"{swept.n_waiting} not yet listed for a day, {swept.n_spared} named meanwhile")

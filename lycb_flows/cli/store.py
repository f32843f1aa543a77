"""Commands that keep the result store: compare stores, withdraw, sweep."""

from __future__ import annotations

from typing import Annotated

import typer

from lycb_flows.cli.terminal import Key, StoreOption, open_results, print_table


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

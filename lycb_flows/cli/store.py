"""Commands that keep the result store: compare stores, withdraw, sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lycb_flows.cli.terminal import (
    Key,
    StoreOption,
    open_results,
    print_table,
    share_progress,
)
from lycb_flows.errors import InputError
from lycb_flows.machine import counted, size_text

if TYPE_CHECKING:
    from lycb_flows.store import ResultStore


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

    from lycb_flows.store import list_garbage, sweep as remove_garbage

    results, now = open_results(store), datetime.now(UTC)
    if not sweep:
        listed = list_garbage(results, now=now)
        rows = [[blob.name, f"{blob.size:,}", f"{blob.listed_at:%F %R}"] for blob in listed.blobs]
        print_table(
            f"{counted(len(rows), 'blob')} that nothing names, {listed.n_bytes:,} bytes",
            ["name", "bytes", "on the list since"],
            rows,
        )
        return
    swept = remove_garbage(results, now=now, dry=not yes)
    rows = [[blob.name, f"{blob.size:,}"] for blob in swept.removed]
    verb = "to be removed with --yes" if swept.dry else "removed"
    title = f"{counted(len(rows), 'blob')} {verb}, {swept.n_bytes:,} bytes"
    print_table(title, ["name", "bytes"], rows)
    typer.echo(f"{swept.n_waiting} not yet listed for a day, {swept.n_spared} named meanwhile")


def verify(
    seal: Annotated[
        bool,
        typer.Option(
            "--seal", help="Seal documents that have no seal, as they are now; vouches for no more."
        ),
    ] = False,
    blobs: Annotated[bool, typer.Option(help="Read every blob, too.")] = True,
    store: StoreOption = None,
) -> None:
    """Check that a store still holds what was put into it; exit code 1 when it does not.

    Documents are compared with the SHA-256 that was kept when they came, then
    ancestry, attempts, and the content of every blob. Nothing is changed.
    """
    from lycb_flows.store import Counts, seal as add_seals, verify as check

    results, counts, n_wrong = open_results(store), Counts(), 0
    with share_progress("verify") as tell:
        for finding in check(results, counts, with_blobs=blobs, tell=tell):
            typer.echo(f"{finding.where}: {finding.what}")
            n_wrong += 1
    looked_at = f"{counted(counts.n_documents, 'document')}, {counted(counts.n_blobs, 'blob')}"
    typer.echo(f"{looked_at}, {counted(n_wrong, 'finding')}")
    if counts.n_not_imported:
        typer.echo(f"not imported, which is no finding: {counts.n_not_imported:,} ancestors")
    n_unsealed = len(counts.unsealed)
    if n_unsealed and not seal:
        of_before = f"{counted(n_unsealed, 'document')} of before seals"
        typer.echo(f"{of_before}: `lycb verify --seal` seals them")
    elif seal:
        typer.echo(f"{counted(add_seals(results, counts), 'document')} sealed, as they are now")
    if n_wrong:
        raise typer.Exit(1)


def push(
    target: Annotated[str, typer.Argument(help="Store to copy to: a folder or mongodb://...")],
    store: StoreOption = None,
) -> None:
    """Copy what another store lacks into it, by key; the same command goes on where it was stopped.

    Documents come after the blobs that they name. Attempts stay behind.
    """
    _copy(open_results(store), open_results(target, create=True))


def pull(
    source: Annotated[str, typer.Argument(help="Store to copy from: a folder or mongodb://...")],
    store: StoreOption = None,
) -> None:
    """Copy from another store what this one lacks, by key; may be repeated.

    Documents come after the blobs that they name. Attempts stay behind.
    """
    _copy(open_results(source), open_results(store, create=True))


def _copy(source: ResultStore, target: ResultStore) -> None:
    from lycb_flows.store import copy_documents

    if source.label == target.label:
        raise InputError("this is the same store", fix="give another", store=source.label)
    with share_progress("copy") as tell:
        done = copy_documents(source, target, tell)
    typer.echo(
        f"{counted(done.n_copied, 'document')} copied, {done.n_there} there already; "
        f"{counted(done.n_blobs, 'blob')}, {size_text(done.n_bytes)}"
    )
    for key, reason in done.left_out.items():
        typer.echo(f"left out {key}: {reason}")
    if done.left_out:
        raise typer.Exit(1)


def prune(
    campaign: Annotated[str, typer.Argument(help="Name of a finished campaign.")],
    yes: Annotated[bool, typer.Option("--yes", help="Drop them, do not only show them.")] = False,
    store: StoreOption = None,
) -> None:
    """Drop the trajectories of a finished campaign; what was measured from them stays.

    All that it measures must be there, in every version that was submitted under its name.
    Those that another campaign has as well, or that its runs go on from, stay, too. A new
    analysis of dropped trajectories is no longer possible; `lycb verify` knows that they
    were dropped.
    """
    from lycb_flows.campaign.trajectories import trajectories_to_prune
    from lycb_flows.store import prune as drop

    results = open_results(store)
    found = trajectories_to_prune(results, campaign)
    size = size_text(sum(blob.size for blob in found))
    n_found = counted(len(found), "trajectory", "trajectories")
    if not yes:
        typer.echo(f"{n_found}, {size}, would be dropped with --yes")
        return
    freed = size_text(drop(results, found))
    typer.echo(f"{n_found} dropped, {freed} freed")

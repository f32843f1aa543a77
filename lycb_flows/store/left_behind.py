"""What imported documents rest on and an import did not bring, so that nobody takes it for lost."""

from __future__ import annotations

from collections.abc import Iterable

from lycb_flows.store.provenance import now
from lycb_flows.store.records import pages
from lycb_flows.store.results import ResultStore

_PREFIXES = [f"{number:02x}" for number in range(256)]


def left_behind(store: ResultStore) -> set[str]:
    """Return the keys of what imported documents name and no import has brought."""
    return {key for prefix in _PREFIXES for key in store.note(_note(prefix)) or {}}


def note_left_behind(store: ResultStore, named: Iterable[str]) -> None:
    """Remember which documents of those that imported ones name are not here.

    What has come since it was written down is taken off: if it goes again, it is lost.

    Parameters
    ----------
    store
        The store that the documents were imported into.
    named
        Keys of their parents and products.
    """
    wanted = {*named, *left_behind(store)}
    here = {key for page in pages(list(wanted)) for key in store.find_ends(page)}
    absent: dict[str, list[str]] = {key[:2]: [] for key in sorted(wanted)}
    for key in sorted(wanted - here):
        absent[key[:2]].append(key)
    for prefix, keys in absent.items():
        before = store.note(_note(prefix)) or {}
        after = {key: before.get(key) or now() for key in keys}
        if after != before:
            store.set_note(_note(prefix), after)


def _note(prefix: str) -> str:
    return f"left behind {prefix}"

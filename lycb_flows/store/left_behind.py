"""What imported documents rest on and an import did not bring, so that nobody takes it for lost."""

from __future__ import annotations

from collections.abc import Iterable

from lycb_flows.store.key_notes import KeyNotes
from lycb_flows.store.records import pages
from lycb_flows.store.results import ResultStore


def left_behind(store: ResultStore) -> set[str]:
    """Return the keys of what imported documents name and no import has brought."""
    return _notes(store).noted()


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
    _notes(store).change(add=wanted - here, remove=here)


def _notes(store: ResultStore) -> KeyNotes:
    return KeyNotes(store, "left behind")

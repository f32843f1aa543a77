"""What a store remembers of keys, in 256 notes: one would outgrow what MongoDB takes (16 MB)."""

from __future__ import annotations

from collections.abc import Iterable

from lycb_flows.store.provenance import now
from lycb_flows.store.results import ResultStore

_PREFIXES = [f"{number:02x}" for number in range(256)]


class KeyNotes:
    """Keys that something has happened to, each with the time at which it was noted.

    Parameters
    ----------
    store
        The store that remembers.
    what
        What has happened to the keys, the name of the notes.
    """

    def __init__(self, store: ResultStore, what: str) -> None:
        self._store, self._what = store, what

    def noted(self) -> set[str]:
        """Return all of the keys."""
        return {key for prefix in _PREFIXES for key in self._of(prefix)}

    def change(self, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Add keys, which keep the time of their first note, and take others off.

        Parameters
        ----------
        add
            SHA-256 sums, in hexadecimal digits.
        remove
            Of these, none is noted afterwards.
        """
        removed = set(remove)
        added = {key[:2]: dict[str, str]() for key in sorted(removed)}
        for key in sorted(set(add)):
            added.setdefault(key[:2], {})[key] = now()
        for prefix, new in added.items():
            before = self._of(prefix)
            after = {key: at for key, at in (new | before).items() if key not in removed}
            if after != before:
                self._store.set_note(f"{self._what} {prefix}", after)

    def _of(self, prefix: str) -> dict[str, str]:
        return dict(self._store.note(f"{self._what} {prefix}") or {})

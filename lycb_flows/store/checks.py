"""`lycb verify`: whether a store still holds what was put into it.

documents   readable, as sealed when they came, within their schema
ancestry    parents and products are here, and edges are those that documents state
attempts    readable; what was done is here
blobs       there, with the content that their SHA-256 names, unless they were pruned
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from lycb_flows.errors import LycbError, StoreError
from lycb_flows.schemas import Blob
from lycb_flows.store.copies import blobs_in
from lycb_flows.store.left_behind import left_behind
from lycb_flows.store.pruning import pruned_blobs
from lycb_flows.store.records import Record, document_of, seal_of, unspilled
from lycb_flows.store.results import ResultStore
from lycb_flows.store.seals import StoredRecord


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was stored.

    Attributes
    ----------
    where
        Key of a document, SHA-256 of a blob, or what else it is about.
    what
        What is wrong, in words.
    """

    where: str
    what: str


@dataclass
class Counts:
    """What a check has looked at; `unsealed` are documents of before seals, with their seals.

    `n_not_imported` are parents and products that an import left behind, which is no finding.
    """

    n_documents: int = 0
    n_blobs: int = 0
    n_not_imported: int = 0
    unsealed: dict[str, str] = field(default_factory=dict)


def verify(
    store: ResultStore,
    counts: Counts,
    *,
    with_blobs: bool = True,
    tell: Callable[[float], None] = lambda _share: None,
) -> Iterator[Finding]:
    """Yield everything that is wrong with a store.

    Parameters
    ----------
    store
        The store; nothing in it is changed.
    counts
        Filled with what was looked at.
    with_blobs
        Whether the content of every blob is read.
    tell
        Called now and then with the share that is done.
    """
    yield from (Finding("database", text) for text in store.seals.faults())
    check = _Check(store, counts)
    for number, stored in enumerate(store.seals.records()):
        yield from check.document(stored)
        if number % 100 == 0:
            tell(0.5 * number / max(1, store.sizes()[0]))
    yield from check.ancestry()
    yield from check.attempts()
    if with_blobs:
        yield from check.blobs(tell)


def seal(store: ResultStore, counts: Counts) -> int:
    """Seal the documents that have no seal, as they are now; return how many."""
    store.seals.add(counts.unsealed)
    return len(counts.unsealed)


class _Check:
    def __init__(self, store: ResultStore, counts: Counts) -> None:
        self.store, self.counts = store, counts
        self.here: set[str] = set()
        self.named: dict[str, str] = {}
        self.stated: dict[tuple[str, str], bool] = {}
        self.found_blobs: dict[str, tuple[Blob, str]] = {}

    def document(self, stored: StoredRecord) -> Iterator[Finding]:
        """Yield what is wrong with a document by itself."""
        self.counts.n_documents += 1
        record = stored.record
        if record is None:
            yield Finding(stored.key, "the document is gone, or cannot be read")
            return
        self.here.add(stored.key)
        if stored.seal is None:
            if stored.live:
                self.counts.unsealed[stored.key] = seal_of(record)
        elif stored.seal != seal_of(record):
            yield Finding(stored.key, "the facts are not those that were stored")
        self._find_blobs(stored.key, [record.facts, record.parents, record.products, record.made])
        try:
            document_of(record, self.store.blobs)
        except (LycbError, OSError) as err:
            yield Finding(stored.key, str(err))
        self._note_relatives(record)

    def _read_again(self, key: str) -> bool:
        """Return whether a document is here now: others may store results during a check."""
        with contextlib.suppress(LycbError):
            record = self.store._find_record(key)  # noqa: SLF001 - a check is of records
            if record is not None:
                self._note_relatives(record, edges_seen=True)
                return True
        return False

    def _note_relatives(self, record: Record, *, edges_seen: bool = False) -> None:
        with contextlib.suppress(LycbError, ValueError, TypeError, OSError):
            parents = [str(key) for key in unspilled(record.parents, self.store.blobs)]
            products = [str(key) for key in unspilled(record.products, self.store.blobs)]
            for key in (*parents, *products):
                self.named.setdefault(key, record.key)
            if self.store.seals.keeps_edges_of(record):
                edges = [(parent, record.key) for parent in parents]
                edges += [(record.key, product) for product in products]
                for edge in edges:
                    self.stated.setdefault(edge, edges_seen)

    def ancestry(self) -> Iterator[Finding]:
        """Yield relatives that are missing, and edges that no document states or that are gone."""
        yield from self._relatives()
        unstated = []
        for edge in self.store.seals.edges():
            if edge in self.stated:
                self.stated[edge] = True
            else:
                unstated.append(edge)
        for ancestor, descendant in unstated:
            self._read_again(ancestor)
            self._read_again(descendant)
            if (ancestor, descendant) not in self.stated:
                yield Finding(descendant, f"no document states the edge from {ancestor}")
        for (ancestor, descendant), seen in self.stated.items():
            if not seen:
                yield Finding(descendant, f"the edge from {ancestor} is gone")

    def _relatives(self) -> Iterator[Finding]:
        """Yield relatives that are missing, without those that an import left behind."""
        named = list(self.named.items())
        missing = {k: by for k, by in named if k not in self.here and not self._read_again(k)}
        not_imported = left_behind(self.store) & missing.keys() if missing else set()
        self.counts.n_not_imported = len(not_imported)
        for key, by in missing.items():
            if key not in not_imported:
                yield Finding(by, f"parent or product {key} is not here")

    def attempts(self) -> Iterator[Finding]:
        """Yield tries that cannot be read, and those whose result is not here."""
        try:
            attempts = self.store.attempts()
        except (ValidationError, ValueError, TypeError, KeyError) as err:
            yield Finding("attempts", f"a try cannot be read: {str(err).splitlines()[0]}")
            return
        for attempt in attempts:
            self._find_blobs(attempt.key, [attempt.model_dump()["logs"]])
            is_here = attempt.key in self.here or attempt.outcome != "done"
            if not is_here and not self._read_again(attempt.key):
                yield Finding(attempt.key, f"a {attempt.kind} was made but is not here")

    def _find_blobs(self, key: str, values: list[Any]) -> None:
        """Remember every address of a blob in plain data."""
        for blob in blobs_in(values):
            self.found_blobs.setdefault(blob.sha256, (blob, key))

    def blobs(self, tell: Callable[[float], None]) -> Iterator[Finding]:
        """Yield blobs that are missing or damaged."""
        pruned = pruned_blobs(self.store)
        for number, (blob, key) in enumerate(self.found_blobs.values()):
            self.counts.n_blobs += 1
            tell(0.5 + 0.5 * number / len(self.found_blobs))
            if blob.sha256 in pruned:
                continue
            try:
                self.store.blobs.write_to(blob, _Nowhere())
            except (StoreError, OSError) as err:
                yield Finding(blob.sha256, f"{err}; {key} names it")


class _Nowhere(io.BytesIO):
    """A stream that keeps nothing of what is written to it."""

    def write(self, content: Any, /) -> int:  # noqa: ANN401 - whatever bytes are
        """Return the number of bytes, and drop them."""
        return len(content)

"""The database operations of a store, which each backend implements."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from lycb_flows.schemas import Document, Made
from lycb_flows.store.blobs import Blobs
from lycb_flows.store.catalogue import Catalogue
from lycb_flows.store.records import (
    Attempt,
    AttemptId,
    Edges,
    Outcome,
    Record,
    Spilled,
    Totals,
)
from lycb_flows.store.seals import Seals


class Backend(ABC):
    """A database of records, attempts, tombstones, claims and notes.

    Attributes
    ----------
    address
        What `open_store` takes; it may hold a password and is never printed.
    label
        The address without its password, to be printed.
    blobs
        The bytes that documents name.
    catalogue
        What people ask for, in rows; it may be behind the documents.
    seals
        What was stored, to be checked.
    read_only
        Whether this user may only read, so that nothing is brought up to date on opening.
    is_shared
        Whether workers on other machines can reach the store, as a service needs.
    """

    address: str
    label: str
    blobs: Blobs
    catalogue: Catalogue
    seals: Seals
    read_only: bool = False
    is_shared: ClassVar[bool] = False

    @property
    def folder(self) -> Path | None:
        """The folder of an embedded store; None for a database."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Close the connection to the database."""

    def refuse_writes(self) -> None:
        """Change nothing through this connection from now on.

        Whether a database's user may write is for the database to say.
        """
        self.read_only = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @abstractmethod
    def _find_record(self, key: str) -> Record | None:
        """Return the live record of a key, or None."""

    @abstractmethod
    def _find_records(self, keys: Sequence[str]) -> list[Record]:
        """Return the live records of at most a few thousand keys, in no order."""

    @abstractmethod
    def _find_by_prefix(self, prefix: str) -> list[Record]:
        """Return at most two live records whose keys start with `prefix`.

        Two are enough to tell that the prefix is ambiguous.
        """

    @abstractmethod
    def tried_keys(self, prefix: str) -> list[str]:
        """Return at most two keys that start with `prefix` and were ever tried.

        Two are enough to tell that the prefix is ambiguous.
        """

    @abstractmethod
    def _find_by_kind(self, kind: str, where: dict[str, object]) -> Iterator[Record]:
        """Yield the live records of a kind whose facts equal `where`, by increasing key."""

    @abstractmethod
    def kinds(self) -> list[str]:
        """Return the kinds of the documents that were ever stored here."""

    @abstractmethod
    def keys(self) -> Iterator[str]:
        """Yield the keys of all live documents, in no order."""

    @abstractmethod
    def sizes(self) -> tuple[int, int]:
        """Return how many documents were ever stored, and how many of them were withdrawn."""

    @abstractmethod
    def _products(self, keys: Sequence[str]) -> dict[str, list[str] | Spilled]:
        """Return the lists of products of these live documents, as their records have them."""

    @abstractmethod
    def _add(self, record: Record, edges: Edges, attempt: AttemptId | None) -> bool:
        """Keep a record and its edges unless its key has a live one; return whether it was kept."""

    @abstractmethod
    def _add_all(self, records: Sequence[tuple[Record, Edges]]) -> int:
        """Keep many records that belong to no attempt; return how many were kept."""

    @abstractmethod
    def _begin(self, kind: str, key: str, made: Made) -> AttemptId:
        """Write down that a try starts."""

    @abstractmethod
    def _end(self, attempt: AttemptId, outcome: Outcome, reason: str, made: Made) -> None:
        """Write down how a try ended."""

    @abstractmethod
    def attempts(self, key: str | None = None, outcome: Outcome | None = None) -> list[Attempt]:
        """Return every try, in order.

        Parameters
        ----------
        key
            Only the tries at this key.
        outcome
            Only the tries with this outcome.
        """

    def settle_attempts(self) -> int:
        """End the tries whose document is there but whose worker died before it could end them.

        Returns
        -------
        int
            How many tries were ended; 0 for a backend that writes a document and the end of its
            try in one transaction.
        """
        return 0

    def forget_stale_claims(self) -> int:
        """Delete the claims of dead workers; return how many."""
        return 0

    @abstractmethod
    def find_present(self, kind: type[Document], keys: Sequence[str]) -> set[str]:
        """Return which of these keys have a live document; the documents are not read.

        Parameters
        ----------
        kind
            The class of the documents.
        keys
            Any number of keys.
        """

    @abstractmethod
    def find_ends(self, keys: Sequence[str]) -> dict[str, str]:
        """Return when each of these live documents was made; the others are missing."""

    @abstractmethod
    def count_failures(self, keys: Sequence[str]) -> Counter[str]:
        """Return how many tries at each of these keys have failed."""

    @abstractmethod
    def total_attempts(self) -> dict[str, Totals]:
        """Return number and cost of all tries, by outcome."""

    @abstractmethod
    def makers(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Return the parents of each document, and the documents that it is a product of.

        Parameters
        ----------
        keys
            Keys of the documents, at most a few thousand.

        Returns
        -------
        dict
            Sorted keys for each document that has any.
        """

    @abstractmethod
    def made_from(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Return, for each of these documents, those whose `makers` include it."""

    @abstractmethod
    def _bury(self, key: str, reason: str) -> None:
        """Write a tombstone."""

    @abstractmethod
    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield everything that may name a blob, as plain data in constant memory.

        That is all documents, live or withdrawn, all attempts and claims, in no order.
        """

    @abstractmethod
    def note(self, name: str) -> dict[str, Any] | None:
        """Return a note, a small value that is no result and may change; None if there is none."""

    @abstractmethod
    def set_note(self, name: str, value: dict[str, Any]) -> None:
        """Write a note, and replace an older one of the same name.

        Parameters
        ----------
        name
            Name of the note.
        value
            Plain data, far below MongoDB's limit of 16 MB.
        """

    @abstractmethod
    def _transaction(self) -> contextlib.AbstractContextManager[None]:
        """Return a context whose writes are one transaction, where the backend has transactions."""

    @abstractmethod
    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Return a context that allows an embedded campaign, one at a time where that is needed.

        Raises
        ------
        StoreError
            When another process has it.
        """

    @abstractmethod
    def claim(self, key: str) -> contextlib.AbstractContextManager[None]:
        """Keep other workers from computing this key while the context is open.

        Raises
        ------
        GivenBackError
            When another worker computes it now, and this process can give its job back.
        """

"""ResultStore: documents by key, attempts, tombstones, claims, and the blobs they name.

    documents   key, generation -> kind, facts, header; written once, never changed
    attempts    every try at a key: worker, start, end, outcome, reason, cost
    tombstones  withdrawn results: a look-up does not see them, the next result may come
    claims      who computes a key now, with a heartbeat (service only)
    catalogue   rows to be asked for, made from the documents
    notes       small things that are no results, such as the list of garbage

`open_store` picks the backend by address: a folder is one sqlite file (`sqlite.py`), a
mongodb:// URI a database (`mongodb.py`). No other module depends on which it is.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from lycb_flows.errors import GivenBackError, InputError, LycbError, MachineError, StoreError
from lycb_flows.schemas import Document
from lycb_flows.store.backend import Backend
from lycb_flows.store.catalogue import Row, read_question
from lycb_flows.store.kinds import document_class
from lycb_flows.store.provenance import MadeNow
from lycb_flows.store.records import (
    AttemptId,
    Outcome,
    document_of,
    edges_of,
    facts_of,
    pages,
    record_of,
    unspilled,
)

D = TypeVar("D", bound=Document)
_MIN_PREFIX = 6


class ResultStore(Backend):
    """The interface of a store to jobs and reports."""

    # -- documents ------------------------------------------------------------------

    def find(self, kind: type[D], key: str) -> D | None:
        """Return the live document of this kind and key, or None.

        Parameters
        ----------
        kind
            The document's class.
        key
            The whole key.

        Raises
        ------
        StoreError
            When the key is of another kind.
        """
        document = self.find_document(key)
        if document is not None and not isinstance(document, kind):
            raise StoreError("key of another kind", key=key, found=document.kind, wanted=kind.kind)
        return document

    def load(self, kind: type[D], key: str) -> D:
        """Return the live document of this kind and key.

        Parameters
        ----------
        kind
            The document's class.
        key
            The whole key.

        Raises
        ------
        StoreError
            When there is none.
        """
        document = self.find(kind, key)
        if document is None:
            raise StoreError(
                "no such result", fix="it was retracted or never made", kind=kind.kind, key=key
            )
        return document

    def load_any(self, prefix: str) -> Document:
        """Return the live document whose key starts with `prefix` (6 digits or more).

        Raises
        ------
        InputError
            When none or several match.
        """
        if len(prefix) < _MIN_PREFIX or not set(prefix) <= set("0123456789abcdef"):
            raise InputError(
                "not a key", fix="give at least 6 hexadecimal digits of it", found=prefix
            )
        records = self._find_by_prefix(prefix)
        if len(records) != 1:
            raise InputError(
                "the key must match one document", fix="see `lycb query`", key=prefix,
                matches="none" if not records else "several",
            )  # fmt: skip
        return document_of(records[0], self.blobs)

    def find_document(self, key: str) -> Document | None:
        """Return the live document of this key, whatever its kind, or None."""
        record = self._find_record(key)
        return None if record is None else document_of(record, self.blobs)

    def find_documents(self, keys: Iterable[str]) -> Iterator[Document]:
        """Yield the live documents of these keys, whatever their kind, in the order of the keys.

        The store is asked once per page of keys, and no more than a page is in memory.
        """
        for page in pages(list(keys)):
            records = {record.key: record for record in self._find_records(page)}
            yield from (document_of(records[key], self.blobs) for key in page if key in records)

    def find_all(self, kind: type[D], **where: object) -> Iterator[D]:
        """Yield the live documents of a kind, in the order of their keys.

        Parameters
        ----------
        kind
            The documents' class.
        **where
            Facts that the documents must have.

        Raises
        ------
        InputError
            When a name in `where` is no field of this kind.
        """
        _check_fields(kind, where)
        records = self._find_by_kind(kind.kind, where)
        found = (document_of(record, self.blobs) for record in records)
        return (document for document in found if isinstance(document, kind))

    def find_facts(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the facts of live documents by key, as plain data; absent ones are left out."""
        found = (record for page in pages(list(keys)) for record in self._find_records(page))
        return {record.key: facts_of(record, self.blobs) for record in found}

    def list_facts(self, kind: str, **where: object) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield key and facts of the live documents of a kind, as plain data, by key.

        Parameters
        ----------
        kind
            Kind of the documents.
        **where
            Facts that the documents must have.

        Raises
        ------
        InputError
            When a name in `where` is no field of this kind.
        """
        _check_fields(document_class(kind), where)
        records = self._find_by_kind(kind, where)
        return ((record.key, facts_of(record, self.blobs)) for record in records)

    def query(
        self, kind: str, *conditions: str, sort: str | None = None, limit: int | None = None
    ) -> Iterator[Row]:
        """Yield rows of the catalogue, as it stands: flat, one per document and campaign.

        Parameters
        ----------
        kind
            Kind of the documents, such as "label" or "transport".
        *conditions
            Such as "reduced_formula=Li3YCl6" or "temperature_k>=400"; all must hold. The columns
            are those of docs/data_dictionary.md.
        sort
            A column; with a minus in front, the largest first.
        limit
            How many rows at most.

        Raises
        ------
        InputError
            When a condition cannot be read, is on no column, or is of a number with a word.
        """
        wanted, order = read_question(kind, conditions, sort)
        return self.catalogue.find(kind, wanted, order=order, limit=limit)

    def products(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Return the structures that were born in each of these documents."""
        found: dict[str, list[str]] = {}
        for page in pages(list(keys)):
            lists = self._products(page)
            found |= {key: unspilled(value, self.blobs) for key, value in lists.items()}
        return found

    def insert(self, document: Document, attempt: AttemptId | None = None) -> bool:
        """Store a document once; the first wins.

        Parameters
        ----------
        document
            The result.
        attempt
            The try that made it; it ends with the insertion, as `done` or `superseded`.

        Returns
        -------
        bool
            Whether this was the first.
        """
        with self._transaction():
            first = self._add(record_of(document, self.blobs), edges_of(document), attempt)
            if attempt is not None:
                reason = "" if first else self._compare(document)
                self._end(attempt, "done" if first else "superseded", reason, document.made)
        return first

    def insert_all(self, documents: Sequence[Document]) -> int:
        """Store many documents at once, none of them an attempt's; return how many were new."""
        return self._add_all(
            [(record_of(document, self.blobs), edges_of(document)) for document in documents]
        )

    def _compare(self, document: Document) -> str:
        stored = self.load(type(document), document.key).facts()
        differing = [name for name, value in document.facts().items() if stored[name] != value]
        return f"differs in {', '.join(differing)}" if differing else "equal"

    def all_facts(self) -> dict[str, tuple[str, str]]:
        """Return (kind, facts as JSON) of every live document, by key."""
        records = (record for kind in self.kinds() for record in self._find_by_kind(kind, {}))
        return {
            record.key: (record.kind, json.dumps(facts_of(record, self.blobs), sort_keys=True))
            for record in records
        }

    # -- look-up first -------------------------------------------------------------

    def once(
        self,
        kind: type[D],
        key: str,
        compute: Callable[[], D],
        job: str = "",
        *,
        claim: bool = True,
    ) -> D:
        """Return the result under `key`: found, or computed now as a counted attempt.

        Every expensive step goes through here. This look-up resumes campaigns, is the cache, admits
        late labels, and keeps work from being done twice.

        Parameters
        ----------
        kind
            The document's class.
        key
            What the result is stored under.
        compute
            Makes the document.
        job
            Name of the job, for the attempt.
        claim
            Whether to keep other workers from computing the key meanwhile.

        Raises
        ------
        GivenBackError
            When another worker has claimed the key.
        """
        found = self.find(kind, key)
        if found is not None:
            return found
        with self.claim(key) if claim else contextlib.nullcontext():
            if claim and (found := self.find(kind, key)) is not None:
                return found  # another worker has ended just before
            with self.attempt(kind, key, job) as made:
                document = compute()
                done = document.model_copy(update={"made": made(document.made.logs)})
                self.insert(done, made.attempt)
        return self.load(kind, key)

    @contextlib.contextmanager
    def attempt(self, kind: type[Document], key: str, job: str = "") -> Iterator[MadeNow]:
        """Count a try at `key`, from now to the end of the context.

        An exception ends it as `failed`. Ctrl-C, the end of the walltime, a full disk or a missing
        program say nothing about the step itself: they end it as `interrupted`.

        Parameters
        ----------
        kind
            Class of the document that is tried.
        key
            What it will be stored under.
        job
            Name of the job.

        Yields
        ------
        MadeNow
            Call it for the `made` of the document to insert with its `attempt`.
        """
        made = MadeNow(job)
        made.attempt = self._begin(kind.kind, key, made())
        try:
            yield made
        except BaseException as err:
            outside = not isinstance(err, Exception) or isinstance(
                err, MachineError | GivenBackError
            )
            outcome: Outcome = "interrupted" if outside else "failed"
            reason = str(err) or type(err).__name__
            logs = err.logs if isinstance(err, LycbError) else {}
            with contextlib.suppress(StoreError), self._transaction():
                self._end(made.attempt, outcome, reason, made(logs))
            raise

    def count_as_failed(self, kind: type[Document], key: str, n: int, reason: str) -> None:
        """Count a key as failed for good: it has killed the processes that tried it.

        Tries that never ended have failed; where these are too few, more are noted.

        Parameters
        ----------
        kind, key
            Class of the document that was tried, and its key.
        n
            How many failed tries the key has then at least.
        reason
            Why it has failed.
        """
        made = MadeNow("reaper")()
        tries = [attempt.id for attempt in self.attempts(key, "running")]
        n_missing = n - len(tries) - len(self.attempts(key, "failed"))
        tries += [self._begin(kind.kind, key, made) for _ in range(n_missing)]
        for attempt in tries:
            self._end(attempt, "failed", reason, made)

    # -- ancestry and retraction -----------------------------------------------------

    def ancestors(self, *keys: str) -> list[str]:
        """Return the keys that these results rest on, nearest first, without the results."""
        return _walk(keys, self.makers)

    def descendants(self, key: str) -> list[str]:
        """Return the keys that rest on this result, nearest first."""
        return _walk([key], self.made_from)

    def retract(self, key: str, reason: str) -> list[str]:
        """Withdraw a result: look-ups treat it as absent; nothing is overwritten.

        Parameters
        ----------
        key
            Key, or its first digits.
        reason
            Why.

        Returns
        -------
        list of str
            Every descendant, still live: the caller decides about those.
        """
        document = self.load_any(key)
        self._bury(document.key, reason)
        self.catalogue.drop_documents([document.key])
        return self.descendants(document.key)


def _check_fields(kind: type[Document], names: Iterable[str]) -> None:
    known = [name for name in kind.model_fields if name not in Document.model_fields]
    for name in names:
        if name not in known:
            raise InputError(
                "no such field", fix=f"one of {', '.join(known)}", kind=kind.kind, found=name
            )


def _walk(
    start: Sequence[str], neighbours: Callable[[Sequence[str]], dict[str, list[str]]]
) -> list[str]:
    """Return what can be reached, one step after the other; the store is asked once per step."""
    seen = dict.fromkeys(start)
    n_start, last = len(seen), list(seen)
    while last:
        near: dict[str, list[str]] = {}
        for page in pages(last):
            near |= neighbours(page)
        found = dict.fromkeys(other for key in last for other in near.get(key, ()))
        last = [key for key in found if key not in seen]
        seen |= dict.fromkeys(last)
    return list(seen)[n_start:]

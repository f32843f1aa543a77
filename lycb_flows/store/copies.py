"""Copies of stores: documents from one to another by key, and how two of them differ."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from lycb_flows.errors import LycbError
from lycb_flows.schemas import Blob
from lycb_flows.store.left_behind import left_behind, note_left_behind
from lycb_flows.store.pruning import pruned_blobs
from lycb_flows.store.records import Edges, Record, damaged, pages, seal_of, unspilled
from lycb_flows.store.results import ResultStore

_PAGE = 200


@dataclass
class Copied:
    """What a copy did.

    Attributes
    ----------
    n_copied, n_there
        Documents that were copied, and those that were there already.
    n_blobs, n_bytes
        Blobs that were copied, and their size.
    left_out
        Documents that were not copied, with the reason.
    """

    n_copied: int = 0
    n_there: int = 0
    n_blobs: int = 0
    n_bytes: int = 0
    left_out: dict[str, str] = field(default_factory=dict)


def copy_documents(
    source: ResultStore,
    target: ResultStore,
    tell: Callable[[float], None] = lambda _share: None,
) -> Copied:
    """Copy the live documents that a store lacks, with their blobs; stopped, it may be repeated.

    A document comes after its blobs. Tries and the catalogue stay where they are, and of notes
    only what an import into the source left behind comes along. Documents
    that were withdrawn from the target, or are not as they were sealed, are left out.

    Parameters
    ----------
    source, target
        The stores.
    tell
        Called now and then with the share that is done.
    """
    there, keys = set(target.keys()), sorted(source.keys())
    new = [key for key in keys if key not in there]
    copy = _Copy(source, target, Copied(n_there=len(keys) - len(new)))
    for number, page in enumerate(pages(new, _PAGE)):
        copy.page(list(page))
        tell(min(1.0, (number + 1) * _PAGE / len(new)))
    note_left_behind(target, left_behind(source))
    return copy.done


class _Copy:
    def __init__(self, source: ResultStore, target: ResultStore, done: Copied) -> None:
        self.source, self.target, self.done = source, target, done
        self.withdrawn, self.pruned = target.seals.withdrawn_keys(), pruned_blobs(source)

    def page(self, keys: list[str]) -> None:
        """Copy the documents of some keys."""
        seals = self.source.seals.find(keys)
        for key in keys:
            try:
                self._document(key, seals.get(key))
            except LycbError as err:
                self.done.left_out[key] = str(err)

    def _document(self, key: str, seal: str | None) -> None:
        if key in self.withdrawn:
            self.done.left_out[key] = "it was withdrawn there"
            return
        record = self.source._find_record(key)  # noqa: SLF001 - a copy is of records
        if record is None:
            return  # withdrawn meanwhile
        if seal is not None and seal != seal_of(record):
            raise damaged(key, "the facts are not those that were stored")
        for blob in blobs_in([record.facts, record.parents, record.products, record.made]):
            self._blob(blob)
        kept = self.target._add_all([(record, _edges(record, self.source))])  # noqa: SLF001
        self.done.n_copied += kept

    def _blob(self, blob: Blob) -> None:
        if blob.sha256 in self.pruned or self.target.blobs.touch(blob.sha256):
            return
        with tempfile.TemporaryFile() as stream:
            self.source.blobs.write_to(blob, stream)
            stream.seek(0)
            self.target.blobs.put_stream(stream, blob.media_type)
        self.done.n_blobs += 1
        self.done.n_bytes += blob.size


def _edges(record: Record, store: ResultStore) -> Edges:
    parents = unspilled(record.parents, store.blobs)
    products = unspilled(record.products, store.blobs)
    return [(parent, record.key) for parent in parents] + [(record.key, key) for key in products]


def blobs_in(values: list[Any]) -> Iterator[Blob]:
    """Yield every address of a blob in plain data."""
    unread = list(values)
    while unread:
        value = unread.pop()
        if isinstance(value, dict):
            if value.keys() == Blob.model_fields.keys():
                try:
                    yield Blob.model_validate(value)
                except ValidationError:
                    continue  # no address: the seal tells
            unread.extend(value.values())
        elif isinstance(value, list):
            unread.extend(value)


def differences(first: ResultStore, second: ResultStore) -> dict[str, list[str]]:
    """Return how two stores differ in their keys and facts.

    Who made a document, where and when, is not compared.

    Parameters
    ----------
    first, second
        The stores.

    Returns
    -------
    dict
        Keys only in the first, only in the second, and of differing facts.
    """
    facts, other_facts = first.all_facts(), second.all_facts()
    shared = facts.keys() & other_facts.keys()
    return {
        "only in the first": sorted(facts.keys() - other_facts.keys()),
        "only in the second": sorted(other_facts.keys() - facts.keys()),
        "different facts": sorted(key for key in shared if facts[key] != other_facts[key]),
    }

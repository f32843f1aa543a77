"""What a store keeps: records of documents, and attempts.

A document stays below 100 kB: MongoDB's limit is 16 MB, and a finished job whose document is
larger is lost. Larger fields and longer lists of keys become blobs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lycb_flows.errors import StoreError
from lycb_flows.schemas import Blob, Document
from lycb_flows.store.blobs import Blobs
from lycb_flows.store.kinds import document_class

Outcome = Literal["running", "done", "failed", "interrupted", "superseded"]
AttemptId = int | str
Edges = list[tuple[str, str]]
"""(ancestor, descendant)"""
T = TypeVar("T")
_PAGE = 1000
MAX_FACTS_BYTES, MAX_KEYS = 48_000, 200
_SPILLED = "spilled"


class Attempt(BaseModel):
    """A try at a key; `running` with a dead process means that it was lost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: AttemptId
    key: str
    kind: str
    number: int
    job: str
    worker: str
    host: str
    pid: int
    started_at: str
    ended_at: str | None
    outcome: Outcome
    reason: str
    wall_s: float
    cpu_s: float
    logs: dict[str, Blob] = {}


@dataclass(frozen=True)
class Totals:
    """Number and cost of some attempts."""

    n: int
    wall_s: float
    cpu_s: float


Spilled = dict[str, dict[str, Any]]
"""{"spilled": blob}: in place of something too large for a document."""


@dataclass(frozen=True)
class Record:
    """A document as a backend keeps it: plain data, large fields as blobs."""

    key: str
    kind: str
    method_version: int
    schema_version: int
    facts: dict[str, Any]
    parents: list[str] | Spilled
    products: list[str] | Spilled
    made: dict[str, Any]


def seal_of(record: Record) -> str:
    """Return the SHA-256 of a record without who made it; kept beside it when it comes."""
    kept = {name: getattr(record, name) for name in Record.__dataclass_fields__ if name != "made"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def edges_of(document: Document) -> Edges:
    """Return the edges from a document's parents to it, and from it to its products."""
    edges = [(parent, document.key) for parent in document.parents]
    return edges + [(document.key, product) for product in document.products]


def record_of(document: Document, blobs: Blobs) -> Record:
    """Return what is kept of a document.

    Parameters
    ----------
    document
        The result.
    blobs
        Where fields and lists go that are too large for a record.
    """
    facts = document.facts()
    if len(json.dumps(facts)) > MAX_FACTS_BYTES:
        sizes = {name: len(json.dumps(value)) for name, value in facts.items()}
        for name in sorted(sizes, key=lambda name: sizes[name], reverse=True):
            if sum(sizes.values()) > MAX_FACTS_BYTES and not _names_blobs(facts[name]):
                facts[name] = _spilled(facts[name], blobs)
                sizes[name] = 0
    parents, products = (
        list(keys) if len(keys) <= MAX_KEYS else _spilled(list(keys), blobs)
        for keys in (document.parents, document.products)
    )
    return Record(
        key=document.key,
        kind=document.kind,
        method_version=document.method_version,
        schema_version=document.schema_version,
        facts=facts,
        parents=parents,
        products=products,
        made=document.made.model_dump(mode="json"),
    )


def document_of(record: Record, blobs: Blobs) -> Document:
    """Return the document that a record keeps.

    Parameters
    ----------
    record
        What `record_of` made.
    blobs
        Where its large fields and lists are.

    Raises
    ------
    StoreError
        When it does not fit its schema, or a newer version has written it.
    """
    try:
        kind = document_class(record.kind)
        _check_version(record, kind)
        return kind.from_facts(**unpacked(record, blobs))
    except ValidationError as err:
        first = err.errors()[0]
        raise damaged(record.key, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from err
    except (AttributeError, TypeError, ValueError) as err:  # no facts at all
        raise damaged(record.key, str(err)) from err


def _check_version(record: Record, kind: type[Document]) -> None:
    if record.schema_version > kind.schema_version:
        raise StoreError(
            "a newer version has written this document", fix="update lycb_flows",
            kind=record.kind, key=record.key, schema_version=record.schema_version,
        )  # fmt: skip


def damaged(key: str, reason: str) -> StoreError:
    """Return the error of a document that cannot be read.

    Parameters
    ----------
    key
        Its key.
    reason
        What is wrong with it.
    """
    return StoreError(
        "a document is damaged", fix="see `lycb verify` and docs/backup.md", key=key, reason=reason
    )


def unpacked(record: Record, blobs: Blobs) -> dict[str, Any]:
    """Return the arguments of `Document.from_facts`: facts and header as they were.

    Parameters
    ----------
    record
        What `record_of` made.
    blobs
        Where its large fields and lists are.
    """
    return {
        "facts": facts_of(record, blobs),
        "key": record.key,
        "parents": unspilled(record.parents, blobs),
        "products": unspilled(record.products, blobs),
        "made": record.made,
    }


def facts_of(record: Record, blobs: Blobs) -> dict[str, Any]:
    """Return the facts that a record keeps, as plain data.

    Parameters
    ----------
    record
        What `record_of` made.
    blobs
        Where its large fields are.
    """
    return {name: unspilled(value, blobs) for name, value in record.facts.items()}


def pages(items: Sequence[T], size: int = _PAGE) -> Iterator[Sequence[T]]:
    """Yield a list in parts that fit into a question to the database.

    Parameters
    ----------
    items
        Keys, for the most part.
    size
        Length of a part.
    """
    return (items[start : start + size] for start in range(0, len(items), size))


def _names_blobs(value: object) -> bool:
    """Whether a blob's address is in it; in a blob itself, the sweep of garbage would miss it."""
    if isinstance(value, dict):
        return value.keys() == Blob.model_fields.keys() or any(map(_names_blobs, value.values()))
    return isinstance(value, list) and any(map(_names_blobs, value))


def _spilled(value: object, blobs: Blobs) -> Spilled:
    return {_SPILLED: blobs.put_json(value).model_dump()}


def unspilled(value: Any, blobs: Blobs) -> Any:  # noqa: ANN401 - plain data of any kind
    """Return a value of a record, read from its blob where it was too large.

    Parameters
    ----------
    value
        A field of the facts, or a list of keys.
    blobs
        Where large ones are.
    """
    if isinstance(value, dict) and value.keys() == {_SPILLED}:
        return json.loads(blobs.read(Blob.model_validate(value[_SPILLED])))
    return value

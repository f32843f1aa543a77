"""Base of all documents: immutable, one class per kind of fact.

A document has two parts. Its *facts* are what its key promises: every field but `key`,
`parents`, `products` and `made`; `lycb diff` compares them. `made` says who made it, where
and at what cost: never compared, never keyed. `method_version` rises only when the same
inputs would give another result, with a line in CHANGELOG.md.
"""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from lycb_flows.schemas.keys import make_key

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]

_HEADER = frozenset({"key", "parents", "products", "made"})


class Part(BaseModel):
    """Base of what a document consists of: immutable, without unknown fields.

    Its validator is built when it is first used, as most commands need few of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Blob(Part):
    """Bytes kept by content: a trajectory, weights, a long list."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, description="bytes")
    media_type: str


def blob_of(content: bytes, media_type: str) -> Blob:
    """Return the content address of some bytes.

    Parameters
    ----------
    content
        The bytes.
    media_type
        What they are.
    """
    digest = hashlib.sha256(content).hexdigest()
    return Blob(sha256=digest, size=len(content), media_type=media_type)


class Made(Part):
    """Who made a document, where, when, at what cost."""

    owner: str = Field(
        "",
        exclude_if=lambda owner: not owner,
        description="User who submitted a campaign.",
    )
    worker: str = ""
    host: str = ""
    pid: int = 0
    job: str = Field("", description="Name of the job, for people.")
    part: str | None = Field(
        None, description="The part of the label job that closed the stage of a Dataset."
    )
    threads: int = 0
    device: str = ""
    versions: dict[str, str] = {}
    started_at: str = Field("", description="ISO 8601, UTC")
    ended_at: str = Field("", description="ISO 8601, UTC")
    wall_s: float = 0.0
    cpu_s: float = 0.0
    logs: dict[str, Blob] = Field({}, description="What an engine wrote: evidence, no facts.")


class Document(Part):
    """Base of every fact.

    Attributes
    ----------
    kind
        Name of the kind of fact.
    method_version
        Rises when the same inputs give another result.
    shown_version
        An earlier method version; its documents are shown as long as there is none of today's.
    schema_version
        Form of the facts.
    structure_field
        Name of the field with the key of the structure that it is about, if there is one; the
        catalogue takes formula and number of atoms from there.
    listed
        Names of properties that the catalogue lists beside the fields.
    table_columns
        Columns that a table of its rows shows; by default its first ones, without keys.
    """

    kind: ClassVar[str]
    method_version: ClassVar[int] = 1
    shown_version: ClassVar[int | None] = None
    schema_version: ClassVar[int] = 1
    structure_field: ClassVar[str | None] = None
    listed: ClassVar[tuple[str, ...]] = ()
    table_columns: ClassVar[tuple[str, ...]] = ()

    key: str
    parents: tuple[str, ...] = Field((), description="Keys that this was made from.")
    products: tuple[str, ...] = Field((), description="Keys of structures born here.")
    made: Made = Made()

    @classmethod
    def key_from(cls, **inputs: object) -> str:
        """Return the key of a document of this class that is made from these inputs.

        `key_of` of each class says which inputs these are; `make_key` says how they are hashed.

        Parameters
        ----------
        **inputs
            Everything that the facts depend on, and nothing else.
        """
        return make_key(cls, **inputs)

    def facts(self) -> dict[str, Any]:
        """Return the facts, which are what the key stands for, as plain data."""
        return self.model_dump(mode="json", exclude=set(_HEADER))

    @classmethod
    def from_facts(cls, facts: dict[str, Any], **header: object) -> Self:
        """Return the document of stored facts and header.

        Parameters
        ----------
        facts
            What `facts` returned.
        **header
            The other fields: key, parents, products, made.
        """
        return cls.model_validate(facts | header)


class Produced(BaseModel):
    """The output of a job: keys only; the loop reads the store."""

    kind: str
    keys: tuple[str, ...]
    reason: str = ""

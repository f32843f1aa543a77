"""Which class reads the documents of a kind, those of absent packages included."""

from __future__ import annotations

import functools

from pydantic import ConfigDict

from lycb_flows.machine.plugins import QUANTITIES
from lycb_flows.schemas import KINDS, Document, register_kind


class UnknownDocument(Document):
    """A document of a kind that nothing installed here can read: its facts as they are.

    It is what remains of a quantity when the package that measured it is not installed. The
    store keeps it, shows it and counts the blobs that it names as used.
    """

    model_config = ConfigDict(frozen=True, extra="allow")


def document_class(kind: str) -> type[Document]:
    """Return the class of a kind; a class of `UnknownDocument` when no package brings one."""
    if kind not in KINDS:
        for quantity in QUANTITIES.members():
            register_kind(quantity.document)
    return KINDS.get(kind) or _unknown(kind)


@functools.cache
def _unknown(kind: str) -> type[UnknownDocument]:
    return type("UnknownDocument", (UnknownDocument,), {"kind": kind, "__module__": __name__})

"""Which class reads the documents of a kind, those of measured quantities included.

Quantities stand above the store, and other packages bring some. They are imported when a
document is found whose kind is not known yet.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from pydantic import ConfigDict

from lycb_flows import schemas
from lycb_flows.config.plugins import Registry
from lycb_flows.schemas import KINDS, Document, register_kind


@runtime_checkable
class Measured(Protocol):
    """What a store knows of a quantity; `lycb_flows.quantities.base.Quantity` is the whole."""

    @property
    def name(self) -> str:
        """What a campaign calls it."""
        ...

    @property
    def document(self) -> type[Document]:
        """The class of its documents."""
        ...

    @property
    def rests_on(self) -> str:
        """What a parent of its document is called when it is missing."""
        ...

    def numbers(self, document: Any) -> Iterator[Any]:  # noqa: ANN401 - of its own class
        """Yield the numbers of a document with their errors."""
        ...


QUANTITIES: Registry[Measured] = Registry(
    "lycb_flows.quantities",
    "quantity",
    Measured,
    own={
        "diffusion": "lycb_flows.quantities.diffusion:Diffusion",
        "arrhenius": "lycb_flows.quantities.arrhenius:ArrheniusLaw",
        "density": "lycb_flows.quantities.density:IonDensity",
        "sites": "lycb_flows.quantities.sites:IonSites",
        "thermodynamics": "lycb_flows.quantities.thermodynamics:Thermodynamics",
        "charge": "lycb_flows.quantities.charge:Charge",
        "volumes": "lycb_flows.quantities.volumes:Volumes",
        "series": "lycb_flows.quantities.series:Series",
        "benchmark": "lycb_flows.quantities.benchmark:ModelBenchmark",
    },
)
"""What a campaign can measure."""


_SCHEMAS = schemas.__name__


class UnknownDocument(Document):
    """A document of a kind that nothing installed here can read: its facts as they are.

    It is what remains of a quantity when the package that measured it is not installed. The
    store keeps it, shows it and counts the blobs that it names as used.
    """

    model_config = ConfigDict(frozen=True, extra="allow")


def document_class(kind: str) -> type[Document]:
    """Return the class of a kind; a class of `UnknownDocument` when no package brings one."""
    if kind not in KINDS:
        _register_quantities(tuple(sys.path))
    return KINDS.get(kind) or _unknown(kind)


def all_kinds() -> dict[str, type[Document]]:
    """Return the class of every kind that something installed here can read."""
    _register_quantities(tuple(sys.path))
    return dict(KINDS)


def method_versions() -> dict[str, int]:
    """Return the method version of every kind that this package computes, by kind.

    Kinds of other packages are left out: not every machine has them.
    """
    return {kind: document.method_version for kind, document in sorted(_own_kinds().items())}


@functools.cache
def _own_kinds() -> dict[str, type[Document]]:
    """Return the classes of the modules of `lycb_flows.schemas`; quantities are not loaded."""
    names = [module.name for module in pkgutil.iter_modules(schemas.__path__, f"{_SCHEMAS}.")]
    values = [value for name in names for value in vars(importlib.import_module(name)).values()]
    documents = [v for v in values if isinstance(v, type) and issubclass(v, Document)]
    return {document.kind: document for document in documents if "kind" in vars(document)}


@functools.lru_cache(maxsize=1)
def _register_quantities(_path: tuple[str, ...]) -> None:
    """Once, and again when `sys.path` has changed: a broken package is slow to find broken."""
    for quantity in QUANTITIES.usable().values():
        register_kind(quantity.document)


@functools.cache
def _unknown(kind: str) -> type[UnknownDocument]:
    return type("UnknownDocument", (UnknownDocument,), {"kind": kind, "__module__": __name__})

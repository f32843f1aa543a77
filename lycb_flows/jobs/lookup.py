"""The base of Makers whose job makes one result: looked up by its key, else computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from jobflow import Maker

from lycb_flows.jobs.resources import open_store, static_job
from lycb_flows.schemas import Document, Produced
from lycb_flows.store import ResultStore


@dataclass(kw_only=True)
class LookupMaker(Maker, ABC):
    """A Maker of one result, which a subclass describes by its key and its computation.

    The `make` of a subclass returns `self.look_up(...)`, whose inputs reach `prepared`; what that
    returns reaches `key` and `compute`, all by name.

    Attributes
    ----------
    kind
        The class of the result.
    """

    kind: ClassVar[type[Document]]

    @static_job
    def look_up(self, *, after: object = None, **inputs: Any) -> Produced:  # noqa: ANN401 - see above
        """Return the key of the result, which is found or computed now as an attempt.

        Parameters
        ----------
        after
            References to what comes before; only order.
        **inputs
            What the result is made from.
        """
        del after
        store = open_store()
        prepared = self.prepared(store, **inputs)
        key = self.key(store, **prepared)
        store.once(self.kind, key, lambda: self.compute(store, key, **prepared), self.name)
        return Produced(kind=self.kind.kind, keys=(key,))

    def prepared(self, store: ResultStore, *_: Any, **inputs: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return the inputs by key, after storing what was given otherwise."""
        del store
        return inputs

    @abstractmethod
    def key(self, store: ResultStore, *_: Any, **inputs: Any) -> str:  # noqa: ANN401
        """Return the key of the result."""

    @abstractmethod
    def compute(self, store: ResultStore, key: str, *_: Any, **inputs: Any) -> Document:  # noqa: ANN401
        """Return the result, whatever it takes."""

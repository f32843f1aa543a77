"""The store of jobflow's own outputs, which this package does not read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jobflow
import pymongo
from jobflow import JobStore
from maggma.core import Store
from maggma.stores import MemoryStore, MongoStore as OutputCollection
from pymongo import ASCENDING

from lycb_flows.errors import InputError
from lycb_flows.jobs import working_on
from lycb_flows.machine.settings import Settings
from lycb_flows.store import MONGODB_SCHEMES, MongoStore, open_store, survives_outages

COLLECTION = "jobflow_outputs"
_CLOSE_S = 1.0


class OutputStore(OutputCollection):
    """jobflow's outputs in the result store's database; waits while the database is away."""

    outage_s: float

    @survives_outages
    def create_indexes(self) -> None:
        """Create the index by which `update` finds the earlier output of a job.

        maggma's own indexes are of single fields.
        """
        self._collection.create_index([("uuid", ASCENDING), ("index", ASCENDING)])

    @survives_outages
    def update(self, docs: Any, key: Any = None) -> None:  # noqa: ANN401 - maggma's signature
        """Write outputs; an output of the same job replaces the earlier one.

        Parameters
        ----------
        docs
            One document or a list of them.
        key
            Fields that identify a document, by default those of jobflow.
        """
        super().update(docs, key)


@contextmanager
def shared_results(settings: Settings) -> Iterator[MongoStore]:
    """Open the result store that a worker's jobs and jobflow's outputs share.

    Each connection counts where a hosted database has few.

    Raises
    ------
    InputError
        When results would be kept in this process only.
    StoreError
        When the store cannot be opened.
    """
    if not settings.store.startswith(MONGODB_SCHEMES):
        raise InputError(
            "a worker cannot use an embedded store", fix="set LYCB_STORE to a mongodb:// address",
            store=settings.store,
        )  # fmt: skip
    store = open_store(settings.store)
    if not isinstance(store, MongoStore):
        raise InputError("not a MongoDB store", store=store.label)
    try:
        with working_on(store):
            yield store
    finally:
        with pymongo.timeout(_CLOSE_S):
            store.close()


def durable_outputs(store: MongoStore) -> JobStore | None:
    """Return the store for jobflow's outputs, or None where the user has configured a durable one.

    Parameters
    ----------
    store
        The result store, whose database the outputs go to.

    Raises
    ------
    InputError
        When outputs would be kept in this process only.
    """
    configured = jobflow.SETTINGS.JOB_STORE
    more: dict[str, Store] = configured.additional_stores  # type: ignore[has-type]  # jobflow
    stores = [configured.docs_store, *more.values()]
    volatile = [store for store in stores if isinstance(store, MemoryStore)]
    if not volatile:
        return None
    if type(configured.docs_store) is not MemoryStore or len(volatile) > 1:
        raise InputError(
            "jobflow's JOB_STORE would lose outputs of several workers",
            fix="configure MongoStores, or nothing: the worker then uses its result store's",
            found=", ".join(sorted({type(store).__name__ for store in volatile})),
        )
    collection = store.database[COLLECTION]
    outputs: OutputStore = OutputStore.from_collection(collection)  # type: ignore[no-untyped-call]
    outputs.outage_s = store.outage_s
    outputs.create_indexes()
    return JobStore(outputs)


@contextmanager
def keep_outputs(outputs: JobStore | None) -> Iterator[None]:
    """Let jobflow write its outputs to a store.

    Parameters
    ----------
    outputs
        The store from `durable_outputs`; None: the store that the user has configured.
    """
    before = jobflow.SETTINGS.JOB_STORE
    jobflow.SETTINGS.JOB_STORE = outputs or before
    try:
        yield
    finally:
        jobflow.SETTINGS.JOB_STORE = before

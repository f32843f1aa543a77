"""What a running job has of its machine: store, potentials, processes and clock."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from jobflow import Job, JobConfig, job
from jobflow.core.reference import find_and_get_references

from lycb_flows.machine import ProcessPool, load_settings
from lycb_flows.potentials import Potential, load_potential
from lycb_flows.schemas import Model, Produced, Student
from lycb_flows.store import ResultStore, open_store as open_result_store


def static_job(method: Callable[..., Produced]) -> Callable[..., Job]:
    """Decorate the method of a Maker that is a job's work, as `jobflow.job` does.

    References that are given as `after` order jobs and are never read: a campaign's results do
    not travel through jobflow's store. A job with references among its other inputs has them
    resolved, as in any flow of jobflow's.
    """
    plain = job(method, output_schema=Produced, config=JobConfig(resolve_references=False))

    @functools.wraps(method)
    def make(*args: Any, **kwargs: Any) -> Job:  # noqa: ANN401 - the method's
        made = plain(*args, **kwargs)
        inputs = {name: value for name, value in made.function_kwargs.items() if name != "after"}
        made.config.resolve_references = bool(find_and_get_references([made.function_args, inputs]))
        return made

    make.original = method  # type: ignore[attr-defined]  # by which jobflow finds the method
    return make


# What a deciding job adds is routed by its own description, not like the deciding job.
deciding_job = job(
    output_schema=Produced, config=JobConfig(pass_manager_config=False, resolve_references=False)
)


if TYPE_CHECKING:  # torch takes seconds
    from lycb_flows.potentials import NepPotential

_WORKING_ON: ContextVar[ResultStore | None] = ContextVar("lycb_store", default=None)


@contextmanager
def working_on(store: ResultStore) -> Iterator[None]:
    """Let the jobs that run inside, in this thread, have this result store."""
    token = _WORKING_ON.set(store)
    try:
        yield
    finally:
        _WORKING_ON.reset(token)


def open_store() -> ResultStore:
    """Return the result store that this thread works on, else that of the settings."""
    store = _WORKING_ON.get()
    return store if store is not None else open_kept(load_settings().store)


def open_store_at(address: str) -> ResultStore:
    """Return the result store of an address; a job never makes one."""
    store = _WORKING_ON.get()
    return store if store is not None and store.address == address else open_kept(address)


@functools.lru_cache(maxsize=2)
def open_kept(address: str) -> ResultStore:
    """Return the result store of an address, opened once per process."""
    return open_result_store(address, create=False)


def open_potential(store: ResultStore, key: str) -> Potential:
    """The potential of a stored model, on this machine's device."""
    return _open_potential(store.address, key)


def open_graded(store: ResultStore, key: str) -> Potential:
    """Return the potential of a stored model for MD; a certified student takes its grades.

    Parameters
    ----------
    store
        Holds the model and the certificate.
    key
        Of the model.
    """
    potential = open_potential(store, key)
    certificate = next(iter(store.find_all(Student, model=key)), None)
    if certificate is None:
        return potential
    transforms = np.load(io.BytesIO(store.blobs.read(certificate.active_set)), allow_pickle=False)
    return cast("NepPotential", potential).graded_by(transforms)


@functools.lru_cache(maxsize=4)
def _open_potential(address: str, key: str) -> Potential:
    import torch  # noqa: PLC0415 - seconds; jobs without a potential do not pay them

    settings = load_settings()
    torch.set_num_threads(settings.threads)
    store = open_store_at(address)
    model = store.load(Model, key)
    return load_potential(model, store.blobs.read(model.weights), settings.device)


def process_pool() -> ProcessPool:
    """Return the worker processes of this process, kept between jobs."""
    with _POOL_LOCK:
        return _process_pool()


_POOL_LOCK = Lock()


@functools.cache
def _process_pool() -> ProcessPool:
    settings = load_settings()
    return ProcessPool(settings.processes, settings.threads)

"""What a running job has of its machine: store, potentials, processes and clock."""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from jobflow import JobConfig, job

from lycb_flows import schemas
from lycb_flows import store as stores
from lycb_flows.errors import LabelError
from lycb_flows.machine.processes import ProcessPool
from lycb_flows.machine.settings import load_settings
from lycb_flows.potentials.models import load_potential
from lycb_flows.potentials.potential import Potential
from lycb_flows.schemas import Produced
from lycb_flows.store import ResultStore

# References only order jobs: nothing is ever read from jobflow's own store.
static_job = job(output_schema=Produced, config=JobConfig(resolve_references=False))
# What a deciding job adds is routed by name, not by the deciding job's own category.
deciding_job = job(
    output_schema=Produced, config=JobConfig(pass_manager_config=False, resolve_references=False)
)


def open_store() -> ResultStore:
    """The result store of this machine's settings."""
    return open_store_at(load_settings().store)


@functools.lru_cache(maxsize=2)
def open_store_at(address: str) -> ResultStore:
    """The result store of an address, opened once per process; a job never makes one."""
    return stores.open_store(address, create=False)


def open_potential(store: ResultStore, key: str) -> Potential:
    """The potential of a stored model, on this machine's device."""
    return _open_potential(store.address, key)


@functools.lru_cache(maxsize=4)
def _open_potential(address: str, key: str) -> Potential:
    import torch  # noqa: PLC0415 - seconds; jobs without a potential do not pay them

    settings = load_settings()
    torch.set_num_threads(settings.threads)
    store = open_store_at(address)
    model = store.load(schemas.Model, key)
    return load_potential(model, store.blobs.read(model.weights), settings.device)


@functools.cache
def process_pool() -> ProcessPool:
    """The worker processes of this one, kept between jobs."""
    settings = load_settings()
    return ProcessPool(settings.processes, settings.threads)


@contextmanager
def time_limit(seconds: float, setting: str = "labels.timeout_s") -> Iterator[None]:
    """Raise LabelError in this (main) thread after `seconds`; a waiting subprocess ends too."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise LabelError(
            "a label took too long", fix=f"raise {setting} if that is normal", limit_s=seconds
        )

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)

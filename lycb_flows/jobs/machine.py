"""What a running job has of its machine: store, potentials, processes and clock."""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from jobflow import job

from lycb_flows import (
    schemas,
)
from lycb_flows.errors import LabelError
from lycb_flows.potentials.models import load_potential
from lycb_flows.potentials.potential import Potential
from lycb_flows.processes import ProcessPool
from lycb_flows.schemas import Produced
from lycb_flows.settings import load_settings
from lycb_flows.store import ResultStore

static_job = job(output_schema=Produced)


def open_store() -> ResultStore:
    """The result store of this machine's settings."""
    return open_store_at(load_settings().store)


@functools.lru_cache(maxsize=2)
def open_store_at(folder: Path) -> ResultStore:
    """The result store of a folder, opened once per process."""
    return ResultStore(folder)


def open_potential(store: ResultStore, key: str) -> Potential:
    """The potential of a stored model, on this machine's device."""
    return _open_potential(store.folder, key)


@functools.lru_cache(maxsize=4)
def _open_potential(folder: Path, key: str) -> Potential:
    import torch  # noqa: PLC0415 - seconds; jobs without a potential do not pay them

    settings = load_settings()
    torch.set_num_threads(settings.threads)
    store = open_store_at(folder)
    model = store.load(schemas.Model, key)
    return load_potential(model, store.blobs.read(model.weights), settings.device)


@functools.cache
def process_pool() -> ProcessPool:
    """The worker processes of this one, kept between jobs."""
    settings = load_settings()
    return ProcessPool(settings.processes, settings.threads)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise LabelError in this (main) thread after `seconds`; a waiting subprocess ends too."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise LabelError(
            "a label took too long", fix="raise labels.timeout_s if that is normal", limit_s=seconds
        )

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)

"""One small Maker per kind of job: look up, compute the missing, store, hand on keys.

Every job reads this machine's settings when it runs. `after` arguments carry references
whose only use is order.
"""

from __future__ import annotations

import functools
import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
from jobflow import Job, Maker, job

from lycb_flows import (
    arrhenius,
    diffusion,
    enumeration,
    evaluation,
    relaxation,
    rounds,
    sampling,
    schemas,
    structures,
    training,
)
from lycb_flows.config import Campaign, RunConfig, SystemConfig
from lycb_flows.errors import LabelError, LycbError
from lycb_flows.keys import make_key
from lycb_flows.labels import teacher
from lycb_flows.md import protocol as md
from lycb_flows.measurement import MeasurementPlan
from lycb_flows.potentials.models import load_potential
from lycb_flows.potentials.potential import Potential
from lycb_flows.processes import ProcessPool
from lycb_flows.rounds import StagePlan, run_key
from lycb_flows.schemas import Produced
from lycb_flows.settings import load_settings
from lycb_flows.store import ResultStore

_static_job = job(output_schema=Produced)


# -- this machine ----------------------------------------------------------------------------


def open_store() -> ResultStore:
    """The result store of this machine's settings."""
    return _open_store(load_settings().store)


@functools.lru_cache(maxsize=2)
def _open_store(folder: Path) -> ResultStore:
    return ResultStore(folder)


def open_potential(store: ResultStore, key: str) -> Potential:
    """The potential of a stored model, on this machine's device."""
    return _open_potential(store.folder, key)


@functools.lru_cache(maxsize=4)
def _open_potential(folder: Path, key: str) -> Potential:
    import torch  # noqa: PLC0415 - seconds; jobs without a potential do not pay them

    settings = load_settings()
    torch.set_num_threads(settings.threads)
    store = _open_store(folder)
    model = store.load(schemas.Model, key)
    return load_potential(model, store.blobs.read(model.weights), settings.device)


@functools.cache
def _pool() -> ProcessPool:
    settings = load_settings()
    return ProcessPool(settings.processes, settings.threads)

"""What a worker looks at before it takes a job: packages, device, scratch folder, store."""

from __future__ import annotations

import importlib
import pkgutil
import tempfile
from collections.abc import Collection
from pathlib import Path

import lycb_flows.jobs
from lycb_flows.campaign.descriptions import GPU
from lycb_flows.errors import MachineError, StoreError, first_line
from lycb_flows.store import ResultStore

_FIX = "mend it on this machine, see `lycb doctor`; no job was taken"


def examine(store: ResultStore, categories: Collection[str], device: str, scratch: Path) -> None:
    """Check that this machine can run jobs at all.

    Parameters
    ----------
    store
        The result store of its jobs.
    categories
        Categories of jobs that the worker takes; empty: all.
    device
        The torch device of its jobs.
    scratch
        The folder of its launch folders.

    Raises
    ------
    MachineError
        When a package cannot be imported, the device does not compute, or the scratch folder
        cannot be written.
    StoreError
        When the result store may only be read.
    """
    import_jobs()
    if not categories or GPU in categories:
        _compute_on(device)
    try:
        tempfile.TemporaryFile(dir=scratch).close()
    except OSError as err:
        raise _unfit("its scratch folder cannot be written", err, folder=scratch) from err
    if store.read_only:
        raise StoreError("this user may only read the store", fix=_FIX, store=store.label)


def import_jobs() -> None:
    """Import every module that has jobs, and with them what they compute with.

    Raises
    ------
    MachineError
        When one of them cannot be imported.
    """
    for module in pkgutil.iter_modules(lycb_flows.jobs.__path__, "lycb_flows.jobs."):
        try:
            importlib.import_module(module.name)
        except Exception as err:  # whatever a broken package raises
            raise _unfit("a package is missing or broken", err, module=module.name) from err


def _compute_on(device: str) -> None:
    import torch  # noqa: PLC0415 - not for light workers

    try:
        torch.ones(1, device=device).sum().item()
    except (RuntimeError, AssertionError) as err:  # AssertionError: torch without CUDA
        raise _unfit("its torch device does not compute", err, device=device) from err


def _unfit(what: str, error: BaseException, **facts: object) -> MachineError:
    reason = f"{type(error).__name__}: {first_line(error)}"
    return MachineError(f"this worker is not fit: {what}", fix=_FIX, **facts, reason=reason)

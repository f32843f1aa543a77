"""Checkpoints of other trainers, read as data: code in their pickles does not run."""

from __future__ import annotations

import pickle
import threading
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from lycb_flows.errors import InputError, first_line

State = Mapping[str, Tensor]

_ONE_LOAD = threading.Lock()  # what a pickle may hold is a setting of the process


def read_state(
    path: Path,
    parts: Callable[[Any], tuple[State, Mapping[str, Any]]],
    *,
    kind: str,
    fix: str,
    allowed: Sequence[Any] = (),
) -> tuple[State, dict[str, Any], bytes]:
    """Return the state of a checkpoint, its settings, and the state in safetensors.

    Parameters
    ----------
    path
        The file.
    parts
        Takes state and settings out of what the file holds.
    kind
        Whose checkpoint it should be, for the message.
    fix
        What the message says to do.
    allowed
        What the pickle may hold besides tensors and plain data.

    Raises
    ------
    InputError
        When it is no such checkpoint, or needs code to load.
    """
    try:
        with (
            _ONE_LOAD,
            torch.serialization.safe_globals(list(allowed)),
            warnings.catch_warnings(),
        ):
            # other pickle protocols load, or are refused
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
        state, settings = parts(content)
        weights = safetensors.torch.save({key: state[key].contiguous() for key in sorted(state)})
        return state, dict(settings), bytes(weights)
    except (
        pickle.UnpicklingError, zipfile.BadZipFile, EOFError, RuntimeError, OSError, LookupError,
        TypeError, ValueError, AttributeError,
    ) as err:  # fmt: skip
        message = f"not a {kind} checkpoint that loads as weights only"
        raise InputError(
            message,
            fix=fix,
            file=path.name,
            reason=first_line(err),
        ) from err

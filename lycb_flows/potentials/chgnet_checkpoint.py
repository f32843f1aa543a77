"""CHGNet's checkpoints (.pth.tar) as arguments and safetensors."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from lycb_flows.errors import InputError, first_line


def read_checkpoint(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return arguments and weights of a checkpoint as chgnet's trainer writes it.

    Code in the pickle does not run.

    Raises
    ------
    InputError
        When it is none, or needs code to load.
    """
    try:
        with warnings.catch_warnings():  # of other pickle protocols, which load or are refused
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
        state, args = content["model"]["state_dict"], dict(content["model"]["model_args"])
        weights = safetensors.torch.save({key: state[key].contiguous() for key in sorted(state)})
    except (
        pickle.UnpicklingError, zipfile.BadZipFile, EOFError, RuntimeError, OSError, LookupError,
        TypeError, ValueError, AttributeError,
    ) as err:  # fmt: skip
        raise InputError(
            "not a CHGNet checkpoint that loads as weights only",
            fix="save it with chgnet's trainer; a pickle with code is refused",
            file=path.name,
            reason=first_line(err),
        ) from err
    args = {
        key: value for key, value in args.items() if key not in {"composition_model", "version"}
    }
    args["mlp_out_bias"] = any(key.endswith(".mlp_out.layers.1.bias") for key in state)
    return args, bytes(weights)

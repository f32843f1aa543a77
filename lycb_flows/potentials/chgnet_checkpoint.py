"""CHGNet's checkpoints (.pth.tar) as arguments and safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lycb_flows.potentials.checkpoints import read_state


def read_checkpoint(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return arguments and weights of a checkpoint as chgnet's trainer writes it.

    Code in the pickle does not run.

    Raises
    ------
    InputError
        When it is none, or needs code to load.
    """
    state, args, weights = read_state(
        path,
        lambda content: (content["model"]["state_dict"], content["model"]["model_args"]),
        kind="CHGNet",
        fix="save it with chgnet's trainer; a pickle with code is refused",
    )
    args = {
        key: value for key, value in args.items() if key not in {"composition_model", "version"}
    }
    args["mlp_out_bias"] = any(key.endswith(".mlp_out.layers.1.bias") for key in state)
    return args, weights

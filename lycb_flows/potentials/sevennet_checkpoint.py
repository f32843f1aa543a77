"""SevenNet's checkpoints (.pth) as settings of the layers and safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray  # by which pickles rebuild arrays

from lycb_flows.errors import InputError
from lycb_flows.potentials.checkpoints import read_state

_SETTINGS = (
    "version", "chemical_species", "_type_map", "_number_of_species", "cutoff", "cutoff_function",
    "radial_basis", "channel", "irreps_manual", "is_parity", "lmax", "lmax_edge", "lmax_node",
    "num_convolution_layer", "interaction_type", "self_connection_type", "weight_nn_hidden_neurons",
    "act_gate", "act_scalar", "act_radial", "_normalize_sph", "use_bias_in_linear",
    "avg_num_neigh", "conv_denominator", "train_avg_num_neigh", "train_denominator",
    "train_shift_scale", "optimize_by_reduce", "readout_as_fcn", "readout_fcn_hidden_neurons",
    "readout_fcn_activation", "use_modality", "_modal_map", "_number_of_modalities",
    "use_modal_node_embedding", "use_modal_self_inter_intro", "use_modal_self_inter_outro",
    "use_modal_output_block", "use_modal_wise_shift", "use_modal_wise_scale",
)  # fmt: skip
"""What the layers are built from; the rest of a checkpoint's settings tells of its training."""

_ARRAYS: list[Any] = [
    (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),  # noqa: SLF001 - of pickles
    (multiarray.scalar, "numpy.core.multiarray.scalar"),
    np.ndarray,
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
]
"""What a checkpoint may hold besides tensors: arrays, which are data."""


def read_checkpoint(path: Path, modal: str | None) -> tuple[dict[str, Any], bytes]:
    """Return settings and weights of a checkpoint as SevenNet's trainer writes it.

    Code in the pickle does not run.

    Parameters
    ----------
    path
        The file.
    modal
        The fidelity that is wanted of a model that has several; None where it has one.

    Raises
    ------
    InputError
        When it is no checkpoint, needs code to load, or has another fidelity.
    """
    _, config, weights = read_state(
        path,
        lambda content: (content["model_state_dict"], content["config"]),
        kind="SevenNet",
        fix="give one that SevenNet's trainer wrote; a pickle with code is refused",
        allowed=_ARRAYS,
    )
    settings = {key: config[key] for key in _SETTINGS if key in config}
    return _with_modal(settings, modal, path.name), weights


def _with_modal(settings: Mapping[str, Any], modal: str | None, file: str) -> dict[str, Any]:
    """Return the settings as plain data, with the fidelity that is wanted."""
    known = dict(settings.get("_modal_map") or {})
    if (modal or "") not in (known or {"": 0}):
        raise InputError(
            "this SevenNet has several fidelities" if known else "this SevenNet has one fidelity",
            fix=f"give {file}:{' or :'.join(known)}" if known else f"give {file} alone",
            found=modal or "none",
        )
    plain = {key: _plain(value) for key, value in settings.items() if value is not None}
    return plain | ({"modal": modal} if modal else {})


def _plain(value: Any) -> Any:  # noqa: ANN401 - of a checkpoint
    """Return a setting as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic | torch.Tensor) else value

"""SevenNet's models: weights of its wheel, or of checkpoints that its trainer wrote.

A checkpoint is a pickle; it is read as weights only, so nothing in it runs. Torch and `sevenn` are
imported when a model is at work.
"""
# ruff: noqa: PLC0415 - torch and sevenn take seconds, and names and costs need none of them

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lycb_flows.errors import InputError
from lycb_flows.potentials.architecture import ModelSource, Rates
from lycb_flows.potentials.shipped import shipped_model

if TYPE_CHECKING:
    from lycb_flows.potentials.sevennet_layers import SevenNetPotential
    from lycb_flows.schemas import Model

_CHECKPOINT = ".pth"


class _Shipped(NamedTuple):
    """A checkpoint in sevenn's wheel, and the fidelity that is asked for."""

    file: str
    modal: str | None = None


class SevenNet:
    """SevenNet: an equivariant graph network of most elements; a teacher out of the box."""

    name = "sevennet"
    package = "sevenn"
    description = "SevenNet (Park et al. 2024): equivariant, most elements, trainable, slow"
    _shipped = {  # noqa: RUF012 - model name -> file
        "sevennet-0": _Shipped("SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth"),
        "sevennet-l3i5": _Shipped("SevenNet_l3i5/checkpoint_l3i5.pth"),
        "sevennet-mf-0": _Shipped("SevenNet_MF_0/checkpoint_sevennet_mf_0.pth", "PBE"),
    }
    model_names = (*_shipped, "lycb-pbe-1-sevennet")
    file_suffixes = (_CHECKPOINT,)

    def find_model(self, name_or_path: str) -> ModelSource | None:
        """Return a model of sevenn's wheel or of ours, or that of a checkpoint.

        A checkpoint of several fidelities is named with the one that is wanted, `file.pth:mpa`.
        """
        if name_or_path in self._shipped:
            shipped = self._shipped[name_or_path]
            file = _pretrained() / shipped.file
            return self._read(file, name_or_path, "pretrained", shipped.modal)
        if name_or_path in self.model_names:
            return shipped_model(name_or_path)
        text, _, modal = name_or_path.rpartition(f"{_CHECKPOINT}:")
        path = Path(text + _CHECKPOINT if text else name_or_path)
        if path.suffix == _CHECKPOINT and path.is_file():
            name = f"{path.stem}-{modal}" if text else path.stem
            return self._read(path, name, "file", modal if text else None)
        return None

    def _read(self, path: Path, name: str, source: str, modal: str | None) -> ModelSource:
        from lycb_flows.potentials.sevennet_checkpoint import read_checkpoint

        args, weights = read_checkpoint(path, modal)
        return ModelSource.of_weights(
            weights, name=name, architecture=self.name, architecture_args=args, source=source
        )

    def load(self, model: Model, weights: bytes, device: str) -> SevenNetPotential:
        """Return the potential of a document and weights.

        Parameters
        ----------
        model
            The document; its `architecture_args` are a checkpoint's settings of the layers.
        weights
            The layers' state in safetensors.
        device
            Name of a torch device.

        Raises
        ------
        InputError
            When the weights do not fit the document, or `sevenn` is not installed.
        """
        _pretrained()
        from lycb_flows.potentials.sevennet_layers import SevenNetPotential
        from lycb_flows.potentials.trainable import load_trainable

        return load_trainable(SevenNetPotential, model, weights, device)

    def rates(self, model: Model) -> Rates:
        """Return the cost on one core.

        A force call of SevenNet-0 was measured on a quiet core with crystals of 60 atoms; training
        and wider models are what they took beside it, in CPU time.
        """
        wide = int(model.architecture_args.get("lmax", 2)) > 2  # noqa: PLR2004 - l3i5's
        force_call_s = 1.5e-2 if wide else 7.5e-3
        return Rates(force_call_s=force_call_s, training_s=2.5 * force_call_s)


def _pretrained() -> Path:
    """Return the folder of checkpoints in sevenn's wheel."""
    try:
        with resources.as_file(resources.files("sevenn") / "pretrained_potentials") as folder:
            return folder
    except ModuleNotFoundError as err:
        raise InputError(
            "the package of this model is not installed", fix="pip install sevenn", model="SevenNet"
        ) from err

"""The package's own architectures, CHGNet and the toy; torch is imported when one is at work."""
# ruff: noqa: PLC0415 - torch takes seconds, and names and costs need none of it

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from lycb_flows.potentials.architecture import ModelSource, Rates
from lycb_flows.potentials.shipped import shipped_model

if TYPE_CHECKING:
    from lycb_flows.potentials.chgnet import CHGNetPotential
    from lycb_flows.potentials.toy import ToyPotential
    from lycb_flows.schemas import Model

_CHECKPOINT = ".pth.tar"


class CHGNet:
    """CHGNet: weights from chgnet's wheel or this one, or trained by chgnet's trainer or here."""

    name = "chgnet"
    package = "chgnet"
    description = "CHGNet (Deng et al. 2023): MPtrj's elements, trainable, compiled on a CPU"
    folders = {  # noqa: RUF012 - model name -> folder in chgnet's wheel
        "chgnet-0.3.0": "0.3.0",
        "chgnet-0.2.0": "0.2.0",
        "chgnet-r2scan": "r2scan",
    }
    model_names = (*folders, "lycb-pbe-1")
    file_suffixes = (_CHECKPOINT,)

    def find_model(self, name_or_path: str) -> ModelSource | None:
        """Return a pretrained model, or that of a checkpoint; code in a pickle does not run."""
        if name_or_path in self.folders:
            folder = resources.files("chgnet") / "pretrained" / self.folders[name_or_path]
            (entry,) = [item for item in folder.iterdir() if item.name.endswith(_CHECKPOINT)]
            with resources.as_file(entry) as file:
                return self._read(file, name_or_path, "pretrained")
        if name_or_path in self.model_names:
            return shipped_model(name_or_path)
        path = Path(name_or_path)
        if path.name.endswith(_CHECKPOINT) and path.is_file():
            return self._read(path, path.name.removesuffix(_CHECKPOINT), "file")
        return None

    def _read(self, path: Path, name: str, source: str) -> ModelSource:
        from lycb_flows.potentials.chgnet_checkpoint import read_checkpoint

        args, weights = read_checkpoint(path)
        return ModelSource.of_weights(
            weights, name=name, architecture=self.name, architecture_args=args, source=source
        )

    def load(self, model: Model, weights: bytes, device: str) -> CHGNetPotential:
        """Return the potential of a document and weights.

        Parameters
        ----------
        model
            The document; its `architecture_args` are those of chgnet's model.
        weights
            The module's state in safetensors.
        device
            Name of a torch device.
        """
        from lycb_flows.potentials.chgnet import CHGNetPotential
        from lycb_flows.potentials.trainable import load_trainable

        return load_trainable(CHGNetPotential, model, weights, device)

    def rates(self, model: Model) -> Rates:
        """Return the cost, measured on one busy core with AVX-512.

        The crystals had 20 to 60 atoms, the kernels were compiled.
        """
        del model  # all CHGNets have layers of one size
        return Rates(force_call_s=2.5e-4, training_s=2e-3)


class Toy:
    """The toy potential of Li, Y, Cl and Br: campaigns in seconds, and no physics."""

    name = "toy"
    description = "a pair potential of Li, Y, Cl and Br for rehearsals, no model of anything real"
    model_names = ("toy-soft", "toy-teacher")
    file_suffixes: tuple[str, ...] = ()

    def find_model(self, name_or_path: str) -> ModelSource | None:
        """Return the toy with one of its sets of weights."""
        if name_or_path not in self.model_names:
            return None
        from lycb_flows.potentials.toy import TOYS

        return ModelSource.of_weights(
            TOYS[name_or_path].potential().weights_bytes(),
            name=name_or_path,
            architecture=self.name,
            architecture_args={},
            source="pretrained",
        )

    def load(self, model: Model, weights: bytes, device: str) -> ToyPotential:
        """Return the potential of a document and weights.

        Parameters
        ----------
        model
            The document.
        weights
            The module's state in safetensors.
        device
            Name of a torch device.
        """
        from lycb_flows.potentials.toy import ToyPotential
        from lycb_flows.potentials.trainable import load_trainable

        return load_trainable(ToyPotential, model, weights, device)

    def rates(self, model: Model) -> Rates:
        """Return the cost on one busy core with AVX-512."""
        del model
        return Rates(force_call_s=5e-5, training_s=1e-4)

"""NEP as a member of the family of potentials; torch is imported when one is at work."""
# ruff: noqa: PLC0415 - torch takes seconds, and names and costs need none of it

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lycb_flows.potentials.architecture import ModelSource, Rates

if TYPE_CHECKING:
    from lycb_flows.potentials.nep.potential import NepPotential
    from lycb_flows.schemas import Model

NEP_MEDIA_TYPE = "text/plain"
NEP_RATES = Rates(force_call_s=3e-6, training_s=2e-5)
"""On one core with AVX2, for the default sizes; training by SOAP, compiled."""
_SUFFIX = ".txt"


class Nep:
    """Neuroevolution potentials, from files of GPUMD's format."""

    name = "nep"
    description = "NEP4 (Song et al. 2024) from a nep.txt: small, trainable, compiled on a CPU"
    model_names: tuple[str, ...] = ()
    file_suffixes = (_SUFFIX,)

    def find_model(self, name_or_path: str) -> ModelSource | None:
        """Return the model of a text file that begins as a NEP's does."""
        path = Path(name_or_path)
        if path.suffix != _SUFFIX or not path.is_file():
            return None
        content = path.read_bytes()
        if not content.startswith(b"nep"):
            return None
        return source_of(content, path.stem)

    def load(self, model: Model, weights: bytes, device: str) -> NepPotential:
        """Return the potential of a document and weights.

        Parameters
        ----------
        model
            The document; its arguments are empty, because the text holds everything.
        weights
            The text of a nep.txt.
        device
            Name of a torch device.
        """
        from lycb_flows.potentials.nep.potential import NepPotential

        del model
        potential = NepPotential.from_text(weights.decode(errors="replace"))
        potential.module.to(device)
        return potential

    def rates(self, model: Model) -> Rates:
        """Return the cost on one core with AVX2, for the default sizes."""
        del model
        return NEP_RATES


def source_of(content: bytes, name: str) -> ModelSource:
    """Return a model's source.

    Parameters
    ----------
    content
        The text of a nep.txt.
    name
        The model's name, for people.
    """
    return ModelSource.of_weights(
        content,
        name=name,
        architecture=Nep.name,
        architecture_args={},
        source="file",
        media_type=NEP_MEDIA_TYPE,
    )

"""The interface of a kind of potential, and the registry of all kinds.

An architecture finds its models by name or in files of its own format, makes a potential from a
model's document and weights, and says what a step of it costs. Members of this package stand in
`ARCHITECTURES`; other packages add theirs by the entry-point group `lycb_flows.potentials`
(docs/potentials.md). Nothing here imports torch.

>>> ARCHITECTURES.get("toy").model_names
('toy-soft', 'toy-teacher')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from lycb_flows.config.plugins import Registry
from lycb_flows.errors import InputError
from lycb_flows.schemas import Model, blob_of

if TYPE_CHECKING:
    from lycb_flows.potentials.potential import Potential

SAFETENSORS_MEDIA_TYPE = "application/vnd.safetensors"


@dataclass(frozen=True)
class Rates:
    """What a potential costs on one core, in CPU seconds per atom.

    Attributes
    ----------
    force_call_s
        Energy, forces and stress of a crystal once.
    training_s
        One structure in one training epoch; None where the potential cannot be trained.
    """

    force_call_s: float
    training_s: float | None = None


@dataclass(frozen=True)
class ModelSource:
    """A model's document and the bytes of its weights.

    The bytes are whatever the model's architecture loads; safetensors where that serves.
    """

    model: Model
    weights: bytes

    @classmethod
    def of_weights(
        cls,
        weights: bytes,
        *,
        name: str,
        architecture: str,
        architecture_args: Mapping[str, Any],
        source: str,
        media_type: str = SAFETENSORS_MEDIA_TYPE,
    ) -> ModelSource:
        """Return a model that was not trained here; its key is that of its content.

        Parameters
        ----------
        weights
            What `Architecture.load` reads.
        name
            The model's name, for people; not part of its key.
        architecture
            Name of its architecture.
        architecture_args
            Plain data (JSON) that `Architecture.load` needs besides the weights.
        source
            'pretrained' or 'file'.
        media_type
            The format of the weights.
        """
        blob = blob_of(weights, media_type)
        args = dict(architecture_args)
        model = Model(
            key=Model.imported_key_of(architecture, args, blob),
            name=name,
            architecture=architecture,
            architecture_args=args,
            weights=blob,
            source=source,
        )
        return cls(model, weights)


@runtime_checkable
class Architecture(Protocol):
    """A kind of potential.

    Its module is imported to list names and costs, so it imports what is slow (torch, the
    package that it wraps) inside its methods.

    Attributes
    ----------
    name
        What model documents say, e.g. 'chgnet'; also the name of the entry point.
    description
        One line for people.
    model_names
        Models that `find_model` knows by name; no other architecture may have them.
    file_suffixes
        Endings of the files that `find_model` reads, e.g. '.pth.tar'; for error messages.
    """

    name: str
    description: str
    model_names: tuple[str, ...]
    file_suffixes: tuple[str, ...]

    def find_model(self, name_or_path: str) -> ModelSource | None:
        """Return one of `model_names`, or the model of a file in the architecture's own format.

        None means that the text is neither.

        Raises
        ------
        InputError
            When a package or the file cannot be used, or code in the file would have to run.
        """

    def load(self, model: Model, weights: bytes, device: str) -> Potential:
        """Return the potential of a model's document and weights.

        Parameters
        ----------
        model
            A document of this architecture.
        weights
            As `find_model` or a training made them.
        device
            Name of a torch device, e.g. 'cpu'.

        Raises
        ------
        InputError
            When weights and document do not fit each other, or a package is missing.
        """

    def rates(self, model: Model) -> Rates | None:
        """Return the cost of a model.

        Returns
        -------
        Rates or None
            None where the cost is not known; plans then leave it open.
        """


ARCHITECTURES: Registry[Architecture] = Registry(
    "lycb_flows.potentials",
    "architecture",
    Architecture,  # used for isinstance only
    {
        "chgnet": "lycb_flows.potentials.members:CHGNet",
        "nep": "lycb_flows.potentials.nep.architecture:Nep",
        "toy": "lycb_flows.potentials.members:Toy",
        "sevennet": "lycb_flows.potentials.sevennet:SevenNet",
        "calculator": "lycb_flows.potentials.calculators:Calculators",
    },
)


def rates_of(model: Model) -> Rates | None:
    """Return the cost of a model.

    Returns
    -------
    Rates or None
        None where its architecture is not installed or does not know.
    """
    try:
        architecture = ARCHITECTURES.get(model.architecture)
    except InputError:
        return None
    return architecture.rates(model)


def model_names() -> dict[str, str]:
    """Return the models that can be found by name.

    Returns
    -------
    dict
        The name of its architecture for each model.
    """
    return {
        model: name
        for name, architecture in ARCHITECTURES.usable().items()
        for model in architecture.model_names
    }

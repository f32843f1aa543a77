"""Potentials: load by name, key or file; predict; train.

What other packages take from several of its modules is imported from here, when it is first used:
`import lycb_flows.potentials` loads none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lycb_flows.potentials.architecture import ARCHITECTURES, model_names
    from lycb_flows.potentials.compiled import CompiledEvaluator, flop_per_evaluation, load_library
    from lycb_flows.potentials.evaluator import Evaluator, HasEvaluator, Numbers, SinglePoint
    from lycb_flows.potentials.models import check_trainable, find_model, load_potential
    from lycb_flows.potentials.potential import Potential
    from lycb_flows.potentials.trainable import BatchOutput, Trainable, require_trainable

__all__ = [
    "ARCHITECTURES",
    "BatchOutput",
    "CompiledEvaluator",
    "Evaluator",
    "HasEvaluator",
    "Numbers",
    "Potential",
    "SinglePoint",
    "Trainable",
    "check_trainable",
    "find_model",
    "flop_per_evaluation",
    "load_library",
    "load_potential",
    "model_names",
    "require_trainable",
]
_MODULES = {
    "ARCHITECTURES": "architecture",
    "BatchOutput": "trainable",
    "CompiledEvaluator": "compiled",
    "Evaluator": "evaluator",
    "HasEvaluator": "evaluator",
    "Numbers": "evaluator",
    "Potential": "potential",
    "SinglePoint": "evaluator",
    "Trainable": "trainable",
    "check_trainable": "models",
    "find_model": "models",
    "flop_per_evaluation": "compiled",
    "load_library": "compiled",
    "load_potential": "models",
    "model_names": "architecture",
    "require_trainable": "trainable",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Return what a name stands for, imported now."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)

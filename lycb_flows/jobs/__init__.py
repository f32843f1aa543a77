"""Makers of jobs: each makes results that are looked up by their keys first.

Those that work on their own, in any flow of jobflow's (docs/makers.md), are imported from here
when they are first used.

Every job reads the settings of its machine when it runs. `after` arguments carry references
whose only use is order.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lycb_flows.jobs.dynamics import MDMaker
    from lycb_flows.jobs.labelling import VaspLabelMaker
    from lycb_flows.jobs.learning import FineTuneMaker
    from lycb_flows.jobs.structures import EnumerateMaker, RankMaker
    from lycb_flows.jobs.tasks import LabelFromTaskMaker

__all__ = [
    "EnumerateMaker",
    "FineTuneMaker",
    "LabelFromTaskMaker",
    "MDMaker",
    "RankMaker",
    "VaspLabelMaker",
]
_MODULES = {
    "EnumerateMaker": "structures",
    "FineTuneMaker": "learning",
    "LabelFromTaskMaker": "tasks",
    "MDMaker": "dynamics",
    "RankMaker": "structures",
    "VaspLabelMaker": "labelling",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a class of Makers
    """Return a Maker, imported now."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)

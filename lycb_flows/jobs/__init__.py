"""Makers of jobs: each makes results that are looked up by their keys first.

Those that work on their own, in any flow of jobflow's (docs/makers.md), are in `__all__`. The
others are a campaign's. Both are imported from here when they are first used.

Every job reads the settings of its machine when it runs. `after` arguments carry references
whose only use is order.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lycb_flows.jobs.dft import AnchorMaker as AnchorMaker
    from lycb_flows.jobs.dft import DftRelaxMaker as DftRelaxMaker
    from lycb_flows.jobs.dynamics import MDMaker
    from lycb_flows.jobs.labelling import SelectMaker as SelectMaker
    from lycb_flows.jobs.labelling import VaspLabelMaker
    from lycb_flows.jobs.labelling import try_label as try_label
    from lycb_flows.jobs.learning import EvaluateMaker as EvaluateMaker
    from lycb_flows.jobs.learning import FineTuneMaker
    from lycb_flows.jobs.learning import TrainMaker as TrainMaker
    from lycb_flows.jobs.learning import evaluate_all as evaluate_all
    from lycb_flows.jobs.learning import round_of as round_of
    from lycb_flows.jobs.measuring import QuantityMaker as QuantityMaker
    from lycb_flows.jobs.resources import deciding_job as deciding_job
    from lycb_flows.jobs.resources import open_store as open_store
    from lycb_flows.jobs.resources import working_on as working_on
    from lycb_flows.jobs.structures import CampaignSystem as CampaignSystem
    from lycb_flows.jobs.structures import EnumerateMaker, RankMaker
    from lycb_flows.jobs.tasks import LabelFromTaskMaker
    from lycb_flows.jobs.tasks import TaskLabeler as TaskLabeler

__all__ = [
    "EnumerateMaker",
    "FineTuneMaker",
    "LabelFromTaskMaker",
    "MDMaker",
    "RankMaker",
    "VaspLabelMaker",
]
_MODULES = {
    "AnchorMaker": "dft",
    "CampaignSystem": "structures",
    "DftRelaxMaker": "dft",
    "EnumerateMaker": "structures",
    "EvaluateMaker": "learning",
    "FineTuneMaker": "learning",
    "LabelFromTaskMaker": "tasks",
    "MDMaker": "dynamics",
    "QuantityMaker": "measuring",
    "RankMaker": "structures",
    "SelectMaker": "labelling",
    "TaskLabeler": "tasks",
    "TrainMaker": "learning",
    "VaspLabelMaker": "labelling",
    "deciding_job": "resources",
    "evaluate_all": "learning",
    "open_store": "resources",
    "round_of": "learning",
    "try_label": "labelling",
    "working_on": "resources",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a Maker, or what jobs are made with
    """Return what a name stands for, imported now."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)

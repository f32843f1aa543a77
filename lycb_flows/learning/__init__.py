"""The learning step: frame selection, training, and errors against labels."""

from __future__ import annotations

from lycb_flows.learning.evaluation import evaluate
from lycb_flows.learning.labelled import LabelledStructure
from lycb_flows.learning.sampling import Candidates, assign_blocks, select_frames
from lycb_flows.learning.training import EpochLoop, fine_tune

__all__ = [
    "Candidates",
    "EpochLoop",
    "LabelledStructure",
    "assign_blocks",
    "evaluate",
    "fine_tune",
    "select_frames",
]

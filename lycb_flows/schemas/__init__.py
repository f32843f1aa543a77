"""Every document, importable from here; a file per section."""

from __future__ import annotations

from lycb_flows.schemas.base import Blob, Document, Made, Matrix, Produced, Vector, blob_of
from lycb_flows.schemas.campaign import KINDS, CampaignRecord, register_kind
from lycb_flows.schemas.datasets import Dataset, Frame, Frames, TestSet
from lycb_flows.schemas.dynamics import Health, Run, Segment, Thermodynamics
from lycb_flows.schemas.keys import digest, make_key, seed_for
from lycb_flows.schemas.labels import Import, Label
from lycb_flows.schemas.learning import EpochRecord, Evaluation, Model, ModelErrors, Round
from lycb_flows.schemas.measurement import Arrhenius, DiffusionEstimate, Transport
from lycb_flows.schemas.rankings import (
    DftCandidate,
    GroundState,
    RankedCandidate,
    Ranking,
    Relaxation,
)
from lycb_flows.schemas.structures import DroppedOccupant, Enumeration, Ordering, Parent, Structure

__all__ = [
    "KINDS",
    "Arrhenius",
    "Blob",
    "CampaignRecord",
    "Dataset",
    "DftCandidate",
    "DiffusionEstimate",
    "Document",
    "DroppedOccupant",
    "Enumeration",
    "EpochRecord",
    "Evaluation",
    "Frame",
    "Frames",
    "GroundState",
    "Health",
    "Import",
    "Label",
    "Made",
    "Matrix",
    "Model",
    "ModelErrors",
    "Ordering",
    "Parent",
    "Produced",
    "RankedCandidate",
    "Ranking",
    "Relaxation",
    "Round",
    "Run",
    "Segment",
    "Structure",
    "TestSet",
    "Thermodynamics",
    "Transport",
    "Vector",
    "blob_of",
    "digest",
    "make_key",
    "register_kind",
    "seed_for",
]

"""Every document, importable from here, and the table of their kinds; a file per section."""

from __future__ import annotations

from lycb_flows.errors import InputError
from lycb_flows.schemas.arrhenius import FITTED_REGIMES, Arrhenius, LeftOut, Prediction
from lycb_flows.schemas.base import Blob, Document, Made, Matrix, Produced, Vector, blob_of
from lycb_flows.schemas.benchmark import Benchmark, BenchmarkedModel, BenchmarkPart, BenchmarkSet
from lycb_flows.schemas.campaign import CampaignRecord
from lycb_flows.schemas.charge import ChargeEstimate, ChargeTransport
from lycb_flows.schemas.columns import COMMON_COLUMNS, Column, Scalar, columns_of, values_of
from lycb_flows.schemas.datasets import Dataset, Frame, Frames, TestSet
from lycb_flows.schemas.dynamics import Health, Run, Segment, Thermodynamics
from lycb_flows.schemas.keys import at_versions, digest, make_key, seed_for
from lycb_flows.schemas.labels import Import, Label
from lycb_flows.schemas.learning import (
    CandidateErrors,
    EpochRecord,
    Evaluation,
    Foundation,
    Model,
    ModelErrors,
    Round,
)
from lycb_flows.schemas.measurement import (
    DiffusionEstimate,
    Evidence,
    Regime,
    Transport,
)
from lycb_flows.schemas.rankings import (
    DftCandidate,
    GroundState,
    RankedCandidate,
    Ranking,
    Relaxation,
)
from lycb_flows.schemas.series import (
    CompositionSeries,
    LatticeDifference,
    SeriesConduction,
    SeriesPoint,
)
from lycb_flows.schemas.sites import Density, SiteOrbit, Sites, SiteStep
from lycb_flows.schemas.structures import DroppedOccupant, Enumeration, Ordering, Parent, Structure
from lycb_flows.schemas.students import Student, StudentCondition
from lycb_flows.schemas.thermodynamics import RunThermodynamics
from lycb_flows.schemas.volumes import CellAverage, CellVolumes, ModelVolumes, ThermalExpansion

__all__ = [
    "COMMON_COLUMNS",
    "FITTED_REGIMES",
    "KINDS",
    "Arrhenius",
    "Benchmark",
    "BenchmarkPart",
    "BenchmarkSet",
    "BenchmarkedModel",
    "Blob",
    "CampaignRecord",
    "CandidateErrors",
    "CellAverage",
    "CellVolumes",
    "ChargeEstimate",
    "ChargeTransport",
    "Column",
    "CompositionSeries",
    "Dataset",
    "Density",
    "DftCandidate",
    "DiffusionEstimate",
    "Document",
    "DroppedOccupant",
    "Enumeration",
    "EpochRecord",
    "Evaluation",
    "Evidence",
    "Foundation",
    "Frame",
    "Frames",
    "GroundState",
    "Health",
    "Import",
    "Label",
    "LatticeDifference",
    "LeftOut",
    "Made",
    "Matrix",
    "Model",
    "ModelErrors",
    "ModelVolumes",
    "Ordering",
    "Parent",
    "Prediction",
    "Produced",
    "RankedCandidate",
    "Ranking",
    "Regime",
    "Relaxation",
    "Round",
    "Run",
    "RunThermodynamics",
    "Scalar",
    "Segment",
    "SeriesConduction",
    "SeriesPoint",
    "SiteOrbit",
    "SiteStep",
    "Sites",
    "Structure",
    "Student",
    "StudentCondition",
    "TestSet",
    "ThermalExpansion",
    "Thermodynamics",
    "Transport",
    "Vector",
    "at_versions",
    "blob_of",
    "columns_of",
    "digest",
    "make_key",
    "register_kind",
    "seed_for",
    "values_of",
]

KINDS: dict[str, type[Document]] = {
    document.kind: document
    for document in (
        Structure, Parent, Enumeration, Ordering, Relaxation, Ranking, GroundState, Segment, Run,
        Frames, Label, Import, Dataset, TestSet, Model, Student, Evaluation, Foundation, Round,
        Transport, Arrhenius, Density, Sites,
        CampaignRecord,
    )
}  # fmt: skip
"""Class of each kind; those of measured quantities join when they are first met."""


def register_kind(document: type[Document]) -> None:
    """Make documents of a class readable from a store.

    Raises
    ------
    InputError
        When another class has its kind.
    """
    known = KINDS.setdefault(document.kind, document)
    if known is not document:
        raise InputError(
            "two classes of documents have one kind",
            fix="rename one of them",
            kind=document.kind,
            found=f"{known.__module__} and {document.__module__}",
        )

"""Which class reads the documents of a kind."""

from __future__ import annotations

from lycb_flows.errors import InputError
from lycb_flows.schemas.arrhenius import Arrhenius
from lycb_flows.schemas.base import Document
from lycb_flows.schemas.campaign import CampaignRecord
from lycb_flows.schemas.datasets import Dataset, Frames, TestSet
from lycb_flows.schemas.dynamics import Run, Segment
from lycb_flows.schemas.labels import Import, Label
from lycb_flows.schemas.learning import Evaluation, Foundation, Model, Round
from lycb_flows.schemas.measurement import Transport
from lycb_flows.schemas.rankings import GroundState, Ranking, Relaxation
from lycb_flows.schemas.sites import Density, Sites
from lycb_flows.schemas.structures import Enumeration, Ordering, Parent, Structure
from lycb_flows.schemas.students import Student

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

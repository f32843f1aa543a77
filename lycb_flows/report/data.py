"""The data of a report: documents, by the part of the report that shows them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np

from lycb_flows.errors import StoreError
from lycb_flows.report.numbers import told_apart
from lycb_flows.report.paper import paper_system
from lycb_flows.schemas import (
    Blob,
    CellAverage,
    CellVolumes,
    Dataset,
    Document,
    Enumeration,
    Evaluation,
    Foundation,
    Frames,
    GroundState,
    Model,
    RankedCandidate,
    Ranking,
    Round,
    Run,
    Structure,
    Student,
)
from lycb_flows.store import Attempt

D = TypeVar("D", bound=Document)
PRODUCTION: Final = "production"
"""Role of the runs that measure."""
Names = Mapping[str, Sequence[str]]
"""What a campaign calls the crystals of its rankings and decisions, by key of the document."""


@dataclass(frozen=True)
class LearnedRound:
    """A round and the documents it refers to; None where a document was retracted."""

    round: Round
    dataset: Dataset | None
    frames: Frames | None
    model: Model | None
    before: Evaluation | None
    after: Evaluation | None


@dataclass(frozen=True)
class CellRun:
    """An NpT run: the volume of a system at a temperature, and what it was made for.

    Attributes
    ----------
    system
        Name of the system.
    role
        What the run was made for.
    run
        The run.
    mean
        Its mean cell, where the quantity `volumes` has measured it.
    other_model
        Name of its model, where that is not the one that measures; otherwise empty.
    """

    system: str
    role: str
    run: Run
    mean: CellAverage | None = None
    other_model: str = ""

    @property
    def series(self) -> str:
        """What the run is shown with: runs of the same role and the same model."""
        is_production = self.role == PRODUCTION
        return production_series(self.other_model) if is_production else self.role

    @property
    def volume_ang3_per_atom(self) -> float | None:
        """Mean volume; where it was not measured, the volume of the average cell.

        The latter is larger, by 0.1 % in 240 atoms and by 2 % in 40 whose angles swing: it is the
        volume of the mean lengths and angles.
        """
        if self.mean is not None:
            return self.mean.volume_ang3_per_atom
        return self.run.average_volume_ang3_per_atom


def production_series(other_model: str = "") -> str:
    """Return what runs that measure are shown as: the campaign's, or another model's."""
    return f"by {other_model}" if other_model else PRODUCTION


@dataclass(frozen=True)
class ParityPoints:
    """The (labelled, predicted) pairs of an evaluation.

    Attributes
    ----------
    energies_ev_per_atom
        A pair for each label.
    forces_ev_per_ang, stresses_gpa
        A pair for each component.
    """

    energies_ev_per_atom: list[tuple[float, float]]
    forces_ev_per_ang: list[tuple[float, float]]
    stresses_gpa: list[tuple[float, float]]


def parity_points(predictions: bytes) -> ParityPoints:
    """Return the predictions of an evaluation, given as its table, beside their labels."""
    rows = json.loads(predictions).values()
    return ParityPoints(
        energies_ev_per_atom=[
            (row["label_energy_ev"] / n_atoms, row["energy_ev"] / n_atoms)
            for row in rows
            if (n_atoms := len(row["forces_ev_per_ang"]))
        ],
        forces_ev_per_ang=[pair for row in rows for pair in _components(row, "forces_ev_per_ang")],
        stresses_gpa=[pair for row in rows for pair in _components(row, "stress_gpa")],
    )


def _components(row: dict[str, Any], name: str) -> Iterator[tuple[float, float]]:
    """Return (labelled, predicted) of each component of a matrix."""
    labelled, predicted = np.array(row[f"label_{name}"]), np.array(row[name])
    return zip(labelled.ravel().tolist(), predicted.ravel().tolist(), strict=True)


def called(document: D, names: Names) -> list[D]:
    """Return a ranking, or DFT's decision on one, under each name of its crystal in a campaign.

    Any other document is returned as it is.

    Parameters
    ----------
    document
        It has the name of the crystal where it was ranked first.
    names
        The campaign's; the document's own counts where there is none.
    """
    known = names.get(document.key, ())
    return [document.model_copy(update={"system": name}) for name in known] or [document]


def unique(documents: Iterable[D]) -> list[D]:
    """Return documents without those that come again."""
    return list({document.key: document for document in documents}.values())


def place_of(document: Document) -> tuple[str, float, float, int, str]:
    """Return the condition that a document was measured at, to sort by."""
    place = (getattr(document, name, None) for name in ("pressure_bar", "temperature_k"))
    pressure_bar, temperature_k = (value or 0.0 for value in place)
    system, replica = (getattr(document, name, None) for name in ("system", "replica"))
    return system or "", pressure_bar, temperature_k, replica or 1, document.key


def _no_blobs(blob: Blob) -> bytes:
    raise StoreError("this report has no store to read from", fix="use collect", blob=blob.sha256)


@dataclass
class ReportData:
    """Everything that a report shows, by part.

    Attributes
    ----------
    documents
        Every document by its key.
    missing
        Role of each document that is absent, by its key.
    candidates
        The candidates of each ranking, by the ranking's key.
    parity
        The predictions of each evaluation, by the evaluation's key.
    measurements
        The documents of each measured quantity, by their kind; sorted by system, pressure and
        temperature.
    read
        Returns the bytes of a blob that a document names.
    """

    documents: dict[str, Document] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    enumerations: list[Enumeration] = field(default_factory=list)
    rankings: list[Ranking] = field(default_factory=list)
    candidates: dict[str, list[RankedCandidate]] = field(default_factory=dict)
    by_dft: list[GroundState] = field(default_factory=list)
    foundations: list[Foundation] = field(default_factory=list)
    rounds: list[LearnedRound] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    parity: dict[str, ParityPoints] = field(default_factory=dict)
    students: list[Student] = field(default_factory=list)
    measurements: dict[str, list[Document]] = field(default_factory=dict)
    cell_runs: list[CellRun] = field(default_factory=list)
    theory_names: list[str] = field(default_factory=list)
    imported_theory_names: set[str] = field(default_factory=set)
    attempts: list[Attempt] = field(default_factory=list)
    read: Callable[[Blob], bytes] = _no_blobs

    @property
    def of_paper(self) -> bool:
        """Whether a structure of it is of the paper's chemistry, Li3YCl6 to Li3YBr6.

        The paper's numbers have no place in a report about anything else.
        """
        structures = (each for each in self.documents.values() if isinstance(each, Structure))
        return any(paper_system(structure) is not None for structure in structures)

    @property
    def measures_as_it_is(self) -> bool:
        """Whether production has begun with a model for which no round was made."""
        return not self.rounds and bool(self.cell_runs or self.measurements)

    def find(self, kind: type[D], key: str | None) -> D | None:
        """Return the collected document of a kind and key.

        Parameters
        ----------
        kind
            Class of the document.
        key
            Its key; None is found nowhere.

        Returns
        -------
        Document or None
            None when it is absent or of another kind.
        """
        document = self.documents.get(key or "")
        return document if isinstance(document, kind) else None

    def measured(self, kind: type[D]) -> list[D]:
        """Return the documents of a measured quantity, by system, pressure and temperature.

        They are found by the class of the quantity's documents.
        """
        documents = self.measurements.get(kind.kind, ())
        return [document for document in documents if isinstance(document, kind)]

    def structure_of_run(self, key: str | None) -> Structure | None:
        """Return the structure that a run started from, if both are known."""
        run = self.find(Run, key)
        return None if run is None else self.find(Structure, run.start_structure)

    def structure_of_system(self, system: str) -> Structure | None:
        """Return a structure of a system, which tells its composition.

        It is a ground state or, where none is known, the start of a run; None without either.
        """
        keys = [found.ground_state for found in self.by_dft if found.system == system]
        keys += [ranking.ground_state for ranking in self.rankings if ranking.system == system]
        keys += [c.run.start_structure for c in self.cell_runs if c.system == system]
        found = [self.find(Structure, key) for key in keys]
        found += [
            self.structure_of_run(getattr(document, "run", None))
            for documents in self.measurements.values()
            for document in documents
            if getattr(document, "system", None) == system
        ]
        return next((structure for structure in found if structure is not None), None)

    def ground_states(self) -> dict[str, str]:
        """Return the systems of each ground state in words, by the key of its structure.

        Ground states of the model and of DFT are both among them.
        """
        found: dict[str, dict[str, None]] = {}
        pairs = [(each.ground_state, each.system) for each in self.rankings]
        pairs += [(each.ground_state, each.system) for each in self.by_dft]
        for structure, system in pairs:
            found.setdefault(structure, {})[system] = None
        return {structure: " and ".join(names) for structure, names in found.items()}

    def decided_by_dft(self) -> list[GroundState]:
        """Return DFT's final decisions: those on lists that did not grow."""
        return [found for found in self.by_dft if found.widened_to is None]

    def physics_of(self, key: str) -> Model | None:
        """Return the model whose physics a model has, given by key: of a student, its teacher."""
        model = self.find(Model, key)
        if model is None or model.source != "distilled":
            return model
        return self.find(Model, model.parent_model)

    def other_models(self) -> dict[str, str]:
        """Return what models are called that find cells beside the one that measures, by key."""
        names = {
            each.model: each.name
            for document in self.measured(CellVolumes)
            for each in document.by_model
            if each.model != document.model
        }
        return dict(zip(names, told_apart(names.values(), names), strict=True))

    def model_name(self, key: str) -> str:
        """Return the name of a model, given by key, or the start of its key where it is absent."""
        model = self.find(Model, key)
        return key[:12] if model is None else model.name

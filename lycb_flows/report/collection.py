"""What a report rests on: the final documents of a campaign, and everything they refer to.

The walk follows the fields that refer to documents (a round's dataset, a transport's run), so
that the role of each document is known. A document that was retracted is noted as missing in
its role.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from lycb_flows import schemas
from lycb_flows.schemas import Document
from lycb_flows.store import Attempt, ResultStore
from lycb_flows.store.kinds import QUANTITIES

D = TypeVar("D", bound=Document)
_N_SHOWN_CANDIDATES = 10


@dataclass(frozen=True)
class LearnedRound:
    """A round and the documents it refers to; None where a document was retracted."""

    round: schemas.Round
    dataset: schemas.Dataset | None
    frames: schemas.Frames | None
    model: schemas.Model | None
    before: schemas.Evaluation | None
    after: schemas.Evaluation | None


@dataclass(frozen=True)
class CellRun:
    """An NpT run: the volume of a system at a temperature, and what it was made for."""

    system: str
    role: str
    run: schemas.Run


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
    """

    documents: dict[str, Document] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    enumerations: list[schemas.Enumeration] = field(default_factory=list)
    rankings: list[schemas.Ranking] = field(default_factory=list)
    candidates: dict[str, list[schemas.RankedCandidate]] = field(default_factory=dict)
    by_dft: list[schemas.GroundState] = field(default_factory=list)
    rounds: list[LearnedRound] = field(default_factory=list)
    evaluations: list[schemas.Evaluation] = field(default_factory=list)
    parity: dict[str, ParityPoints] = field(default_factory=dict)
    measurements: dict[str, list[Document]] = field(default_factory=dict)
    cell_runs: list[CellRun] = field(default_factory=list)
    theory_names: list[str] = field(default_factory=list)
    imported_theory_names: set[str] = field(default_factory=set)
    attempts: list[Attempt] = field(default_factory=list)

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
        return [
            document
            for document in self.measurements.get(kind.kind, ())
            if isinstance(document, kind)
        ]

    def structure_of_run(self, key: str | None) -> schemas.Structure | None:
        """Return the structure that a run started from, if both are known."""
        run = self.find(schemas.Run, key)
        return None if run is None else self.find(schemas.Structure, run.start_structure)

    def structure_of_system(self, system: str) -> schemas.Structure | None:
        """Return a structure of a system, which tells its composition.

        It is a ground state or, where none is known, the start of a run; None without either.
        """
        keys = [state.ground_state for state in self.by_dft if state.system == system]
        keys += [ranking.ground_state for ranking in self.rankings if ranking.system == system]
        keys += [c.run.start_structure for c in self.cell_runs if c.system == system]
        found = [self.find(schemas.Structure, key) for key in keys]
        found += [
            self.structure_of_run(getattr(document, "run", None))
            for documents in self.measurements.values()
            for document in documents
            if getattr(document, "system", None) == system
        ]
        return next((structure for structure in found if structure is not None), None)

    def ground_states(self) -> dict[str, str]:
        """Return the system of each ground state, by the key of its structure.

        Ground states of the model and of DFT are both among them.
        """
        by_model = {ranking.ground_state: ranking.system for ranking in self.rankings}
        return by_model | {state.ground_state: state.system for state in self.by_dft}

    def decided_by_dft(self) -> list[schemas.GroundState]:
        """Return DFT's final decisions: those on lists that did not grow."""
        return [state for state in self.by_dft if state.widened_to is None]

    def model_name(self, key: str) -> str:
        """Return the name of a model, given by key, or the start of its key where it is absent."""
        model = self.find(schemas.Model, key)
        return key[:12] if model is None else model.name


def collect(store: ResultStore, keys: Iterable[str]) -> ReportData:
    """Return what the final documents of a campaign rest on, as far as a report shows it.

    Parameters
    ----------
    store
        Holds the documents.
    keys
        Keys of rankings, enumerations, rounds, evaluations, transports, Arrhenius fits, ...: in
        any order, as many as there are so far.
    """
    collector = _Collector(store)
    final = list(dict.fromkeys(keys))
    for key in final:
        collector.add(key)
    collector.follow_runs()
    data = collector.data
    data.enumerations = _unique(data.enumerations)
    data.rankings = sorted(_unique(data.rankings), key=lambda ranking: ranking.system)
    data.rounds.sort(key=lambda learned: (learned.round.index, learned.round.key))
    data.by_dft.sort(key=lambda state: (state.system, state.n, state.key))
    data.measurements = {
        kind: sorted(_unique(documents), key=_place)
        for kind, documents in data.measurements.items()
    }
    data.cell_runs.sort(
        key=lambda c: (c.system, c.run.pressure_bar or 0.0, c.run.temperature_k, c.role)
    )
    collector.look_back(final)
    return data


class _Collector:
    """The walk: `take` loads a document in a role, the other methods say which roles there are."""

    def __init__(self, store: ResultStore) -> None:
        self.store, self.data = store, ReportData()
        self.quantities = {
            quantity.document.kind: quantity for quantity in QUANTITIES.usable().values()
        }

    def take(self, kind: type[D], key: str | None, role: str) -> D | None:
        """Return the document in a role, and remember it, or that it is missing.

        Parameters
        ----------
        kind
            Class of the document.
        key
            Its key; None when nothing has the role.
        role
            What the document is for, in words.
        """
        if key is None:
            return None
        document = self.store.find(kind, key)
        if document is None:
            self.data.missing[key] = role
        else:
            self.data.documents[key] = document
        return document

    def add(self, key: str) -> None:
        """Add a final document and what it refers to.

        Kinds that a report does not show are kept for its list of provenance.
        """
        document = self.store.find_document(key)
        match document:
            case None:
                self.data.missing[key] = "a result of the campaign"
                return
            case schemas.Enumeration():
                self.enumeration(document.key)
            case schemas.Ranking():
                self.ranking(document)
            case schemas.GroundState():
                self.ground_state(document)
            case schemas.Round():
                self.round(document)
            case schemas.Evaluation():
                self.evaluation(key, "an evaluation")
                self.data.evaluations.append(document)
            case _ if document.kind in self.quantities:
                self.measurement(document)
            case _:
                pass
        self.data.documents[key] = document

    def enumeration(self, key: str) -> None:
        """Add an enumeration and its parent, which is a crystal or the structure that is decorated."""
        enumeration = self.take(schemas.Enumeration, key, "an enumeration")
        if enumeration is None:
            return
        self.data.enumerations.append(enumeration)
        for parent in enumeration.parents:
            document = self.store.find_document(parent)
            if document is not None:
                self.data.documents[parent] = document

    def ranking(self, ranking: schemas.Ranking) -> None:
        """Add a ranking, its enumeration, ground state and best candidates.

        The page shows ten candidates, so the relaxations of others are not loaded.
        """
        self.data.rankings.append(ranking)
        self.enumeration(ranking.enumeration)
        self.take(schemas.Structure, ranking.ground_state, f"ground state of {ranking.system}")
        self.model(ranking.model)
        for candidate in ranking.best[:_N_SHOWN_CANDIDATES]:
            self.take(schemas.Relaxation, candidate.relaxation, "a relaxation")
        rows = json.loads(self.store.blobs.read(ranking.table))
        self.data.candidates[ranking.key] = [
            schemas.RankedCandidate.model_validate(row) for row in rows
        ]

    def ground_state(self, found: schemas.GroundState) -> None:
        """Add DFT's decision on a ranking, and the relaxations behind it."""
        self.data.by_dft.append(found)
        self.take(schemas.Structure, found.ground_state, f"ground state of {found.system} by DFT")
        for key in (*(c.relaxation for c in found.candidates), *found.anchors.values()):
            self.take(schemas.Relaxation, key, "a relaxation by DFT")

    def round(self, round_: schemas.Round) -> None:
        """Add a round with its dataset, frames, model, evaluations and runs."""
        title = f"round {round_.index + 1}"
        for run in round_.runs:
            self.run(run, title)
        self.model(round_.start_model)
        self.data.rounds.append(
            LearnedRound(
                round=round_,
                dataset=self.take(schemas.Dataset, round_.dataset, f"dataset of {title}"),
                frames=self.take(schemas.Frames, round_.frames, f"frames of {title}"),
                model=self.model(round_.model),
                before=self.evaluation(round_.evaluation_before, f"{title} before"),
                after=self.evaluation(round_.evaluation_after, f"{title} after"),
            )
        )

    def model(self, key: str) -> schemas.Model | None:
        """Add a model, given by key."""
        return self.take(schemas.Model, key, "a model")

    def evaluation(self, key: str, role: str) -> schemas.Evaluation | None:
        """Add an evaluation, its test sets and its predictions.

        Parameters
        ----------
        key
            Key of the evaluation.
        role
            What the evaluation is for, in words.
        """
        evaluation = self.take(schemas.Evaluation, key, role)
        if evaluation is not None and key not in self.data.parity:
            self.model(evaluation.model)
            for test_set in evaluation.test_sets:
                self.take(schemas.TestSet, test_set, "a test set")
            self.data.parity[key] = parity_points(self.store, evaluation)
        return evaluation

    def run(self, key: str, role: str) -> schemas.Run | None:
        """Add a run; the volume of an NpT run is shown once `follow_runs` knows its system.

        Parameters
        ----------
        key
            Key of the run.
        role
            What the run is for, in words.
        """
        run = self.take(schemas.Run, key, f"a run of {role}")
        if run is not None:
            self.model(run.model)
            self.take(schemas.Structure, run.start_structure, f"start of run {run.name}")
            if run.ensemble == "npt" and run.key not in {c.run.key for c in self.data.cell_runs}:
                self.data.cell_runs.append(CellRun("", role, run))
        return run

    def measurement(self, document: Document) -> None:
        """Add a document of a measured quantity, its model, and what it was measured from."""
        if document.key in self.data.documents:
            return
        self.data.documents[document.key] = document
        self.data.measurements.setdefault(document.kind, []).append(document)
        if hasattr(document, "model"):
            self.model(document.model)
        for key in document.parents:
            self.measured_from(key, self.quantities[document.kind].rests_on)

    def measured_from(self, key: str, role: str) -> None:
        """Add a run with the NpT run that found its cell, or another quantity's document.

        Parameters
        ----------
        key
            Key of the parent.
        role
            What a parent of this quantity is called when it is missing.
        """
        parent = self.store.find_document(key)
        if parent is None:
            self.data.missing[key] = role
        elif isinstance(parent, schemas.Run):
            self.run(key, "production")
            if isinstance(self.store.find_document(parent.start), schemas.Run):
                self.run(parent.start, "production")
        elif parent.kind in self.quantities:
            self.measurement(parent)
        else:
            self.data.documents[key] = parent

    def follow_runs(self) -> None:
        """Name each NpT run's system: by the ground state it started from, else by its name."""
        systems = self.data.ground_states()
        self.data.cell_runs = [
            CellRun(systems.get(c.run.start) or c.run.name.split(" ")[0], c.role, c.run)
            for c in self.data.cell_runs
        ]

    def look_back(self, final: Iterable[str]) -> None:
        """The whole ancestry: theories of its labels, what was retracted, what it cost."""
        ancestry = dict.fromkeys([*final, *self.data.documents])
        for key in list(ancestry):
            ancestry |= dict.fromkeys(self.store.ancestors(key))
        theories: dict[str, str] = {}
        steps: set[str] = set()
        for key in ancestry:
            document = self.data.documents.get(key) or self.store.find_document(key)
            if document is None:
                self.data.missing.setdefault(key, "an ancestor")
            elif isinstance(document, schemas.Label):
                theories[key] = document.theory_name
            elif isinstance(document, schemas.Relaxation):
                steps.update(document.labels)  # nothing learns from those
        self.data.theory_names = sorted({theories[key] for key in theories.keys() - steps})
        self.data.imported_theory_names = {
            found.theory_name for found in self.store.find_all(schemas.Import)
        }
        for learned in self.data.rounds:
            failed = learned.dataset.missing if learned.dataset else ()
            ancestry |= dict.fromkeys(failed)
        self.data.attempts = [a for a in self.store.attempts() if a.key in ancestry]


def parity_points(store: ResultStore, evaluation: schemas.Evaluation) -> ParityPoints:
    """Return the predictions of an evaluation beside their labels.

    Parameters
    ----------
    store
        Holds the table of predictions.
    evaluation
        The evaluation.
    """
    rows = json.loads(store.blobs.read(evaluation.predictions)).values()
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


def _unique(documents: list[D]) -> list[D]:
    return list({document.key: document for document in documents}.values())


def _place(document: Document) -> tuple[str, float, float, str]:
    """Return the condition that a document was measured at, to sort by."""
    place = (getattr(document, name, None) for name in ("pressure_bar", "temperature_k"))
    pressure_bar, temperature_k = (value or 0.0 for value in place)
    return getattr(document, "system", None) or "", pressure_bar, temperature_k, document.key

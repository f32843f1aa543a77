"""What a report rests on: the final documents of a campaign, and everything they refer to.

The walk follows the fields that refer to documents (a round's dataset, a transport's run), so
that the role of each document is known. A document that was retracted is noted as missing in
its role.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TypeVar

from lycb_flows.errors import StoreError
from lycb_flows.report.data import (
    PRODUCTION,
    CellRun,
    LearnedRound,
    Names,
    ReportData,
    called,
    parity_points,
    place_of,
    unique,
)
from lycb_flows.schemas import (
    CellVolumes,
    Dataset,
    Document,
    Enumeration,
    Evaluation,
    Foundation,
    Frames,
    GroundState,
    Import,
    Label,
    Model,
    RankedCandidate,
    Ranking,
    Relaxation,
    Round,
    Run,
    Structure,
    Student,
    TestSet,
)
from lycb_flows.store import QUANTITIES, ResultStore

D = TypeVar("D", bound=Document)
_N_SHOWN_CANDIDATES = 10
_NUMEROUS = (Label, Relaxation, Structure)


def collect(store: ResultStore, keys: Iterable[str] | Names) -> ReportData:
    """Return what the final documents of a campaign rest on, as far as a report shows it.

    Parameters
    ----------
    store
        Holds the documents.
    keys
        Keys of rankings, enumerations, rounds, evaluations, transports, Arrhenius fits, ...: in
        any order, as many as there are so far. A mapping has beside that of a ranking, or of
        DFT's decision on one, the campaign's names for its crystal: the document has the name of
        the campaign that ranked it first.
    """
    final = list(dict.fromkeys(keys))
    collector = _Collector(store, keys if isinstance(keys, Mapping) else {})
    collector.read_ahead(final)
    collector.read(final)
    collector.read_shown()
    for key in final:
        collector.add(key)
    collector.follow_runs()
    data = collector.data
    data.enumerations = unique(data.enumerations)
    data.rankings.sort(key=lambda ranking: ranking.system)
    data.rounds.sort(key=lambda learned: (learned.round.index, learned.round.key))
    data.by_dft.sort(key=lambda found: (found.system, found.n, found.key))
    data.measurements = {
        kind: sorted(unique(documents), key=place_of)
        for kind, documents in data.measurements.items()
    }
    data.cell_runs.sort(
        key=lambda c: (c.system, c.run.pressure_bar or 0.0, c.run.temperature_k, c.series)
    )
    collector.look_back()
    return data


class _Collector:
    """The walk: `take` finds a document in a role, the other methods say which roles there are.

    All that the final documents rest on is read at once, before the walk. What there may be
    thousands of is not remembered; those of them that the report shows are read again, at once.
    """

    def __init__(self, store: ResultStore, names: Names) -> None:
        self.store, self.data, self.names = store, ReportData(read=store.blobs.read), names
        usable = QUANTITIES.usable().values()
        self.quantities = {quantity.document.kind: quantity for quantity in usable}
        self.ancestry: dict[str, None] = {}
        self.known: dict[str, Document] = {}
        self.absent: set[str] = set()
        self.theories: dict[str, str] = {}
        self.steps: set[str] = set()

    def read_ahead(self, keys: Iterable[str]) -> None:
        """Read documents and all their ancestors, which the walk will mostly ask for."""
        new = dict.fromkeys(key for key in keys if key not in self.ancestry)
        new |= dict.fromkeys(self.store.ancestors(*new))
        new = {key: None for key in new if key not in self.ancestry}
        self.ancestry |= new
        found = set()
        for document in self.store.find_documents(new):
            found.add(document.key)
            if isinstance(document, Label):
                self.theories[document.key] = document.theory_name
            elif isinstance(document, Relaxation):
                self.steps.update(document.labels)
            if not isinstance(document, _NUMEROUS):
                self.known[document.key] = document
        self.absent.update(key for key in new if key not in found)

    def read_shown(self) -> None:
        """Read the structures and relaxations that the walk will ask for."""
        shown: list[str | None] = []
        for document in self.known.values():
            match document:
                case Run():
                    shown += [document.start, document.start_structure]
                case Ranking():
                    shown += [document.ground_state, *_shown_relaxations(document)]
                case GroundState():
                    shown += [document.ground_state, *_relaxations_by_dft(document)]
                case Enumeration():
                    shown += document.parents
                case Relaxation():
                    shown += [document.final_structure]
                case _:
                    pass
        self.read(key for key in shown if key is not None)

    def find(self, key: str) -> Document | None:
        """Return the live document of a key, or None."""
        self.read([key])
        return self.known.get(key)

    def read(self, keys: Iterable[str]) -> None:
        """Read those of some documents that are not known yet, at once."""
        unread = [key for key in keys if key not in self.known and key not in self.absent]
        found = {document.key: document for document in self.store.find_documents(unread)}
        self.known |= found
        self.absent.update(key for key in unread if key not in found)

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
        document = self.find(key)
        if document is None:
            self.data.missing[key] = role
            return None
        if not isinstance(document, kind):
            raise StoreError("key of another kind", key=key, found=document.kind, wanted=kind.kind)
        self.data.documents[key] = document
        return document

    def add(self, key: str) -> None:
        """Add a final document and what it refers to.

        Kinds that a report does not show are kept for its list of provenance.
        """
        document = self.find(key)
        match document:
            case None:
                self.data.missing[key] = "a result of the campaign"
                return
            case Enumeration():
                self.enumeration(document.key)
            case Ranking():
                self.ranking(document)
            case GroundState():
                self.ground_state(document)
            case Round():
                self.round(document)
            case Evaluation():
                self.evaluation(key, "an evaluation")
                self.data.evaluations.append(document)
            case Student():
                self.student(document)
            case Foundation():
                self.foundation(document)
            case _ if document.kind in self.quantities:
                self.measurement(document)
            case _:
                self.data.documents |= {k: d for k in document.products if (d := self.known.get(k))}
        self.data.documents[key] = called(document, self.names)[0]

    def enumeration(self, key: str) -> None:
        """Add an enumeration and its parent, a crystal or the structure that is decorated."""
        enumeration = self.take(Enumeration, key, "an enumeration")
        if enumeration is None:
            return
        self.data.enumerations.append(enumeration)
        for parent in enumeration.parents:
            document = self.find(parent)
            if document is not None:
                self.data.documents[parent] = document

    def ranking(self, ranking: Ranking) -> None:
        """Add a ranking, its enumeration, ground state and best candidates.

        The page shows ten candidates, so the relaxations of others are not loaded.
        """
        self.data.rankings += called(ranking, self.names)
        self.enumeration(ranking.enumeration)
        self.take(Structure, ranking.ground_state, f"ground state of {ranking.system}")
        self.model(ranking.model)
        for key in _shown_relaxations(ranking):
            self.take(Relaxation, key, "a relaxation")
        rows = json.loads(self.store.blobs.read(ranking.table))
        self.data.candidates[ranking.key] = [RankedCandidate.model_validate(row) for row in rows]

    def ground_state(self, found: GroundState) -> None:
        """Add DFT's decision on a ranking, and the relaxations behind it."""
        self.data.by_dft += called(found, self.names)
        self.take(Structure, found.ground_state, f"ground state of {found.system} by DFT")
        for key in _relaxations_by_dft(found):
            self.take(Relaxation, key, "a relaxation by DFT")

    def round(self, round_: Round) -> None:
        """Add a round with its dataset, frames, model, evaluations and runs."""
        title = f"round {round_.index + 1}"
        for run in round_.runs:
            self.run(run, title)
        self.model(round_.start_model)
        self.data.rounds.append(
            LearnedRound(
                round=round_,
                dataset=self.take(Dataset, round_.dataset, f"dataset of {title}"),
                frames=self.take(Frames, round_.frames, f"frames of {title}"),
                model=self.model(round_.model),
                before=self.evaluation(round_.evaluation_before, f"{title} before"),
                after=self.evaluation(round_.evaluation_after, f"{title} after"),
            )
        )

    def foundation(self, foundation: Foundation) -> None:
        """Add the choice of the first model, and the models that it was made among."""
        self.data.foundations.append(foundation)
        for candidate in foundation.candidates:
            self.model(candidate.model)

    def student(self, student: Student) -> None:
        """Add the certificate of a student, its model and its teacher."""
        self.data.students.append(student)
        for key in (student.model, student.teacher):
            self.model(key)

    def model(self, key: str) -> Model | None:
        """Add a model, given by key."""
        return self.take(Model, key, "a model")

    def evaluation(self, key: str, role: str) -> Evaluation | None:
        """Add an evaluation, its test sets and its predictions.

        Parameters
        ----------
        key
            Key of the evaluation.
        role
            What the evaluation is for, in words.
        """
        evaluation = self.take(Evaluation, key, role)
        if evaluation is not None and key not in self.data.parity:
            self.model(evaluation.model)
            for test_set in evaluation.test_sets:
                self.take(TestSet, test_set, "a test set")
            self.data.parity[key] = parity_points(self.store.blobs.read(evaluation.predictions))
        return evaluation

    def run(self, key: str, role: str) -> Run | None:
        """Add a run; the volume of an NpT run is shown once `follow_runs` knows its system.

        Parameters
        ----------
        key
            Key of the run.
        role
            What the run is for, in words.
        """
        run = self.take(Run, key, f"a run of {role}")
        if run is not None:
            self.model(run.model)
            self.take(Structure, run.start_structure, f"start of run {run.name}")
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
        parent = self.find(key)
        if parent is None:
            self.data.missing[key] = role
        elif isinstance(parent, Run):
            self.run(key, PRODUCTION)
            if isinstance(self.find(parent.start), Run):
                self.run(parent.start, PRODUCTION)
        elif parent.kind in self.quantities:
            self.measurement(parent)
        else:
            self.data.documents[key] = parent

    def taught(self) -> set[str]:
        """Return the labels that only students learned from: their teachers answer for those."""
        models = [self.data.find(Model, student.model) for student in self.data.students]
        sets = [self.find(model.dataset) for model in models if model and model.dataset]
        own = [found for found in sets if isinstance(found, Dataset)]
        taught = {key for dataset in own for key in dataset.training_labels}
        for learned in self.data.rounds:
            dataset = learned.dataset
            if dataset is not None:
                taught -= {*dataset.training_labels, *dataset.validation_labels}
                for test in (self.find(key) for key in dataset.test_sets):
                    taught -= set(test.labels) if isinstance(test, TestSet) else set()
        return taught

    def follow_runs(self) -> None:
        """Set the system of each NpT run, from its name: several may start from one structure."""
        others, volumes = self.data.other_models(), self.data.measured(CellVolumes)
        cells = [cell for each in volumes for cell in each.cells]
        cells += [cell for each in volumes for by in each.by_model for cell in by.cells]
        means = {cell.run: cell for cell in cells}
        self.data.cell_runs = [
            CellRun(
                c.run.name.split(" ")[0],
                c.role,
                c.run,
                means.get(c.run.key),
                others.get(c.run.model, ""),
            )
            for c in self.data.cell_runs
        ]

    def look_back(self) -> None:
        """Add what all ancestors tell: theories of labels, what was retracted, what it cost."""
        self.read_ahead(self.data.documents)
        for key in self.ancestry:
            if key in self.absent:
                self.data.missing.setdefault(key, "an ancestor")
        # nothing learns from the steps of relaxations
        learned_from = self.theories.keys() - self.steps - self.taught()
        self.data.theory_names = sorted({self.theories[key] for key in learned_from})
        self.data.imported_theory_names = {
            found.theory_name for found in self.store.find_all(Import)
        }
        tried = set(self.ancestry)
        for learned in self.data.rounds:
            tried.update(learned.dataset.missing if learned.dataset else ())
        self.data.attempts = [a for a in self.store.attempts() if a.key in tried]


def _shown_relaxations(ranking: Ranking) -> list[str | None]:
    return [found.relaxation for found in ranking.best[:_N_SHOWN_CANDIDATES]]


def _relaxations_by_dft(found: GroundState) -> list[str | None]:
    return [*(candidate.relaxation for candidate in found.candidates), *found.anchors.values()]

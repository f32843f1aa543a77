"""Jobs that train and evaluate, and the round they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jobflow import Maker

from lycb_flows import schemas
from lycb_flows.campaign import rounds
from lycb_flows.campaign.admission import admitted_levels
from lycb_flows.campaign.stages import StagePlan
from lycb_flows.jobs.resources import open_potential, open_store, static_job
from lycb_flows.learning import evaluation, training
from lycb_flows.learning.labelled import LabelledStructure
from lycb_flows.schemas import Produced
from lycb_flows.store import ResultStore


@dataclass(kw_only=True)
class TrainMaker(Maker):
    """Fine-tune on the stage's dataset."""

    name: str = "train"
    plan: StagePlan

    @static_job
    def make(self, after: object = None) -> Produced:
        """The key of the Model."""
        del after  # order only
        store = open_store()
        key = self.plan.model_key
        store.once(schemas.Model, key, lambda: _train(store, self.plan), self.name)
        return Produced(kind=schemas.Model.kind, keys=(key,))


def _train(store: ResultStore, plan: StagePlan) -> schemas.Model:
    dataset = store.load(schemas.Dataset, plan.dataset_key)
    used = (*dataset.training_labels, *dataset.validation_labels)
    rounds.refuse_overlap(store, used, dataset.test_sets)
    rounds.refuse_mixture(store, used, admitted_levels(store, plan.campaign.labels))
    parent = store.load(schemas.Model, plan.parent_model)
    trained = training.fine_tune(
        open_potential(store, parent.key),
        labelled(store, dataset.training_labels),
        labelled(store, dataset.validation_labels),
        plan.campaign.learning.training,
        raw_pbe=plan.theory.raw_pbe,
    )
    return schemas.Model(
        key=plan.model_key,
        parents=(dataset.key, parent.key),
        name=f"{parent.architecture} {plan.title}",
        architecture=parent.architecture,
        architecture_args=parent.architecture_args,
        weights=store.blobs.put(trained.weights, parent.weights.media_type),
        source="fine-tuned",
        dataset=dataset.key,
        parent_model=parent.key,
        reference_shift_ev=trained.reference_shift_ev,
        best_epoch=trained.best_epoch,
        history=trained.history,
    )


def labelled(store: ResultStore, keys: Sequence[str]) -> list[LabelledStructure]:
    """Labels with their structures, as training and evaluation take them."""
    found = []
    for key in keys:
        label = store.load(schemas.Label, key)
        frames = rounds.frames_of(store, label.structure)
        found.append(
            LabelledStructure(
                structure=store.load(schemas.Structure, label.structure),
                energy_ev=label.energy_ev,
                forces_ev_per_ang=np.array(label.forces_ev_per_ang),
                stress_gpa=np.array(label.stress_gpa),
                key=label.key,
                system=frames[0].system if frames else "",
            )
        )
    return found


@dataclass(kw_only=True)
class EvaluateMaker(Maker):
    """A model on the frozen test sets, before or after the stage's training."""

    name: str = "evaluate"
    plan: StagePlan
    when: Literal["before", "after"]

    @static_job
    def make(self, after: object = None) -> Produced:
        """The key of the Evaluation."""
        del after  # order only
        store = open_store()
        dataset = store.load(schemas.Dataset, self.plan.dataset_key)
        model = self.plan.model if self.when == "before" else self.plan.model_key
        document = evaluate_once(store, model, dataset.test_sets, self.name)
        return Produced(kind=document.kind, keys=(document.key,))


def evaluate_once(
    store: ResultStore, model: str, test_sets: Sequence[str], job_name: str
) -> schemas.Evaluation:
    """The Evaluation of a model on test sets, looked up first."""
    key = schemas.Evaluation.key_of(model, test_sets)
    return store.once(
        schemas.Evaluation, key, lambda: _evaluate(store, model, sorted(test_sets)), job_name
    )


def _evaluate(store: ResultStore, model: str, test_sets: Sequence[str]) -> schemas.Evaluation:
    seen = rounds.training_labels_of(store, store.load(schemas.Model, model))
    rounds.refuse_overlap(store, sorted(seen), test_sets)
    tests = [store.load(schemas.TestSet, key) for key in test_sets]
    keys = sorted({label for test in tests for label in test.labels})
    rounds.refuse_mixture(store, keys)
    result = evaluation.evaluate(open_potential(store, model), labelled(store, keys))
    return schemas.Evaluation(
        key=schemas.Evaluation.key_of(model, test_sets),
        parents=(model, *test_sets),
        model=model,
        test_sets=tuple(test_sets),
        overall=result.overall,
        by_system=result.by_system,
        predictions=store.blobs.put_json(result.predictions),
    )


def round_of(store: ResultStore, plan: StagePlan, job_name: str) -> schemas.Round:
    """The Round document of a finished stage."""
    decision = plan.campaign.decide(plan.index)
    dataset = store.load(schemas.Dataset, plan.dataset_key)
    model, key = plan.model_key, plan.round_key
    runs = (*plan.npt_runs(), *plan.nvt_runs(), *plan.test_runs())
    document = schemas.Round(
        key=key,
        parents=(*plan.earlier_rounds[-1:], dataset.key, model),
        index=plan.index,
        temperature_k=plan.temperature_k,
        start_model=plan.model,
        runs=tuple(schemas.Run.key_of(run) for run in runs),
        frames=plan.frames_key,
        dataset=dataset.key,
        model=model,
        evaluation_before=schemas.Evaluation.key_of(plan.model, dataset.test_sets),
        evaluation_after=schemas.Evaluation.key_of(model, dataset.test_sets),
        next_temperature_k=decision.next_temperature_k,
        decision_reason=decision.reason,
    )
    return store.once(schemas.Round, key, lambda: document, job_name)


def evaluate_all(
    store: ResultStore, all_rounds: Sequence[schemas.Round], job_name: str
) -> dict[str, schemas.Evaluation]:
    """Every round's model on the last round's test sets, which hold all earlier ones."""
    test_sets = store.load(schemas.Dataset, all_rounds[-1].dataset).test_sets
    models = [one.model for one in all_rounds]
    return {model: evaluate_once(store, model, test_sets, job_name) for model in models}

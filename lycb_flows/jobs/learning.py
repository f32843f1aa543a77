"""Jobs that train and evaluate."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jobflow import Job

from lycb_flows.campaign import (
    StagePlan,
    admitted_levels,
    frames_of,
    refuse_mixture,
    refuse_overlap,
    training_labels_of,
)
from lycb_flows.config import TrainingConfig, TuningConfig
from lycb_flows.errors import InputError
from lycb_flows.jobs.given import portable_model, stored_model
from lycb_flows.jobs.lookup import LookupMaker
from lycb_flows.jobs.resources import open_potential
from lycb_flows.labels import Theory, our_levels, vasp_theory
from lycb_flows.learning import (
    LabelledStructure,
    TrainedModel,
    evaluate,
    fine_tune,
    split_last,
    trial_configs,
    tune,
)
from lycb_flows.schemas import (
    Dataset,
    Evaluation,
    Import,
    Label,
    Model,
    Round,
    Structure,
    TestSet,
)
from lycb_flows.store import ResultStore

_LOGGER = logging.getLogger(__name__)


@dataclass(kw_only=True)
class TrainMaker(LookupMaker):
    """Fine-tune on the stage's dataset."""

    kind = Model

    name: str = "train"

    def make(self, plan: StagePlan, after: object = None) -> Job:
        """Return the job that hands on the key of the Model.

        Parameters
        ----------
        plan
            The stage.
        after
            References to what comes before; only order.
        """
        return self.look_up(plan=plan, after=after)

    def key(self, store: ResultStore, plan: StagePlan) -> str:
        """Return the key of the Model."""
        del store
        return plan.model_key

    def compute(self, store: ResultStore, key: str, plan: StagePlan) -> Model:
        """Return the trained model."""
        training = _Training(
            dataset=store.load(Dataset, plan.dataset_key),
            parent=store.load(Model, plan.parent_model),
            config=plan.campaign.learning.training,
            raw_pbe=plan.theory.raw_pbe,
            tuning=plan.campaign.learning.tuning,
            admitted=frozenset(admitted_levels(store, plan.campaign.labels)),
        )
        return training.run(store, key, plan.title)


@dataclass(kw_only=True)
class FineTuneMaker(LookupMaker):
    """Fine-tune a model on labels.

    Attributes
    ----------
    training
        The settings; the last `validation_fraction` of the labels validates.
    raw_pbe
        Whether the labels are raw PBE energies, whose shift from MP2020 is known. None: as
        their level of theory has it, which must be one of labels/levels.yaml or imported.
    """

    kind = Model

    name: str = "fine-tune"
    training: TrainingConfig = field(default_factory=TrainingConfig)
    raw_pbe: bool | None = None

    def make(
        self, labels: Sequence[Any], model: str | Path = "chgnet-0.3.0", after: object = None
    ) -> Job:
        """Return the job that hands on the key of the Model.

        Parameters
        ----------
        labels
            Keys of labels, or references to them: `job.output.keys` of jobs that label.
        model
            The name, file or key of the model that is trained further.
        after
            References to what comes before; only order.
        """
        return self.look_up(labels=list(labels), model=portable_model(model), after=after)

    def prepared(
        self, store: ResultStore, labels: Sequence[str | Sequence[str]], model: str
    ) -> dict[str, Any]:
        """Return the training; its dataset is in the store afterwards."""
        parent = store.load(Model, stored_model(store, model))
        dataset = _dataset_of(store, labels, self.training.validation_fraction)
        raw_pbe = self.raw_pbe
        if raw_pbe is None:
            raw_pbe = is_raw_pbe(store, dataset.theory)
        return {"work": _Training(dataset, parent, self.training, raw_pbe)}

    def key(self, store: ResultStore, work: _Training) -> str:
        """Return the key of the Model."""
        del store
        return work.key

    def compute(self, store: ResultStore, key: str, work: _Training) -> Model:
        """Return the trained model."""
        return work.run(store, key, self.name)


def _dataset_of(
    store: ResultStore, labels: Sequence[str | Sequence[str]], fraction: float
) -> Dataset:
    """Return the dataset of some labels, the last of which validate; it is stored."""
    groups = [[label] if isinstance(label, str) else label for label in labels]
    keys = tuple(dict.fromkeys(key for group in groups for key in group))
    training, validation = map(tuple, split_last(keys, fraction))
    dataset = Dataset(
        key=Dataset.key_of_labels(training, validation),
        parents=keys,
        round_index=0,
        theory=store.load(Label, keys[0]).theory,
        training_labels=training,
        validation_labels=validation,
        test_sets=(),
    )
    store.insert(dataset)
    return dataset


def is_raw_pbe(store: ResultStore, theory: str) -> bool:
    """Return whether labels of a level of theory are raw PBE energies.

    Parameters
    ----------
    store
        Has the imports, which state their levels.
    theory
        Fingerprint of the level.

    Raises
    ------
    InputError
        When the level is neither one of ours nor imported.
    """
    statements = (found.statement for found in store.find_all(Import, theory=theory))
    stated = [Theory.model_validate(statement) for statement in statements if statement]
    levels = our_levels()
    stand_ins = [
        vasp_theory(name.removeprefix("vasp/"), stand_in=True)
        for name in levels
        if name.startswith("vasp/")
    ]
    for level in (*levels.values(), *stand_ins, *stated):
        if level.fingerprint == theory:
            return level.raw_pbe
    raise InputError(
        "whether the labels are raw PBE energies is not known",
        fix="set raw_pbe of FineTuneMaker",
        theory=theory,
    )


@dataclass(frozen=True)
class _Training:
    """A model to train further, and what on.

    Attributes
    ----------
    admitted
        Fingerprints of levels of theory that may meet any other.
    """

    dataset: Dataset
    parent: Model
    config: TrainingConfig
    raw_pbe: bool
    tuning: TuningConfig | None = None
    admitted: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """Key of the child."""
        return Model.key_of(
            self.dataset.key,
            self.parent.key,
            self.config,
            raw_pbe=self.raw_pbe,
            tuning=self.tuning,
        )

    def run(self, store: ResultStore, key: str, title: str) -> Model:
        """Return the child.

        Parameters
        ----------
        store
            Has labels and weights.
        key
            Of the child.
        title
            What its name says of the training.
        """
        dataset, parent = self.dataset, self.parent
        used = (*dataset.training_labels, *dataset.validation_labels)
        refuse_overlap(store, used, dataset.test_sets)
        refuse_mixture(store, used, self.admitted)
        trained, config = self._trained(store)
        return Model(
            key=key,
            parents=(dataset.key, parent.key),
            name=f"{parent.architecture} {title}",
            architecture=parent.architecture,
            architecture_args=parent.architecture_args,
            weights=store.blobs.put(trained.weights, parent.weights.media_type),
            source="fine-tuned",
            dataset=dataset.key,
            parent_model=parent.key,
            reference_shift_ev=trained.reference_shift_ev,
            best_epoch=trained.best_epoch,
            history=trained.history,
            training=config,
        )

    def _trained(self, store: ResultStore) -> tuple[TrainedModel, TrainingConfig | None]:
        """Return the trained model, and its settings where a search chose them."""
        labels = (
            open_potential(store, self.parent.key),
            labelled(store, self.dataset.training_labels),
            labelled(store, self.dataset.validation_labels),
        )
        if self.tuning is None:
            return fine_tune(*labels, self.config, raw_pbe=self.raw_pbe), None
        configs, _ = trial_configs(self.config, self.tuning)
        best, *_ = tune(*labels, configs, raw_pbe=self.raw_pbe, tell=_LOGGER.info)
        return best.trained, best.config


def labelled(
    store: ResultStore, keys: Sequence[str], crystals: Collection[str] = ()
) -> list[LabelledStructure]:
    """Labels with their structures, as training and evaluation take them.

    Where several campaigns have chosen a structure, it is called by one of the names given.
    """
    found = []
    for key in keys:
        label = store.load(Label, key)
        structure = store.load(Structure, label.structure)
        frames = frames_of(store, label.structure)
        frames.sort(key=lambda frame: frame.system not in crystals)
        system = frames[0].system if frames else ""
        found.append(LabelledStructure.of(label, structure, system))
    return found


@dataclass(kw_only=True)
class EvaluateMaker(LookupMaker):
    """Evaluate a model on the frozen test sets, before or after the stage's training."""

    kind = Evaluation

    name: str = "evaluate"

    def make(self, plan: StagePlan, when: Literal["before", "after"], after: object = None) -> Job:
        """Return the job that hands on the key of the Evaluation.

        Parameters
        ----------
        plan
            The stage.
        when
            Whether the model is the one before the stage's training, or the one after it.
        after
            References to what comes before; only order.
        """
        return self.look_up(plan=plan, when=when, after=after)

    def prepared(
        self, store: ResultStore, plan: StagePlan, when: Literal["before", "after"]
    ) -> dict[str, Any]:
        """Return the model, the test sets and the campaign's names."""
        test_sets = store.load(Dataset, plan.dataset_key).test_sets
        model = plan.model if when == "before" else plan.model_key
        return {"model": model, "test_sets": test_sets, "crystals": plan.campaign.crystals}

    def key(
        self, store: ResultStore, model: str, test_sets: Sequence[str], crystals: Sequence[str]
    ) -> str:
        """Return the key of the Evaluation."""
        del store, crystals
        return Evaluation.key_of(model, test_sets)

    def compute(
        self,
        store: ResultStore,
        key: str,
        model: str,
        test_sets: Sequence[str],
        crystals: Sequence[str],
    ) -> Evaluation:
        """Return the errors."""
        del key
        return _evaluate(store, model, sorted(test_sets), crystals)


def _evaluate(
    store: ResultStore, model: str, test_sets: Sequence[str], crystals: Sequence[str]
) -> Evaluation:
    seen = training_labels_of(store, store.load(Model, model))
    refuse_overlap(store, sorted(seen), test_sets)
    tests = [store.load(TestSet, key) for key in test_sets]
    keys = sorted({label for test in tests for label in test.labels})
    refuse_mixture(store, keys)
    result = evaluate(open_potential(store, model), labelled(store, keys, crystals))
    return Evaluation(
        key=Evaluation.key_of(model, test_sets),
        parents=(model, *test_sets),
        model=model,
        test_sets=tuple(test_sets),
        overall=result.overall,
        by_system=result.by_system,
        predictions=store.blobs.put_json(result.predictions),
    )


def evaluate_all(
    store: ResultStore, all_rounds: Sequence[Round], crystals: Sequence[str], job_name: str
) -> dict[str, Evaluation]:
    """Every round's model on the last round's test sets, which hold all earlier ones."""
    if not all_rounds:
        return {}
    test_sets = sorted(store.load(Dataset, all_rounds[-1].dataset).test_sets)

    def evaluated(model: str) -> Evaluation:
        key = Evaluation.key_of(model, test_sets)
        return store.once(
            Evaluation, key, lambda: _evaluate(store, model, test_sets, crystals), job_name
        )

    return {round_.model: evaluated(round_.model) for round_ in all_rounds}

"""Documents about models: trained weights, evaluations, rounds of the loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from lycb_flows.config.learning import TrainingConfig, TuningConfig
from lycb_flows.schemas.base import Blob, Document, Part


class EpochRecord(Part):
    """One epoch of a training, with errors of the averaged weights on the validation labels."""

    epoch: int
    learning_rate: float
    training_loss: float
    energy_mae_ev_per_atom: float
    force_mae_ev_per_ang: float
    stress_mae_gpa: float
    score: float


class Model(Document):
    """Weights with their ancestry."""

    kind = "model"

    name: str
    architecture: str = Field(description="What kind of potential it is, e.g. 'chgnet'.")
    architecture_args: dict[str, Any]
    weights: Blob = Field(description="What the architecture loads; safetensors for most.")
    source: str = Field(
        description="'pretrained', 'file', 'fine-tuned', 'distilled' or 'from scratch'."
    )
    dataset: str | None = None
    parent_model: str | None = None
    reference_shift_ev: dict[str, float] = Field({}, description="Added per atom of an element.")
    best_epoch: int | None = None
    history: tuple[EpochRecord, ...] = ()
    training: TrainingConfig | None = Field(
        None, description="Settings that a search chose; None: those of the campaign."
    )

    @classmethod
    def key_of(
        cls,
        dataset: str,
        parent_model: str,
        training: TrainingConfig,
        *,
        raw_pbe: bool,
        tuning: TuningConfig | None = None,
    ) -> str:
        """Return the key of a model that is trained.

        Parameters
        ----------
        dataset
            Key of the Dataset.
        parent_model
            Key of the Model whose weights the training starts from.
        training
            Settings of the training.
        raw_pbe
            Whether the labels are raw PBE energies, whose shift from MP2020 is known.
        tuning
            The search for other settings; None: there is none.
        """
        return cls.key_from(
            dataset=dataset,
            parent_model=parent_model,
            training=training,
            raw_pbe=raw_pbe,
            tuning=tuning,
        )

    @classmethod
    def imported_key_of(
        cls, architecture: str, architecture_args: Mapping[str, object], weights: Blob
    ) -> str:
        """Return the key of a model that was not trained here.

        Parameters
        ----------
        architecture
            Name of the architecture.
        architecture_args
            What the architecture is built with.
        weights
            Address of the weights.
        """
        return cls.key_from(
            architecture=architecture,
            architecture_args=architecture_args,
            weights=weights.sha256,
        )


class ModelErrors(Part):
    """Errors of a model on labels."""

    n_labels: int
    energy_mae_ev_per_atom: float
    force_mae_ev_per_ang: float
    stress_mae_gpa: float
    energy_rmse_ev_per_atom: float
    force_rmse_ev_per_ang: float
    stress_rmse_gpa: float
    force_slope: float = Field(description="Least-squares slope of F_model against F_label.")

    @property
    def score(self) -> float:
        """The sum of the three MAEs, each divided by the paper's target.

        The targets are 3.5 meV/atom, 50 meV/Å and 85 MPa. The lowest score chooses the epoch of a
        training and the model that measures.
        """
        return (
            self.energy_mae_ev_per_atom / 3.5e-3
            + self.force_mae_ev_per_ang / 50e-3
            + self.stress_mae_gpa / 85e-3
        )


class Evaluation(Document):
    """Errors of a model on frozen test sets."""

    kind = "evaluation"
    method_version = 2

    model: str
    test_sets: tuple[str, ...]
    overall: ModelErrors
    by_system: dict[str, ModelErrors]
    predictions: Blob = Field(description="JSON: label -> predicted and labelled values")

    @classmethod
    def key_of(cls, model: str, test_sets: Iterable[str]) -> str:
        """Return the key of a model's evaluation on test sets.

        Parameters
        ----------
        model
            Key of the Model.
        test_sets
            Keys of the TestSets, in any order.
        """
        return cls.key_from(model=model, test_sets=sorted(test_sets))


class CandidateErrors(Part):
    """Errors of a model that the loop could start from."""

    model: str
    name: str
    errors: ModelErrors
    by_system: dict[str, ModelErrors]
    spread: dict[str, float] = Field(
        description="Standard error of each error, by its name; empty with too few test labels."
    )
    shift_ev: dict[str, float] = Field(description="Added per atom of an element.")


class Foundation(Document):
    """The model that the loop starts from, chosen among several by test labels."""

    kind = "foundation"

    model: str
    candidates: tuple[CandidateErrors, ...] = Field(description="By score, the lowest first.")
    test_sets: tuple[str, ...]
    n_fitting: int = Field(description="Test labels that fit the reference energies.")
    n_testing: int = Field(description="The other test labels, which judge.")

    @classmethod
    def key_of(cls, candidates: Iterable[str], dataset: str) -> str:
        """Return the key of a choice.

        Parameters
        ----------
        candidates
            Keys of the models.
        dataset
            Key of the Dataset that has the test labels.
        """
        return cls.key_from(candidates=sorted(candidates), dataset=dataset)


class Round(Document):
    """The state of the loop after one round."""

    kind = "round"

    index: int
    temperature_k: float
    start_model: str
    runs: tuple[str, ...]
    frames: str
    dataset: str
    model: str
    evaluation_before: str
    evaluation_after: str
    next_temperature_k: float | None
    decision_reason: str

    @classmethod
    def key_of(cls, model: str, start_model: str, next_temperature_k: float | None) -> str:
        """Return the key of a round.

        It contains the decision: when only the decision changes, a new round is stored, and
        nothing is computed again.

        Parameters
        ----------
        model
            Key of the Model that the round trained.
        start_model
            Key of the Model that ran the MD.
        next_temperature_k
            Temperature of the next round in K; None after the last.
        """
        return cls.key_from(
            model=model, start_model=start_model, next_temperature_k=next_temperature_k
        )

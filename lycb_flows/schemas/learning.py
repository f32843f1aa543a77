"""Documents of the learning loop: frames, datasets, models, evaluations, rounds."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from lycb_flows.schemas.base import Blob, Document


class Frame(BaseModel):
    """One configuration of a run, chosen for a label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    step: int
    structure: str
    system: str
    block: Literal["train", "validation", "test"]
    rule: Literal["medoid", "fps", "uniform"]
    distance_ang: float | None = Field(None, description="RMS to the nearest chosen before it.")


class Frames(Document):
    """Which steps of which runs, by which rule."""

    kind = "frames"

    runs: tuple[str, ...]
    frames: tuple[Frame, ...]


class Dataset(Document):
    """The exact labels that one training used; first wins."""

    kind = "dataset"

    round_index: int
    theory: str
    training_labels: tuple[str, ...]
    validation_labels: tuple[str, ...]
    missing: tuple[str, ...] = Field((), description="Failed or late when the round closed.")
    rejected: dict[str, str] = Field({}, description="label -> why it does not train")
    test_sets: tuple[str, ...]


class TestSet(Document):
    """Labels that no training may see."""

    __test__: ClassVar[bool] = False  # not a pytest class
    kind = "test_set"

    name: str
    labels: tuple[str, ...]
    how: str
    runs: tuple[str, ...]


class EpochRecord(BaseModel):
    """One epoch of a training; errors of the averaged weights on the validation labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    source: str = Field(description="'pretrained', 'file' or 'fine-tuned'.")
    dataset: str | None = None
    parent_model: str | None = None
    reference_shift_ev: dict[str, float] = Field({}, description="Added per atom of an element.")
    best_epoch: int | None = None
    history: tuple[EpochRecord, ...] = ()


class ModelErrors(BaseModel):
    """Errors of a model on labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        """The three MAEs, each over the paper's target (3.5 meV/atom, 50 meV/Å, 85 MPa), summed.

        Lower is better; it chooses the epoch of a training and the model that measures.
        """
        return (
            self.energy_mae_ev_per_atom / 3.5e-3
            + self.force_mae_ev_per_ang / 50e-3
            + self.stress_mae_gpa / 85e-3
        )


class Evaluation(Document):
    """A model on frozen test sets."""

    kind = "evaluation"
    method_version = 2

    model: str
    test_sets: tuple[str, ...]
    overall: ModelErrors
    by_system: dict[str, ModelErrors]
    predictions: Blob = Field(description="JSON: label -> predicted and labelled values")


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

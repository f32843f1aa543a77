"""Settings of frame selection, training, testing and the learning loop."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lycb_flows.config.base import Config, Count, Fraction, Positive
from lycb_flows.config.models import ModelName

_FEWEST_TEST_FRAMES = 2
"""One that fits the reference energies, one that judges."""
AtLeastOne = Annotated[int, Field(ge=1)]
FreezeLevel = Annotated[int, Field(ge=0, le=4)]
Strain = Annotated[float, Field(ge=-0.5, le=1)]


class SelectionConfig(Config):
    """Selection of the frames that are worth a label."""

    n_frames: int = Field(
        75, ge=1, description="Frames per system and round (paper: 150-300 for two)."
    )
    thinning_fs: Positive = Field(100.0, description="Frames closer in time are correlated.")
    uniform_fraction: Fraction = Field(
        0.0, description="Share picked uniformly in time instead of by FPS (paper: all FPS)."
    )
    mobile_species: str = Field(
        "Li",
        description="The ion that may move; the rest is framework. A campaign fills in its own; a "
        "crystal without it has its own.",
    )


class LossWeights(Config):
    """Weights of energy (eV/atom), force (eV/Å) and stress (GPa) in the Huber loss."""

    energy: float = Field(1.0, ge=0)
    force: float = Field(1.0, ge=0)
    stress: float = Field(0.1, ge=0)


class TrainingConfig(Config):
    """Settings of fine-tuning, which `learning/training.py` carries out."""

    start: Literal["pretrained", "previous"] = Field(
        "pretrained", description="ours: cumulative data from the foundation, no drift."
    )
    epochs: int = Field(
        200, ge=1, description="ours: with 40 labels errors still fall at 200, volumes' last."
    )
    batch_size: int = Field(4, ge=1)
    learning_rate: Positive = 2e-3
    final_learning_rate_fraction: Fraction = 0.01
    warmup_fraction: Fraction = 0.1
    gradient_clip: Positive = 1.0
    ema_decay: Fraction = 0.99
    huber_delta: Positive = 0.1
    weights: LossWeights = LossWeights()
    freeze_level: FreezeLevel = Field(
        1, description="0: all train; 1: embeddings and bases fixed; +1 per block."
    )
    patience: int = Field(
        50, ge=1, description="Epochs without a better score before stopping; no part of a recipe."
    )
    recipe: Literal["scaled-schedule", "whole-schedule"] | None = Field(
        None,
        description="Which weights are handed on. 'whole-schedule': all epochs run, and the last "
        "averaged weights are taken; few validation labels choose an epoch badly. "
        "'scaled-schedule': so, too, and learning_rate falls with the square root of the number of "
        "updates beyond 450, so that long schedules do not overfit. None: the epoch of the best "
        "score on the validation labels.",
    )
    replay: Fraction | None = Field(
        None,
        description="Crystals of other elements, labelled by the parent itself, that train beside "
        "each label, so that it forgets less. None: there are none.",
    )
    validation_fraction: float = Field(
        0.15, gt=0, lt=1, description="Last share of each trajectory in time that validates."
    )
    shift_ridge_ev_per_atom: Positive = Field(
        1.0, description="Prior width of the reference shift per element (raw-PBE theories only)."
    )
    seed: Count = 0


class TuningConfig(Config):
    """Settings of a search over settings of fine-tuning; `learning/tuning.py` carries it out.

    The combinations are drawn from all of these values; the campaign's own `training` is the first.
    """

    trials: int = Field(8, ge=2, description="Trainings of each search, the first included.")
    batch_size: tuple[AtLeastOne, ...] = Field((4, 2, 8), min_length=1)
    epochs: tuple[AtLeastOne, ...] = Field((40, 20, 80), min_length=1)
    learning_rate: tuple[Positive, ...] = Field((2e-3, 1e-3, 4e-3), min_length=1)
    freeze_level: tuple[FreezeLevel, ...] = Field((1, 0, 2), min_length=1)


class TestSetConfig(Config):
    """A test set with a name: from runs of its own, or of orderings, frozen before any training."""

    __test__: ClassVar[bool] = False  # keeps pytest from collecting it

    x: tuple[float, ...] | None = Field(
        None,
        min_length=1,
        description="Of mixed halides, on every lattice that has them; default: the systems.",
    )
    orderings: int | None = Field(
        None,
        ge=1,
        description="Lowest orderings of every crystal, as they were ranked; no run. At the "
        "composition of its parent those of the parent, too.",
    )
    temperatures_k: tuple[Positive, ...] = Field(
        (), description="One run of learning.test.run_ps each, of every crystal."
    )
    n_frames: int = Field(10, ge=1, description="Frames of each of these runs.")

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.orderings is None) == (not self.temperatures_k):
            msg = "a test set has either orderings or temperatures_k"
            raise ValueError(msg)
        return self


class TestConfig(Config):
    """Test labels: runs of their own, frozen before the first training."""

    __test__: ClassVar[bool] = False  # keeps pytest from collecting it

    temperatures_k: tuple[Positive, ...] = Field(
        (300.0, 600.0, 800.0), min_length=1, description="ours: up to T_max."
    )
    strains: tuple[Strain, ...] = Field(
        (-0.03, 0.0, 0.03), min_length=1, description="One run each, in turn."
    )
    run_ps: Positive = Field(2.0, description="NVT after the ramp.")
    n_frames: int = Field(12, ge=1, description="Frames per system, over its test runs.")
    n_frames_per_round: Count = Field(6, description="Frames per system that a later round adds.")
    sets: dict[str, TestSetConfig] | None = Field(
        None,
        min_length=1,
        exclude_if=lambda sets: sets is None,
        description="Further test sets by name, each with errors of its own in `benchmark`.",
    )


class LearningConfig(Config):
    """Settings of the learning loop: temperatures, MD, selection, training and testing."""

    start_temperature_k: Positive = Field(200.0, description="paper: 200 K.")
    temperature_step_k: Positive = Field(200.0, description="paper: 200 K.")
    max_temperature_k: Positive = Field(800.0, description="paper: 800 K.")
    pressure_bar: float = Field(1.0, description="paper: 1 bar.")
    model: ModelName = Field(
        "chgnet-0.3.0",
        description="Name, key or file of the foundation model; of several, test labels choose.",
    )
    candidates: tuple[ModelName, ...] | None = Field(
        None,
        min_length=1,
        description="The models when `model` is a list; its first one runs the test MD.",
    )
    rounds: Literal[0] | None = Field(
        None,
        exclude_if=lambda rounds: rounds is None,
        description="0: nothing is labelled or trained, and the model measures as it is. Default: "
        "a round for each temperature.",
    )
    npt_ps: Positive = Field(140.0, description="paper: 140 ps.")
    nvt_ps: Positive = Field(1000.0, description="paper: 1,000,000 steps.")
    selection: SelectionConfig = SelectionConfig()
    training: TrainingConfig = TrainingConfig()
    tuning: TuningConfig | None = Field(
        None, description="Search the settings of each training on its validation labels."
    )
    test: TestConfig = TestConfig()

    @property
    def temperatures_k(self) -> tuple[float, ...]:
        """The temperature of every round, in K; empty where nothing is learned."""
        if self.rounds == 0:
            return ()
        span = self.max_temperature_k - self.start_temperature_k
        n_rounds = int(span / self.temperature_step_k + 1e-9) + 1
        return tuple(
            self.start_temperature_k + i * self.temperature_step_k for i in range(n_rounds)
        )

    @property
    def n_epochs(self) -> float:
        """Epochs of a training, as many as are expected with all trials of a search."""
        if self.tuning is None:
            return self.training.epochs
        tried = self.tuning.epochs
        return self.training.epochs + (self.tuning.trials - 1) * sum(tried) / len(tried)

    @property
    def trainings(self) -> str:
        """What a training and its search are, in words."""
        others = "" if self.tuning is None else f" and {self.tuning.trials - 1} other trials"
        return f"{self.training.epochs} epochs{others}"

    @model_validator(mode="before")
    @classmethod
    def _several_models(cls, data: Any) -> Any:  # noqa: ANN401 - as pydantic gives it
        """Read a list of models as the first of them and the candidates."""
        if not isinstance(data, dict) or not isinstance(data.get("model"), list | tuple):
            return data
        models = list(data["model"])
        if not models:
            msg = "model must name at least one model, found an empty list"
            raise ValueError(msg)
        several = {"candidates": models} if len(models) > 1 else {}
        return {**data, "model": models[0], **several}

    @model_validator(mode="after")
    def _candidates_differ(self) -> Self:
        if self.candidates is None:
            return self
        if len(set(self.candidates)) < len(self.candidates) or self.model != self.candidates[0]:
            msg = f"model must be a list of different models, found {list(self.candidates)}"
            raise ValueError(msg)
        if self.test.n_frames < _FEWEST_TEST_FRAMES:
            msg = (
                f"test.n_frames = {self.test.n_frames} cannot choose among models: at least "
                f"{_FEWEST_TEST_FRAMES}"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _nothing_is_chosen_without_labels(self) -> Self:
        if self.rounds == 0 and (self.candidates or self.test.sets):
            msg = "rounds = 0 makes no label, so model must be a single one and test.sets be empty"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _ladder_climbs(self) -> Self:
        if self.max_temperature_k < self.start_temperature_k:
            msg = (
                f"max_temperature_k = {self.max_temperature_k:g} lies below "
                f"start_temperature_k = {self.start_temperature_k:g}"
            )
            raise ValueError(msg)
        return self

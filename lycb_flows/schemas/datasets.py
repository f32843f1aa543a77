"""Documents about what trains and what tests: frames, datasets, test sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from lycb_flows.config import LabelConfig, LearningConfig
from lycb_flows.schemas.base import Document, Part


class Frame(Part):
    """One configuration of a run, chosen for a label."""

    run: str
    step: int
    structure: str
    system: str
    block: Literal["train", "validation", "test"]
    rule: Literal["medoid", "fps", "uniform", "ranked"]
    distance_ang: float | None = Field(None, description="RMS to the nearest chosen before it.")
    test_set: str | None = Field(
        None, exclude_if=lambda name: name is None, description="The named test set that it is of."
    )


class Frames(Document):
    """The frames that a stage has chosen from its runs."""

    kind = "frames"
    listed: ClassVar[tuple[str, ...]] = ("n_frames",)

    runs: tuple[str, ...]
    frames: tuple[Frame, ...]

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.frames)

    @classmethod
    def key_of(
        cls,
        config: LearningConfig,
        *,
        runs: Sequence[str],
        test_runs: Sequence[str],
        n_test_frames: int,
        already_labelled: Sequence[str],
        sets: Mapping[str, Sequence[str] | int] | None = None,
    ) -> str:
        """Return the key of the frames that a stage chooses.

        Parameters
        ----------
        config
            The rules of the selection, and the share of validation frames.
        runs
            Keys of the runs whose frames train.
        test_runs
            Keys of the runs whose frames test.
        n_test_frames
            Test frames per system.
        already_labelled
            Keys of the Frames of earlier stages.
        sets
            Name of each named test set -> keys of its orderings, or frames of each of its runs;
            None where the stage makes none.
        """
        return cls.key_from(
            runs=runs,
            test_runs=test_runs,
            selection=config.selection,
            validation_fraction=config.training.validation_fraction,
            n_test_frames=n_test_frames,
            already_labelled=already_labelled,
            sets=sets,
        )


class Dataset(Document):
    """The labels that one training used."""

    kind = "dataset"
    listed: ClassVar[tuple[str, ...]] = ("n_training", "n_validation", "n_missing", "n_rejected")

    round_index: int
    theory: str
    training_labels: tuple[str, ...]
    validation_labels: tuple[str, ...]
    missing: tuple[str, ...] = Field((), description="Failed or late when the round closed.")
    rejected: dict[str, str] = Field({}, description="label -> why it does not train")
    test_sets: tuple[str, ...]

    @property
    def n_training(self) -> int:
        """Number of labels that weights are fitted to."""
        return len(self.training_labels)

    @property
    def n_validation(self) -> int:
        """Number of labels that choose the epoch."""
        return len(self.validation_labels)

    @property
    def n_missing(self) -> int:
        """Number of labels that failed or were late."""
        return len(self.missing)

    @property
    def n_rejected(self) -> int:
        """Number of labels that do not train."""
        return len(self.rejected)

    @classmethod
    def key_of(
        cls, config: LabelConfig, *, frames: str, theory: str, previous: str | None, index: int
    ) -> str:
        """Return the key of the dataset that closes a stage.

        Parameters
        ----------
        config
            The rules of closing and of rejection, and the imported labels.
        frames
            Key of the stage's Frames.
        theory
            Fingerprint of the level of theory.
        previous
            Key of the Dataset before, if any.
        index
            Which round; -1 for the initial test set.
        """
        rules = {"imported", "max_force_ev_per_ang", "quorum", "min_per_system"}
        return cls.key_from(
            frames=frames,
            theory=theory,
            labels=config.model_dump(include=rules),
            previous=previous,
            index=index,
        )

    @classmethod
    def key_of_labels(cls, training: Sequence[str], validation: Sequence[str]) -> str:
        """Return the key of a dataset that is given by its labels, outside of any stage.

        Parameters
        ----------
        training
            Keys of the labels that weights are fitted to.
        validation
            Keys of those that choose the epoch.
        """
        return cls.key_from(training=list(training), validation=list(validation))


class TestSet(Document):
    """Labels that no training may see."""

    __test__: ClassVar[bool] = False  # not a pytest class
    kind = "test_set"
    listed: ClassVar[tuple[str, ...]] = ("n_labels",)

    name: str
    labels: tuple[str, ...]
    how: str
    runs: tuple[str, ...]

    @property
    def n_labels(self) -> int:
        """Number of labels."""
        return len(self.labels)

    @classmethod
    def key_of(cls, labels: Iterable[str], name: str | None = None) -> str:
        """Return the key of a test set.

        Parameters
        ----------
        labels
            Keys of its labels, in any order.
        name
            As the campaign names it; None: a stage's own.
        """
        return cls.key_from(labels=sorted(labels), name=name)

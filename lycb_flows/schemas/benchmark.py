"""Documents about models side by side on a campaign's test labels."""

from __future__ import annotations

from pydantic import Field

from lycb_flows.schemas.base import Document, Part
from lycb_flows.schemas.learning import ModelErrors


class BenchmarkPart(Part):
    """Errors on the test labels of a system at a temperature."""

    system: str
    temperature_k: float | None = Field(None, description="Of the run; None for imported labels.")
    errors: ModelErrors


class BenchmarkSet(Part):
    """Errors on a named test set of the campaign."""

    name: str = Field(description="Its name in learning.test.sets.")
    errors: ModelErrors


class BenchmarkedModel(Part):
    """Errors of a model on all test labels, and on parts of them."""

    name: str
    model: str
    role: str = Field(description="'before learning', a round, 'measures', 'from scratch', 'other'")
    shift_ev: dict[str, float] = Field(
        {}, description="Added per atom of an element, fitted on the training labels."
    )
    overall: ModelErrors
    parts: tuple[BenchmarkPart, ...]
    sets: tuple[BenchmarkSet, ...] = Field(
        (), exclude_if=lambda sets: not sets, description="Named test sets, where there are any."
    )


class Benchmark(Document):
    """Several models on the same test labels, the best first."""

    kind = "benchmark"

    dataset: str = Field(description="The last one of the loop: its labels fit the shifts.")
    test_sets: tuple[str, ...]
    n_training: int = Field(description="Labels that the loop has trained on.")
    n_left_out: int = Field(
        0,
        exclude_if=lambda number: not number,
        description="Test labels that judge no model: with an element that no training label has.",
    )
    models: tuple[BenchmarkedModel, ...] = Field(description="By score, the lowest first.")
    best: str = Field(description="Key of the model with the lowest score.")

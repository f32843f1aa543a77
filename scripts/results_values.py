"""Numbers with errors, and the verdicts on a claim of the paper that follow from them.

>>> Value(0.185, 0.006).as_paper(Value(0.17))
'contradicted'
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lycb_flows.report import number, with_error

DECISIVE = 2.0
"""Standard errors between two numbers that contradict each other."""
UNRESOLVED = 0.5
"""Relative error from which a number says nothing."""
REPRODUCED, CONTRADICTED, NOT_RESOLVED = "reproduced", "contradicted", "not resolved"
IN_SIGN = "reproduced in sign"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, what is found here and in experiments, and whether that agrees.

    Attributes
    ----------
    claim
        What is claimed.
    paper, here, experiment
        The numbers of each; no experiment where it is empty.
    verdict
        Whether ours agrees with the paper's.
    distance
        The difference of both in combined standard errors; None where there is none.
    """

    claim: str
    paper: str
    here: str
    verdict: str
    distance: float | None = None
    experiment: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of a row: claim, paper, here, errors, experiment, verdict."""
        errors = "" if self.distance is None else f"{self.distance:.1f}"
        return (self.claim, self.paper, self.here, errors, self.experiment, self.verdict)


@dataclass(frozen=True)
class Value:
    """A number with its standard error."""

    value: float
    error: float = 0.0

    def __str__(self) -> str:
        """Return it with its error, as a report has it."""
        return with_error(self.value, self.error)

    def __sub__(self, other: Value) -> Value:
        """Return the difference of two independent numbers."""
        return Value(self.value - other.value, math.hypot(self.error, other.error))

    def distance(self, low: Value, high: Value | None = None) -> float:
        """Return how many combined errors lie between this number and a range, or another one."""
        above, below = low - self, self - (high or low)
        far = above if above.value > below.value else below
        return max(far.value, 0.0) / far.error

    def as_paper(self, low: Value, high: Value | None = None) -> str:
        """Return the verdict on a claim that the number is another one, or between two."""
        if self.error > UNRESOLVED * abs(self.value):
            return NOT_RESOLVED
        return REPRODUCED if self.distance(low, high) <= DECISIVE else CONTRADICTED

    def is_above(self, limit: float) -> str:
        """Return the verdict on a claim that the number is above another."""
        distance = (self.value - limit) / self.error
        if abs(distance) < DECISIVE:
            return NOT_RESOLVED
        return REPRODUCED if distance > 0 else CONTRADICTED

    def is_within(self, limit: float) -> str:
        """Return the verdict on a claim that the number is no further from zero than a limit."""
        reach = DECISIVE * self.error
        if abs(self.value) + reach <= limit:
            return REPRODUCED
        return CONTRADICTED if abs(self.value) - reach > limit else NOT_RESOLVED


@dataclass(frozen=True)
class LogValue:
    """A positive number by its logarithm, with the standard error of that."""

    log: Value

    def __str__(self) -> str:
        """Return the number with the interval of two standard errors."""
        low, high = (
            math.exp(self.log.value + sign * DECISIVE * self.log.error) for sign in (-1, 1)
        )
        return f"{number(math.exp(self.log.value))} ({number(low)} to {number(high)})"

    def __truediv__(self, other: LogValue) -> LogValue:
        """Return the ratio of two independent numbers."""
        return LogValue(self.log - other.log)

    def distance(self, other: LogValue) -> float:
        """Return how many combined errors lie between the logarithms."""
        return self.log.distance(other.log)

    def as_paper(self, other: LogValue) -> str:
        """Return the verdict on a claim that the number is another one."""
        if self.log.error > UNRESOLVED:
            return NOT_RESOLVED
        return REPRODUCED if self.distance(other) <= DECISIVE else CONTRADICTED

    def as_papers_ratio(self, other: LogValue) -> str:
        """Return the verdict on a ratio: first its side of one, then the number."""
        is_larger = self.log.is_above(0.0)
        is_as_paper = (is_larger == REPRODUCED) == (other.log.value > 0)
        if is_larger == NOT_RESOLVED or not is_as_paper:
            return NOT_RESOLVED if is_larger == NOT_RESOLVED else CONTRADICTED
        return REPRODUCED if self.as_paper(other) == REPRODUCED else IN_SIGN


def of_number(value: float, log_error: float = 0.0) -> LogValue:
    """Return a positive number whose logarithm has a standard error."""
    return LogValue(Value(math.log(value), log_error))


def weighted_mean(values: Sequence[Value]) -> Value:
    """Return the mean of least error, that widened where the values scatter more than theirs."""
    weights = [each.error**-2 for each in values]
    mean = sum(w * each.value for w, each in zip(weights, values, strict=True)) / sum(weights)
    chi2 = sum(w * (each.value - mean) ** 2 for w, each in zip(weights, values, strict=True))
    scatter = math.sqrt(chi2 / (len(values) - 1)) if len(values) > 1 else 1.0
    return Value(mean, max(1.0, scatter) / math.sqrt(sum(weights)))

"""What `lycb bench` compares, and how: both sides take turns in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from lycb_flows.machine import count_cores


@dataclass(frozen=True)
class Comparison:
    """A line of the table.

    Attributes
    ----------
    name
        What was timed.
    reference
        What it was compared with.
    ours_s, reference_s
        Medians, in s of wall time, of the same work.
    note
        What else was seen.
    gigabytes
        Peak memory, where that is what was measured.
    """

    name: str
    reference: str
    ours_s: float
    reference_s: float
    note: str = ""
    gigabytes: float | None = None

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.reference_s / self.ours_s


def alternate(
    work: Mapping[tuple[str, int], Callable[[], object]], rounds: int
) -> dict[tuple[str, int], float]:
    """Return the median wall time in s of each piece of work, run in turn.

    Parameters
    ----------
    work
        What to do, by the side that does it and the number of its threads.
    rounds
        How often. With more than one, a round before them warms up and is not counted.
    """
    times: dict[tuple[str, int], list[float]] = {name: [] for name in work}
    for round_ in range(rounds + 1):
        for name, do in work.items():
            if round_ == 0 and rounds == 1:
                continue  # work that long needs no warming
            began = time.perf_counter()
            do()
            if round_:
                times[name].append(time.perf_counter() - began)
    return {name: median(found) for name, found in times.items()}


def threaded(threads: int, work: Callable[..., object], *arguments: Any) -> Callable[[], object]:  # noqa: ANN401
    """Return a piece of work that runs on a number of torch's threads.

    Parameters
    ----------
    threads
        How many threads torch may use.
    work
        What is called.
    *arguments
        What it is called with.
    """

    def do() -> object:
        torch.set_num_threads(threads)
        return work(*arguments)

    return do


def thread_counts() -> tuple[int, ...]:
    """Return the numbers of threads that are tried; the best of them counts."""
    return (1, 2) if count_cores() > 1 else (1,)

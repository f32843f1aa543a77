"""The phase of a run and the temperature that it aims at, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lycb_flows.config import MDProtocol

FloatArray = NDArray[np.float64]


def production_start(protocol: MDProtocol) -> int:
    """Return the last step before production."""
    return protocol.heating_steps + protocol.equilibration_steps


class Schedule:
    """The target and the phase of each of m runs at each step.

    Parameters
    ----------
    protocols
        Protocol of each run.
    """

    def __init__(self, protocols: Sequence[MDProtocol]) -> None:
        self._starts_k = np.array([protocol.start_temperature_k for protocol in protocols])
        self._ends_k = np.array([protocol.temperature_k for protocol in protocols])
        self._heating = np.array([protocol.heating_steps for protocol in protocols])
        self._settled = np.array([production_start(protocol) for protocol in protocols])
        self._slopes_k = (self._ends_k - self._starts_k) / np.maximum(self._heating, 1)
        self._intervals = np.array([protocol.sample_interval_steps for protocol in protocols])

    def targets_k(self, steps: NDArray[np.int64]) -> FloatArray:
        """Return the temperatures (..., m) in K that the thermostats aim at in steps (..., m)."""
        climbing = self._starts_k + self._slopes_k * steps
        return np.where(steps < self._heating, climbing, self._ends_k)

    def producing(self, steps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of the steps (m,) belong to production."""
        producing: NDArray[np.bool_] = steps > self._settled
        return producing

    def begins_production(self, steps: NDArray[np.int64]) -> bool:
        """Return whether any of the steps (m,) is the first of its run's production."""
        return bool((steps == self._settled + 1).any())

    def stretch(self, steps: NDArray[np.int64]) -> int:
        """Return how many steps after steps (m,) end with the next frame or phase of any run."""
        until_frame = self._intervals - steps % self._intervals
        until_phase = np.where(steps < self._settled, self._settled - steps, until_frame)
        return int(np.minimum(until_frame, until_phase).min())

    def sampled(self, steps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of the steps (m,) end with a frame."""
        sampled: NDArray[np.bool_] = steps % self._intervals == 0
        return sampled

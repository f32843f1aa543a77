"""Which phase a run is in and which temperature it aims at, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lycb_flows.config import MDProtocol
from lycb_flows.md.chains import FloatArray


def production_start(protocol: MDProtocol) -> int:
    """The last step before production."""
    return protocol.heating_steps + protocol.equilibration_steps


class Schedule:
    """Which target and which phase each run has at which step; all (m,)."""

    def __init__(self, protocols: Sequence[MDProtocol]) -> None:
        self._starts_k = np.array([protocol.start_temperature_k for protocol in protocols])
        self._ends_k = np.array([protocol.temperature_k for protocol in protocols])
        self._heating = np.array([protocol.heating_steps for protocol in protocols])
        self._settled = np.array([production_start(protocol) for protocol in protocols])
        self._slopes_k = (self._ends_k - self._starts_k) / np.maximum(self._heating, 1)
        self._intervals = np.array([protocol.sample_interval_steps for protocol in protocols])

    def targets_k(self, steps: NDArray[np.int64]) -> FloatArray:
        """What the thermostats aim at in these steps."""
        climbing = self._starts_k + self._slopes_k * steps
        return np.where(steps < self._heating, climbing, self._ends_k)

    def producing(self, steps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether these steps belong to the production."""
        producing: NDArray[np.bool_] = steps > self._settled
        return producing

    def begins_production(self, steps: NDArray[np.int64]) -> bool:
        """Whether one of these steps is the first of its production."""
        return bool((steps == self._settled + 1).any())

    def sampled(self, steps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether these steps end with a frame."""
        sampled: NDArray[np.bool_] = steps % self._intervals == 0
        return sampled

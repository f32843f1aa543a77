"""The state of a run between two steps, as bytes that cannot carry code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from lycb_flows.md.health import Reference
from lycb_flows.md.motion import MOTION_NAMES, Motion

CHECKPOINT_MEDIA_TYPE = "application/vnd.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """All that the rest of a run depends on, except its potential and protocol.

    Attributes
    ----------
    step
        Number of steps done.
    numbers
        Atomic numbers (n,).
    motion
        Positions, momenta, cell, chains.
    start
        The state that health compares later frames with.
    """

    step: int
    numbers: NDArray[np.int64]
    motion: Motion
    start: Reference

    def to_bytes(self) -> bytes:
        """Return the checkpoint as safetensors, which cannot carry code."""
        arrays = {
            "step": np.array(self.step),
            "numbers": self.numbers,
            "start.frac_coords": self.start.frac_coords,
            "start.cell_ang": self.start.cell_ang,
            "start.energy_ev_per_atom": np.array(self.start.energy_ev_per_atom),
        } | {name: getattr(self.motion, name) for name in MOTION_NAMES}
        return bytes(safetensors.numpy.save({k: np.array(v, order="C") for k, v in arrays.items()}))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Return the checkpoint that `to_bytes` wrote."""
        arrays = safetensors.numpy.load(content)
        return cls(
            step=int(arrays["step"].item()),
            numbers=arrays["numbers"],
            motion=Motion(**{name: arrays[name] for name in MOTION_NAMES}),
            start=Reference(
                arrays["start.frac_coords"],
                arrays["start.cell_ang"],
                arrays["start.energy_ev_per_atom"].item(),
            ),
        )

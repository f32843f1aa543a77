"""Whether a run is still physics: cheap looks at every step, thorough ones at every frame.

Each look returns why the run has left physics, or an empty string.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lycb_flows.config import HealthConfig
from lycb_flows.md.integrators import FloatArray
from lycb_flows.md.trajectory import Snapshot

_COLDEST_LIMIT_K = 300.0  # a cold target would make the temperature limit a matter of noise


@dataclass(frozen=True)
class Reference:
    """The start of a run, that its later frames are held against.

    Attributes
    ----------
    frac_coords
        Shape (n_atoms, 3).
    volume_ang3
        Of the cell.
    energy_ev_per_atom
        Potential energy.
    """

    frac_coords: FloatArray
    volume_ang3: float
    energy_ev_per_atom: float


def framework_mask(symbols: list[str], mobile_species: str) -> NDArray[np.bool_]:
    """Which atoms (n_atoms,) are the framework: all but the mobile ones, or all if all move."""
    framework: NDArray[np.bool_] = np.array(symbols) != mobile_species
    return framework if framework.any() else ~framework


def step_failure(temperature_k: float, target_k: float, config: HealthConfig) -> str:
    """Looks at the temperature of one step."""
    limit_k = config.max_temperature_factor * max(target_k, _COLDEST_LIMIT_K)
    if temperature_k <= limit_k:  # False for NaN
        return ""
    return f"temperature {temperature_k:.4g} K is above {limit_k:.4g} K"


def frame_failure(
    frame: Snapshot,
    start: Reference,
    framework: NDArray[np.bool_],
    config: HealthConfig,
) -> str:
    """Looks at energy, volume, closest pair and framework of one frame."""
    energy = frame.potential_energy_ev / len(frame.frac_coords)
    numbers = (energy, frame.frac_coords, frame.cells_ang, frame.stress_gpa)
    if not all(np.isfinite(number).all() for number in numbers):
        return "energy, stress or a coordinate is not a number"
    jump = abs(energy - start.energy_ev_per_atom)
    if jump > config.max_energy_jump_ev_per_atom:
        return f"energy is {jump:.3g} eV/atom away from the start"
    growth = abs(np.linalg.det(frame.cells_ang)) / start.volume_ang3
    if not 1 / config.max_volume_factor <= growth <= config.max_volume_factor:
        return f"volume is {growth:.3g} times the start's"
    rms = framework_rms_ang(frame, start, framework)
    if rms > config.max_framework_rms_ang:
        return f"framework has moved by {rms:.3g} Å (RMS)"
    closest = closest_pair_ang(frame.frac_coords, frame.cells_ang)
    if closest < config.min_distance_ang:
        return f"two atoms are {closest:.3g} Å apart"
    return ""


def framework_rms_ang(frame: Snapshot, start: Reference, framework: NDArray[np.bool_]) -> float:
    """RMS displacement of the framework since the start, its own drift and the strain removed."""
    moved = (frame.frac_coords - start.frac_coords)[framework]
    moved = (moved - moved.mean(axis=0)) @ frame.cells_ang
    return float(np.sqrt((moved**2).sum(axis=1).mean()))


def closest_pair_ang(frac_coords: FloatArray, cell_ang: FloatArray) -> float:
    """Distance of the closest two atoms, in Å; infinite for a single atom.

    Nearest images by rounding fractional differences: exact below half the smallest width of
    the cell, which is where a collision is.
    """
    between = frac_coords[:, None] - frac_coords
    between -= np.rint(between)
    between = between @ cell_ang
    squares = np.einsum("ijk,ijk->ij", between, between)
    np.fill_diagonal(squares, np.inf)
    return float(np.sqrt(squares.min()))

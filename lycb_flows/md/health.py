"""Whether a run is still physical: cheap checks at every step, thorough ones at every frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lycb_flows.config import HealthConfig
from lycb_flows.crystals import mobile_ion
from lycb_flows.md.integrators import BoolArray, Dynamics
from lycb_flows.md.trajectory import Snapshot

FloatArray = NDArray[np.float64]

COLDEST_LIMIT_K = 300.0
"""Colder targets count as this one: they would make the temperature limit a matter of noise."""


@dataclass(frozen=True)
class Reference:
    """The start of a run, which its later frames are compared with.

    Attributes
    ----------
    frac_coords
        Shape (n_atoms, 3).
    cell_ang
        Shape (3, 3), rows a, b, c.
    energy_ev_per_atom
        Potential energy.
    """

    frac_coords: FloatArray
    cell_ang: FloatArray
    energy_ev_per_atom: float


def framework_mask(symbols: Sequence[str], mobile_species: str) -> NDArray[np.bool_]:
    """Return which atoms are the framework.

    Parameters
    ----------
    symbols
        Element of each atom.
    mobile_species
        The element that may move; where there is none of it, the crystal's own mobile ion may.

    Returns
    -------
    ndarray
        Shape (n_atoms,); all True where every atom may move.
    """
    species = np.array(symbols)
    if mobile_species not in symbols:
        mobile_species = mobile_ion(Counter(symbols), {}) or mobile_species
    framework: NDArray[np.bool_] = species != mobile_species
    return framework if framework.any() else ~framework


class StepLimits:
    """Limits that every step of a batch must keep, on numbers that the host has anyway.

    Parameters
    ----------
    configs
        Limits of each replica.
    starts
        Start of each replica.
    """

    def __init__(self, configs: Sequence[HealthConfig], starts: Sequence[Reference]) -> None:
        self.heat_factors = np.array([config.max_temperature_factor for config in configs])
        self.volume_factors = np.array([config.max_volume_factor for config in configs])
        self.jumps_ev_per_atom = np.array(
            [config.max_energy_jump_ev_per_atom for config in configs]
        )
        limits = [config.extrapolation_limit for config in configs]
        self.grades = np.array([np.inf if limit is None else limit for limit in limits])
        self.volumes_ang3 = np.abs(np.linalg.det([start.cell_ang for start in starts]))
        self.energies_ev_per_atom = np.array([start.energy_ev_per_atom for start in starts])

    def are_kept(self, now: Dynamics, targets_k: FloatArray) -> BoolArray:
        """Return which replicas are still physical.

        Parameters
        ----------
        now
            The batch after a step.
        targets_k
            Temperatures (m,) in K that the thermostats aim at.

        Returns
        -------
        ndarray
            Shape (m,); False where anything is not a number.
        """
        hottest_k = self.heat_factors * np.maximum(targets_k, COLDEST_LIMIT_K)
        growths = self._growths(now)
        kept: BoolArray = (
            now.are_numbers
            & (now.temperatures_k <= hottest_k)
            & (self._jumps(now) <= self.jumps_ev_per_atom)
            & (np.maximum(growths, 1 / growths) <= self.volume_factors)
            & ~(now.grades > self.grades)
        )
        return kept

    def reason(self, now: Dynamics, targets_k: FloatArray, i: int) -> str:
        """Return the first limit that a replica does not keep, in words.

        Parameters
        ----------
        now
            The batch after a step.
        targets_k
            Temperatures (m,) in K that the thermostats aim at.
        i
            Number of the replica.
        """
        if not now.are_numbers[i]:
            return "energy, stress or a momentum is not a number"
        limit_k = self.heat_factors[i] * max(targets_k[i], COLDEST_LIMIT_K)
        if not now.temperatures_k[i] <= limit_k:
            return f"temperature {now.temperatures_k[i]:.4g} K is above {limit_k:.4g} K"
        if not self._jumps(now)[i] <= self.jumps_ev_per_atom[i]:
            return f"energy is {self._jumps(now)[i]:.3g} eV/atom away from the start"
        if now.grades[i] > self.grades[i]:
            return f"extrapolation grade {now.grades[i]:.3g} is above {self.grades[i]:.3g}"
        return f"volume is {self._growths(now)[i]:.3g} times the start's"

    def _jumps(self, now: Dynamics) -> FloatArray:
        jumps: FloatArray = np.abs(now.energies_ev / now.sizes - self.energies_ev_per_atom)
        return jumps

    def _growths(self, now: Dynamics) -> FloatArray:
        growths: FloatArray = now.volumes_ang3 / self.volumes_ang3
        return growths


def frame_failure(
    frame: Snapshot,
    start: Reference,
    framework: NDArray[np.bool_],
    config: HealthConfig,
) -> str:
    """Return why a frame is not physical, or an empty string.

    Parameters
    ----------
    frame
        The frame.
    start
        The start of its run.
    framework
        Shape (n_atoms,): which atoms must not move far.
    config
        The limits.
    """
    rms = framework_rms_ang(frame, start, framework)
    if rms > config.max_framework_rms_ang:
        return f"framework has moved by {rms:.3g} Å (RMS)"
    return collision(frame.frac_coords, frame.cells_ang, config.min_distance_ang)


def framework_rms_ang(frame: Snapshot, start: Reference, framework: NDArray[np.bool_]) -> float:
    """Return the RMS displacement of the framework since the start, in Å.

    The framework's own drift and the strain of the cell do not count.

    Parameters
    ----------
    frame
        The frame.
    start
        The start of its run.
    framework
        Shape (n_atoms,): which atoms belong to the framework.
    """
    moved = (frame.frac_coords - start.frac_coords)[framework]
    moved = (moved - moved.mean(axis=0)) @ frame.cells_ang
    return float(np.sqrt((moved**2).sum(axis=1).mean()))


def collision(frac_coords: FloatArray, cell_ang: FloatArray, min_distance_ang: float) -> str:
    """Return how close the closest atoms are if that is too close, or an empty string.

    A tree finds the pairs to look at, because along no axis is |ds| times the width of the cell
    larger than |dr|. The result is exact while the limit is below half the smallest width.

    Parameters
    ----------
    frac_coords
        Shape (n_atoms, 3).
    cell_ang
        Shape (3, 3), rows a, b, c in Å.
    min_distance_ang
        The limit in Å.
    """
    widths_ang = 1 / np.linalg.norm(np.linalg.inv(cell_ang), axis=0)
    inside = frac_coords - np.floor(frac_coords)
    points = np.minimum(inside * widths_ang, np.nextafter(widths_ang, 0))  # 1 - 1e-17 rounds up
    tree = cKDTree(points, boxsize=widths_ang, compact_nodes=False, balanced_tree=False)
    pairs = tree.query_pairs(min_distance_ang, p=np.inf, output_type="ndarray")
    if not len(pairs):
        return ""
    between = inside[pairs[:, 0]] - inside[pairs[:, 1]]
    closest = np.linalg.norm((between - np.rint(between)) @ cell_ang, axis=1).min()
    return f"two atoms are {closest:.3g} Å apart" if closest < min_distance_ang else ""

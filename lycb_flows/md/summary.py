"""The summary of a run: means, the average cell, and whether to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.cell import Cell
from numpy.typing import NDArray

from lycb_flows.config import MDProtocol
from lycb_flows.crystals import structure_from_arrays, volume_ang3_per_atom
from lycb_flows.errors import InputError
from lycb_flows.md.schedule import production_start
from lycb_flows.md.trajectory import join, mean_thermodynamics, read_trajectory
from lycb_flows.schemas import Health, Structure, Thermodynamics
from lycb_flows.units import PS_FS

FloatArray = NDArray[np.float64]

_BAROSTAT_TIMES = 10


@dataclass(frozen=True)
class RunSummary:
    """Averages over the last part of a run; None where the run left physics.

    Attributes
    ----------
    n_steps
        Steps that the run reached.
    means
        Means over the window, with standard deviations of the frames (not errors of the mean).
    average_structure
        npt: last fractional coordinates in the average cell.
    average_volume_ang3_per_atom
        Volume of the average cell (nvt: of the cell).
    equilibrated
        npt: whether the window spans at least ten barostat times.
    health
        Health of the last segment.
    """

    n_steps: int
    means: Thermodynamics | None
    average_structure: Structure | None
    average_volume_ang3_per_atom: float | None
    equilibrated: bool
    health: Health


def averaging_window(protocol: MDProtocol, n_steps: int) -> tuple[int, int]:
    """Return the steps whose frames are averaged: after the first, up to the second.

    Parameters
    ----------
    protocol
        Its `average_fraction` is the share of production that counts, from the end.
    n_steps
        Length of the run, ramp and equilibration included.
    """
    length = round(protocol.average_fraction * (n_steps - production_start(protocol)))
    return n_steps - length, n_steps


def summarise_run(
    trajectories: Sequence[bytes], protocol: MDProtocol, *, n_steps: int, health: Health
) -> RunSummary:
    """Return the summary of a run.

    Parameters
    ----------
    trajectories
        Bytes of the segments, in order.
    protocol
        Protocol of the run.
    n_steps
        Planned length.
    health
        Health of the last segment.

    Raises
    ------
    InputError
        When the frames of a healthy run do not reach its averaging window.
    """
    if not health.healthy:
        reached = health.failed_step if health.failed_step is not None else n_steps
        return RunSummary(reached, None, None, None, equilibrated=False, health=health)
    after_step, last_step = averaging_window(protocol, n_steps)
    parts = [read_trajectory(content).between(after_step, last_step) for content in trajectories]
    window = join(parts)
    if not window.n_frames:
        raise InputError(
            "a run without frames in its averaging window",
            fix="lengthen the run or sample more often",
            window_steps=f"{after_step}..{last_step}",
        )
    average = structure_from_arrays(
        average_cell_ang(window.cells_ang), list(window.species), window.frac_coords[-1]
    )
    window_ps = (last_step - after_step) * protocol.time_step_fs / PS_FS
    needed_ps = _BAROSTAT_TIMES * (protocol.barostat_damping_ps or 0.0)
    return RunSummary(
        n_steps=n_steps,
        means=mean_thermodynamics(window),
        average_structure=average if protocol.ensemble == "npt" else None,
        average_volume_ang3_per_atom=volume_ang3_per_atom(average),
        equilibrated=window_ps >= needed_ps,
        health=health,
    )


def cell_parameters(cells_ang: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the lengths a, b, c in Å and the angles alpha, beta, gamma in degrees of every cell.

    Both have the shape (n, 3), for cells (n, 3, 3) with rows a, b, c in Å.
    """
    lengths = np.linalg.norm(cells_ang, axis=2)
    units = cells_ang / lengths[:, :, None]
    cosines = np.einsum("nik,njk->nij", units, units)
    return lengths, np.degrees(np.arccos(cosines[:, [1, 0, 0], [2, 2, 1]]))


def average_cell_ang(cells_ang: FloatArray) -> FloatArray:
    """Return the cell (3, 3) with the mean lengths and angles of cells (n, 3, 3), in Å.

    a lies along x and b in the xy plane, so that cells of different runs compare. The handedness
    is that of the cells.
    """
    lengths, angles = cell_parameters(cells_ang)
    average: FloatArray = Cell.fromcellpar([*lengths.mean(axis=0), *angles.mean(axis=0)]).array
    if np.linalg.det(cells_ang[0]) < 0:
        average[2, 2] *= -1
    return average

"""Frames that a student learns from: rattled and strained crystals, and its own dynamics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lycb_flows.config import MDConfig, MDProtocol
from lycb_flows.crystals import structure_from_arrays, to_ase
from lycb_flows.errors import PhysicsError
from lycb_flows.learning.labelled import LabelledStructure
from lycb_flows.machine import Stage, Tell, no_tell
from lycb_flows.md import (
    RunAhead,
    SegmentResult,
    production_start,
    read_trajectory,
    run_batch,
    start_run,
)
from lycb_flows.potentials import HasEvaluator, Potential
from lycb_flows.schemas import Structure
from lycb_flows.units import PS_FS

_LARGEST_RATTLE_ANG = 0.25
_LARGEST_STRAIN = 0.03
_PRESSURES_BAR = (1.0,)

Teach = Callable[[Sequence[Structure]], list[LabelledStructure]]
"""Returns the structures that a teacher has finite numbers for, with these."""


def short_settings(md: MDConfig) -> MDConfig:
    """Return settings of runs of a few picoseconds, otherwise those of longer ones.

    Parameters
    ----------
    md
        Of the runs that the student is for.
    """
    chosen = ("time_step_fs", "thermostat_damping_ps", "barostat_damping_ps", "cell_shape")
    kept = {name: getattr(md, name) for name in (*chosen, "health")}
    return MDConfig(heating_ps=0.2, equilibration_ps=0.0, sample_interval_fs=50.0, **kept)


_SHORT = short_settings(MDConfig())


def rattled(start: Structure, n: int, seed: int) -> list[Structure]:
    """Return copies of a crystal, each strained and rattled by another amount.

    Displacements have standard deviations of up to 0.25 Å, so that the atoms meet as they do
    when hot; strains of every component are up to 3 %.

    Parameters
    ----------
    start
        A crystal near its minimum.
    n
        How many.
    seed
        Of the random numbers.
    """
    rng, atoms, copies = np.random.default_rng(seed), to_ase(start), []
    for i in range(n):
        strain = rng.uniform(-_LARGEST_STRAIN, _LARGEST_STRAIN, (3, 3))
        moved = atoms.copy()
        moved.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        rattle_ang = _LARGEST_RATTLE_ANG * (i + 1) / n
        moved.positions += rng.normal(0, rattle_ang, moved.positions.shape)
        copies.append(_structure(moved.cell.array, start, moved.get_scaled_positions()))
    return copies


@dataclass(frozen=True)
class OwnFrames:
    """What runs of a student left.

    Attributes
    ----------
    frames
        Taken of each run, evenly over its last three quarters and its heating left out; then those
        at which a run was stopped because its extrapolation grade had passed the limit.
    failures
        Why runs left physics.
    largest_grade
        Of any atom at any step; None where no grades are taken.
    """

    frames: list[Structure]
    failures: list[str]
    largest_grade: float | None


def frames_of_runs(
    starts: Sequence[Structure],
    potential: HasEvaluator,
    protocol: MDProtocol,
    *,
    duration_ps: float,
    per_run: int,
    seed: int,
) -> OwnFrames:
    """Return frames of one run from each crystal.

    Parameters
    ----------
    starts
        Crystals.
    potential
        Drives the runs.
    protocol
        Ensemble, temperature, pressure.
    duration_ps
        Length after heating.
    per_run
        Frames taken of each run, as far as it has so many (`needed_ps`).
    seed
        Of the velocities.
    """
    n_steps = production_start(protocol) + round(duration_ps * 1000 / protocol.time_step_fs)
    aheads, sources, failures = [], [], []
    for i, start in enumerate(starts):
        try:
            here = start_run(start, potential, protocol, seed + i)
        except PhysicsError as err:
            failures.append(str(err))
            continue
        aheads.append(RunAhead(here, protocol, n_steps))
        sources.append(start)
    found: list[list[Structure]] = [[] for _ in aheads]
    stopped: list[Structure] = []
    grades = []
    for place, segment in run_batch(aheads, potential, batch_size=max(len(aheads), 1)):
        start = sources[place]
        found[place] += _production(segment, protocol, start)
        grade, limit = segment.largest_grade, protocol.health.extrapolation_limit
        if grade is not None:
            grades.append(grade)
        if grade is not None and limit is not None and grade > limit:
            stopped.append(_last(segment, start))
        elif segment.health.reason:
            failures.append(segment.health.reason)
    spread = [frame for frames in found for frame in _spread(frames, per_run)]
    return OwnFrames([*spread, *stopped], failures, max(grades, default=None))


def needed_ps(protocol: MDProtocol, per_run: int) -> float:
    """Return the length after heating of a run that so many frames can be taken of."""
    n_frames = -(-4 * per_run // 3)  # the first quarter is left out
    return n_frames * protocol.sample_interval_steps * protocol.time_step_fs / PS_FS


def _production(segment: SegmentResult, protocol: MDProtocol, start: Structure) -> list[Structure]:
    trajectory = read_trajectory(segment.trajectory)
    rows = zip(trajectory.steps, trajectory.cells_ang, trajectory.frac_coords, strict=True)
    return [
        _structure(cell, start, coords)
        for step, cell, coords in rows
        if step > production_start(protocol)
    ]


def _last(segment: SegmentResult, start: Structure) -> Structure:
    motion = segment.end.motion
    return _structure(motion.cell_ang, start, motion.positions_ang @ np.linalg.inv(motion.cell_ang))


def short_protocols(
    temperature_k: float,
    pressures_bar: Sequence[float] = _PRESSURES_BAR,
    config: MDConfig = _SHORT,
) -> tuple[MDProtocol, ...]:
    """Return the protocols of a student's own runs: velocities drawn hot in NVT, then NpT.

    Parameters
    ----------
    temperature_k
        Target.
    pressures_bar
        Of the NpT runs, one each.
    config
        From `short_settings`.
    """
    constant = config.nvt(temperature_k, ramp=False)
    return constant, *(config.npt(temperature_k, pressure_bar) for pressure_bar in pressures_bar)


def label(
    teacher: Potential, structures: Sequence[Structure], tell: Tell = no_tell
) -> list[LabelledStructure]:
    """Return the structures that the teacher has finite numbers for, with these.

    Parameters
    ----------
    teacher
        Any potential.
    structures
        Crystals.
    tell
        Told how far it is.
    """
    labelled, stage = [], Stage(tell, "labelling frames", len(structures))
    for i, structure in enumerate(structures):
        if i:
            stage.reach(i)
        try:
            (point,) = teacher.predict([structure])
        except PhysicsError:
            continue
        labelled.append(LabelledStructure(structure=structure, key=structure.key, **vars(point)))
    return labelled


def _spread(frames: Sequence[Structure], n: int) -> list[Structure]:
    places = np.unique(np.linspace(len(frames) // 4, len(frames) - 1, n).round().astype(int))
    return [frames[i] for i in places.tolist()] if frames else []


def _structure(
    cell_ang: NDArray[np.float64], start: Structure, coords: NDArray[np.floating]
) -> Structure:
    return structure_from_arrays(cell_ang, list(start.species), coords)

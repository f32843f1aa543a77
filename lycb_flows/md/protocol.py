"""MD runs: heat, equilibrate, then NVE, NVT or NpT; segment by segment; many side by side.

Steps are counted from 0, the drawn velocities. With h = heating steps, e = equilibration steps:

| steps | phase | ensemble | target |
|---|---|---|---|
| 1 .. h | ramp | NVT | linear from `start_temperature_k`; step h aims at `temperature_k` |
| h+1 .. h+e | equilibration | NVT | `temperature_k` |
| h+e+1 .. n | production | the protocol's | `temperature_k` |

>>> for segment in run_segments(start, potential, protocol, seed=0, n_steps=140_000):
...     store(segment)

A batch goes on until the first of its runs ends a segment or leaves physics. Then all of them
come to the host as checkpoints, finished runs leave, waiting ones enter, and the batch begins
anew with an evaluator of its own, whether or not anything was interrupted: a neighbour list with
a skin remembers when it was built and sums in that order. So a run alone in its batch, resumed,
equals an uninterrupted one bit by bit (one machine type, one thread); beside others it agrees
within its errors.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from ase.data import atomic_masses, chemical_symbols

from lycb_flows.config import MDProtocol, Supercell
from lycb_flows.crystals import canonical_structure, repeated, to_ase
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.md.checkpoint import Checkpoint
from lycb_flows.md.health import Reference, StepLimits, collision, frame_failure, framework_mask
from lycb_flows.md.integrators import Dynamics
from lycb_flows.md.motion import Motion, Replica, begin_motion, thermal_momenta, velocity_draws
from lycb_flows.md.native import make_dynamics
from lycb_flows.md.schedule import Schedule, production_start
from lycb_flows.md.trajectory import Snapshot, mean_thermodynamics, to_trajectory, write_trajectory
from lycb_flows.potentials.evaluator import HasEvaluator
from lycb_flows.schemas import Health, Structure, Thermodynamics

Watch = Callable[[int, Snapshot], None]
"""Called with a run's place among the runs and each frame as it is kept."""


@dataclass(frozen=True)
class RunAhead:
    """The rest of a run.

    Attributes
    ----------
    here
        Step 0 (`start_run`) or the end of a whole segment.
    protocol
        Phases, temperatures and pressure.
    n_steps
        Length of the whole run, ramp and equilibration included.
    """

    here: Checkpoint
    protocol: MDProtocol
    n_steps: int


@dataclass(frozen=True)
class SegmentResult:
    """A stretch of a run; after a failure it holds the frames before it.

    Attributes
    ----------
    index
        0 for the first of the run.
    first_step, last_step
        Frames have first_step < step <= last_step; index 0 also has step 0. In a failed segment,
        last_step is the step that failed.
    n_frames
        Number of frames.
    trajectory
        HDF5 (`trajectory.read_trajectory`).
    checkpoint
        State after last_step; in a failed segment, the state that it began from.
    thermodynamics
        Means over the segment's frames; None when it has none.
    health
        Whether the segment failed, and why.
    end
        State after last_step, of a failed segment as well.
    largest_grade
        Largest extrapolation grade of an atom at any step; None where none is taken.
    """

    index: int
    first_step: int
    last_step: int
    n_frames: int
    trajectory: bytes
    checkpoint: bytes
    thermodynamics: Thermodynamics | None
    health: Health
    end: Checkpoint = field(compare=False)
    largest_grade: float | None = None


def prepare_start(
    structure: Structure, *, strain: float = 0.0, repeat: Supercell = (1, 1, 1)
) -> Structure:
    """Return a structure repeated, its lattice vectors lengthened.

    Parameters
    ----------
    structure
        The crystal.
    strain
        Relative change of all lengths.
    repeat
        Repeats along a, b, c.
    """
    atoms = repeated(structure, repeat)
    atoms.set_cell(atoms.cell.array * (1 + strain), scale_atoms=True)
    return canonical_structure(atoms)


def start_run(
    start: Structure, potential: HasEvaluator, protocol: MDProtocol, seed: int
) -> Checkpoint:
    """Return step 0: velocities at exactly `start_temperature_k`, zero total momentum.

    Parameters
    ----------
    start
        The crystal.
    potential
        Gives energy, forces and stress.
    protocol
        Start temperature and limits of health.
    seed
        Seed of the velocities.

    Raises
    ------
    PhysicsError
        When atoms overlap or the potential gives no numbers.
    InputError
        When there are fewer than two atoms, which have no temperature, or the seed is none.
    """
    atoms = to_ase(start)
    if len(atoms) < 2:  # noqa: PLR2004 - one atom at zero momentum stands still
        raise InputError("MD needs at least two atoms", fix="repeat the cell", found=len(atoms))
    numbers, cell_ang = atoms.numbers.astype(np.int64), atoms.cell.array
    frac_coords = atoms.get_scaled_positions(wrap=False)
    first = potential.evaluator([numbers])(
        torch.from_numpy(atoms.positions), torch.from_numpy(cell_ang[None])
    )
    reason = collision(frac_coords, cell_ang, protocol.health.min_distance_ang)
    results = (first.energies_ev, first.forces_ev_per_ang, first.stresses_gpa)
    if not all(bool(torch.isfinite(numbers).all()) for numbers in results):
        reason = reason or "energy, stress or a force is not a number"
    if reason:
        raise PhysicsError(
            "this structure is no start for MD",
            fix="relax it, or look at the potential",
            reason=reason,
            structure=start.key,
        )
    momenta = thermal_momenta(
        atomic_masses[numbers], protocol.start_temperature_k, velocity_draws(seed)
    )
    return Checkpoint(
        step=0,
        numbers=numbers,
        motion=begin_motion(numbers, atoms.positions, cell_ang, momenta),
        start=Reference(frac_coords, cell_ang, first.energies_ev.item() / len(atoms)),
    )


def run_segments(
    start: Structure,
    potential: HasEvaluator,
    protocol: MDProtocol,
    *,
    seed: int,
    n_steps: int,
    resume_from: bytes | None = None,
) -> Iterator[SegmentResult]:
    """Yield each segment of a run when it is finished; an unhealthy segment is the last.

    Parameters
    ----------
    start
        Where the run starts (`prepare_start` strains and repeats it).
    potential
        Gives energy, forces and stress.
    protocol
        Phases, temperatures and pressure.
    seed
        Seed of the velocities.
    n_steps
        Length of the run, ramp and equilibration included.
    resume_from
        Checkpoint of the last whole segment that is already stored.

    Raises
    ------
    InputError
        When the run has no production steps, or the checkpoint is not of this run.
    PhysicsError
        When the start itself is not physical.
    """
    if resume_from is None:
        here = start_run(start, potential, protocol, seed)
    else:
        here = Checkpoint.from_bytes(resume_from)
        if (
            here.step % protocol.segment_steps
            or here.numbers.tolist() != to_ase(start).numbers.tolist()
        ):
            raise InputError(
                "this checkpoint is no restart point of this run",
                fix="give the checkpoint of its last whole segment",
                step=here.step,
            )
    for _, segment in run_batch([RunAhead(here, protocol, n_steps)], potential):
        yield segment


def run_batch(
    runs: Iterable[RunAhead],
    potential: HasEvaluator,
    *,
    batch_size: int = 1,
    device: str = "cpu",
    watch: Watch | None = None,
) -> Iterator[tuple[int, SegmentResult]]:
    """Yield each segment of some runs when it is finished, with the place of its run.

    A run that leaves physics ends there (its last segment is unhealthy); the others go on.

    Parameters
    ----------
    runs
        Asked for the next when a place is free.
    potential
        Gives energy, forces and stress.
    batch_size
        Most runs side by side.
    device
        Torch device of positions and momenta.
    watch
        Called at every frame.

    Raises
    ------
    InputError
        When a run has no production steps.
    """
    waiting = enumerate(runs)
    running: list[_Segment] = []
    while True:
        free = batch_size - len(running)
        running += [_Segment(i, run, run.here) for i, run in itertools.islice(waiting, free)]
        if not running:
            return
        _advance(running, potential, device, watch)
        ended = [segment for segment in running if segment.has_ended]
        running = [segment for segment in running if not segment.has_ended]
        for segment in ended:
            yield segment.place, segment.result()
            if not segment.failure and segment.step < segment.run.n_steps:
                running.append(_Segment(segment.place, segment.run, segment.checkpoint()))


class _Segment:
    """A segment that runs now: its motion and frames so far."""

    def __init__(self, place: int, run: RunAhead, begin: Checkpoint) -> None:
        first_step = production_start(run.protocol)
        if run.n_steps <= first_step:
            raise InputError(
                "a run must be longer than its ramp and equilibration",
                fix="raise its length",
                n_steps=run.n_steps,
                ramp_and_equilibration_steps=first_step,
            )
        self.place, self.run, self.begin = place, run, begin
        self.step, self.motion = begin.step, begin.motion
        self.index = begin.step // run.protocol.segment_steps
        self.last_step = min((self.index + 1) * run.protocol.segment_steps, run.n_steps)
        self.symbols = [chemical_symbols[number] for number in begin.numbers]
        self.framework = framework_mask(self.symbols, run.protocol.health.mobile_species)
        self.frames: list[Snapshot] = []
        self.failure = ""
        self.grade: float | None = None

    @property
    def has_ended(self) -> bool:
        return bool(self.failure) or self.step == self.last_step

    def replica(self) -> Replica:
        """Return the segment as the integrators take it."""
        return Replica(
            self.begin.numbers, self.motion, self.run.protocol, self.begin.start.cell_ang
        )

    def keep(self, frame: Snapshot, watch: Watch | None) -> None:
        """Keep a frame, unless it has left physics."""
        health = self.run.protocol.health
        self.failure = frame_failure(frame, self.begin.start, self.framework, health)
        if not self.failure:
            self.frames.append(frame)
            if watch:
                watch(self.place, frame)

    def come_to(self, step: int, motion: Motion, grade: float) -> None:
        """Keep where a stretch has ended, and the largest extrapolation grade, NaN for none."""
        self.step, self.motion = step, motion
        if not np.isnan(grade):
            self.grade = max(self.grade or 0.0, float(grade))

    def checkpoint(self) -> Checkpoint:
        """Return the present state."""
        return Checkpoint(self.step, self.begin.numbers, self.motion, self.begin.start)

    def result(self) -> SegmentResult:
        """Return the finished segment."""
        trajectory = to_trajectory(self.frames, self.symbols, self.run.protocol.time_step_fs)
        failed_step = self.step if self.failure else None
        return SegmentResult(
            index=self.index,
            first_step=self.begin.step,
            last_step=self.step,
            n_frames=trajectory.n_frames,
            trajectory=write_trajectory(trajectory),
            checkpoint=(self.begin if self.failure else self.checkpoint()).to_bytes(),
            thermodynamics=mean_thermodynamics(trajectory) if trajectory.n_frames else None,
            health=Health(healthy=not self.failure, failed_step=failed_step, reason=self.failure),
            end=self.checkpoint(),
            largest_grade=self.grade,
        )


def _advance(
    running: Sequence[_Segment], potential: HasEvaluator, device: str, watch: Watch | None
) -> None:
    """Advance all of them together, until the first has ended."""
    schedule = Schedule([segment.run.protocol for segment in running])
    limits = StepLimits(
        [segment.run.protocol.health for segment in running],
        [segment.begin.start for segment in running],
    )
    with np.errstate(all="ignore"):  # an explosion is judged below
        dynamics = make_dynamics([segment.replica() for segment in running], potential, device)
        _keep_frames([segment for segment in running if not segment.step], running, dynamics, watch)
        steps = np.array([segment.step for segment in running])
        ends = np.array([segment.last_step for segment in running])
        dynamics.set_phase(schedule.producing(steps + 1))
        while (steps < ends).all() and not any(segment.failure for segment in running):
            stretch = min(schedule.stretch(steps), int((ends - steps).min()))
            if schedule.begins_production(steps + 1):
                dynamics.set_phase(schedule.producing(steps + 1))
            targets_k = schedule.targets_k(steps + np.arange(1, stretch + 1)[:, None])
            taken = dynamics.advance(targets_k, limits)
            steps += taken
            last_k = targets_k[taken - 1, np.arange(len(running))]
            kept, due = limits.are_kept(dynamics, last_k), schedule.sampled(steps)
            for segment, step in zip(running, steps.tolist(), strict=True):
                segment.step = step
            for i in np.flatnonzero(~kept).tolist():
                running[i].failure = limits.reason(dynamics, last_k, i)
            sampled = [running[i] for i in np.flatnonzero(due & kept).tolist()]
            _keep_frames(sampled, running, dynamics, watch)
    for i, motion in enumerate(dynamics.motions()):
        running[i].come_to(int(steps[i]), motion, dynamics.grades[i])


def _keep_frames(
    sampled: Sequence[_Segment],
    running: Sequence[_Segment],
    dynamics: Dynamics,
    watch: Watch | None,
) -> None:
    if not sampled:
        return
    positions = dynamics.positions_ang.cpu().split(dynamics.sizes)
    stresses_gpa = dynamics.full_stresses_gpa
    for i, segment in enumerate(running):
        if segment in sampled:
            frame = Snapshot(
                steps=segment.step,
                frac_coords=positions[i].numpy() @ np.linalg.inv(dynamics.cells_ang[i]),
                cells_ang=dynamics.cells_ang[i],
                potential_energy_ev=float(dynamics.energies_ev[i]),
                temperature_k=float(dynamics.temperatures_k[i]),
                stress_gpa=stresses_gpa[i],
            )
            segment.keep(frame, watch)

"""One MD run: heat, equilibrate, then NVT or NpT; segment by segment; and what it amounts to.

Steps are counted from 0, the drawn velocities. With h = heating steps, e = equilibration steps:

| steps | phase | ensemble | target |
|---|---|---|---|
| 1 .. h | ramp | NVT | linear from `start_temperature_k`; step h aims at `temperature_k` |
| h+1 .. h+e | equilibration | NVT | `temperature_k` |
| h+e+1 .. n | production | the protocol's | `temperature_k` |

>>> for segment in run_md(start, potential, protocol, seed=0, n_steps=140_000):
...     store(segment)

Each segment begins from its checkpoint's bytes with a calculator of its own, whether or not the
run was interrupted: a neighbour list with a skin remembers when it was built and sums in that
order. So a resumed run equals an uninterrupted one bit by bit (one machine type, one thread).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import safetensors.numpy
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from lycb_flows import schemas
from lycb_flows.config import MDProtocol, Supercell
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.md.health import Reference, frame_failure, framework_mask, step_failure
from lycb_flows.md.integrators import (
    Dynamics,
    Ensemble,
    FloatArray,
    build_dynamics,
    kinetic_temperature_k,
    thermal_momenta,
)
from lycb_flows.md.trajectory import (
    Snapshot,
    mean_thermodynamics,
    take_snapshot,
    to_trajectory,
    write_trajectory,
)
from lycb_flows.structures import canonical_structure, to_ase

CHECKPOINT_MEDIA_TYPE = "application/vnd.safetensors"


class HasCalculator(Protocol):
    """All that MD asks of a potential."""

    def calculator(self) -> Calculator:
        """A fresh ASE calculator with energy, forces and stress."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything that the rest of a run depends on, beside potential and protocol.

    Attributes
    ----------
    step
        Steps done.
    numbers
        Atomic numbers (n,).
    positions_ang, momenta
        Shape (n, 3); positions not wrapped, momenta in ASE's unit.
    cell_ang
        Shape (3, 3), rows a, b, c.
    integrator
        Chain and cell variables by name.
    start
        What health is judged against.
    """

    step: int
    numbers: NDArray[np.int64]
    positions_ang: FloatArray
    momenta: FloatArray
    cell_ang: FloatArray
    integrator: dict[str, FloatArray]
    start: Reference

    def to_atoms(self) -> Atoms:
        """The atoms with their momenta."""
        return Atoms(
            numbers=self.numbers,
            positions=self.positions_ang,
            momenta=self.momenta,
            cell=self.cell_ang,
            pbc=True,
        )

    def to_bytes(self) -> bytes:
        """As safetensors, which cannot carry code."""
        scalars = [self.start.volume_ang3, self.start.energy_ev_per_atom]
        arrays = {
            "step": np.array(self.step),
            "numbers": self.numbers,
            "positions_ang": self.positions_ang,
            "momenta": self.momenta,
            "cell_ang": self.cell_ang,
            "start.frac_coords": self.start.frac_coords,
            "start.volume_and_energy": np.array(scalars),
        } | {f"integrator.{name}": value for name, value in self.integrator.items()}
        return bytes(safetensors.numpy.save({k: np.array(v, order="C") for k, v in arrays.items()}))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The checkpoint of `to_bytes`."""
        arrays = safetensors.numpy.load(content)
        volume, energy = arrays["start.volume_and_energy"].tolist()
        prefix = "integrator."
        return cls(
            step=int(arrays["step"].item()),
            numbers=arrays["numbers"],
            positions_ang=arrays["positions_ang"],
            momenta=arrays["momenta"],
            cell_ang=arrays["cell_ang"],
            integrator={
                name.removeprefix(prefix): value
                for name, value in arrays.items()
                if name.startswith(prefix)
            },
            start=Reference(arrays["start.frac_coords"], volume, energy),
        )


@dataclass(frozen=True)
class SegmentResult:
    """A stretch of a run; after a failure it holds the frames before it.

    Attributes
    ----------
    index
        0 for the first of the run.
    first_step, last_step
        Frames have first_step < step <= last_step; index 0 also has step 0. Of a failed
        segment, last_step is the step that failed.
    trajectory
        HDF5 (`trajectory.read_trajectory`).
    checkpoint
        State after last_step; of a failed segment, the state that it began from.
    thermodynamics
        Over the segment's frames; None when it has none.
    """

    index: int
    first_step: int
    last_step: int
    n_frames: int
    trajectory: bytes
    checkpoint: bytes
    thermodynamics: schemas.Thermodynamics | None
    health: schemas.Health


def prepare_start(
    structure: schemas.Structure, *, strain: float = 0.0, repeat: Supercell = (1, 1, 1)
) -> schemas.Structure:
    """A structure repeated along a, b, c, its lattice vectors lengthened by `strain`."""
    atoms = to_ase(structure).repeat(repeat)
    atoms.set_cell(atoms.cell.array * (1 + strain), scale_atoms=True)
    return canonical_structure(atoms)


def target_temperature_k(protocol: MDProtocol, step: int) -> float:
    """What the thermostat aims at in this step."""
    if step >= protocol.heating_steps:
        return protocol.temperature_k
    climb = protocol.temperature_k - protocol.start_temperature_k
    return protocol.start_temperature_k + climb * step / protocol.heating_steps


def production_start(protocol: MDProtocol) -> int:
    """The last step before production."""
    return protocol.heating_steps + protocol.equilibration_steps


def ensemble_at(protocol: MDProtocol, step: int) -> Ensemble:
    """The ensemble of this step."""
    return protocol.ensemble if step > production_start(protocol) else "nvt"


def run_md(
    start: schemas.Structure,
    potential: HasCalculator,
    protocol: MDProtocol,
    *,
    seed: int,
    n_steps: int,
    resume_from: bytes | None = None,
) -> Iterator[SegmentResult]:
    """Yield each segment of a run when it is finished; an unhealthy one is the last.

    Parameters
    ----------
    start
        Where the run starts (`prepare_start` strains and repeats it).
    seed
        Of the velocities.
    n_steps
        Length of the run, ramp and equilibration included.
    resume_from
        Checkpoint of the last whole segment that is already stored.

    Raises
    ------
    InputError
        When the run has no production steps, or the checkpoint is none of this run's.
    PhysicsError
        When the start itself is not physics.
    """
    if n_steps <= production_start(protocol):
        raise InputError(
            "a run must be longer than its ramp and equilibration",
            fix="raise its length",
            n_steps=n_steps,
            ramp_and_equilibration_steps=production_start(protocol),
        )
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
    while here.step < n_steps:
        segment = run_segment(
            here, potential, protocol, min(here.step + protocol.segment_steps, n_steps)
        )
        yield segment
        if not segment.health.healthy:
            return
        here = Checkpoint.from_bytes(segment.checkpoint)


def start_run(
    start: schemas.Structure, potential: HasCalculator, protocol: MDProtocol, seed: int
) -> Checkpoint:
    """Step 0: velocities drawn at exactly `start_temperature_k`, zero total momentum.

    Raises
    ------
    PhysicsError
        When atoms overlap or the potential gives no numbers.
    InputError
        For fewer than two atoms, which have no temperature.
    """
    atoms = to_ase(start)
    if len(atoms) < 2:  # noqa: PLR2004 - one atom at zero momentum stands still
        raise InputError("MD needs at least two atoms", fix="repeat the cell", found=len(atoms))
    rng = np.random.default_rng(seed)
    atoms.set_momenta(thermal_momenta(atoms.get_masses(), protocol.start_temperature_k, rng))
    atoms.calc = potential.calculator()
    snapshot = take_snapshot(atoms, 0)
    energy = snapshot.potential_energy_ev / len(atoms)
    reference = Reference(snapshot.frac_coords, float(atoms.get_volume()), energy)
    framework = framework_mask(list(start.species), protocol.health.mobile_species)
    reason = frame_failure(snapshot, reference, framework, protocol.health)
    if reason or not np.isfinite(atoms.get_forces()).all():
        raise PhysicsError(
            "this structure is no start for MD",
            fix="relax it, or look at the potential",
            reason=reason or "a force is not a number",
            structure=start.key,
        )
    return Checkpoint(
        step=0,
        numbers=atoms.numbers.astype(np.int64),
        positions_ang=atoms.positions,
        momenta=atoms.get_momenta(),
        cell_ang=atoms.cell.array,
        integrator={},
        start=reference,
    )


def run_segment(
    begin: Checkpoint, potential: HasCalculator, protocol: MDProtocol, last_step: int
) -> SegmentResult:
    """The steps after a checkpoint up to `last_step`, or to where the run leaves physics."""
    segment = _Segment(begin, potential, protocol)
    failure, step = "", begin.step
    while not failure and step < last_step:
        step += 1
        failure = segment.take_step(step)
    atoms = segment.atoms
    trajectory = to_trajectory(segment.frames, atoms.get_chemical_symbols(), protocol.time_step_fs)
    end = begin if failure else segment.checkpoint(step)
    return SegmentResult(
        index=begin.step // protocol.segment_steps,
        first_step=begin.step,
        last_step=step,
        n_frames=trajectory.n_frames,
        trajectory=write_trajectory(trajectory),
        checkpoint=end.to_bytes(),
        thermodynamics=mean_thermodynamics(trajectory) if trajectory.n_frames else None,
        health=schemas.Health(
            healthy=not failure, failed_step=step if failure else None, reason=failure
        ),
    )


class _Segment:
    """A segment while it runs: atoms, integrator, and the frames so far."""

    def __init__(self, begin: Checkpoint, potential: HasCalculator, protocol: MDProtocol) -> None:
        self.begin, self.protocol = begin, protocol
        self.atoms = begin.to_atoms()
        self.atoms.calc = potential.calculator()
        self.framework = framework_mask(
            self.atoms.get_chemical_symbols(), protocol.health.mobile_species
        )
        self.ensemble = ensemble_at(protocol, begin.step + 1)
        self.dynamics = self._dynamics(begin.integrator)
        self.frames: list[Snapshot] = []
        if begin.step == 0:
            self.frames.append(take_snapshot(self.atoms, 0))

    def _dynamics(self, state: dict[str, FloatArray]) -> Dynamics:
        dynamics = build_dynamics(self.atoms, self.protocol, self.ensemble)
        dynamics.restore(state)
        return dynamics

    def take_step(self, step: int) -> str:
        """Go to `step`, keep its frame if one is due; return why the run has left physics."""
        if self.ensemble != ensemble_at(self.protocol, step):
            self.ensemble = ensemble_at(self.protocol, step)
            self.dynamics = self._dynamics(self.dynamics.state())
        target_k = target_temperature_k(self.protocol, step)
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # an explosion is judged below
                self.dynamics.advance(target_k)
                temperature_k = kinetic_temperature_k(self.atoms)
            failure = step_failure(temperature_k, target_k, self.protocol.health)
            if not failure and not self.dynamics.is_finite():
                failure = "a momentum is not a number"
            if not failure and step % self.protocol.sample_interval_steps == 0:
                failure = self._keep_frame(step)
        except PhysicsError as err:  # the potential saw an impossible crystal
            return str(err)
        return failure

    def _keep_frame(self, step: int) -> str:
        frame = take_snapshot(self.atoms, step)
        health = self.protocol.health
        failure = frame_failure(frame, self.begin.start, self.framework, health)
        if not failure:
            self.frames.append(frame)
        return failure

    def checkpoint(self, step: int) -> Checkpoint:
        """The state after `step`."""
        return Checkpoint(
            step=step,
            numbers=self.begin.numbers,
            positions_ang=self.atoms.positions,
            momenta=self.atoms.get_momenta(),
            cell_ang=self.atoms.cell.array,
            integrator=self.dynamics.state(),
            start=self.begin.start,
        )

"""One run in a folder: `trajectory.h5` and `checkpoint.safetensors`, safe against any kill.

>>> run_in_folder(Path("run"), SingleRun(start, protocol, seed=0, n_steps=140_000), potential)

The same call again goes on from the last checkpoint, also with a larger `n_steps`. First the
frames of a segment are written, then its checkpoint replaces the last; frames beyond the
checkpoint are cut off on return. So the frames equal those of an undisturbed run bit by bit,
and so do the bytes of the finished file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lycb_flows.config import MDProtocol
from lycb_flows.errors import InputError
from lycb_flows.machine.files import write_durably
from lycb_flows.md.checkpoint import Checkpoint
from lycb_flows.md.protocol import RunAhead, run_batch, start_run
from lycb_flows.md.trajectory import Snapshot
from lycb_flows.md.trajectory_file import GrowingTrajectory, compact, create, cut, read_run
from lycb_flows.potentials.evaluator import HasEvaluator
from lycb_flows.schemas import Health, Structure

TRAJECTORY_NAME = "trajectory.h5"
CHECKPOINT_NAME = "checkpoint.safetensors"
_S_PER_DAY = 86_400
_NS_FS = 1_000_000


@dataclass(frozen=True)
class SingleRun:
    """The run of a folder; only its length may change later.

    Attributes
    ----------
    start
        Where the run starts.
    protocol
        Phases, temperatures and pressure.
    seed
        Seed of the velocities.
    n_steps
        Length, ramp and equilibration included.
    model
        Key of the Model that runs it; None: the folder does not say which.
    """

    start: Structure
    protocol: MDProtocol
    seed: int
    n_steps: int
    model: str | None = None

    def identity(self) -> dict[str, object]:
        """Return what the folder belongs to, as plain data."""
        protocol = self.protocol.model_dump(mode="json")
        found = {"start": self.start.key, "seed": self.seed, "protocol": protocol}
        return found if self.model is None else found | {"model": self.model}


@dataclass(frozen=True)
class Progress:
    """How far a run has come at a frame, and how fast since it was last started."""

    frame: Snapshot
    n_steps: int
    ns_per_day: float
    remaining_s: float


def run_in_folder(
    folder: Path,
    run: SingleRun,
    potential: HasEvaluator,
    *,
    device: str = "cpu",
    tell: Callable[[Progress], None] | None = None,
) -> Health:
    """Run to the end, or until the run leaves physics; go on where it was stopped.

    Parameters
    ----------
    folder
        Made if need be; belongs to this run and, where `run` names it, to this model.
    run
        What is run.
    potential
        Gives energy, forces and stress.
    device
        Torch device of positions and momenta.
    tell
        Called at every frame.

    Raises
    ------
    InputError
        When the folder belongs to another run or model, or does not say to which model.
    PhysicsError
        When the start itself is not physical.
    """
    here = _resume(folder, run) or _begin(folder, run, potential)
    began, health = time.perf_counter(), Health()

    def watch(_place: int, frame: Snapshot) -> None:
        file.append(frame)
        if tell and frame.steps > here.step:
            step_s = (time.perf_counter() - began) / (frame.steps - here.step)
            ns_per_day = run.protocol.time_step_fs / _NS_FS * _S_PER_DAY / step_s
            tell(Progress(frame, run.n_steps, ns_per_day, (run.n_steps - frame.steps) * step_s))

    ahead = [RunAhead(here, run.protocol, run.n_steps)] if here.step < run.n_steps else []
    with GrowingTrajectory(folder / TRAJECTORY_NAME) as file:
        for _, segment in run_batch(ahead, potential, device=device, watch=watch):
            file.flush()
            write_durably(folder / CHECKPOINT_NAME, segment.checkpoint)
            health = segment.health
    compact(folder / TRAJECTORY_NAME)
    return health


def _begin(folder: Path, run: SingleRun, potential: HasEvaluator) -> Checkpoint:
    here = start_run(run.start, potential, run.protocol, run.seed)
    folder.mkdir(parents=True, exist_ok=True)
    identity = json.dumps(run.identity())
    create(folder / TRAJECTORY_NAME, run.start.species, run.protocol.time_step_fs, identity)
    write_durably(folder / CHECKPOINT_NAME, here.to_bytes())
    return here


def _resume(folder: Path, run: SingleRun) -> Checkpoint | None:
    checkpoint = folder / CHECKPOINT_NAME
    if not checkpoint.exists():
        return None
    found, given = json.loads(read_run(folder / TRAJECTORY_NAME)), run.identity()
    if differing := [name for name in found | given if found.get(name) != given.get(name)]:
        raise InputError(
            "this folder belongs to another run",
            fix="give another folder",
            folder=folder,
            differs_in=" and ".join(differing),
        )
    for torn in folder.glob(".writing-*"):
        torn.unlink()
    here = Checkpoint.from_bytes(checkpoint.read_bytes())
    # step 0 is a frame of the first segment, which begins anew
    cut(folder / TRAJECTORY_NAME, here.step or -1)
    return here

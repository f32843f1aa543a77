"""One run in a folder: `trajectory.h5` and `checkpoint.safetensors`, safe against any kill.

>>> run_in_folder(Path("run"), SingleRun(start, protocol, seed=0, n_steps=140_000), potential)

The same call again goes on from the last checkpoint, also with a larger `n_steps`. First the
frames of a segment are written, then its checkpoint replaces the last; frames beyond the
checkpoint are cut off on return. So the frames equal those of an undisturbed run bit by bit,
and so do the bytes of the finished file. One process at a time has the folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lycb_flows.config import MDProtocol
from lycb_flows.errors import InputError
from lycb_flows.machine.files import TEMPORARY_PREFIX, holding, write_durably
from lycb_flows.md.checkpoint import Checkpoint
from lycb_flows.md.protocol import RunAhead, run_batch, start_run
from lycb_flows.md.schedule import production_start
from lycb_flows.md.trajectory import Snapshot
from lycb_flows.md.trajectory_file import (
    GrowingTrajectory,
    compact,
    create,
    cut,
    read_run,
    read_steps,
)
from lycb_flows.potentials.evaluator import HasEvaluator
from lycb_flows.schemas import Health, Structure
from lycb_flows.units import PS_FS

TRAJECTORY_NAME = "trajectory.h5"
CHECKPOINT_NAME = "checkpoint.safetensors"
_LOCK_NAME = "lock"
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
        When the folder belongs to another run or model, or does not say to which model; when
        another process works in it; when its run is longer than this, or frames are missing.
    PhysicsError
        When the start itself is not physical.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with holding(folder / _LOCK_NAME, lambda pid: _in_use(folder, pid)):
        return _run(folder, run, potential, device, tell)


def _in_use(folder: Path, pid: str) -> InputError:
    fix = "wait for it, or give another folder"
    return InputError("another process runs in this folder", fix=fix, folder=folder, pid=pid)


def _run(
    folder: Path,
    run: SingleRun,
    potential: HasEvaluator,
    device: str,
    tell: Callable[[Progress], None] | None,
) -> Health:
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
    trajectory = folder / TRAJECTORY_NAME
    # a run that was killed before its first checkpoint has left no frame
    if trajectory.exists() and len(steps := read_steps(trajectory)):
        raise InputError(
            "this folder has frames, but no checkpoint to go on from",
            fix="give another folder, or move the frames elsewhere",
            file=trajectory,
            frames=len(steps),
        )
    here = start_run(run.start, potential, run.protocol, run.seed)
    create(trajectory, run.start.species, run.protocol.time_step_fs, json.dumps(run.identity()))
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
    here = Checkpoint.from_bytes(checkpoint.read_bytes())
    _check_length(folder, run, here.step)
    for torn in folder.glob(f"{TEMPORARY_PREFIX}*"):
        torn.unlink()
    # step 0 is a frame of the first segment, which begins anew
    cut(folder / TRAJECTORY_NAME, here.step or -1)
    return here


def _check_length(folder: Path, run: SingleRun, reached: int) -> None:
    """Check that a run does not end before its checkpoint, and that all frames before it are there.

    Raises
    ------
    InputError
        When it does, or they are not.
    """
    if run.n_steps < reached:
        before = production_start(run.protocol)
        ps = run.protocol.time_step_fs / PS_FS
        raise InputError(
            "the run in this folder is longer",
            fix="ask for its length or more, or give another folder",
            folder=folder,
            production_ps=f"{(reached - before) * ps:g}",
            asked_ps=f"{(run.n_steps - before) * ps:g}",
        )
    steps = read_steps(folder / TRAJECTORY_NAME)
    n_found = int((steps <= reached).sum())
    n_frames = 1 + reached // run.protocol.sample_interval_steps
    if reached and n_found < n_frames:
        raise InputError(
            "frames of this run are missing",
            fix="give another folder: the run cannot go on",
            folder=folder,
            found=n_found,
            before_the_checkpoint=n_frames,
        )

"""Our own HDF5, as the other formats are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lycb_flows.config import MDProtocol
from lycb_flows.errors import InputError
from lycb_flows.md.foreign.frames import Frame, Frames, Source
from lycb_flows.md.schedule import production_start
from lycb_flows.md.trajectory import Trajectory
from lycb_flows.md.trajectory_file import read_run, read_trajectory_file
from lycb_flows.units import PS_FS


def read_own(path: Path, source: Source, species: Sequence[str] | None) -> Frames:
    """Yield the frames of a trajectory of `lycb md`, or of a run of a campaign.

    Parameters
    ----------
    path
        The HDF5 file; it may still grow.
    source
        Takes the temperature and where production starts if the file knows its protocol; if not,
        the temperatures of the frames.
    species
        Must be None: the file names its elements.

    Raises
    ------
    InputError
        When the file is no trajectory.
    """
    if species is not None:
        raise InputError("this format names its elements", fix="leave --species out")
    trajectory = read_trajectory_file(path)
    protocol = _protocol(path)
    if protocol is not None:
        source.temperature_k = protocol.temperature_k
        first_ps = float(trajectory.times_ps[0]) if trajectory.n_frames else 0.0
        step_ps = protocol.time_step_fs / PS_FS
        source.production_start_ps = (production_start(protocol) + 1) * step_ps - first_ps
    elif trajectory.n_frames:
        source.frame_temperatures_k = trajectory.temperature_k
    yield from frames_of(trajectory, source)


def frames_of(trajectory: Trajectory, source: Source) -> Frames:
    """Yield the frames of a trajectory in memory.

    Parameters
    ----------
    trajectory
        The frames.
    source
        Takes that they are unwrapped.
    """
    source.unwrapped, source.n_frames = True, trajectory.n_frames
    for frac, cell, step, time_ps in zip(
        trajectory.frac_coords,
        trajectory.cells_ang,
        trajectory.steps,
        trajectory.times_ps,
        strict=True,
    ):
        yield Frame(trajectory.species, cell, frac.astype(float) @ cell, int(step), float(time_ps))


def _protocol(path: Path) -> MDProtocol | None:
    try:
        return MDProtocol.model_validate(json.loads(read_run(path))["protocol"])
    except (KeyError, ValueError, TypeError):  # a run that states no protocol
        return None

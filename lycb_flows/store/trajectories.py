"""Trajectories of stored runs."""

from __future__ import annotations

from lycb_flows.md.trajectory import Trajectory, join, read_trajectory
from lycb_flows.schemas import Run, Segment
from lycb_flows.store.results import ResultStore


def trajectory_of(store: ResultStore, run: Run) -> Trajectory:
    """Return all frames of a run.

    Parameters
    ----------
    store
        Where the run is.
    run
        Its document.
    """
    segments = [store.load(Segment, key) for key in run.segments]
    return join([read_trajectory(store.blobs.read(segment.trajectory)) for segment in segments])

"""Trajectories of stored runs."""

from __future__ import annotations

from lycb_flows.errors import StoreError
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

    Raises
    ------
    StoreError
        When the run came without its trajectory, as `lycb import runs` brings it.
    """
    if run.segments and store.find(Segment, run.segments[0]) is None:
        raise StoreError(
            "this run has no trajectory here, so nothing new can be measured from it",
            fix="retract it, and it is run again",
            run=run.name,
            key=run.key[:12],
        )
    segments = [store.load(Segment, key) for key in run.segments]
    return join([read_trajectory(store.blobs.read(segment.trajectory)) for segment in segments])

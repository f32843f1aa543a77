"""Trajectories of other programs, as unwrapped positions at equal intervals of time.

`reading.py` has the one function that the rest of the package calls; a file per format yields
frames, `times.py` judges their times, `unwrapping.py` takes out the jumps across faces of the cell.
"""

from lycb_flows.md.foreign.reading import (
    ReadingOptions,
    UnwrappedTrajectory,
    as_unwrapped,
    read_any_trajectory,
)

__all__ = ["ReadingOptions", "UnwrappedTrajectory", "as_unwrapped", "read_any_trajectory"]

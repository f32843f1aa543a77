"""Molecular dynamics: integrators, protocol, trajectory, health.

What other packages take from several of its modules is imported from here, when it is first used:
`import lycb_flows.md` loads none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lycb_flows.md.checkpoint import CHECKPOINT_MEDIA_TYPE, Checkpoint
    from lycb_flows.md.protocol import (
        RunAhead,
        SegmentResult,
        prepare_start,
        run_batch,
        run_segments,
        start_run,
    )
    from lycb_flows.md.schedule import production_start
    from lycb_flows.md.summary import averaging_window, cell_parameters, summarise_run
    from lycb_flows.md.trajectory import MEDIA_TYPE, Trajectory, join, read_trajectory

__all__ = [
    "CHECKPOINT_MEDIA_TYPE",
    "MEDIA_TYPE",
    "Checkpoint",
    "RunAhead",
    "SegmentResult",
    "Trajectory",
    "averaging_window",
    "cell_parameters",
    "join",
    "prepare_start",
    "production_start",
    "read_trajectory",
    "run_batch",
    "run_segments",
    "start_run",
    "summarise_run",
]
_MODULES = {
    "CHECKPOINT_MEDIA_TYPE": "checkpoint",
    "Checkpoint": "checkpoint",
    "MEDIA_TYPE": "trajectory",
    "RunAhead": "protocol",
    "SegmentResult": "protocol",
    "Trajectory": "trajectory",
    "averaging_window": "summary",
    "cell_parameters": "summary",
    "join": "trajectory",
    "prepare_start": "protocol",
    "production_start": "schedule",
    "read_trajectory": "trajectory",
    "run_batch": "protocol",
    "run_segments": "protocol",
    "start_run": "protocol",
    "summarise_run": "summary",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Return what a name stands for, imported now."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)

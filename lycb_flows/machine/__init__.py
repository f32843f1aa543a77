"""One machine: its settings, files, processes, walltime, programs that end with their job.

What other packages take from several of its modules is imported from here, when it is first used:
`import lycb_flows.machine` loads none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lycb_flows.machine.engines import Machine, count_cores, suggested_shares
    from lycb_flows.machine.looks import Finding, Look, NotApplicableError
    from lycb_flows.machine.settings import Settings, load_settings
    from lycb_flows.machine.walltime import SHIFT

__all__ = [
    "SHIFT",
    "Finding",
    "Look",
    "Machine",
    "NotApplicableError",
    "Settings",
    "count_cores",
    "load_settings",
    "suggested_shares",
]
_MODULES = {
    "Finding": "looks",
    "Look": "looks",
    "Machine": "engines",
    "NotApplicableError": "looks",
    "SHIFT": "walltime",
    "Settings": "settings",
    "count_cores": "engines",
    "load_settings": "settings",
    "suggested_shares": "engines",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Return what a name stands for, imported now."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)

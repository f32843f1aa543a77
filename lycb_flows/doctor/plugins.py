"""Looks at what labels here: engines of our own, and the plug-ins of other packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lycb_flows.config import LABELERS
from lycb_flows.doctor.context import Context
from lycb_flows.labels.engine import find_engine
from lycb_flows.machine.looks import Finding, Look

Line = tuple[str, Callable[[Context], Finding], str]
"""Name, look, and what to do when the look itself breaks."""
_FIX = "update or uninstall its package"


def engine_lines() -> Iterator[Line]:
    """Yield the lines about what engines need, a plug-in's after one that says if it loads."""
    plugins = LABELERS.plugins()
    for name in LABELERS.names():
        if name in plugins:
            yield f"labeler {name}", _look_at_plugin(name, plugins[name]), _FIX
        yield from map(_line, _looks(name))


def _look_at_plugin(name: str, package: str) -> Callable[[Context], Finding]:
    def look(_context: Context) -> Finding:
        find_engine(name).looks()
        return Finding(ok=True, found=package)

    return look


def _looks(name: str) -> Sequence[Look]:
    """The looks of an engine; none of a broken plug-in, about which its own line tells."""
    try:
        return find_engine(name).looks()
    except Exception:  # noqa: BLE001 - whatever another package raises
        return ()


def _line(look: Look) -> Line:
    return look.name, lambda context: look.find(context.settings.machine), look.fix

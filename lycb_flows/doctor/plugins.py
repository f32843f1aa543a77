"""Looks at what labels here: engines of our own, and the plug-ins of other packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lycb_flows.config import LABELERS, LabelerConfig
from lycb_flows.doctor.context import Patient
from lycb_flows.labels.engine import Engine, find_engine
from lycb_flows.machine.looks import Finding, Look

Line = tuple[str, Callable[[Patient], Finding], str]
"""Name, look, and what to do when the look itself breaks."""


def engine_lines() -> Iterator[Line]:
    """Yield the lines about what engines need, a plug-in's behind one that says if it loads."""
    for name in LABELERS.built_in:
        yield from map(_line, find_engine(name).looks())
    for name in LABELERS.plugins:
        yield from _plugin_lines(name)


def _plugin_lines(name: str) -> Iterator[Line]:
    fix = "update or uninstall its package"
    try:
        looks = _load_plugin(name).looks()
    except Exception as err:  # noqa: BLE001 - of somebody else's code: the line says what
        yield f"labeler {name}", _raising(err), fix
    else:
        package = LABELERS.package_of(name)
        yield f"labeler {name}", lambda _patient: Finding(ok=True, found=package), fix
        yield from map(_line, looks)


def _load_plugin(name: str) -> Engine[Any]:
    LABELERS.find_plugin(name)
    LabelerConfig.class_of({"type": name})
    return find_engine(name)


def _raising(err: Exception) -> Callable[[Patient], Finding]:
    def look(_patient: Patient) -> Finding:
        raise err

    return look


def _line(look: Look) -> Line:
    return look.name, lambda patient: look.find(patient.settings.machine), look.fix

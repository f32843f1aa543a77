"""Levels of theory and the labelers that compute at them.

What other packages take from several of its modules is imported from here, when it is first used:
`import lycb_flows.labels` loads none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lycb_flows.labels.checks import Answer, ask, checked_label, checked_numbers
    from lycb_flows.labels.engine import (
        Engine,
        Finding,
        FindModel,
        ForceCall,
        Look,
        Machine,
        Models,
        NotApplicableError,
        engine_of,
        find_engine,
        is_dft,
    )
    from lycb_flows.labels.foreign.stated_level import (
        Level,
        Statement,
        contradictions,
        level_of_fingerprint,
        our_levels,
        stated_level,
    )
    from lycb_flows.labels.logs import KeepsLogs, Log, archive
    from lycb_flows.labels.plane_waves import plane_wave_label_s
    from lycb_flows.labels.relaxing import Relaxer, drive_fire
    from lycb_flows.labels.theory import (
        VASP_STAND_IN,
        Convergence,
        Labeler,
        Potcars,
        Smearing,
        Theory,
        code_of,
        gpaw_theory,
        vasp_theory,
    )

__all__ = [
    "VASP_STAND_IN",
    "Answer",
    "Convergence",
    "Engine",
    "FindModel",
    "Finding",
    "ForceCall",
    "KeepsLogs",
    "Labeler",
    "Level",
    "Log",
    "Look",
    "Machine",
    "Models",
    "NotApplicableError",
    "Potcars",
    "Relaxer",
    "Smearing",
    "Statement",
    "Theory",
    "archive",
    "ask",
    "checked_label",
    "checked_numbers",
    "code_of",
    "contradictions",
    "drive_fire",
    "engine_of",
    "find_engine",
    "gpaw_theory",
    "is_dft",
    "level_of_fingerprint",
    "our_levels",
    "plane_wave_label_s",
    "stated_level",
    "vasp_theory",
]
_MODULES = {
    "Answer": "checks",
    "Convergence": "theory",
    "Engine": "engine",
    "FindModel": "engine",
    "Finding": "engine",
    "ForceCall": "engine",
    "KeepsLogs": "logs",
    "Labeler": "theory",
    "Level": "foreign.stated_level",
    "Log": "logs",
    "Look": "engine",
    "Machine": "engine",
    "Models": "engine",
    "NotApplicableError": "engine",
    "Potcars": "theory",
    "Relaxer": "relaxing",
    "Smearing": "theory",
    "Statement": "foreign.stated_level",
    "Theory": "theory",
    "VASP_STAND_IN": "theory",
    "archive": "logs",
    "ask": "checks",
    "checked_label": "checks",
    "checked_numbers": "checks",
    "code_of": "theory",
    "contradictions": "foreign.stated_level",
    "drive_fire": "relaxing",
    "engine_of": "engine",
    "find_engine": "engine",
    "gpaw_theory": "theory",
    "is_dft": "engine",
    "level_of_fingerprint": "foreign.stated_level",
    "our_levels": "foreign.stated_level",
    "plane_wave_label_s": "plane_waves",
    "stated_level": "foreign.stated_level",
    "vasp_theory": "theory",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Return what a name stands for, imported now."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)

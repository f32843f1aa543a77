"""Disordered crystal in, ionic conductivity with an error bar out.

The public names are those of `lycb_flows.api`; they are imported when first used, so that
`import lycb_flows` and `lycb --help` are quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lycb_flows.api import (
        analyse_diffusion,
        enumerate_decorations,
        enumerate_orderings,
        fine_tune,
        load_model,
        load_parent,
        relax,
        run_campaign,
        run_md,
        select_frames,
    )

__version__ = "0.1.0"
__all__ = [
    "analyse_diffusion",
    "enumerate_decorations",
    "enumerate_orderings",
    "fine_tune",
    "load_model",
    "load_parent",
    "relax",
    "run_campaign",
    "run_md",
    "select_frames",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """A public name, imported now."""
    if name in __all__:
        from lycb_flows import api  # noqa: PLC0415 - heavy

        return getattr(api, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)

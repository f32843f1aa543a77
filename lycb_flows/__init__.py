"""Disordered crystal in, ionic conductivity with an error bar out.

The public names are those of `lycb_flows.api`; they are imported when first used, so that
`import lycb_flows` and `lycb --help` are quick.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from lycb_flows.api import (
        analyse_diffusion as analyse_diffusion,
        enumerate_decorations as enumerate_decorations,
        enumerate_orderings as enumerate_orderings,
        fine_tune as fine_tune,
        load_model as load_model,
        load_parent as load_parent,
        open_store as open_store,
        relax as relax,
        run_campaign as run_campaign,
        run_md as run_md,
        select_frames as select_frames,
    )

__version__ = "0.1.0"
_PUBLIC = (
    "analyse_diffusion",
    "enumerate_decorations",
    "enumerate_orderings",
    "fine_tune",
    "load_model",
    "load_parent",
    "open_store",
    "relax",
    "run_campaign",
    "run_md",
    "select_frames",
)
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"api": _PUBLIC})

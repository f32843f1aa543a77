from .api import (
    analyse_diffusion as analyse_diffusion,
    enumerate_decorations as enumerate_decorations,
    enumerate_orderings as enumerate_orderings,
    fine_tune as fine_tune,
    load_model as load_model,
    load_parent as load_parent,
    relax as relax,
    run_campaign as run_campaign,
    run_md as run_md,
    select_frames as select_frames,
)

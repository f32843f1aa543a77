from .campaign import (
    after_stage as after_stage,
    campaign_flow as campaign_flow,
    relabel_flow as relabel_flow,
)
from .embedded import (
    relabel_embedded as relabel_embedded,
    run_embedded as run_embedded,
)
from .makers import (
    CampaignMakers as CampaignMakers,
)
from .structures import (
    ranking_flow as ranking_flow,
)

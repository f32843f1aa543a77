"""The model that the loop starts from, where a campaign names several.

The stage of the test set runs with the first of them; its labels choose.
"""

from __future__ import annotations

from lycb_flows.campaign.stages import StagePlan
from lycb_flows.schemas import Dataset, Foundation
from lycb_flows.store import ResultStore


def find_first_round(store: ResultStore, plan: StagePlan) -> StagePlan | None:
    """Return the plan of the first round; None while something that it needs is missing.

    Parameters
    ----------
    store
        Holds the Dataset that closed the stage and, where there was a choice, the Foundation.
    plan
        The stage of the test set.
    """
    dataset = store.find(Dataset, plan.dataset_key)
    if dataset is None or plan.foundation_key is None:
        return None if dataset is None else plan.first_round(dataset)
    foundation = store.find(Foundation, plan.foundation_key)
    return None if foundation is None else plan.first_round(dataset, foundation)

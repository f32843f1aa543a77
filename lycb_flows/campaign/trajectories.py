"""Trajectories of finished campaigns, which may be dropped to save space."""

from __future__ import annotations

from lycb_flows.campaign.catalogue import update_catalogue
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import find_submission
from lycb_flows.errors import InputError
from lycb_flows.quantities import readable_quantities
from lycb_flows.schemas import Blob, Segment
from lycb_flows.store import ResultStore


def trajectories_to_prune(store: ResultStore, campaign: str) -> list[Blob]:
    """Return the trajectories that a finished campaign has for itself and that are still there.

    Parameters
    ----------
    store
        Holds the campaign; its catalogue is brought up to date.
    campaign
        Name of the campaign.

    Raises
    ------
    InputError
        When the campaign is not finished.
    """
    submission = find_submission(store, campaign)
    measured = find_results(store, submission.campaign, submission.theory).measured
    wanted = {quantity.name for quantity in readable_quantities(submission.campaign.measure)}
    if not wanted or any(not measured.get(name) for name in wanted):
        raise InputError(
            "the campaign is not finished", fix="run it to its report first", campaign=campaign
        )
    update_catalogue(store)
    name = submission.campaign.name
    owners: dict[str, set[str]] = {}
    for row in store.query("segment"):
        owners.setdefault(str(row["key"]), set()).add(str(row.get("campaign", "")))
    keys = [key for key, names in owners.items() if names == {name}]
    found = (document for document in store.find_documents(keys) if isinstance(document, Segment))
    blobs = {segment.trajectory.sha256: segment.trajectory for segment in found}
    return [blob for sha256, blob in blobs.items() if store.blobs.has(sha256)]

"""Trajectories of finished campaigns, which may be dropped to save space."""

from __future__ import annotations

from collections.abc import Iterator

from lycb_flows.campaign import (
    Submission,
    find_results,
    find_submission,
    measurements,
    reopen,
    run_batches,
)
from lycb_flows.campaign.catalogue import update_catalogue
from lycb_flows.config import RunConfig
from lycb_flows.errors import InputError, LycbError
from lycb_flows.quantities import chosen_quantities
from lycb_flows.schemas import Blob, CampaignRecord, Segment, digest
from lycb_flows.store import ResultStore


def trajectories_to_prune(store: ResultStore, campaign: str) -> list[Blob]:
    """Return the trajectories that a finished campaign has for itself and that are still there.

    All versions of the campaign, submitted under the same name, count as one: the runs of a changed
    version go on from segments of the first. What a run of another campaign goes on from stays,
    before that campaign has begun as well.

    Parameters
    ----------
    store
        Holds the campaign; its catalogue is brought up to date.
    campaign
        Name of the campaign, or its file.

    Raises
    ------
    InputError
        When a version of the campaign is not finished, or a campaign cannot be read here.
    """
    name = find_submission(store, campaign).campaign.name
    records = list(store.find_all(CampaignRecord))
    for record in records:
        if record.name == name and not _is_finished(store, reopen(store, record)):
            raise InputError(
                "the campaign is not finished",
                fix="run it to its report first; retract the record of a version that was given up",
                campaign=name,
                record=record.key,
            )
    others = [record for record in records if record.name != name]
    elsewhere = {
        digest(run.identity()) for record in others for run in _planned_runs(store, record)
    }
    update_catalogue(store)
    owners: dict[str, set[str]] = {}
    for row in store.query("segment"):
        owners.setdefault(str(row["key"]), set()).add(str(row.get("campaign", "")))
    keys = [key for key, names in owners.items() if names == {name}]
    found = (document for document in store.find_documents(keys) if isinstance(document, Segment))
    blobs = {
        segment.trajectory.sha256: segment.trajectory
        for segment in found
        if segment.run_identity not in elsewhere
    }
    return [blob for sha256, blob in blobs.items() if store.blobs.has(sha256)]


def _is_finished(store: ResultStore, submission: Submission) -> bool:
    """Return whether every quantity of a campaign is measured at every condition."""
    found = find_results(store, submission.campaign, submission.theory)
    plan = found.measurement
    if plan is None:
        return False
    done = {document.key for documents in found.measured.values() for document in documents}
    wanted = measurements(plan, chosen_quantities(plan.campaign.measure))
    return all(each.quantity.key(plan, each.condition) in done for each in wanted)


def _planned_runs(store: ResultStore, record: CampaignRecord) -> Iterator[RunConfig]:
    """Yield the runs of a campaign as far as its plan goes, done or not."""
    try:
        submission = reopen(store, record)
    except LycbError as err:
        raise InputError(
            "another campaign cannot be read, so that what its runs go on from is not known",
            fix="install what it lacks, or retract its record",
            campaign=record.name,
            record=record.key,
            reason=err.message,
        ) from err
    found = find_results(store, submission.campaign, submission.theory)
    for stage in found.stages:
        yield from stage.runs()
    if found.measurement is not None:
        quantities = chosen_quantities(submission.campaign.measure)
        for _, batch in run_batches(found.measurement, quantities):
            yield from batch

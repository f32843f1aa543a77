"""The ends of many runs, written together: one lock and one transaction for each workflow."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lycb_flows.service.launchpad.bulk import NeedsJobsError
from lycb_flows.service.launchpad.faults import UnlistedError
from lycb_flows.service.launchpad.locking import OwnedLock
from lycb_flows.service.launchpad.near import load_near, near_fields
from lycb_flows.service.launchpad.pad import ServiceLaunchPad

logger = logging.getLogger(__name__)


def complete_runs(pad: ServiceLaunchPad, runs: Mapping[int, int]) -> set[int]:
    """Write the ends of runs into the workflow of the first, and return its jobs among them.

    A job whose run was taken away meanwhile stays as it is.

    Parameters
    ----------
    pad
        The LaunchPad.
    runs
        Job -> its run, which is COMPLETED and has an action from which nothing follows.
    """
    ids = list(runs)
    try:
        with OwnedLock(pad, ids[0], near_fields(ids)) as lock:
            here = [fw_id for fw_id in ids if str(fw_id) in lock.row["fw_states"]]
            mine = _complete_here(pad, lock.row, {fw_id: runs[fw_id] for fw_id in here})
    except UnlistedError as err:
        logger.warning("%s", err)
        return {ids[0]}
    for fw_id in mine:
        pad.refresh_workflow(fw_id)
    return {ids[0], *here}


def _complete_here(
    pad: ServiceLaunchPad, row: Mapping[str, Any], runs: Mapping[int, int]
) -> list[int]:
    """Complete jobs of a locked workflow, and return those that FireWorks has to complete."""
    mine = list(runs)
    try:
        workflow = load_near(pad, row, mine)
        known = [fw_id for fw_id in mine if fw_id in workflow.id_fw]
        mine = [
            fw_id
            for fw_id in known
            if workflow.id_fw[fw_id].state == "RUNNING"
            and runs[fw_id] in workflow.id_fw[fw_id].launch_ids
        ]
        if mine:
            pad.write_workflow(workflow, sorted(workflow.complete(mine)))
    except NeedsJobsError:
        return mine
    return []

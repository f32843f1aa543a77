"""What can be asked of a campaign from its page; each is a command of `lycb`, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lycb_flows import service
from lycb_flows.campaign import Submission, extend, find_results, reopen, stop_after
from lycb_flows.errors import InputError
from lycb_flows.machine import counted
from lycb_flows.schemas import CampaignRecord
from lycb_flows.serve import Connection
from lycb_flows.store import user_name


@dataclass(frozen=True)
class Lever:
    """Something that can be asked of a campaign.

    Attributes
    ----------
    name, title
        In its address and on its button; the command `lycb NAME` does the same.
    what
        What it does, as a sentence.
    needs_launchpad
        Whether it is about jobs of a LaunchPad.
    asks
        Whether the page asks before.
    """

    name: str
    title: str
    what: str
    pull: Callable[[Connection, Submission], str]
    needs_launchpad: bool = True
    asks: bool = False


def pull(connection: Connection, name: str, key: str, *, sure: bool) -> str:
    """Do what a lever says and return what came of it, in words.

    Parameters
    ----------
    connection
        May write.
    name
        Name of the lever.
    key
        Key of the campaign's record.
    sure
        Whether the user has confirmed that a campaign of another user is meant.

    Raises
    ------
    InputError
        When there is no such lever or campaign, or it does not apply.
    """
    lever = next((lever for lever in LEVERS if lever.name == name), None)
    if lever is None:
        raise InputError("no such lever", fix=f"one of {', '.join(each.name for each in LEVERS)}")
    submission = reopen(connection.store, connection.store.load(CampaignRecord, key))
    if lever.needs_launchpad:
        _check_launchpad(connection, lever, submission)
    if lever.asks and not sure:
        _check_owner(connection, submission)
    return f"{submission.campaign.name}: {lever.pull(connection, submission)}"


def _check_launchpad(connection: Connection, lever: Lever, submission: Submission) -> None:
    if connection.launchpad is None or not service.campaign_workflows(
        connection.launchpad, submission.campaign.name
    ):
        raise InputError(
            "no worker of a LaunchPad runs this campaign",
            fix=f"stop `lycb run` where it runs; `lycb {lever.name}` there",
            campaign=submission.campaign.name,
        )


def _check_owner(connection: Connection, submission: Submission) -> None:
    found = service.campaign_workflows(_pad(connection), submission.campaign.name)
    others = {str(workflow.metadata.get("owner") or "") for workflow in found} - {"", user_name()}
    if others:
        raise InputError("another user's campaign", fix="confirm it", owner=", ".join(others))


def _pad(connection: Connection) -> service.ServiceLaunchPad:
    if connection.launchpad is None:
        raise InputError("no LaunchPad", fix="give --launchpad")
    return connection.launchpad


def _pause(connection: Connection, submission: Submission) -> str:
    return f"{counted(service.pause(_pad(connection), submission.campaign.name), 'job')} paused"


def _resume(connection: Connection, submission: Submission) -> str:
    return f"{counted(service.resume(_pad(connection), submission.campaign.name), 'job')} resumed"


def _cancel(connection: Connection, submission: Submission) -> str:
    return f"{counted(service.cancel(_pad(connection), submission.campaign.name), 'job')} cancelled"


def _retry(connection: Connection, submission: Submission) -> str:
    jobs = service.retry_jobs(_pad(connection), submission.campaign.name)
    return f"{counted(len(jobs), 'failed job')} sent back to the queue"


def _relabel(connection: Connection, submission: Submission) -> str:
    tried = service.relabel(_pad(connection), connection.store, submission)
    listed = ", ".join(f"{n} of {stage}" for stage, n in tried.items())
    return f"labels submitted again: {listed}" if tried else "no label has failed for good"


def _extend(connection: Connection, submission: Submission) -> str:
    outcome = extend(connection.store, submission.campaign)
    if connection.launchpad is None:
        outcome += "; where nothing runs, `lycb run` goes on"
    elif service.begin_again(connection.launchpad, connection.store, submission):
        outcome += "; submitted anew, as its last round was decided"
    return outcome


def _stop_after(connection: Connection, submission: Submission) -> str:
    stages = find_results(connection.store, submission.campaign, submission.theory).stages
    return stop_after(connection.store, submission.campaign, stages, None)


LEVERS = (
    Lever("pause", "Pause", "Running jobs end, no other starts.", _pause),
    Lever("resume", "Resume", "Undo a pause.", _resume),
    Lever("relabel", "Relabel", "Try once more the labels that failed for good.", _relabel),
    Lever("retry", "Retry", "Try the failed jobs again, after mending their cause.", _retry),
    Lever(
        "extend", "One more round", "Learn one round more than the file says, then measure.",
        _extend, needs_launchpad=False,
    ),
    Lever(
        "stop-after", "Stop after this round", "End the learning after the running round; measure.",
        _stop_after, needs_launchpad=False,
    ),
    Lever(
        "cancel", "Cancel", "Take it off the LaunchPad; results stay, submitting goes on.",
        _cancel, asks=True,
    ),
)  # fmt: skip

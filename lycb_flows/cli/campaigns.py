"""Commands on whole campaigns: run them here, or put them on a LaunchPad."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lycb_flows.cli.terminal import (
    CampaignFile,
    CampaignName,
    JsonOption,
    LaunchPadOption,
    ReportOption,
    StoreOption,
    open_launchpad,
    open_results,
    open_results_to_plan,
    open_service_store,
    open_submission,
    print_json,
    print_table,
)
from lycb_flows.errors import InputError
from lycb_flows.machine import counted, duration_text

if TYPE_CHECKING:
    from lycb_flows.campaign import Submission
    from lycb_flows.service import CampaignWorkflow, ServiceLaunchPad
    from lycb_flows.store import ResultStore


def submit(
    campaign: CampaignFile, store: StoreOption = None, launchpad: LaunchPadOption = None
) -> None:
    """Put a campaign on the LaunchPad for workers to run; twice adds nothing.

    Results that are in the store already are found, not computed again.
    """
    from lycb_flows.service import (
        kept_settings,
        other_methods,
        other_versions,
        submit_campaign,
    )

    results, pad = open_service_store(store), open_launchpad(launchpad)
    submission = open_submission(campaign, results)
    name = submission.campaign.name
    changed = other_methods(pad, name, submission.record.key)
    added = submit_campaign(pad, submission)
    if added and changed:
        listed = "; ".join(f"{kind}: {versions}" for kind, versions in changed.items())
        typer.echo(f"{name}: taken over to the method versions of this installation ({listed})")
    elif added:
        typer.echo(f"{name}: submitted; start workers with `lycb worker`, look with `lycb watch`")
    else:
        kept = ", ".join(kept_settings(pad, submission))
        typer.echo(
            f"{name}: already there, nothing added"
            + (f"; its jobs keep {kept}: `lycb cancel {name}` and submit again" if kept else "")
        )
    for other in other_versions(pad, submission):
        jobs = counted(len(other.fw_ids), "job")
        typer.echo(
            f"another version of {name} is {other.state.lower()} with {jobs}: "
            f"`lycb cancel {name}` and submit again to have only this one"
        )


def cancel(
    name: CampaignName,
    launchpad: LaunchPadOption = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask about a campaign of another user.")
    ] = False,
) -> None:
    """Take a campaign off the LaunchPad; its results stay, submitting again goes on from them."""
    from lycb_flows.service import cancel as cancel_workflows

    _pull(cancel_workflows, name, launchpad, "cancelled", ask=not yes)


def retry(name: CampaignName, launchpad: LaunchPadOption = None) -> None:
    """Try the failed jobs of a campaign again, after mending what made them fail.

    Faults and losses that were counted against them count no more.
    """
    from lycb_flows.service import retry_jobs

    pad = open_launchpad(launchpad)
    _workflows(pad, name)
    jobs = retry_jobs(pad, name)
    typer.echo(f"{name}: {counted(len(jobs), 'failed job')} sent back to the queue")
    for job in jobs:
        typer.echo(f"  {job}")


def pause(name: CampaignName, launchpad: LaunchPadOption = None) -> None:
    """Let running jobs of a campaign end and start no other."""
    from lycb_flows.service import pause as pause_workflows

    _pull(pause_workflows, name, launchpad, "paused")


def resume(name: CampaignName, launchpad: LaunchPadOption = None) -> None:
    """Undo `lycb pause`."""
    from lycb_flows.service import resume as resume_workflows

    _pull(resume_workflows, name, launchpad, "resumed")


def _pull(
    lever: Callable[[ServiceLaunchPad, str], int],
    name: str,
    path: Path | None,
    outcome: str,
    *,
    ask: bool = False,
) -> None:
    pad = open_launchpad(path)
    workflows = _workflows(pad, name)
    if ask:
        _ask_about({str(workflow.metadata.get("owner") or "") for workflow in workflows}, name)
    typer.echo(f"{name}: {counted(lever(pad, name), 'job')} {outcome}")


def _workflows(pad: ServiceLaunchPad, name: str) -> list[CampaignWorkflow]:
    """Return the workflows of a campaign; without any, name the campaigns that there are."""
    from lycb_flows.service import campaign_workflows

    found = campaign_workflows(pad, name)
    if not found:
        known = sorted(
            {workflow.metadata["campaign"] for workflow in campaign_workflows(pad, None)}
        )
        raise InputError(
            "no such campaign on this LaunchPad",
            fix=f"one of {', '.join(known)}" if known else "see `lycb submit`",
            found=name,
        )
    return found


def _ask_about(owners: set[str], name: str) -> None:
    """Ask before something is done to a campaign of another user."""
    from lycb_flows.store import user_name

    others = sorted(owners - {"", user_name()})
    if not others:
        return
    question = f"{name} is a campaign of {', '.join(others)}. Cancel it?"
    if not sys.stdin.isatty():
        raise InputError(
            "another user's campaign", fix="ask them, or give --yes", owner=", ".join(others)
        )
    if not typer.confirm(question):
        raise InputError("nothing was cancelled", campaign=name)


def extend(
    campaign: CampaignFile, store: StoreOption = None, launchpad: LaunchPadOption = None
) -> None:
    """Learn one more round than the file says, at its last temperature; then measure anew.

    The wish is noted with date and user, and the report says so. After a stop
    by `lycb stop-after` it is the next round of the file.
    """
    from lycb_flows.campaign import extend as ask_for_one_more
    from lycb_flows.service import begin_again

    results = open_results(store)
    submission = open_submission(campaign, results)
    outcome = ask_for_one_more(results, submission.campaign)
    typer.echo(f"{submission.campaign.name}: {outcome}")
    if results.is_shared and begin_again(open_launchpad(launchpad), results, submission):
        typer.echo("submitted anew, as its last round was decided; finished steps are looked up")


def stop_after(
    campaign: CampaignFile,
    after: Annotated[
        int | None, typer.Option("--round", min=0, help="Which (default: the running one).")
    ] = None,
    store: StoreOption = None,
) -> None:
    """End the learning after a round, and measure.

    The wish is noted with date and user, and the report says so.
    """
    from lycb_flows.campaign import find_results, stop_after as ask_for_an_end

    results = open_results(store)
    submission = open_submission(campaign, results)
    stages = find_results(results, submission.campaign, submission.theory).stages
    outcome = ask_for_an_end(results, submission.campaign, stages, after)
    typer.echo(f"{submission.campaign.name}: {outcome}")


def relabel(
    campaign: CampaignFile, store: StoreOption = None, launchpad: LaunchPadOption = None
) -> None:
    """Try once more the labels that have failed for good; late ones join the next round.

    On a LaunchPad their jobs are submitted again; in a folder they are labelled
    here.
    """
    from lycb_flows.flows import relabel_embedded
    from lycb_flows.service import relabel as relabel_on

    results = open_results(store)
    submission = open_submission(campaign, results)
    if results.is_shared:
        tried = relabel_on(open_launchpad(launchpad), results, submission)
        verb = "submitted again"
    else:
        tried = relabel_embedded(results, submission)
        verb = "tried again; `lycb run` goes on"
    if not tried:
        typer.echo(f"{submission.campaign.name}: no label has failed for good")
    for stage, n_labels in tried.items():
        typer.echo(f"{stage}: {counted(n_labels, 'label')} {verb}")


def run(
    campaign: CampaignFile,
    store: StoreOption = None,
    folder: ReportOption = None,
) -> None:
    """Run a campaign here, to its report; run it again to go on after an interruption.

    All work is done by processes of this machine; no LaunchPad is needed.
    Whatever is in the store already is found, not computed again.
    """
    from lycb_flows.cli.progress import live_progress
    from lycb_flows.flows import campaign_flow, run_embedded

    results = open_results(store, create=True)
    submission = open_submission(campaign, results)
    with live_progress(results, submission) as listener:
        run_embedded(results, campaign_flow(submission.campaign, submission.theory), listener)
    _write_report(results, submission, folder)


def report(
    campaign: CampaignFile,
    store: StoreOption = None,
    folder: ReportOption = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="Only the chapter that follows the paper's figures.")
    ] = False,
) -> None:
    """Write the report of a campaign as far as it has come.

    Everything is read from the result store; nothing is computed.
    """
    results = open_results(store)
    _write_report(results, open_submission(campaign, results), folder, only_paper=paper)


def _write_report(
    results: ResultStore, submission: Submission, folder: Path | None, *, only_paper: bool = False
) -> None:
    from lycb_flows.campaign import find_results
    from lycb_flows.quantities.registry import reported_names
    from lycb_flows.report import write_report

    name = submission.campaign.name
    keys = find_results(results, submission.campaign, submission.theory).document_keys()
    chosen = reported_names(submission.campaign.measure)
    folder = folder or _report_folder(results) / name
    path = write_report(results, name, keys, folder, chosen, only_paper=only_paper)
    typer.echo(path)


def _report_folder(results: ResultStore) -> Path:
    return (results.folder or Path()) / "reports"


def plan(campaign: CampaignFile, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show every job, how many, and what they would cost; nothing runs.

    Costs are estimates in CPU time of one core.
    """
    from lycb_flows.campaign import plan_campaign

    results = open_results_to_plan(store)
    submission = open_submission(campaign, results, to_run=False)
    steps = plan_campaign(results, submission.campaign, submission.theory)
    if as_json:
        print_json([step.as_dict() for step in steps])
        return
    rows = [
        [step.stage, step.jobs[0].name, str(len(step.jobs)), step.work, duration_text(step.cpu_s)]
        for step in steps
    ]
    n_jobs, cpu_s = sum(len(step.jobs) for step in steps), sum(step.cpu_s for step in steps)
    rows.append(["all", "", str(n_jobs), "", duration_text(cpu_s)])
    columns = ["stage", "first job", "jobs", "work", "CPU time, one core (estimate)"]
    print_table(f"Plan of {submission.campaign.name}", columns, rows)

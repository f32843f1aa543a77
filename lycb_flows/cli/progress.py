"""The progress of a campaign: a live line in the terminal, and its status."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lycb_flows.campaign import (
    DECIDE,
    CampaignResults,
    JobDescription,
    PlannedStep,
    ProgressListener,
    StagePlan,
    Submission,
    costs_of_jobs,
    duration_text,
    find_results,
    ground_state_plan,
    label_status,
    levers_of,
    plan_campaign,
    system_names,
)
from lycb_flows.cli.terminal import PlainProgress
from lycb_flows.config import Campaign
from lycb_flows.quantities import find_quantity
from lycb_flows.schemas import Dataset, Evaluation, Frames, Model, ModelErrors, Round
from lycb_flows.store import ResultStore
from lycb_flows.units import EV_MEV, GPA_MPA


@contextmanager
def live_progress(store: ResultStore, submission: Submission) -> Iterator[ProgressListener]:
    """Show stage, estimated rest and each round's errors on stderr: a bar, or lines.

    Parameters
    ----------
    store
        Holds the campaign's results.
    submission
        The campaign that is about to run.

    Yields
    ------
    ProgressListener
        To be called before and after every job.
    """
    steps = plan_campaign(store, submission.campaign, submission.theory)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[rest]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        listener = _Listener(store, submission, steps, bar)
        with _heard(listener.show):
            yield listener


@contextmanager
def _heard(show: Callable[[str], None]) -> Iterator[None]:
    """Show what jobs log of how far they are."""
    logger, handler = logging.getLogger("lycb_flows.jobs"), _Handler(show)
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Handler(logging.Handler):
    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show(record.getMessage())


class _Listener:
    def __init__(
        self, store: ResultStore, submission: Submission, steps: list[PlannedStep], bar: Progress
    ) -> None:
        self.store, self.submission, self.bar = store, submission, bar
        self.costs = costs_of_jobs(steps)
        self.started_at = time.monotonic()
        self.spent = 0.0
        self.task = bar.add_task("starting", total=len(self.costs), rest="")
        self.n_shown = 0
        self.n_done = 0
        self.plain = None if bar.console.is_terminal else PlainProgress()
        self.where = ""

    def __call__(self, job: JobDescription, finished: bool) -> None:  # noqa: FBT001 - ProgressListener
        """Show the job; after a decision, show the round's errors as well."""
        if not finished:
            self.where = f"[{job.stage or 'campaign'}] {job.name}"
            self.bar.update(self.task, description=escape(self.where), rest=self._rest())
            if self.plain is not None:
                self.plain.show(f"{self.where}  {self.n_done}/{len(self.costs)}  {self._rest()}")
            return
        self.n_done += 1
        self.spent += self.costs.get(job, 0.0)
        self.bar.update(self.task, advance=1, rest=self._rest())
        if job.step == DECIDE:
            self._show_rounds()

    def show(self, text: str) -> None:
        """Show how far the present job is: in the live line, or as a line."""
        if self.plain is None:
            self.bar.update(self.task, description=escape(f"{self.where}: {text}"))
        else:
            typer.echo(f"{self.where}: {text}", err=True)

    def _rest(self) -> str:
        if self.spent <= 0:
            return ""
        elapsed = time.monotonic() - self.started_at
        rest_s = elapsed * (sum(self.costs.values()) / self.spent - 1)
        return f"{duration_text(rest_s)} left"

    def _show_rounds(self) -> None:
        campaign, theory = self.submission.campaign, self.submission.theory
        rounds = find_results(self.store, campaign, theory).rounds
        for round_ in rounds[self.n_shown :]:
            before, after = (
                errors_text(self.store.load(Evaluation, key).overall)
                for key in (round_.evaluation_before, round_.evaluation_after)
            )
            text = f"round {round_.index} at {round_.temperature_k:g} K: {before}  ->  {after}"
            self.bar.console.print(text, highlight=False, soft_wrap=True)
        self.n_shown = len(rounds)


def errors_text(errors: ModelErrors) -> str:
    """Return the mean absolute errors of energy, force and stress on a line.

    Units are meV/atom, meV/Å and MPa.
    """
    return (
        f"{errors.energy_mae_ev_per_atom * EV_MEV:.2f} meV/atom, "
        f"{errors.force_mae_ev_per_ang * EV_MEV:.1f} meV/Å, "
        f"{errors.stress_mae_gpa * GPA_MPA:.0f} MPa"
    )


def campaign_status(store: ResultStore, submission: Submission) -> dict[str, Any]:
    """Return how far a campaign has come, as plain data.

    Parameters
    ----------
    store
        Holds the campaign's results.
    submission
        The campaign.
    """
    found = find_results(store, submission.campaign, submission.theory)
    labels = {}
    for plan in found.stages:
        if store.find_present(Frames, [plan.frames_key]):
            where = label_status(store, plan)
            labels[plan.title] = {
                "done": len(where.done),
                "failed": len(where.failed),
                "pending": len(where.pending),
                "late": _count_late(store, plan, where.done),
            }
    totals = store.total_attempts()
    return {
        "campaign": submission.campaign.name,
        "owner": submission.record.made.owner,
        "store": store.label,
        **_asked_for(store, submission.campaign),
        "ranked": list(found.rankings),
        "relaxed by DFT": _dft_status(store, submission.campaign, found),
        "labels": labels,
        "rounds": [_round_status(store, round_) for round_ in found.rounds],
        **_student_status(store, submission.campaign, found),
        **_measured_status(found),
        "attempts": {outcome: total.n for outcome, total in totals.items()},
        "wall_s": round(sum(total.wall_s for total in totals.values()), 1),
    }


def _asked_for(store: ResultStore, campaign: Campaign) -> dict[str, list[str]]:
    """Return what people have asked for of the loop, with who and when; nothing if nobody has."""
    levers = levers_of(store, campaign)
    lines = [f"one more round: {note}" for note in levers.more_rounds]
    if levers.stop_after is not None:
        lines.append(f"stop after round {levers.stop_after}: {levers.stop_note}")
    return {"asked for": lines} if lines else {}


def _student_status(
    store: ResultStore, campaign: Campaign, found: CampaignResults
) -> dict[str, list[str]]:
    """Return where the student that measures was looked at, if a student is to measure."""
    if campaign.measure.student is None:
        return {}
    if found.student is None:
        return {"student": []}
    teacher = store.load(Model, found.student.teacher).name
    return {
        "student": [f"of {teacher}, {found.student.n_frames} frames"]
        + [
            f"{condition.temperature_k:g} K {condition.ensemble}: "
            + ("no frames" if condition.errors is None else errors_text(condition.errors))
            for condition in found.student.conditions
        ]
    }


def _measured_status(found: CampaignResults) -> dict[str, list[str]]:
    """Return what has been measured so far: a line for each quantity that is installed here."""
    return {
        quantity.status_name: [quantity.status(document) for document in documents]
        for quantity, documents in (
            (find_quantity(name), documents) for name, documents in found.measured.items()
        )
    }


def _dft_status(store: ResultStore, campaign: Campaign, found: CampaignResults) -> dict[str, str]:
    """Return how many candidates of each system are relaxed, and if its ground state is known."""
    states = {}
    for name, system, x in system_names(campaign):
        plan = ground_state_plan(store, campaign, system, x) if name in found.rankings else None
        if plan is not None:
            n_done, n = plan.count_relaxed(store)
            states[name] = f"{n_done} of {n}" + (", decided" if name in found.ground_states else "")
    return states


def _count_late(store: ResultStore, plan: StagePlan, done: Collection[str]) -> int:
    """Return how many labels came after their round's dataset was closed."""
    dataset = store.find(Dataset, plan.dataset_key)
    return 0 if dataset is None else sum(key in done for key in dataset.missing)


def _round_status(store: ResultStore, round_: Round) -> str:
    errors = errors_text(store.load(Evaluation, round_.evaluation_after).overall)
    return f"{round_.temperature_k:g} K: {errors}"

"""The progress of a running campaign: a live line in the terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lycb_flows.campaign import (
    DECIDE,
    JobDescription,
    PlannedStep,
    ProgressListener,
    Submission,
    costs_of_jobs,
    errors_text,
    find_results,
    plan_campaign,
)
from lycb_flows.cli.terminal import PlainProgress
from lycb_flows.machine import duration_text
from lycb_flows.schemas import Evaluation
from lycb_flows.store import ResultStore


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
    """Show what jobs and quantities log of how far they are."""
    logger, handler = logging.getLogger("lycb_flows"), _Handler(show)
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
        return f"about {duration_text(rest_s)} left"

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

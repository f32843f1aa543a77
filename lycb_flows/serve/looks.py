"""A campaign at a moment, as plain data: what its page shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lycb_flows.campaign import (
    CampaignResults,
    PlannedStep,
    Submission,
    campaign_status,
    documented_progress,
    failed_label_reasons,
    find_results,
    last_settings,
    levers_of,
    plan_campaign,
    reopen,
)
from lycb_flows.quantities import find_quantity, reported_names
from lycb_flows.report import mae_triple
from lycb_flows.schemas import CampaignRecord, Run
from lycb_flows.serve import Connection
from lycb_flows.service.monitor import service_status
from lycb_flows.store import ResultStore, in_one_line, is_of_database

_MAX_FAILED_LABELS = 50
_RUNNING, _FAILED, _PAUSED = "RUNNING", "FIZZLED", "PAUSED"


@dataclass(frozen=True)
class RoundLook:
    """A finished round: errors on the test labels in meV/atom, meV/Å and MPa."""

    title: str
    before: tuple[float, float, float]
    after: tuple[float, float, float]
    reason: str


@dataclass(frozen=True)
class FailedLabel:
    """A label that failed for good."""

    stage: str
    key: str
    n_failures: int
    reason: str


@dataclass(frozen=True)
class CampaignLook:
    """A campaign at a moment.

    Attributes
    ----------
    key
        Key of its record; it is the address of its page.
    name, owner, submitted_at
        As submitted.
    state
        One word: finished, running, paused, failing, waiting or unreadable.
    stage
        The part of the campaign that it has reached.
    status
        What `lycb status` shows.
    rounds, failed_labels
        Errors by round, and labels that failed for good.
    structures, runs
        Title and key of what the viewer shows.
    measured
        Name of each quantity that has documents, and where they were measured.
    document_keys, quantities
        What its report starts from, and what it measures.
    trouble
        Why the campaign cannot be read.
    """

    key: str
    name: str
    owner: str = ""
    submitted_at: str = ""
    state: str = "unreadable"
    stage: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)
    rounds: tuple[RoundLook, ...] = ()
    failed_labels: tuple[FailedLabel, ...] = ()
    structures: tuple[tuple[str, str], ...] = ()
    runs: tuple[tuple[str, str], ...] = ()
    measured: tuple[tuple[str, tuple[str, ...]], ...] = ()
    document_keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    quantities: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def is_on_launchpad(self) -> bool:
        """Whether workers run its jobs."""
        return bool(self.status.get("jobs"))


class Looker:
    """Looks at campaigns; a plan is made once, and again when somebody has asked for a round."""

    def __init__(self) -> None:
        self._submissions: dict[tuple[str, str], Submission] = {}
        self._steps: dict[tuple[str, str, str], list[PlannedStep]] = {}

    def look(
        self, connection: Connection, record: CampaignRecord, *, is_busy: bool
    ) -> CampaignLook:
        """Return a campaign as it is now; one that cannot be read has a `trouble`.

        Parameters
        ----------
        connection
            Where it is.
        record
            Its record.
        is_busy
            Whether some process computes a result of the store now; it tells of a folder's only.
        """
        about: dict[str, Any] = {
            "key": record.key,
            "name": record.name,
            "owner": record.made.owner,
            "submitted_at": record.made.ended_at,
        }
        try:
            return CampaignLook(**about, **self._contents(connection, record, is_busy=is_busy))
        except Exception as err:  # such as of what another version or a hand has written
            if is_of_database(err):
                raise
            return CampaignLook(**about, trouble=in_one_line(err))

    def _contents(
        self, connection: Connection, record: CampaignRecord, *, is_busy: bool
    ) -> dict[str, Any]:
        store, launchpad = connection.store, connection.launchpad
        submission, steps = self._submitted(store, record)
        found = find_results(store, submission.campaign, submission.theory)
        status = campaign_status(store, submission, found)
        if launchpad is not None:
            status |= service_status(launchpad, store, submission, steps)
        if not status.get("jobs"):
            status |= documented_progress(store, submission, found, steps)
            if launchpad is not None and status["rest"] != "nothing":
                status["rest"] = "it is not on the LaunchPad"
        return {
            "state": _state(status, is_busy=is_busy and launchpad is None),
            "stage": _stage(found, status),
            "status": status,
            "rounds": tuple(_rounds(found)),
            "failed_labels": tuple(_failed_labels(store, found, status)),
            "structures": tuple(found.ground_states.items()),
            "runs": tuple(_runs(store, found)),
            "measured": tuple(_measured(found)),
            "document_keys": found.document_keys(),
            "quantities": reported_names(submission.campaign.measure),
        }

    def _submitted(
        self, store: ResultStore, record: CampaignRecord
    ) -> tuple[Submission, list[PlannedStep]]:
        submitted = record.key, str(last_settings(store, record))
        if submitted not in self._submissions:
            self._submissions[submitted] = reopen(store, record)
        submission = self._submissions[submitted]
        version = *submitted, str(levers_of(store, submission.campaign))
        if version not in self._steps:
            self._steps[version] = plan_campaign(store, submission.campaign, submission.theory)
        return submission, self._steps[version]


def _state(status: Mapping[str, Any], *, is_busy: bool) -> str:
    """Return one word for the state: that of its jobs, or of the folder without any."""
    if status["rest"] == "nothing":
        return "finished"
    jobs: dict[str, dict[str, int]] = status.get("jobs", {})
    states = {state for each in jobs.values() for state, n in each.items() if n}
    for state, word in ((_FAILED, "failing"), (_RUNNING, "running"), (_PAUSED, "paused")):
        if state in states:
            return word
    return "running" if is_busy else "waiting"


def _stage(found: CampaignResults, status: Mapping[str, Any]) -> str:
    """Return the part of the campaign that is reached, as its jobs name it."""
    if status["rest"] == "nothing":
        return "finished"
    if found.measurement or (found.rounds and found.rounds[-1].next_temperature_k is None):
        return "measurement"
    return found.stages[-1].title if found.stages else "structures"


def _rounds(found: CampaignResults) -> Iterator[RoundLook]:
    for plan, round_ in zip(found.stages[1:], found.rounds, strict=False):
        before, after = (
            found.evaluations[key].overall
            for key in (round_.evaluation_before, round_.evaluation_after)
        )
        yield RoundLook(plan.title, mae_triple(before), mae_triple(after), round_.decision_reason)


def _failed_labels(
    store: ResultStore, found: CampaignResults, status: Mapping[str, Any]
) -> Iterator[FailedLabel]:
    for plan in found.stages:
        if status["labels"].get(plan.title, {}).get("failed"):
            for key, n, reason in failed_label_reasons(store, plan, _MAX_FAILED_LABELS):
                yield FailedLabel(plan.title, key, n, reason)


def _measured(found: CampaignResults) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the title of each quantity that has documents, and where they were measured."""
    for name, documents in found.measured.items():
        quantity = find_quantity(name)
        if documents:
            yield quantity.status_name, tuple(quantity.place(each) for each in documents)


def _runs(store: ResultStore, found: CampaignResults) -> Iterator[tuple[str, str]]:
    """Yield title and key of the runs that there are: those of the rounds, then of production."""
    configs = {Run.key_of(run): run.name for plan in found.stages for run in plan.runs()}
    documents: Sequence[Any] = [each for group in found.measured.values() for each in group]
    configs |= {each.run: "" for each in documents if getattr(each, "run", None)}
    present = store.find_present(Run, list(configs))
    unnamed = [key for key in configs if key in present and not configs[key]]
    names = {each.key: each.name for each in store.find_documents(unnamed) if isinstance(each, Run)}
    yield from ((names.get(key, name), key) for key, name in configs.items() if key in present)

"""Numbers for Prometheus, in its text format, from what the poller saw last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lycb_flows.serve import Sight

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STATES = ("finished", "running", "paused", "failing", "waiting", "unreadable")
Samples = Iterable[tuple[Mapping[str, str], float]]


def metrics_of(sight: Sight, n_streams: int) -> str:
    """Return all metrics.

    Parameters
    ----------
    sight
        What the poller saw.
    n_streams
        How many event streams are open.
    """
    return "".join(_family(*each) for each in _families(sight, n_streams))


def _families(sight: Sight, n_streams: int) -> Iterator[tuple[str, str, Samples]]:
    """Yield name, description and samples of each metric; a name in `_total` is a counter's."""
    states = dict.fromkeys(_STATES, 0) | Counter(each.state for each in sight.campaigns)
    yield "campaigns", "Campaigns by state.", _by("state", states)
    yield "jobs", "Jobs on the LaunchPad by campaign, category and state.", _jobs(sight)
    yield "labels", "Labels by campaign, stage and state.", _labels(sight)
    yield "interrupted_runs_total", "Runs of jobs that did not finish.", _interrupted(sight)
    workers = Counter(each.state if each.alive else "gone" for each in sight.workers)
    yield "workers", "Workers by state.", _by("state", workers)
    yield "at_work", "Results that are being computed.", [({}, len(sight.at_work))]
    tries = {outcome: n for outcome, n in sight.attempts.items() if outcome != "running"}
    yield "attempts_total", "Ended tries at results by outcome.", _by("outcome", tries)
    yield "store_readable", "1 when the last look succeeded.", [({}, not sight.trouble)]
    yield "last_look_timestamp_seconds", "When the store was looked at.", [({}, sight.at)]
    yield "look_seconds", "Duration of the last look.", [({}, sight.took_s)]
    yield "look_queries", "Commands that it sent to MongoDB.", [({}, sight.n_queries)]
    yield "event_streams", "Open pages that are told of changes.", [({}, n_streams)]


def _family(name: str, text: str, samples: Samples) -> str:
    kind = "counter" if name.endswith("_total") else "gauge"
    lines = [f"# HELP lycb_{name} {text}", f"# TYPE lycb_{name} {kind}"]
    for labels, value in samples:
        inside = ",".join(f'{label}="{_escaped(each)}"' for label, each in labels.items())
        lines.append(
            f"lycb_{name}{{{inside}}} {value:.10g}" if inside else f"lycb_{name} {value:.10g}"
        )
    return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _by(label: str, counts: Mapping[str, float]) -> Samples:
    return [({label: name}, n) for name, n in counts.items()]


def _jobs(sight: Sight) -> Samples:
    for name, status in _statuses(sight):
        for category, states in status.get("jobs", {}).items():
            for state, n in states.items():
                yield {"campaign": name, "category": category, "state": state}, n


def _labels(sight: Sight) -> Samples:
    for name, status in _statuses(sight):
        for stage, states in status.get("labels", {}).items():
            for state in ("done", "failed", "pending"):
                yield {"campaign": name, "stage": stage, "state": state}, states[state]


def _interrupted(sight: Sight) -> Samples:
    for name, status in _statuses(sight):
        for reason, n in status.get("interrupted", {}).items():
            yield {"campaign": name, "reason": reason}, n


def _statuses(sight: Sight) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Return name and status of the campaigns, of versions of one name the newest."""
    newest = {each.name: each.status for each in reversed(sight.campaigns)}
    return newest.items()

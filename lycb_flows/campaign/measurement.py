"""The last part of a campaign: which model measures, in which runs, which quantities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lycb_flows.campaign.descriptions import MEASUREMENT, JobDescription, md_job
from lycb_flows.campaign.names import ordering_names, system_names
from lycb_flows.config import Campaign, RunConfig
from lycb_flows.errors import InputError
from lycb_flows.quantities import Condition, MeasurementPlan, Quantity
from lycb_flows.schemas import Evaluation, Round, Run


@dataclass(frozen=True)
class Measurement:
    """A quantity at a condition: it is measured by a single job and kept in a single document."""

    quantity: Quantity[Any]
    condition: Condition

    @property
    def job(self) -> JobDescription:
        """The description of the job that measures it.

        The system has a field of its own, so `part` holds the rest of the condition.
        """
        quantity, condition = self.quantity, self.condition
        return JobDescription(
            name=f"{quantity.job} {condition.title}".rstrip(),
            step=quantity.job,
            stage=MEASUREMENT,
            system=condition.system or "",
            part=condition.model_copy(update={"system": None}).title,
            category=quantity.category,
        )


def measurements(plan: MeasurementPlan, quantities: Sequence[Quantity[Any]]) -> list[Measurement]:
    """Return everything that is measured, each quantity after those that it needs.

    Parameters
    ----------
    plan
        The measurement.
    quantities
        In order: each after those that it needs.
    """
    return [
        Measurement(quantity, condition)
        for quantity in quantities
        for condition in quantity.conditions(plan)
    ]


def run_batches(
    plan: MeasurementPlan, quantities: Sequence[Quantity[Any]]
) -> list[tuple[JobDescription, tuple[RunConfig, ...]]]:
    """Return each MD job and its runs.

    NpT comes before the NVT runs that start from it, and the first replica of every condition
    before the second of any: a campaign that is stopped early knows something of each.

    Parameters
    ----------
    plan
        The measurement.
    quantities
        Those whose runs are wanted.
    """
    wanted = {
        Run.key_of(run): run
        for measurement in sorted(measurements(plan, quantities), key=_first_replicas)
        for run in measurement.quantity.runs(plan, measurement.condition)
    }
    cells = {Run.key_of(run): run for run in plan.runs("npt", Condition())}
    starts = {run.start: cells[run.start] for run in wanted.values() if run.start in cells}
    runs = (starts | wanted).values()
    return [
        (md_job(MEASUREMENT, f"{ensemble} production {i:02d}", f"{ensemble} {i:02d}"), batch)
        for ensemble in ("npt", "nvt", "nve")
        for i, batch in enumerate(
            plan.campaign.md.batches(tuple(r for r in runs if r.protocol.ensemble == ensemble))
        )
    ]


def _first_replicas(measurement: Measurement) -> float:
    """Return what to sort by; a measurement at no single temperature needs runs of all replicas."""
    condition = measurement.condition
    return math.inf if condition.temperature_k is None else condition.replica or 1


def choose_model(
    campaign: Campaign, rounds: Sequence[Round], evaluations: Mapping[str, Evaluation]
) -> str:
    """Return the key of the model that measures, as `measure.model` says.

    Parameters
    ----------
    campaign
        Its `measure.model` is 'best' (lowest score on all test sets), 'pretrained' or the
        temperature of a round.
    rounds
        Every round; where there is none, the campaign's first model measures.
    evaluations
        By model key, all on the same test sets.

    Raises
    ------
    InputError
        When the loop ended before the round whose model is to measure.
    """
    wanted = campaign.measure.model
    if not rounds:
        return campaign.learning.model
    if wanted == "pretrained":
        return rounds[0].start_model
    if wanted == "best":
        return min(
            (round_.model for round_ in rounds), key=lambda model: evaluations[model].overall.score
        )
    models = {f"{round_.temperature_k:g}": round_.model for round_ in rounds}
    if wanted not in models:
        raise InputError(
            "the model that is to measure was not learned: the loop was stopped before its round",
            fix="`lycb extend` until it is there, or another measure.model",
            model=wanted,
            learned=", ".join(models),
        )
    return models[wanted]


def measured_starts(campaign: Campaign, ground_states: dict[str, str]) -> dict[str, str]:
    """Return the key of each structure that is measured: ground states, and orderings near them.

    Parameters
    ----------
    campaign
        Mixed halides are measured when its `measure.decorations` says so.
    ground_states
        Key of the structure of each system, and of its lowest orderings.
    """
    return {
        each: ground_states[each]
        for name in measured_crystals(campaign)
        for place, each in ordering_names(campaign, name)
        if place == 1 or each in ground_states
    }


def measured_crystals(campaign: Campaign) -> list[str]:
    """Return the names of the systems, and of the mixed halides where they are measured."""
    names = system_names(campaign)
    return [name for name, _, x in names if x is None or campaign.measure.decorations]


def measurement_plan(
    campaign: Campaign,
    ground_states: dict[str, str],
    model: str,
    rounds: Sequence[Round],
    by_dft: Mapping[str, str] | None = None,
) -> MeasurementPlan:
    """Return the plan of the measurement.

    Parameters
    ----------
    campaign
        With keys for its parents and models.
    ground_states
        Key of the structure of each system.
    model
        Key of the model that measures.
    rounds
        Every round.
    by_dft
        Key of DFT's decision on each system, where DFT has decided.
    """
    starts = measured_starts(campaign, ground_states)
    return MeasurementPlan(
        campaign=campaign,
        starts=starts,
        model=model,
        rounds=tuple(round_.key for round_ in rounds),
        by_dft={name: key for name, key in (by_dft or {}).items() if name in starts} or None,
    )

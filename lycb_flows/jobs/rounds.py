"""The document of a round, once its stage is finished."""

from __future__ import annotations

from lycb_flows.campaign import StagePlan, levers_of
from lycb_flows.schemas import Dataset, Evaluation, Round, Run
from lycb_flows.store import ResultStore


def round_of(store: ResultStore, plan: StagePlan, job_name: str) -> Round:
    """The Round document of a finished stage, decided with what people have asked for."""
    levers = levers_of(store, plan.campaign)
    decision = plan.campaign.decide(plan.index, levers)
    dataset = store.load(Dataset, plan.dataset_key)
    model, key = plan.model_key, plan.round_key(levers)
    runs = plan.runs()
    document = Round(
        key=key,
        parents=(*plan.earlier_rounds[-1:], dataset.key, model),
        index=plan.index,
        temperature_k=plan.temperature_k,
        start_model=plan.model,
        runs=tuple(Run.key_of(run) for run in runs),
        frames=plan.frames_key,
        dataset=dataset.key,
        model=model,
        evaluation_before=Evaluation.key_of(plan.model, dataset.test_sets),
        evaluation_after=Evaluation.key_of(model, dataset.test_sets),
        next_temperature_k=decision.next_temperature_k,
        decision_reason=decision.reason,
    )
    return store.once(Round, key, lambda: document, job_name)

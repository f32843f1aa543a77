"""The choice of the model that the loop starts from."""

from __future__ import annotations

from functools import partial

from lycb_flows.campaign import StagePlan
from lycb_flows.jobs.learning import labelled
from lycb_flows.jobs.resources import open_potential
from lycb_flows.learning import bake_off, halves
from lycb_flows.schemas import CandidateErrors, Dataset, Foundation, Model, TestSet
from lycb_flows.store import ResultStore


def foundation_of(
    store: ResultStore, plan: StagePlan, dataset: Dataset, job_name: str
) -> Foundation:
    """Choose the model that the loop starts from, by the errors on half of the test labels.

    The other half fits one reference shift per model. The lowest score wins
    (`ModelErrors.score`).

    Parameters
    ----------
    store
        Has the models and labels.
    plan
        The stage of the test set.
    dataset
        The document that closed it.
    job_name
        Of the caller.
    """
    candidates = plan.campaign.learning.candidates or (plan.model,)
    key = Foundation.key_of(candidates, dataset.key)

    def choose() -> Foundation:
        tests = [store.load(TestSet, test_set) for test_set in dataset.test_sets]
        keys = sorted({label for test in tests for label in test.labels})
        labels = labelled(store, keys, plan.campaign.crystals)
        potentials = {name: partial(open_potential, store, name) for name in candidates}
        result = bake_off(potentials, *halves(labels))
        rows = tuple(
            CandidateErrors(
                model=entry.name,
                name=store.load(Model, entry.name).name,
                errors=entry.errors,
                by_system=entry.by_system,
                spread=entry.spread,
                shift_ev=entry.shift_ev,
            )
            for entry in result.entries
        )
        return Foundation(
            key=key,
            parents=(*candidates, *dataset.test_sets),
            model=rows[0].model,
            candidates=rows,
            test_sets=dataset.test_sets,
            n_fitting=result.n_fitting,
            n_testing=result.n_testing,
        )

    return store.once(Foundation, key, choose, job_name)

"""What a plan costs: every model is priced by its own rate, or said to be without one."""

import pytest

from lycb_flows.campaign import plan_campaign
from lycb_flows.campaign.submission import submit
from lycb_flows.config import Campaign
from lycb_flows.potentials import find_model, rates_of
from lycb_flows.quantities.costs import RELAXATION_STEPS
from lycb_flows.store import open_store

LJ = {"calculator": "ase.calculators.lj.LennardJones"}
UNKNOWN = "unknown and not counted"
TOY_S, CHGNET_S = (
    rates_of(find_model(name).model).force_call_s for name in ("toy-soft", "chgnet-0.3.0")
)


@pytest.fixture
def plan(tmp_path, loop_campaign):
    """Plan the loop with other settings: first job's name -> step."""

    def planned(**sections):
        data = loop_campaign.model_dump(exclude_unset=True)
        for name, fields in sections.items():
            data[name] = {**data[name], **fields}
        with open_store(tmp_path / "store") as store:
            submission = submit(store, Campaign.model_validate(data))
            steps = plan_campaign(store, submission.campaign, submission.theory)
            return {step.jobs[0].step: step for step in steps if step.jobs[0].stage != "structures"}

    return planned


def volumes(*models):
    return {"quantities": {"volumes": {"models": models} if models else {}}}


def test_the_runs_of_a_model_without_a_rate_are_said_not_to_be_counted(plan):
    own, other, none = (plan(measure=volumes(*m)) for m in ((), ("chgnet-0.3.0",), (LJ,)))
    assert UNKNOWN not in own["md"].work + other["md"].work
    assert other["md"].cpu_s == pytest.approx(own["md"].cpu_s * (1 + CHGNET_S / TOY_S))
    assert none["md"].work.endswith("; a part of its cost unknown and not counted")
    assert none["md"].cpu_s == own["md"].cpu_s
    assert UNKNOWN in none["volumes"].work


def test_the_model_that_measures_is_priced_once(plan):
    own, named = (
        plan(measure={"model": "pretrained", **volumes(*models)}) for models in ((), ("toy-soft",))
    )
    assert own["md"] == named["md"]


def test_relaxations_at_rest_cost_what_their_model_does(plan):
    n_atoms, measure = 20, {"repeat": [2, 1, 1]}
    own, other = (plan(measure=measure | volumes(*m)) for m in ((), ("chgnet-0.3.0",)))
    more_s = other["volumes"].cpu_s - own["volumes"].cpu_s
    assert more_s == pytest.approx(RELAXATION_STEPS * n_atoms * (TOY_S + CHGNET_S))
    series = plan(measure=measure | {"quantities": {"series": {}}})["series"]
    assert series.cpu_s == pytest.approx(1 + RELAXATION_STEPS * n_atoms * TOY_S)
    students = plan(measure={"quantities": {"series": {}}, "student": {}})["series"]
    assert students.cpu_s < series.cpu_s


def test_predictions_of_a_comparison_cost_what_their_model_does(plan):
    n_atoms, n_labels = 20, (2 + 1 + 1) + 3 * 4  # tests, then those of three rounds
    steps = [
        plan(measure={"quantities": {"benchmark": {"models": models, "scratch_updates": None}}})
        for models in ([], ["chgnet-0.3.0"], [LJ])
    ]
    own, other, none = (each["benchmark"] for each in steps)
    assert other.cpu_s - own.cpu_s == pytest.approx(n_atoms * n_labels * CHGNET_S)
    assert UNKNOWN not in own.work + other.work
    assert UNKNOWN in none.work
    assert none.cpu_s == own.cpu_s


def test_replayed_crystals_are_trained_on_too(plan):
    training = {"epochs": 2, "batch_size": 4}
    plain, more = (
        plan(learning={"training": training | given})["train"] for given in ({}, {"replay": 0.5})
    )
    assert more.cpu_s == pytest.approx(1.5 * plain.cpu_s)

"""A campaign that searches the settings of its trainings."""

import logging

import pytest
from campaign_runs import run_campaign
from places import CAMPAIGNS

from lycb_flows import schemas
from lycb_flows.campaign.cost import plan_campaign
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.config import Campaign
from lycb_flows.learning import trial_configs
from lycb_flows.store import open_store

pytestmark = pytest.mark.usefixtures("blank_figures")
TUNING = {"trials": 3, "epochs": [1, 4], "batch_size": [4], "freeze_level": [1]}


def one_round(tuning):
    data = read_campaign(CAMPAIGNS / "loop.yaml").model_dump()
    data["learning"] |= {"max_temperature_k": 200.0, "tuning": tuning}
    return Campaign.model_validate(data)


def test_each_training_is_the_best_trial_and_the_model_knows_its_settings(tmp_path, caplog):
    store, campaign = open_store(tmp_path / "store"), one_round(TUNING)
    with caplog.at_level(logging.INFO, logger="lycb_flows.jobs"):
        submission, _ = run_campaign(store, campaign)
    found = find_results(store, submission.campaign, submission.theory)
    model = store.load(schemas.Model, found.rounds[0].model)
    learning = submission.campaign.learning
    configs, _ = trial_configs(learning.training, learning.tuning)
    assert model.training in configs
    assert len(model.history) == model.training.epochs
    lines = [line for line in caplog.messages if line.startswith("trial ")]
    assert [line.split(":")[0] for line in lines] == [f"trial {i + 1} of 3" for i in range(3)]
    assert model.key == found.stages[-1].model_key
    plain = schemas.Model.key_of(
        model.dataset, model.parent_model, learning.training, raw_pbe=submission.theory.raw_pbe
    )
    assert model.key != plain
    store.close()


def test_the_price_has_all_trials(tmp_path):
    costs = []
    for name, tuning in (("plain", None), ("tuned", TUNING)):
        store = open_store(tmp_path / name)
        submission = submit(store, one_round(tuning))
        steps = plan_campaign(store, submission.campaign, submission.theory)
        (training,) = (step for step in steps if "epochs" in step.work)
        costs.append(training.cpu_s)
        store.close()
    assert "and 2 other trials" in training.work
    assert costs[1] == pytest.approx(costs[0] * (2 + 2 * 2.5) / 2)

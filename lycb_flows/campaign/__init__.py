"""A campaign as plans and facts: submission, stages, rounds, measurement, results, cost."""

from __future__ import annotations

from lycb_flows.campaign.admission import admitted_levels
from lycb_flows.campaign.cost import PlannedStep, costs_of_jobs, plan_campaign
from lycb_flows.campaign.descriptions import (
    CATEGORIES,
    DECIDE,
    FIELDS,
    LABEL,
    LIGHT,
    JobDescription,
    JobListener,
    anchor_job,
    begin_job,
    choose_job,
    decide_dft_job,
    dft_relax_job,
    enumerate_job,
    rank_job,
    read_description,
)
from lycb_flows.campaign.ground_states import decide_ground_state
from lycb_flows.campaign.measurement import choose_model, measurements, run_batches
from lycb_flows.campaign.results import (
    CampaignResults,
    decorated_name,
    dft_theory,
    enumeration_key,
    find_ground_state,
    find_results,
    ground_state_plan,
    load_crystal,
    measurement_plan,
    ranking_key,
    system_names,
)
from lycb_flows.campaign.rounds import (
    close_stage,
    closed_by,
    failed_for_good,
    failed_labels,
    label_status,
)
from lycb_flows.campaign.stages import TEST_STAGE, StagePlan
from lycb_flows.campaign.submission import (
    Submission,
    find_submission,
    read_campaign,
    reopen,
    submit,
)

__all__ = [
    "CATEGORIES",
    "DECIDE",
    "FIELDS",
    "LABEL",
    "LIGHT",
    "TEST_STAGE",
    "CampaignResults",
    "JobDescription",
    "JobListener",
    "PlannedStep",
    "StagePlan",
    "Submission",
    "admitted_levels",
    "anchor_job",
    "begin_job",
    "choose_job",
    "choose_model",
    "close_stage",
    "closed_by",
    "costs_of_jobs",
    "decide_dft_job",
    "decide_ground_state",
    "decorated_name",
    "dft_relax_job",
    "dft_theory",
    "enumerate_job",
    "enumeration_key",
    "failed_for_good",
    "failed_labels",
    "find_ground_state",
    "find_results",
    "find_submission",
    "ground_state_plan",
    "label_status",
    "load_crystal",
    "measurement_plan",
    "measurements",
    "plan_campaign",
    "rank_job",
    "ranking_key",
    "read_campaign",
    "read_description",
    "reopen",
    "run_batches",
    "submit",
    "system_names",
]

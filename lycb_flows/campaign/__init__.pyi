from .admission import (
    admitted_levels as admitted_levels,
    training_labels_of as training_labels_of,
)
from .anchors import (
    anchor_names as anchor_names,
    anchor_structure as anchor_structure,
)
from .cost import (
    plan_campaign as plan_campaign,
)
from .descriptions import (
    CATEGORIES as CATEGORIES,
    DECIDE as DECIDE,
    FIELDS as FIELDS,
    LABEL as LABEL,
    LIGHT as LIGHT,
    MEASUREMENT as MEASUREMENT,
    STRUCTURES as STRUCTURES,
    JobDescription as JobDescription,
    ProgressListener as ProgressListener,
    anchor_job as anchor_job,
    begin_job as begin_job,
    choose_job as choose_job,
    decide_dft_job as decide_dft_job,
    dft_relax_job as dft_relax_job,
    enumerate_job as enumerate_job,
    rank_job as rank_job,
    read_description as read_description,
)
from .export import (
    write_labels as write_labels,
    write_run as write_run,
    write_sites as write_sites,
    write_stored_model as write_stored_model,
    write_structure as write_structure,
)
from .finished import (
    export_runs as export_runs,
    import_runs as import_runs,
)
from .foundations import (
    find_first_round as find_first_round,
)
from .ground_states import (
    decide_ground_state as decide_ground_state,
)
from .importing import (
    Summary as Summary,
    import_labels as import_labels,
)
from .last_submitted import (
    last_settings as last_settings,
)
from .levers import (
    extend as extend,
    levers_of as levers_of,
    stop_after as stop_after,
)
from .measurement import (
    choose_model as choose_model,
    measured_starts as measured_starts,
    measurement_plan as measurement_plan,
    measurements as measurements,
    run_batches as run_batches,
)
from .names import (
    ordering_names as ordering_names,
    system_names as system_names,
)
from .planned import (
    PlannedStep as PlannedStep,
    costs_of_jobs as costs_of_jobs,
)
from .rankings import (
    dft_theory as dft_theory,
    enumeration_key as enumeration_key,
    find_ground_state as find_ground_state,
    ground_state_plan as ground_state_plan,
    is_decided as is_decided,
    ranking_key as ranking_key,
)
from .reading import (
    read_campaign as read_campaign,
)
from .results import (
    CampaignResults as CampaignResults,
    find_results as find_results,
)
from .rounds import (
    close_stage as close_stage,
    closed_by as closed_by,
    failed_for_good as failed_for_good,
    failed_labels as failed_labels,
    frames_of as frames_of,
    label_status as label_status,
    refuse_mixture as refuse_mixture,
    refuse_overlap as refuse_overlap,
)
from .stages import (
    TEST_STAGE as TEST_STAGE,
    StagePlan as StagePlan,
)
from .status import (
    campaign_status as campaign_status,
    documented_progress as documented_progress,
    errors_text as errors_text,
    failed_label_reasons as failed_label_reasons,
    rest_text as rest_text,
)
from .students import (
    StudentPlan as StudentPlan,
    distil_job as distil_job,
    settings_of_its_runs as settings_of_its_runs,
    student_plan as student_plan,
)
from .submission import (
    Submission as Submission,
    find_submission as find_submission,
    reopen as reopen,
    submit as submit,
)

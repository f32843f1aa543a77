from .connect import (
    load_launchpad as load_launchpad,
    write_with_password as write_with_password,
)
from .described import (
    find_job as find_job,
    find_jobs as find_jobs,
)
from .faults import (
    FAULT as FAULT,
    GIVEN_BACK as GIVEN_BACK,
    LOST as LOST,
    DatabaseGoneError as DatabaseGoneError,
    failure_of as failure_of,
    machine_fault as machine_fault,
    why_given_up as why_given_up,
    why_unfinished as why_unfinished,
)
from .fireworks_internals import (
    query_of as query_of,
    set_query as set_query,
    worker_settings as worker_settings,
)
from .identity import (
    host_and_pid as host_and_pid,
    is_gone as is_gone,
)
from .listener import (
    JobListener as JobListener,
)
from .locking import (
    OwnedLock as OwnedLock,
    patience_s as patience_s,
    stale_reason as stale_reason,
)
from .losses import (
    give_back_lost as give_back_lost,
    give_up as give_up,
    is_last_loss as is_last_loss,
    retry as retry,
)
from .methods import (
    differing_methods as differing_methods,
    other_methods as other_methods,
)
from .pad import (
    ServiceLaunchPad as ServiceLaunchPad,
)
from .streaming import (
    CLAIM as CLAIM,
    Stream as Stream,
)
from .submitted import (
    CampaignWorkflow as CampaignWorkflow,
    archive as archive,
    campaign_workflows as campaign_workflows,
    cancel as cancel,
    count_interruptions as count_interruptions,
    count_states as count_states,
    initialise as initialise,
    pause as pause,
    resume as resume,
    submit_flow as submit_flow,
)
from .workers import (
    BROKEN as BROKEN,
    LEFT as LEFT,
    Registration as Registration,
    WorkerRecord as WorkerRecord,
    find_workers as find_workers,
    forget_workers as forget_workers,
    placed_here as placed_here,
    requeue_counts as requeue_counts,
)
from .writing import (
    METHODS as METHODS,
    RECORD as RECORD,
    methods_digest as methods_digest,
)

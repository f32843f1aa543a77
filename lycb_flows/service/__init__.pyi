from .campaigns import (
    begin_again as begin_again,
    close_open_stages as close_open_stages,
    other_versions as other_versions,
    relabel as relabel,
    retry_jobs as retry_jobs,
    submit_campaign as submit_campaign,
)
from .launchpad import (
    CampaignWorkflow as CampaignWorkflow,
    ServiceLaunchPad as ServiceLaunchPad,
    campaign_workflows as campaign_workflows,
    cancel as cancel,
    other_methods as other_methods,
    pause as pause,
    resume as resume,
    write_with_password as write_with_password,
)
from .notices import (
    tell as tell,
)
from .qadapter import (
    check_queue_config as check_queue_config,
    write_qadapter as write_qadapter,
)
from .queued_settings import (
    kept_settings as kept_settings,
)
from .reaper.passes import (
    Reaping as Reaping,
    reap as reap,
    serve as serve,
)
from .worker import (
    WorkerOptions as WorkerOptions,
    run_worker as run_worker,
)

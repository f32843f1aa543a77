from .checkpoint import (
    CHECKPOINT_MEDIA_TYPE as CHECKPOINT_MEDIA_TYPE,
    Checkpoint as Checkpoint,
)
from .protocol import (
    RunAhead as RunAhead,
    SegmentResult as SegmentResult,
    prepare_start as prepare_start,
    run_batch as run_batch,
    run_segments as run_segments,
    start_run as start_run,
)
from .schedule import (
    production_start as production_start,
)
from .summary import (
    averaging_window as averaging_window,
    cell_parameters as cell_parameters,
    summarise_run as summarise_run,
)
from .trajectory import (
    MEDIA_TYPE as MEDIA_TYPE,
    Trajectory as Trajectory,
    join as join,
    read_trajectory as read_trajectory,
)

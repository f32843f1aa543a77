from .chains import (
    FloatArray as FloatArray,
)
from .checkpoint import (
    CHECKPOINT_MEDIA_TYPE as CHECKPOINT_MEDIA_TYPE,
    Checkpoint as Checkpoint,
)
from .export import (
    export_trajectory as export_trajectory,
)
from .foreign import (
    ReadingOptions as ReadingOptions,
    as_unwrapped as as_unwrapped,
    read_any_trajectory as read_any_trajectory,
)
from .integrators import (
    BoolArray as BoolArray,
    Dynamics as Dynamics,
)
from .lammps import (
    run_lammps as run_lammps,
)
from .motion import (
    Replica as Replica,
    begin_motion as begin_motion,
    thermal_momenta as thermal_momenta,
)
from .native import (
    make_dynamics as make_dynamics,
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
from .single import (
    TRAJECTORY_NAME as TRAJECTORY_NAME,
    Progress as Progress,
    SingleRun as SingleRun,
    run_in_folder as run_in_folder,
)
from .summary import (
    average_cell_ang as average_cell_ang,
    averaging_window as averaging_window,
    cell_parameters as cell_parameters,
    summarise_run as summarise_run,
)
from .trajectory import (
    MEDIA_TYPE as MEDIA_TYPE,
    Snapshot as Snapshot,
    Trajectory as Trajectory,
    join as join,
    read_trajectory as read_trajectory,
)
from .trajectory_file import (
    read_trajectory_file as read_trajectory_file,
)

from .bound_programs import (
    GRACE_S as GRACE_S,
    bound_command as bound_command,
    end_group as end_group,
    read_ended as read_ended,
    run_bound as run_bound,
)
from .engines import (
    Machine as Machine,
    count_cores as count_cores,
    suggested_shares as suggested_shares,
)
from .environments import (
    name_python as name_python,
    python_of as python_of,
)
from .files import (
    sync_folder as sync_folder,
    write_durably as write_durably,
)
from .home import (
    in_full as in_full,
)
from .looks import (
    Finding as Finding,
    Look as Look,
    NotApplicableError as NotApplicableError,
)
from .processes import (
    ProcessPool as ProcessPool,
    count_pieces as count_pieces,
)
from .progress import (
    Stage as Stage,
    Tell as Tell,
    no_tell as no_tell,
    pause_s as pause_s,
)
from .settings import (
    Settings as Settings,
    load_settings as load_settings,
)
from .side_by_side import (
    run_side_by_side as run_side_by_side,
)
from .time_limits import (
    call_within as call_within,
)
from .walltime import (
    WALLTIME as WALLTIME,
)
from .words import (
    counted as counted,
    duration_text as duration_text,
    size_text as size_text,
)

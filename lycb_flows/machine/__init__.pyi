from .engines import (
    Machine as Machine,
    count_cores as count_cores,
    suggested_shares as suggested_shares,
)
from .looks import (
    Finding as Finding,
    Look as Look,
    NotApplicableError as NotApplicableError,
)
from .settings import (
    Settings as Settings,
    load_settings as load_settings,
)
from .walltime import (
    WALLTIME as WALLTIME,
)

from .arrhenius import (
    fit_arrhenius as fit_arrhenius,
)
from .arrhenius_points import (
    ArrheniusPoint as ArrheniusPoint,
)
from .averages import (
    block_error as block_error,
)
from .charge import (
    charge_of_walk as charge_of_walk,
)
from .density import (
    GRID_MEDIA_TYPE as GRID_MEDIA_TYPE,
    DensityGrid as DensityGrid,
    density_grid as density_grid,
    grid_bytes as grid_bytes,
    read_grid as read_grid,
    relative_motion as relative_motion,
)
from .diffusion import (
    DiffusionResult as DiffusionResult,
    analyse_diffusion as analyse_diffusion,
    analyse_walk as analyse_walk,
)
from .replicas import (
    MIN_REPLICAS as MIN_REPLICAS,
    pool_replicas as pool_replicas,
)
from .sites.analysis import (
    SiteAnalysis as SiteAnalysis,
    analyse_sites as analyse_sites,
)
from .sites.cif import (
    CIF_MEDIA_TYPE as CIF_MEDIA_TYPE,
    disordered_cif as disordered_cif,
)
from .sites.parents import (
    PlacedParent as PlacedParent,
    cell_of_simulation as cell_of_simulation,
    place_parent as place_parent,
)

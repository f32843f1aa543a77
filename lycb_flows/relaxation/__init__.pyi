from . import (
    by_model as by_model,
    ranking as ranking,
)
from .by_model import (
    MAX_ATOMS as MAX_ATOMS,
    relax as relax,
    relax_many as relax_many,
)
from .formation import (
    formation_energy_ev_per_atom as formation_energy_ev_per_atom,
)
from .ranking import (
    Candidate as Candidate,
    space_group as space_group,
)
from .searching import (
    Landscape as Landscape,
    search_orderings as search_orderings,
)

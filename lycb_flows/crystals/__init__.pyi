from .binaries import (
    BINARY_NAMES as BINARY_NAMES,
    load_binary as load_binary,
)
from .cell_filter import (
    CellFilter as CellFilter,
)
from .charges import (
    guessed_charges as guessed_charges,
    mobile_ion as mobile_ion,
)
from .distances import (
    check_elements as check_elements,
    element_shares as element_shares,
    summed_shares as summed_shares,
    with_rules as with_rules,
)
from .enumeration import (
    MAX_ATOMS as MAX_ATOMS,
    N_SEARCHES as N_SEARCHES,
    AutomaticChoice as AutomaticChoice,
    CountOutOfReachError as CountOutOfReachError,
    EnumerationResult as EnumerationResult,
    choose as choose,
    count_orderings as count_orderings,
    count_placements as count_placements,
    decorated_amounts as decorated_amounts,
    disordered_cell as disordered_cell,
    enumerate_decorations as enumerate_decorations,
    enumerate_orderings as enumerate_orderings,
    substituted as substituted,
    supercell_text as supercell_text,
)
from .relaxed import (
    Relaxed as Relaxed,
)
from .structures import (
    PARENT_NAMES as PARENT_NAMES,
    DisorderedCrystal as DisorderedCrystal,
    canonical_structure as canonical_structure,
    check_crystal as check_crystal,
    check_size as check_size,
    load_parent as load_parent,
    parent_cell as parent_cell,
    parse_cif as parse_cif,
    repeated as repeated,
    structure_from_arrays as structure_from_arrays,
    to_ase as to_ase,
    to_pymatgen as to_pymatgen,
    volume_ang3_per_atom as volume_ang3_per_atom,
)

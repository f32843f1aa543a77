from .checks import (
    Answer as Answer,
    ask as ask,
    checked_label as checked_label,
    checked_numbers as checked_numbers,
)
from .engine import (
    Engine as Engine,
    Finding as Finding,
    FindModel as FindModel,
    ForceCall as ForceCall,
    Look as Look,
    Machine as Machine,
    Models as Models,
    NotApplicableError as NotApplicableError,
    engine_of as engine_of,
    find_engine as find_engine,
    is_dft as is_dft,
)
from .foreign.reading import (
    ForeignLabel as ForeignLabel,
    Found as Found,
    Keys as Keys,
    Refusal as Refusal,
    read_ase_db as read_ase_db,
    read_extxyz as read_extxyz,
    read_mptrj as read_mptrj,
)
from .foreign.stated_level import (
    Level as Level,
    Statement as Statement,
    contradictions as contradictions,
    level_of_fingerprint as level_of_fingerprint,
    our_levels as our_levels,
    stated_level as stated_level,
)
from .foreign.vasprun import (
    label_of_run as label_of_run,
    read_run as read_run,
    structure_of_run as structure_of_run,
)
from .logs import (
    KeepsLogs as KeepsLogs,
    Log as Log,
    archive as archive,
)
from .plane_waves import (
    plane_wave_label_s as plane_wave_label_s,
)
from .relaxing import (
    Relaxer as Relaxer,
    drive_fire as drive_fire,
)
from .teacher import (
    Teacher as Teacher,
)
from .theory import (
    VASP_STAND_IN as VASP_STAND_IN,
    Convergence as Convergence,
    Labeler as Labeler,
    Potcars as Potcars,
    Smearing as Smearing,
    Theory as Theory,
    code_of as code_of,
    functional_of as functional_of,
    gpaw_theory as gpaw_theory,
    teacher_theory as teacher_theory,
    vasp_theory as vasp_theory,
)

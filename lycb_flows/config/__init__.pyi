from .base import (
    DIFFERENT as DIFFERENT,
    NOT_KEYED as NOT_KEYED,
    Config as Config,
    Count as Count,
    Fraction as Fraction,
    Positive as Positive,
    Supercell as Supercell,
    first_fault as first_fault,
    matching as matching,
)
from .campaign import (
    Campaign as Campaign,
    Decision as Decision,
    Levers as Levers,
)
from .decorations import (
    DecorationConfig as DecorationConfig,
    decorated_name as decorated_name,
    name_of_ordering as name_of_ordering,
    ordering_name as ordering_name,
)
from .dynamics import (
    HealthConfig as HealthConfig,
    MDConfig as MDConfig,
    MDProtocol as MDProtocol,
    RunConfig as RunConfig,
)
from .labels import (
    LABELERS as LABELERS,
    NAMES_MODEL as NAMES_MODEL,
    STATED_THEORY as STATED_THEORY,
    AbsentLabeler as AbsentLabeler,
    AnyLabeler as AnyLabeler,
    AseLabeler as AseLabeler,
    GpawLabeler as GpawLabeler,
    LabelConfig as LabelConfig,
    LabelerConfig as LabelerConfig,
    TeacherLabeler as TeacherLabeler,
    VaspLabeler as VaspLabeler,
)
from .learning import (
    LearningConfig as LearningConfig,
    LossWeights as LossWeights,
    SelectionConfig as SelectionConfig,
    TestConfig as TestConfig,
    TestSetConfig as TestSetConfig,
    TrainingConfig as TrainingConfig,
    TuningConfig as TuningConfig,
)
from .measurement import (
    CONFIDENCE as CONFIDENCE,
    MIN_MEASURED_FRAMES as MIN_MEASURED_FRAMES,
    DiffusionConfig as DiffusionConfig,
    MeasurementConfig as MeasurementConfig,
    PlacesConfig as PlacesConfig,
    StudentConfig as StudentConfig,
)
from .models import (
    IMPORT_PATH as IMPORT_PATH,
    CalculatorModel as CalculatorModel,
    ModelName as ModelName,
)
from .ranking import (
    DftConfig as DftConfig,
    RankingConfig as RankingConfig,
    RelaxationConfig as RelaxationConfig,
)
from .structures import (
    HALIDE_FORBIDDEN_PAIRS as HALIDE_FORBIDDEN_PAIRS,
    EnumerationConfig as EnumerationConfig,
    ForbiddenPair as ForbiddenPair,
    Matrix3 as Matrix3,
    SystemConfig as SystemConfig,
)
from .yaml_text import (
    discreet_reason as discreet_reason,
    parse_yaml as parse_yaml,
)

"""The settings of a campaign, with a file for each section; import their classes from here."""

from __future__ import annotations

from lycb_flows.config.base import (
    DIFFERENT,
    NOT_KEYED,
    Config,
    Count,
    Fraction,
    Positive,
    Supercell,
    first_fault,
    matching,
)
from lycb_flows.config.campaign import Campaign, Decision, Levers
from lycb_flows.config.decorations import (
    DecorationConfig,
    decorated_name,
    name_of_ordering,
    ordering_name,
)
from lycb_flows.config.dynamics import HealthConfig, MDConfig, MDProtocol, RunConfig
from lycb_flows.config.labels import (
    LABELERS,
    NAMES_MODEL,
    STATED_THEORY,
    AbsentLabeler,
    AnyLabeler,
    AseLabeler,
    GpawLabeler,
    LabelConfig,
    LabelerConfig,
    TeacherLabeler,
    VaspLabeler,
)
from lycb_flows.config.learning import (
    LearningConfig,
    LossWeights,
    SelectionConfig,
    TestConfig,
    TestSetConfig,
    TrainingConfig,
    TuningConfig,
)
from lycb_flows.config.measurement import (
    CONFIDENCE,
    MIN_MEASURED_FRAMES,
    DiffusionConfig,
    MeasurementConfig,
    PlacesConfig,
    StudentConfig,
)
from lycb_flows.config.models import IMPORT_PATH, CalculatorModel, ModelName
from lycb_flows.config.ranking import DftConfig, RankingConfig, RelaxationConfig
from lycb_flows.config.structures import (
    HALIDE_FORBIDDEN_PAIRS,
    EnumerationConfig,
    ForbiddenPair,
    Matrix3,
    SystemConfig,
)
from lycb_flows.config.yaml_text import discreet_reason, parse_yaml

__all__ = [
    "CONFIDENCE",
    "DIFFERENT",
    "HALIDE_FORBIDDEN_PAIRS",
    "IMPORT_PATH",
    "LABELERS",
    "MIN_MEASURED_FRAMES",
    "NAMES_MODEL",
    "NOT_KEYED",
    "STATED_THEORY",
    "AbsentLabeler",
    "AnyLabeler",
    "AseLabeler",
    "CalculatorModel",
    "Campaign",
    "Config",
    "Count",
    "Decision",
    "DecorationConfig",
    "DftConfig",
    "DiffusionConfig",
    "EnumerationConfig",
    "ForbiddenPair",
    "Fraction",
    "GpawLabeler",
    "HealthConfig",
    "LabelConfig",
    "LabelerConfig",
    "LearningConfig",
    "Levers",
    "LossWeights",
    "MDConfig",
    "MDProtocol",
    "Matrix3",
    "MeasurementConfig",
    "ModelName",
    "PlacesConfig",
    "Positive",
    "RankingConfig",
    "RelaxationConfig",
    "RunConfig",
    "SelectionConfig",
    "StudentConfig",
    "Supercell",
    "SystemConfig",
    "TeacherLabeler",
    "TestConfig",
    "TestSetConfig",
    "TrainingConfig",
    "TuningConfig",
    "VaspLabeler",
    "decorated_name",
    "discreet_reason",
    "first_fault",
    "matching",
    "name_of_ordering",
    "ordering_name",
    "parse_yaml",
]

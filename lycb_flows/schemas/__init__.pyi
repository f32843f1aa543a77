from .arrhenius import (
    FITTED_REGIMES as FITTED_REGIMES,
    Arrhenius as Arrhenius,
    LeftOut as LeftOut,
    Prediction as Prediction,
)
from .base import (
    Blob as Blob,
    Document as Document,
    Made as Made,
    Matrix as Matrix,
    Produced as Produced,
    Vector as Vector,
    blob_of as blob_of,
)
from .benchmark import (
    Benchmark as Benchmark,
    BenchmarkedModel as BenchmarkedModel,
    BenchmarkPart as BenchmarkPart,
    BenchmarkSet as BenchmarkSet,
)
from .campaign import (
    CampaignRecord as CampaignRecord,
)
from .charge import (
    ChargeEstimate as ChargeEstimate,
    ChargeTransport as ChargeTransport,
)
from .columns import (
    COMMON_COLUMNS as COMMON_COLUMNS,
    Column as Column,
    Scalar as Scalar,
    columns_of as columns_of,
    values_of as values_of,
)
from .datasets import (
    Dataset as Dataset,
    Frame as Frame,
    Frames as Frames,
    TestSet as TestSet,
)
from .dynamics import (
    Health as Health,
    Run as Run,
    Segment as Segment,
    Thermodynamics as Thermodynamics,
)
from .keys import (
    at_versions as at_versions,
    digest as digest,
    make_key as make_key,
    seed_for as seed_for,
)
from .kinds import (
    KINDS as KINDS,
    register_kind as register_kind,
)
from .labels import (
    Import as Import,
    Label as Label,
)
from .learning import (
    CandidateErrors as CandidateErrors,
    EpochRecord as EpochRecord,
    Evaluation as Evaluation,
    Foundation as Foundation,
    Model as Model,
    ModelErrors as ModelErrors,
    Round as Round,
)
from .measurement import (
    DiffusionEstimate as DiffusionEstimate,
    Evidence as Evidence,
    Regime as Regime,
    Transport as Transport,
)
from .rankings import (
    DftCandidate as DftCandidate,
    GroundState as GroundState,
    RankedCandidate as RankedCandidate,
    Ranking as Ranking,
    Relaxation as Relaxation,
)
from .series import (
    CompositionSeries as CompositionSeries,
    LatticeDifference as LatticeDifference,
    SeriesConduction as SeriesConduction,
    SeriesPoint as SeriesPoint,
)
from .sites import (
    Density as Density,
    SiteOrbit as SiteOrbit,
    Sites as Sites,
    SiteStep as SiteStep,
)
from .structures import (
    DroppedOccupant as DroppedOccupant,
    Enumeration as Enumeration,
    Ordering as Ordering,
    Parent as Parent,
    Structure as Structure,
)
from .students import (
    Student as Student,
    StudentCondition as StudentCondition,
)
from .thermodynamics import (
    RunThermodynamics as RunThermodynamics,
)
from .volumes import (
    CellAverage as CellAverage,
    CellVolumes as CellVolumes,
    ModelVolumes as ModelVolumes,
    ThermalExpansion as ThermalExpansion,
)

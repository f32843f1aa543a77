"""One immutable document per kind of fact.

A document has two parts. Its *facts* are what its key promises: every field but `key`,
`parents`, `products` and `made`; `lycb diff` compares them. `made` says who made it, where
and at what cost: never compared, never keyed. `method_version` rises only when the same
inputs would give another result, with a line in CHANGELOG.md.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]

_HEADER = frozenset({"key", "parents", "products", "made"})


class Blob(BaseModel):
    """Bytes kept by content: a trajectory, weights, a long list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, description="bytes")
    media_type: str


class Made(BaseModel):
    """Who made a document, where, when, at what cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    worker: str = ""
    host: str = ""
    pid: int = 0
    job: str = Field("", description="Name of the job; of a Dataset: the label that closed it.")
    threads: int = 0
    device: str = ""
    versions: dict[str, str] = {}
    started_at: str = Field("", description="ISO 8601, UTC")
    ended_at: str = Field("", description="ISO 8601, UTC")
    wall_s: float = 0.0
    cpu_s: float = 0.0
    logs: dict[str, Blob] = Field({}, description="What an engine wrote: evidence, no facts.")


class Document(BaseModel):
    """Base of every fact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    method_version: ClassVar[int] = 1
    schema_version: ClassVar[int] = 1

    key: str
    parents: tuple[str, ...] = Field((), description="Keys that this was made from.")
    products: tuple[str, ...] = Field((), description="Keys of structures born here.")
    made: Made = Made()

    def facts(self) -> dict[str, Any]:
        """What the key promises, as plain data."""
        return self.model_dump(mode="json", exclude=set(_HEADER))

    @classmethod
    def from_facts(cls, facts: dict[str, Any], **header: object) -> Self:
        """The document of stored facts and header."""
        return cls.model_validate(facts | header)


class Produced(BaseModel):
    """What a job hands on: keys only; the loop reads the store."""

    kind: str
    keys: tuple[str, ...]
    reason: str = ""


# -- structures ------------------------------------------------------------------------


class Structure(Document):
    """An ordered crystal, canonical at birth (`structures.canonical_structure`)."""

    kind = "structure"

    lattice_ang: Matrix = Field(description="rows a, b, c in Å, rounded to 1e-8")
    species: tuple[str, ...]
    frac_coords: tuple[Vector, ...] = Field(description="in [0, 1), rounded to 1e-10")


class Parent(Document):
    """A disordered crystal as refined, with the CIF it came from."""

    kind = "parent"

    name: str
    cif: Blob
    provenance: str
    min_occupancy: float = Field(description="Preset threshold for minor occupants.")
    lattice_ang: Matrix
    site_labels: tuple[str, ...] = Field(description="Orbit label of each site.")
    occupancies: tuple[dict[str, float], ...] = Field(description="species -> occupancy")
    frac_coords: tuple[Vector, ...]


class DroppedOccupant(BaseModel):
    """A minor occupant that the enumeration left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    site_label: str
    species: str
    occupancy: float


class Enumeration(Document):
    """The distinct orderings of a parent, or decorations of a structure."""

    kind = "enumeration"

    formula: str = Field(description="Of the supercell.")
    n_atoms: int
    count: int = Field(description="Symmetry-distinct, exact (Burnside).")
    raw_count: int = Field(description="Before symmetry, forbidden pairs applied, exact.")
    n_members: int = Field(description="Listed; below count when sampled.")
    exhaustive: bool
    coverage: float = Field(description="n_members / count")
    members: Blob = Field(description="JSON: [{mask, multiplicity, stratum}]")
    dropped: tuple[DroppedOccupant, ...] = ()
    subgroup_order: int | None = Field(None, description="Order of H of the symmetric stratum.")
    subgroup_orbit_sizes: tuple[int, ...] | None = None
    subgroup_symbol: str | None = None
    seed: int | None = None
    engine: str
    x: float | None = Field(None, description="Br per formula unit, of decorations.")


class Ordering(Document):
    """One member of an enumeration, with its structure."""

    kind = "ordering"

    enumeration: str
    index: int
    mask: str
    multiplicity: int
    structure: str


class Relaxation(Document):
    """A structure relaxed by a potential, or at a level of theory: then its steps are labels."""

    kind = "relaxation"
    method_version = 2

    structure: str
    final_structure: str
    model: str | None = Field(None, description="None: at a level of theory.")
    theory: str | None = Field(None, description="Fingerprint; None: by a model.")
    theory_name: str | None = None
    optimizer: str | None = Field(None, description="None: our batched FIRE.")
    labels: tuple[str, ...] = Field((), description="Of its steps, in order; none if made inside.")
    warnings: tuple[str, ...] = ()
    energy_ev: float
    energy_ev_per_atom: float
    static_energy_ev_per_atom: float = Field(description="At the cell and positions given.")
    max_force_ev_per_ang: float
    n_steps: int
    converged: bool
    volume_ang3_per_atom: float
    volume_change: float = Field(description="Relative to the structure given.")


class RankedCandidate(BaseModel):
    """One row of a ranking."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ordering: str
    relaxation: str
    structure: str = Field(description="Relaxed.")
    space_group: str = Field(description="Of the relaxed structure, symprec 0.01 Å... 0.1 Å.")
    energy_ev_per_atom: float
    above_best_ev_per_atom: float
    volume_ang3_per_atom: float
    volume_flag: bool
    refined_cell_rank: int = Field(description="1-based, by energy at the refined cell.")
    refined_cell_energy_ev_per_atom: float
    tied_with_best: bool
    stage: Literal["coarse", "fine"]


class Ranking(Document):
    """Candidates by energy, the ground-state candidate first."""

    kind = "ranking"
    method_version = 2

    system: str
    enumeration: str
    model: str
    n_candidates: int
    n_not_converged: int = Field(description="Or flown apart: see their failed attempts.")
    best: tuple[RankedCandidate, ...] = Field(description="Fine stage, by energy.")
    table: Blob = Field(description="JSON: every candidate")
    ground_state: str = Field(description="Structure of the best candidate without volume flag.")
    ground_state_note: str


class DftCandidate(BaseModel):
    """A candidate in the model's order and in DFT's; numbers of DFT are None where it failed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ordering: str
    model_rank: int = Field(description="1-based, by the model's energy.")
    model_above_best_ev_per_atom: float
    model_volume_flag: bool
    relaxation: str | None = None
    structure: str | None = Field(None, description="Relaxed.")
    space_group: str | None = None
    energy_ev_per_atom: float | None = None
    above_best_ev_per_atom: float | None = None
    formation_energy_ev_per_atom: float | None = Field(
        None, description="From the mixture of binaries that is lowest in energy."
    )
    volume_ang3_per_atom: float | None = None
    volume_change: float | None = Field(None, description="Relative to the model's structure.")
    n_steps: int | None = None
    converged: bool = False
    tied_with_best: bool = False
    reason: str = Field("", description="Why there is no relaxation.")


class GroundState(Document):
    """The best candidates of a ranking by DFT, and the ground state among them."""

    kind = "ground_state"

    system: str
    ranking: str
    theory: str = Field(description="Fingerprint.")
    theory_name: str
    n: int = Field(description="Candidates that DFT looked at.")
    n_there: int = Field(description="Candidates that the ranking has.")
    candidates: tuple[DftCandidate, ...] = Field(description="By DFT's energy, failures last.")
    ground_state: str = Field(description="Structure.")
    note: str = Field(description="Ties, failures and the edge, in words.")
    kendall_tau: float | None = Field(None, description="Of the two orders; None below three.")
    spearman_rho: float | None = None
    at_edge: bool = Field(description="Whether the minimum lies in the last part of the list.")
    widened_to: int | None = Field(description="Length of the next list; None: this one decides.")
    anchors: dict[str, str] = Field({}, description="Binary -> its Relaxation.")


# -- MD ---------------------------------------------------------------------------------


class Health(BaseModel):
    """Whether a run stayed in physics."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    healthy: bool = True
    failed_step: int | None = None
    reason: str = ""


class Thermodynamics(BaseModel):
    """Means over a stretch of a run, with standard deviations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature_k: float
    temperature_std_k: float
    pressure_gpa: float
    pressure_std_gpa: float
    potential_energy_ev_per_atom: float
    potential_energy_std_ev_per_atom: float
    volume_ang3_per_atom: float
    volume_std_ang3_per_atom: float


class Segment(Document):
    """A fixed stretch of a run."""

    kind = "segment"
    method_version = 2

    run_identity: str
    index: int
    first_step: int
    last_step: int
    n_frames: int
    trajectory: Blob
    checkpoint: Blob = Field(description="State after last_step: the only restart point.")
    thermodynamics: Thermodynamics | None = Field(description="None without frames (unhealthy).")
    health: Health


class Run(Document):
    """One MD run: its segments, means, average cell, health."""

    kind = "run"
    method_version = 2

    name: str
    start: str
    start_structure: str = Field(description="The structure that start stands for.")
    model: str
    ensemble: Literal["nve", "nvt", "npt"]
    temperature_k: float
    pressure_bar: float | None
    n_steps: int
    time_step_fs: float
    segments: tuple[str, ...]
    means: Thermodynamics | None = Field(
        description="Over the averaging window; None if unhealthy."
    )
    average_lattice_ang: Matrix | None = Field(None, description="npt only.")
    average_volume_ang3_per_atom: float | None = Field(description="None if unhealthy.")
    average_structure: str | None = Field(
        None, description="npt: last positions in the average cell."
    )
    equilibrated: bool = Field(description="npt: at least ten barostat times averaged.")
    health: Health


class Frame(BaseModel):
    """One configuration of a run, chosen for a label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    step: int
    structure: str
    system: str
    block: Literal["train", "validation", "test"]
    rule: Literal["medoid", "fps", "uniform"]
    distance_ang: float | None = Field(None, description="RMS to the nearest chosen before it.")


class Frames(Document):
    """Which steps of which runs, by which rule."""

    kind = "frames"

    runs: tuple[str, ...]
    frames: tuple[Frame, ...]


# -- labels and learning ----------------------------------------------------------------


class Label(Document):
    """Energy, forces and stress of a structure at one level of theory."""

    kind = "label"
    method_version = 2

    structure: str
    theory: str = Field(description="Fingerprint.")
    theory_name: str = Field(description="'teacher:...' when no DFT stands behind it.")
    energy_ev: float
    forces_ev_per_ang: tuple[Vector, ...] = Field(description="(n_atoms, 3)")
    stress_gpa: Matrix = Field(description="Tension positive, ASE's sign.")
    converged: bool
    kpoint_mesh: tuple[int, int, int] | None = Field(
        None, description="That the theory's rule gave this cell; None: no k-points."
    )
    corrections: tuple[str, ...] = Field(
        (), description="What custodian changed of how the electrons were iterated."
    )
    pseudopotentials: tuple[str, ...] = Field(
        (), description="VASP's: title and SHA-256 of each POTCAR, in POSCAR's order."
    )
    warnings: tuple[str, ...] = ()


class Import(Document):
    """Labels that a file brought, and what it states of their level of theory."""

    kind = "import"

    name: str = Field(description="Of the set of labels that this belongs to.")
    file: str = Field(description="Where it lay when it was read, within what was imported.")
    file_format: str
    sha256: str = Field(description="Of the file.")
    content: Blob | None = Field(description="The file; None when it was too large to keep.")
    theory: str = Field(description="Fingerprint.")
    theory_name: str
    statement: dict[str, Any] | None = Field(
        description="The level of theory in full; None when only its fingerprint is known."
    )
    unknown: tuple[str, ...] = Field(description="What nobody can know of the level any more.")
    labels: tuple[str, ...]
    places: tuple[int, ...] = Field(description="Of each label in the file, from 0.")


class Dataset(Document):
    """The exact labels that one training used; first wins."""

    kind = "dataset"

    round_index: int
    theory: str
    training_labels: tuple[str, ...]
    validation_labels: tuple[str, ...]
    missing: tuple[str, ...] = Field((), description="Failed or late when the round closed.")
    rejected: dict[str, str] = Field({}, description="label -> why it does not train")
    test_sets: tuple[str, ...]


class TestSet(Document):
    """Labels that no training may see."""

    __test__: ClassVar[bool] = False  # not a pytest class
    kind = "test_set"

    name: str
    labels: tuple[str, ...]
    how: str
    runs: tuple[str, ...]


class EpochRecord(BaseModel):
    """One epoch of a training; errors of the averaged weights on the validation labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int
    learning_rate: float
    training_loss: float
    energy_mae_ev_per_atom: float
    force_mae_ev_per_ang: float
    stress_mae_gpa: float
    score: float


class Model(Document):
    """Weights with their ancestry."""

    kind = "model"

    name: str
    architecture: str = Field(description="'chgnet' or 'toy'.")
    architecture_args: dict[str, Any]
    weights: Blob = Field(description="safetensors")
    source: str = Field(description="'pretrained', 'file' or 'fine-tuned'.")
    dataset: str | None = None
    parent_model: str | None = None
    reference_shift_ev: dict[str, float] = Field({}, description="Added per atom of an element.")
    best_epoch: int | None = None
    history: tuple[EpochRecord, ...] = ()


class ModelErrors(BaseModel):
    """Errors of a model on labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_labels: int
    energy_mae_ev_per_atom: float
    force_mae_ev_per_ang: float
    stress_mae_gpa: float
    energy_rmse_ev_per_atom: float
    force_rmse_ev_per_ang: float
    stress_rmse_gpa: float
    force_slope: float = Field(description="Least-squares slope of F_model against F_label.")

    @property
    def score(self) -> float:
        """The three MAEs, each over the paper's target (3.5 meV/atom, 50 meV/Å, 85 MPa), summed.

        Lower is better; it chooses the epoch of a training and the model that measures.
        """
        return (
            self.energy_mae_ev_per_atom / 3.5e-3
            + self.force_mae_ev_per_ang / 50e-3
            + self.stress_mae_gpa / 85e-3
        )


class Evaluation(Document):
    """A model on frozen test sets."""

    kind = "evaluation"
    method_version = 2

    model: str
    test_sets: tuple[str, ...]
    overall: ModelErrors
    by_system: dict[str, ModelErrors]
    predictions: Blob = Field(description="JSON: label -> predicted and labelled values")


class Round(Document):
    """The state of the loop after one round."""

    kind = "round"

    index: int
    temperature_k: float
    start_model: str
    runs: tuple[str, ...]
    frames: str
    dataset: str
    model: str
    evaluation_before: str
    evaluation_after: str
    next_temperature_k: float | None
    decision_reason: str


# -- measurement ------------------------------------------------------------------------


class DiffusionEstimate(BaseModel):
    """D with its error bars, or an upper bound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    diffusivity_m2_per_s: float | None = Field(None, description="Paper's window, OLS.")
    diffusivity_err_he_m2_per_s: float | None = Field(None, description="He et al. 2018.")
    diffusivity_err_m2_per_s: float | None = Field(None, description="Own calibrated bar.")
    diffusivity_log_err: float | None = Field(None, description="Standard error of ln D.")
    diffusivity_low_m2_per_s: float | None = Field(None, description="95 % interval in ln D.")
    diffusivity_high_m2_per_s: float | None = Field(None, description="95 % interval in ln D.")
    diffusivity_upper_m2_per_s: float | None = Field(None, description="95 % bound.")
    fit_start_ps: float | None = None
    fit_end_ps: float | None = None
    log_slope: float | None = Field(None, description="d ln MSD / d ln t in the window.")
    effective_hops: float = Field(description="He's N_eff: ions x max MSD over all lags / a².")
    max_msd_ang2: float = Field(description="Over all lags.")
    plateau_msd_ang2: float = Field(description="Vibration, subtracted for the bound.")
    reason: str = Field("", description="Why there is only a bound.")


class Transport(Document):
    """MSD and D of one production run."""

    kind = "transport"
    method_version = 2

    run: str
    model: str
    system: str
    temperature_k: float
    pressure_bar: float
    volume_ang3_per_atom: float
    mobile_species: str
    n_mobile: int
    n_atoms: int
    duration_ps: float
    lags_ps: tuple[float, ...] = Field(description="At most 200, log-spaced.")
    msd_ang2: tuple[float, ...]
    framework_msd_ang2: tuple[float, ...]
    estimate: DiffusionEstimate
    diffusivity_tensor_m2_per_s: Matrix | None = Field(None, description="Cartesian.")
    lattice_diffusivities_m2_per_s: Vector | None = Field(None, description="Along a, b, c.")
    conductivity_ms_per_cm: float | None = Field(None, description="Nernst-Einstein at T.")
    conductivity_err_ms_per_cm: float | None = None
    conductivity_upper_ms_per_cm: float | None = None
    healthy: bool


class Arrhenius(Document):
    """D(T) -> barrier, prefactor, conductivity at the extrapolation temperature."""

    kind = "arrhenius"
    method_version = 2

    system: str
    pressure_bar: float
    model: str
    transports: tuple[str, ...]
    n_points: int
    fitted: bool
    reason: str = Field("", description="Why there is no fit.")
    activation_energy_ev: float | None = None
    activation_energy_err_ev: float | None = None
    log_prefactor: float | None = Field(None, description="ln(D0 / (m²/s))")
    log_prefactor_err: float | None = None
    covariance: tuple[tuple[float, float], tuple[float, float]] | None = Field(
        None, description="Of (ln D0, E_A/eV)."
    )
    extrapolation_temperature_k: float
    extrapolated_diffusivity_m2_per_s: float | None = None
    extrapolated_log_err: float | None = Field(None, description="Standard error of ln D.")
    extrapolated_conductivity_ms_per_cm: float | None = None
    extrapolated_conductivity_low_ms_per_cm: float | None = Field(None, description="-1 sigma")
    extrapolated_conductivity_high_ms_per_cm: float | None = Field(None, description="+1 sigma")


class CampaignRecord(Document):
    """The submitted text; a campaign is known by its name."""

    kind = "campaign"

    name: str
    text: str
    resolved: str = Field("", description="The same as JSON, parents and models as keys.")


KINDS: dict[str, type[Document]] = {
    document.kind: document
    for document in (
        Structure, Parent, Enumeration, Ordering, Relaxation, Ranking, GroundState, Segment, Run,
        Frames, Label, Import, Dataset, TestSet, Model, Evaluation, Round, Transport, Arrhenius,
        CampaignRecord,
    )
}  # fmt: skip

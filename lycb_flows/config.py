"""What a user wishes: the campaign and its parts, frozen, checked at line one.

Three kinds of number have three homes: science here, machine settings in `settings.py`,
constants of nature in `units.py`. Defaults marked *paper* are Böhm & Champagne's
(arXiv 2510.09861); *ours* carries a reason.
"""

from __future__ import annotations

from math import ceil
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

NOT_KEYED = "not-keyed"
"""Marks a field that never enters a key: a name, a comment, a matter of the machine."""

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Supercell = tuple[
    Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]
]


class Config(BaseModel):
    """Base of every wish: frozen, no unknown fields, survives the road to a worker.

    `as_dict`/`from_dict` make monty and jobflow carry it intact (a plain pydantic model
    as a Maker field arrives as a string).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain data with monty's `@module` and `@class`."""
        return {
            "@module": type(self).__module__,
            "@class": type(self).__qualname__,
            **self.model_dump(mode="json"),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The config that `as_dict` made."""
        return cls.model_validate({k: v for k, v in data.items() if not k.startswith("@")})

    def keyed(self) -> dict[str, Any]:
        """The fields that decide a result, nested configs included as they are."""
        return {
            name: getattr(self, name)
            for name, field in type(self).model_fields.items()
            if NOT_KEYED not in field.metadata
        }


class ForbiddenPair(Config):
    """Two species that may not sit closer than this on the ideal sites of a parent."""

    species: tuple[str, str]
    min_distance_ang: Positive


HALIDE_FORBIDDEN_PAIRS: tuple[ForbiddenPair, ...] = (
    ForbiddenPair(species=("Y", "Y"), min_distance_ang=3.3),
    ForbiddenPair(species=("Li", "Li"), min_distance_ang=2.5),
    ForbiddenPair(species=("Li", "Y"), min_distance_ang=2.5),
)
"""Measured for the two parents (reference/enumeration.md)."""


class EnumerationConfig(Config):
    """How a disordered parent becomes symmetry-distinct orderings."""

    supercell: Supercell = Field((1, 1, 2), description="Multiples of a, b, c (paper: 1 1 2).")
    cell: Literal["primitive"] | None = Field(
        None,
        description="Multiples of the parent's reduced primitive cell, not of the CIF's setting: "
        "half of C-centred Li3YBr6, 10 atoms, for labels that cost.",
    )
    engine: Literal["builtin", "enumlib"] = Field(
        "builtin", description="Own exact generator, or enum.x through pymatgen; same answer."
    )
    min_occupancy: Fraction | None = Field(
        None,
        description="Drop occupants below this; default: the parent's preset, 0.15 for a CIF.",
    )
    forbidden_pairs: tuple[ForbiddenPair, ...] = Field(
        HALIDE_FORBIDDEN_PAIRS, description="Pairs that may not sit too close."
    )
    allowed_species: dict[str, tuple[str, ...]] | None = Field(
        None, description="Site label -> species allowed there, by hand ('vacancy' is one)."
    )
    cap: int = Field(1_000_000, ge=1, description="Most orderings that are listed exhaustively.")
    n_samples: Count = Field(1_000, description="Sampled orderings when the count exceeds cap.")
    seed: Count = Field(0, description="Seed of the sampling beyond the cap.")


class DecorationConfig(Config):
    """How Cl/Br are placed on an ordered cell; x counts Br per Li3YX6."""

    x: float = Field(ge=0, le=6, description="Br per formula unit Li3YCl(6-x)Br(x).")
    cap: int = Field(1_000, ge=1, description="Most decorations that are listed exhaustively.")
    n_samples: Count = Field(50, description="Uniform samples beside the symmetric stratum.")
    seed: Count = 0


class RelaxationConfig(Config):
    """FIRE on positions and cell."""

    fmax_ev_per_ang: Positive = Field(0.01, description="Force threshold (paper: 0.01 eV/Å).")
    max_steps: int = Field(1000, ge=1, description="Most FIRE steps; beyond: not converged.")
    relax_cell: bool = True


class SystemConfig(Config):
    """One material of a campaign: a parent, its supercell and, if mixed, its x."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Short, unique.")
    parent: str = Field(description="Built-in parent (Li3YCl6, Li3YBr6) or path of a CIF.")
    enumeration: EnumerationConfig = EnumerationConfig()
    decorations: tuple[DecorationConfig, ...] = Field(
        (), description="Mixed halides made from this system's ground state."
    )


class HealthConfig(Config):
    """When a run has left physics."""

    max_temperature_factor: Positive = Field(
        5.0, description="Instantaneous T above this multiple of the target (and 300 K)."
    )
    min_distance_ang: Positive = Field(0.7, description="Closest pair allowed.")
    max_volume_factor: Positive = Field(
        2.0, description="Volume above this multiple of the start's, or below its inverse."
    )
    max_energy_jump_ev_per_atom: Positive = Field(
        1.0, description="Potential energy away from the start by more than this."
    )
    max_framework_rms_ang: Positive = Field(
        4.0, description="RMS displacement of non-mobile ions: melted or lost."
    )
    mobile_species: str = Field("Li", description="The ion that may move; the rest is framework.")


class MDConfig(Config):
    """What all MD runs of a campaign share."""

    time_step_fs: Positive = Field(1.0, description="paper: 1 fs.")
    thermostat_damping_ps: Positive = Field(0.1, description="Nosé-Hoover chains (paper).")
    barostat_damping_ps: Positive = Field(1.0, description="MTK barostat (paper).")
    cell_shape: Literal["triclinic", "anisotropic", "isotropic"] = Field(
        "triclinic", description="ours: the paper is silent; monoclinic LYB needs its angles."
    )
    start_temperature_k: Positive = Field(100.0, description="Velocities drawn at (paper).")
    heating_ps: float = Field(2.0, ge=0, description="Linear ramp, fixed cell (paper).")
    equilibration_ps: float = Field(50.0, ge=0, description="NVT before NpT (paper).")
    sample_interval_fs: Positive = Field(10.0, description="One frame each (paper: 10 steps).")
    segment_ps: Positive = Field(50.0, description="ours: walltime loses one segment at most.")
    average_fraction: Fraction = Field(
        0.8, description="Last share of NpT that gives the average cell (paper: 112 of 140 ps)."
    )
    health: HealthConfig = HealthConfig()
    replicas_per_job: Annotated[int, Field(ge=1), NOT_KEYED] = Field(
        8, description="Runs per MD job."
    )

    def steps(self, duration_ps: float) -> int:
        """Time steps in this many ps."""
        return round(duration_ps * 1000 / self.time_step_fs)

    def npt(self, temperature_k: float, pressure_bar: float) -> MDProtocol:
        """Ramp, NVT, then NpT: the cell's equilibration."""
        return MDProtocol(
            ensemble="npt",
            pressure_bar=pressure_bar,
            barostat_damping_ps=self.barostat_damping_ps,
            cell_shape=self.cell_shape,
            heating_steps=self.steps(self.heating_ps),
            equilibration_steps=self.steps(self.equilibration_ps),
            start_temperature_k=self.start_temperature_k,
            **self._shared(temperature_k, self.sample_interval_fs),
        )

    def nvt(
        self, temperature_k: float, sample_interval_fs: float | None = None, *, ramp: bool
    ) -> MDProtocol:
        """NVT at a fixed cell; without the ramp, velocities are drawn at the temperature."""
        return MDProtocol(
            ensemble="nvt",
            heating_steps=self.steps(self.heating_ps) if ramp else 0,
            equilibration_steps=0,
            start_temperature_k=self.start_temperature_k if ramp else temperature_k,
            **self._shared(temperature_k, sample_interval_fs or self.sample_interval_fs),
        )

    def _shared(self, temperature_k: float, sample_interval_fs: float) -> dict[str, Any]:
        interval = max(1, round(sample_interval_fs / self.time_step_fs))
        return {
            "temperature_k": temperature_k,
            "time_step_fs": self.time_step_fs,
            "thermostat_damping_ps": self.thermostat_damping_ps,
            "sample_interval_steps": interval,
            "segment_steps": max(1, self.steps(self.segment_ps) // interval) * interval,
            "average_fraction": self.average_fraction,
            "health": self.health,
        }


class MDProtocol(Config):
    """Everything about a run but its length: ramp, NVT at fixed cell, then the ensemble.

    Steps are counted from the first step of the ramp.
    """

    ensemble: Literal["nve", "nvt", "npt"]
    temperature_k: Positive
    pressure_bar: float | None = Field(None, description="npt only.")
    time_step_fs: Positive
    thermostat_damping_ps: Positive
    barostat_damping_ps: Positive | None = Field(None, description="npt only.")
    cell_shape: Literal["triclinic", "anisotropic", "isotropic"] | None = Field(
        None, description="npt only; anisotropic: lengths move, directions stand."
    )
    start_temperature_k: Positive
    heating_steps: Count
    equilibration_steps: Count
    sample_interval_steps: int = Field(ge=1)
    segment_steps: int = Field(ge=1)
    average_fraction: Fraction
    health: HealthConfig

    @model_validator(mode="after")
    def _barostat_belongs_to_npt(self) -> Self:
        barostat = (self.pressure_bar, self.barostat_damping_ps, self.cell_shape)
        given = [value is not None for value in barostat]
        if any(given) != all(given) or all(given) != (self.ensemble == "npt"):
            msg = "pressure, barostat damping and cell shape belong to npt, all of them"
            raise ValueError(msg)
        if self.segment_steps % self.sample_interval_steps:
            msg = "segment_steps must be a multiple of sample_interval_steps"
            raise ValueError(msg)
        return self


class RunConfig(Config):
    """One MD run: where it starts, with which model, by which protocol, how long."""

    name: Annotated[str, NOT_KEYED]
    system: Annotated[str, NOT_KEYED]
    start: str = Field(description="Key of a Structure, or of an NpT Run (its average cell).")
    model: str = Field(description="Key of the Model.")
    protocol: MDProtocol
    seed: Count
    strain: float = Field(0.0, description="Isotropic strain of the start's lattice vectors.")
    repeat: Supercell = Field((1, 1, 1), description="Repeats of the start along a, b, c.")
    steps: int = Field(ge=1, description="Length, ramp and equilibration included.")

    def identity(self) -> dict[str, Any]:
        """The keyed part without the length: a longer run reuses the shorter one's segments."""
        return {name: value for name, value in self.keyed().items() if name != "steps"}


class SelectionConfig(Config):
    """Which frames of the runs are worth a label."""

    n_frames: int = Field(75, ge=1, description="Per system and round (paper: 150-300 for two).")
    thinning_fs: Positive = Field(100.0, description="Frames closer in time are correlated.")
    uniform_fraction: Fraction = Field(
        0.0, description="Share picked uniformly in time instead of by FPS (paper: all FPS)."
    )
    mobile_species: str = Field("Li", description="The ion that may move; the rest is framework.")


class TeacherLabeler(Config):
    """Labels by another potential: a rehearsal without DFT, and named as one."""

    type: Literal["teacher"] = "teacher"
    model: str = Field("chgnet-r2scan", description="Name, key or file of the teacher.")


class GpawLabeler(Config):
    """Labels by GPAW: density-functional theory without a licence."""

    type: Literal["gpaw"] = "gpaw"
    theory: str = Field("paper-static", description="Level of theory (labels/levels.yaml).")


class VaspLabeler(Config):
    """Labels by VASP, for who has a licence; command and scratch are the machine's settings."""

    type: Literal["vasp"] = "vasp"
    theory: str = Field("paper-static", description="Level of theory (labels/levels.yaml).")
    stand_in: bool = Field(
        default=False,
        description="Labels are a potential's behind VASP's files: a rehearsal, named as one.",
    )


class AseLabeler(Config):
    """Labels by any of ASE's calculators; what cannot be known of it is stated here."""

    type: Literal["ase"] = "ase"
    calculator: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$",
        description="Import path of the class, e.g. ase.calculators.cp2k.CP2K.",
    )
    version: str = Field(min_length=1, description="Of the code behind it.")
    functional: str = Field(min_length=1, description="What its numbers are, e.g. PBE.")
    raw_pbe: bool = Field(
        default=False,
        description="Energies are uncorrected PBE: MP2020 is removed before training.",
    )
    parameters: dict[str, JsonValue] = Field({}, description="The class is called with these.")


AnyLabeler = Annotated[
    TeacherLabeler | GpawLabeler | VaspLabeler | AseLabeler, Field(discriminator="type")
]


class LabelConfig(Config):
    """Who labels, and when a round may close."""

    labeler: AnyLabeler = TeacherLabeler()
    imported: tuple[str, ...] | None = Field(
        None, description="Sets of imported labels that join every training (`lycb import`)."
    )
    allow_unknown: Annotated[bool, NOT_KEYED] = Field(
        default=False,
        description="Whether imported labels may come whose level is not known in full.",
    )
    max_force_ev_per_ang: Positive = Field(
        25.0, description="A label with a larger force never trains."
    )
    quorum: Fraction = Field(0.9, description="Share of labels that closes a round after grace.")
    min_per_system: Count = Field(1, description="Labels that every system must have.")
    grace_s: Annotated[float, Field(ge=0), NOT_KEYED] = Field(
        3600.0, description="Wait for the last labels, from the quorum on."
    )
    timeout_s: Annotated[float, Field(gt=0), NOT_KEYED] = Field(
        86_400.0, description="A label that takes longer is stopped and counts as failed."
    )
    max_attempts: Annotated[int, Field(ge=1), NOT_KEYED] = Field(
        2, description="Tries before a label has failed for good."
    )

    @field_validator("labeler", mode="before")
    @classmethod
    def _a_labeler_without_a_type_is_a_teacher(cls, value: object) -> object:
        """As it was when there were no others."""
        return {"type": "teacher", **value} if isinstance(value, dict) else value


class DftConfig(Config):
    """The best candidates relaxed by DFT: which of them the campaign starts from."""

    labeler: AnyLabeler
    n: int = Field(20, ge=1, description="Best candidates of every parent (paper: 20).")
    n_decorations: Count = Field(
        1, description="Best candidates of every mixed halide; 0: the model's word stands."
    )
    relaxation: RelaxationConfig = RelaxationConfig(max_steps=300)
    tie_ev_per_atom: Positive = Field(
        0.0005, description="Energies closer than this are a tie (paper: converged to 0.5 meV)."
    )
    edge_fraction: Fraction = Field(
        0.25, description="ours: a minimum in this last share of the list asks for a longer one."
    )
    widen: int = Field(10, ge=1, description="Candidates that a list at its edge grows by.")
    limit: int = Field(40, ge=1, description="Longest list.")
    anchors: bool = Field(
        default=False, description="Relax LiCl, LiBr, YCl3, YBr3 too: formation energies."
    )
    timeout_s: Annotated[float, Field(gt=0), NOT_KEYED] = Field(
        86_400.0, description="A step, or a relaxation of the code's own, is stopped after this."
    )
    max_attempts: Annotated[int, Field(ge=1), NOT_KEYED] = Field(
        2, description="Tries of a job at a relaxation that fails."
    )

    @model_validator(mode="after")
    def _limit_is_no_shorter(self) -> Self:
        if self.limit < self.n:
            msg = f"limit = {self.limit} lies below n = {self.n}"
            raise ValueError(msg)
        return self

    def first_of_edge(self, n: int) -> int:
        """The place (from 1) in a list of n from which on a minimum lies at the edge."""
        return n - max(1, ceil(self.edge_fraction * n)) + 1

    def widened(self, n: int, best_place: int, n_there: int) -> int | None:
        """How long the list of n must become; None when it is long enough, or cannot grow.

        Parameters
        ----------
        n
            Its length now.
        best_place
            Of the DFT minimum in the model's order, from 1.
        n_there
            Candidates that there are.
        """
        longest = min(self.limit, n_there)
        if best_place < self.first_of_edge(n) or n >= longest:
            return None
        return min(n + self.widen, longest)


class RankingConfig(Config):
    """Two-stage funnel over relaxed candidates."""

    model: str = Field("chgnet-0.3.0", description="Name, key or file of the ranking potential.")
    coarse_fmax_ev_per_ang: Positive = Field(0.05, description="ours: cheap first stage.")
    fine_fmax_ev_per_ang: Positive = Field(0.01, description="Second stage (paper: 0.01).")
    n_fine: int = Field(20, ge=1, description="Candidates that get the fine stage (paper: 20).")
    max_steps: int = Field(1000, ge=1)
    volume_flag: Positive = Field(
        0.05, description="Flag candidates whose volume exceeds the refined cell's by this share."
    )
    tie_ev_per_atom: Positive = Field(0.001, description="Energies closer than this are a tie.")
    dft: DftConfig | None = Field(None, description="The best relaxed by DFT, which decides.")


class LossWeights(Config):
    """Weights of energy (eV/atom), force (eV/Å) and stress (GPa) in the Huber loss."""

    energy: float = Field(1.0, ge=0)
    force: float = Field(1.0, ge=0)
    stress: float = Field(0.1, ge=0)


class TrainingConfig(Config):
    """Fine-tuning recipe (reference/transport_and_training.md, B7)."""

    start: Literal["pretrained", "previous"] = Field(
        "pretrained", description="ours: cumulative data from the foundation, no drift."
    )
    epochs: int = Field(
        200, ge=1, description="ours: with 40 labels errors still fall at 200, volumes' last."
    )
    batch_size: int = Field(4, ge=1)
    learning_rate: Positive = 2e-3
    final_learning_rate_fraction: Fraction = 0.01
    warmup_fraction: Fraction = 0.1
    gradient_clip: Positive = 1.0
    ema_decay: Fraction = 0.99
    huber_delta: Positive = 0.1
    weights: LossWeights = LossWeights()
    freeze_level: int = Field(
        1, ge=0, le=4, description="0: all train; 1: embeddings and bases fixed; +1 per block."
    )
    patience: int = Field(50, ge=1, description="Epochs without a better score before stopping.")
    validation_fraction: Fraction = Field(
        0.15, description="Last share of each trajectory in time that validates."
    )
    shift_ridge_ev_per_atom: Positive = Field(
        1.0, description="Prior width of the reference shift per element (raw-PBE theories: B4)."
    )
    seed: Count = 0


class TestConfig(Config):
    """Test labels: runs of their own, frozen before the first training."""

    __test__: ClassVar[bool] = False  # not a pytest class

    temperatures_k: tuple[Positive, ...] = Field(
        (300.0, 600.0, 800.0), description="ours: up to T_max."
    )
    strains: tuple[float, ...] = Field((-0.03, 0.0, 0.03), description="One run each, in turn.")
    run_ps: Positive = Field(2.0, description="NVT after the ramp.")
    n_frames: int = Field(12, ge=1, description="Per system, over its test runs.")
    n_frames_per_round: Count = Field(6, description="Per system, the slice of a later round.")


class LearningConfig(Config):
    """The loop: temperatures, MD, selection, labels, training."""

    start_temperature_k: Positive = Field(200.0, description="paper: 200 K.")
    temperature_step_k: Positive = Field(200.0, description="paper: 200 K.")
    max_temperature_k: Positive = Field(800.0, description="paper: 800 K.")
    pressure_bar: float = Field(1.0, description="paper: 1 bar.")
    model: str = Field("chgnet-0.3.0", description="Name, key or file of the foundation model.")
    npt_ps: Positive = Field(140.0, description="paper: 140 ps.")
    nvt_ps: Positive = Field(1000.0, description="paper: 1,000,000 steps.")
    selection: SelectionConfig = SelectionConfig()
    training: TrainingConfig = TrainingConfig()
    test: TestConfig = TestConfig()

    @property
    def temperatures_k(self) -> tuple[float, ...]:
        """The temperature of every round, in K."""
        span = self.max_temperature_k - self.start_temperature_k
        n_rounds = int(span / self.temperature_step_k + 1e-9) + 1
        return tuple(
            self.start_temperature_k + i * self.temperature_step_k for i in range(n_rounds)
        )

    @model_validator(mode="after")
    def _ladder_climbs(self) -> Self:
        if self.max_temperature_k < self.start_temperature_k:
            msg = "max_temperature_k lies below start_temperature_k"
            raise ValueError(msg)
        return self


class DiffusionConfig(Config):
    """From a trajectory to D."""

    mobile_species: str = Field("Li", description="The ion that moves.")
    charge_number: int = Field(1, description="Charge of the mobile ion in units of e.")
    site_distance_ang: Positive = Field(3.0, description="a of He et al. (authors' code: 3 Å).")
    max_lag_fraction: Fraction = Field(0.7, description="Longest lag of the fit (paper).")
    max_lag_ps: Positive = Field(500.0, description="Longest lag of the fit (paper).")
    min_lag_ps: Positive | None = Field(
        None, description="Shortest lag of the fit; default: first lag with MSD >= a²/2."
    )
    discard_ps: float = Field(
        2.0, ge=0, description="ours: fresh velocities settle at the start of production."
    )
    confidence: Fraction = Field(0.95, description="Of upper bounds and intervals.")


MIN_MEASURED_FRAMES = 10
"""Below this a trajectory has no mean-squared displacement worth the name."""


class MeasurementConfig(Config):
    """Production MD and what is read from it."""

    model: str = Field(
        "best", description="'best', 'pretrained', or a round's temperature such as '600'."
    )
    temperatures_k: tuple[Positive, ...] = Field(
        (400.0, 450.0, 500.0, 550.0, 600.0, 650.0, 700.0, 750.0), description="paper: 400-750 K."
    )
    pressures_bar: tuple[float, ...] = Field((1.0,), description="paper: 1 and 10,000 bar.")
    npt_ps: Positive = Field(140.0, description="paper: 140 ps.")
    nvt_ps: Positive = Field(2000.0, description="paper: 2 ns.")
    sample_interval_fs: Positive = Field(100.0, description="ours: hops last longer than 0.1 ps.")
    repeat: Supercell = Field(
        (1, 1, 1), description="Repeats of the ground state's cell; more ions, smaller errors."
    )
    decorations: bool = Field(default=True, description="Whether mixed halides are measured too.")
    extrapolation_temperature_k: Positive = Field(300.0, description="paper: 300 K.")
    diffusion: DiffusionConfig = DiffusionConfig()


class Decision(Config):
    """What follows a round, and why."""

    next_temperature_k: float | None
    reason: str


class Campaign(Config):
    """One YAML: what goes in, how it is learned, what is measured."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Unique per store.")
    comment: Annotated[str, NOT_KEYED] = ""
    seed: Count = Field(0, description="Root of every seed of the campaign.")
    systems: tuple[SystemConfig, ...] = Field(min_length=1)
    ranking: RankingConfig = RankingConfig()
    md: MDConfig = MDConfig()
    learning: LearningConfig = LearningConfig()
    labels: LabelConfig = LabelConfig()
    measure: MeasurementConfig = MeasurementConfig()

    @model_validator(mode="after")
    def _systems_have_distinct_names(self) -> Self:
        names = [system.name for system in self.systems]
        if len(set(names)) < len(names):
            msg = f"system names must differ, found {names}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _runs_are_long_enough(self) -> Self:
        learning, measured, md = self.learning, self.measure, self.md
        for name, npt_ps in (("learning", learning.npt_ps), ("measure", measured.npt_ps)):
            if npt_ps * 1000 * md.average_fraction < md.sample_interval_fs:
                msg = f"{name}.npt_ps is too short for one frame of md.sample_interval_fs"
                raise ValueError(msg)
        available = int(learning.nvt_ps * 1000 / learning.selection.thinning_fs)
        if available < learning.selection.n_frames:
            msg = (
                f"learning.nvt_ps holds {available} frames that are selection.thinning_fs apart, "
                f"fewer than selection.n_frames = {learning.selection.n_frames}"
            )
            raise ValueError(msg)
        measured_ps = measured.nvt_ps - measured.diffusion.discard_ps
        if measured_ps * 1000 < MIN_MEASURED_FRAMES * measured.sample_interval_fs:
            msg = (
                f"measure.nvt_ps must leave {MIN_MEASURED_FRAMES} frames after diffusion.discard_ps"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _measured_model_exists(self) -> Self:
        models = ["best", "pretrained", *(f"{t:g}" for t in self.learning.temperatures_k)]
        if self.measure.model not in models:
            msg = f"measure.model must be one of {models}, found {self.measure.model!r}"
            raise ValueError(msg)
        return self

    def decide(self, round_index: int) -> Decision:
        """The decision after round `round_index` (0-based): the next temperature, or the end."""
        ladder = self.learning.temperatures_k
        if round_index + 1 < len(ladder):
            return Decision(
                next_temperature_k=ladder[round_index + 1],
                reason=f"{ladder[round_index]:g} K is below {ladder[-1]:g} K",
            )
        return Decision(next_temperature_k=None, reason=f"{ladder[-1]:g} K was the last")

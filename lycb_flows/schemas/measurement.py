"""Documents about measured diffusivities."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from lycb_flows.config.measurement import CONFIDENCE, DiffusionConfig
from lycb_flows.schemas.base import Document, Matrix, Part, Vector

Regime = Literal[
    "diffusive", "bound", "confined", "sub-diffusive", "ageing", "not linear", "unmeasured"
]


class Evidence(Part):
    """A number that a regime rests on, and the limit above which it counts."""

    name: str
    value: float
    limit: float


class DiffusionEstimate(Part):
    """A diffusivity with its error bars, an upper bound, or why there is neither.

    Documents of method version 2 have no regime: theirs is "diffusive" or "bound" where they have a
    value or a bound, and that value is the paper's.
    """

    regime: Regime | None = Field(None, description="The kind of motion; docs/diffusion.md.")
    evidence: tuple[Evidence, ...] = Field((), description="What the regime rests on.")
    diffusivity_m2_per_s: float | None = Field(None, description="Where the regime is diffusive.")
    diffusivity_err_m2_per_s: float | None = Field(None, description="Its standard error.")
    diffusivity_log_err: float | None = Field(None, description="Standard error of ln D.")
    diffusivity_low_m2_per_s: float | None = Field(None, description="Interval, by default 95 %.")
    diffusivity_high_m2_per_s: float | None = Field(None, description="Interval, by default 95 %.")
    diffusivity_upper_m2_per_s: float | None = Field(None, description="Where it is bound.")
    confidence: float = Field(
        CONFIDENCE,
        exclude_if=lambda confidence: confidence == CONFIDENCE,
        description="Of the interval or the bound; no fact where it is 0.95.",
    )
    most_likely_m2_per_s: float | None = Field(
        None, description="Maximum of the likelihood of D >= 0, in every regime."
    )
    event_m2_per_s: float | None = Field(
        None, description="The D of one independent event: variance over mean of D."
    )
    paper_diffusivity_m2_per_s: float | None = Field(None, description="Paper's window, OLS.")
    diffusivity_err_he_m2_per_s: float | None = Field(
        None, description="He et al. 2018, of the paper's D."
    )
    fit_start_ps: float | None = None
    fit_end_ps: float | None = None
    log_slope: float | None = Field(None, description="d ln MSD / d ln t in the window.")
    effective_hops: float = Field(description="He's N_eff: ions x max MSD over all lags / a².")
    max_msd_ang2: float = Field(description="Maximum over all lags.")
    plateau_msd_ang2: float = Field(description="Vibration: MSD at 1 and 2 ps, to lag zero.")
    reason: str = Field("", description="Why the regime is not diffusive.")


class Transport(Document):
    """Mean-squared displacement and diffusivity of one production run."""

    kind = "transport"
    method_version = 5
    shown_version = 2
    table_columns: ClassVar[tuple[str, ...]] = (
        "pressure_bar", "regime", "diffusivity_m2_per_s", "diffusivity_low_m2_per_s",
        "diffusivity_high_m2_per_s", "diffusivity_upper_m2_per_s", "conductivity_ms_per_cm",
    )  # fmt: skip

    run: str
    model: str
    system: str
    temperature_k: float
    pressure_bar: float
    replica: int | None = Field(None, description="2, 3, ... where a condition has several runs.")
    volume_ang3_per_atom: float
    mobile_species: str
    n_mobile: int
    n_atoms: int
    duration_ps: float
    lags_ps: tuple[float, ...] = Field(description="Lags, log-spaced, 200 at most.")
    msd_ang2: tuple[float, ...]
    framework_msd_ang2: tuple[float, ...]
    estimate: DiffusionEstimate
    diffusivity_tensor_m2_per_s: Matrix | None = Field(None, description="Cartesian.")
    lattice_diffusivities_m2_per_s: Vector | None = Field(None, description="Along a, b, c.")
    lattice_errors_m2_per_s: Vector | None = Field(None, description="Standard errors of these.")
    principal_diffusivities_m2_per_s: Vector | None = Field(None, description="Rising.")
    principal_errors_m2_per_s: Vector | None = Field(None, description="Standard errors of these.")
    principal_axes: Matrix | None = Field(None, description="Cartesian unit vectors, one a row.")
    anisotropy: float | None = Field(None, description="D along c over the mean along a and b.")
    anisotropy_err: float | None = Field(None, description="Its standard error.")
    conductivity_ms_per_cm: float | None = Field(None, description="Nernst-Einstein at T.")
    conductivity_err_ms_per_cm: float | None = None
    conductivity_upper_ms_per_cm: float | None = None
    healthy: bool

    @classmethod
    def key_of(cls, run: str, config: DiffusionConfig) -> str:
        """Return the key of the transport of a run.

        Parameters
        ----------
        run
            Key of the production Run.
        config
            How the diffusivity is estimated.
        """
        return cls.key_from(run=run, diffusion=config)

"""Documents about measured diffusivities."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from lycb_flows.config.measurement import DiffusionConfig
from lycb_flows.schemas.base import Document, Matrix, Vector


class DiffusionEstimate(BaseModel):
    """A diffusivity with its error bars, or an upper bound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    regime: str | None = Field(None, description="What the motion is; None: not asked then.")
    most_likely_m2_per_s: float | None = Field(None, description="0 or more; of a bound as well.")
    event_m2_per_s: float | None = Field(None, description="Variance over mean of D.")
    paper_diffusivity_m2_per_s: float | None = Field(None, description="Paper's window, OLS.")
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
    max_msd_ang2: float = Field(description="Maximum over all lags.")
    plateau_msd_ang2: float = Field(description="Vibration, subtracted for the bound.")
    reason: str = Field("", description="Why there is only a bound.")


class Transport(Document):
    """Mean-squared displacement and diffusivity of one production run."""

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
    lags_ps: tuple[float, ...] = Field(description="Lags, log-spaced, 200 at most.")
    msd_ang2: tuple[float, ...]
    framework_msd_ang2: tuple[float, ...]
    estimate: DiffusionEstimate
    diffusivity_tensor_m2_per_s: Matrix | None = Field(None, description="Cartesian.")
    lattice_diffusivities_m2_per_s: Vector | None = Field(None, description="Along a, b, c.")
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

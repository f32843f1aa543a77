"""Documents about measured quantities: diffusivities and Arrhenius fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lycb_flows.config.measurement import DiffusionConfig
from lycb_flows.schemas.base import Document, Matrix, Vector

Regime = Literal[
    "diffusive", "bound", "confined", "sub-diffusive", "ageing", "not linear", "unmeasured"
]


class Evidence(BaseModel):
    """A number that a regime rests on, and the limit above which it counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float
    limit: float


class DiffusionEstimate(BaseModel):
    """A diffusivity with its error bars, an upper bound, or why there is neither.

    Documents of method version 2 have no regime: theirs is "diffusive" or "bound" where they have a
    value or a bound, and that value is the paper's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    regime: Regime | None = Field(None, description="The kind of motion; docs/diffusion.md.")
    evidence: tuple[Evidence, ...] = Field((), description="What the regime rests on.")
    diffusivity_m2_per_s: float | None = Field(None, description="Where the regime is diffusive.")
    diffusivity_err_m2_per_s: float | None = Field(None, description="Its standard error.")
    diffusivity_log_err: float | None = Field(None, description="Standard error of ln D.")
    diffusivity_low_m2_per_s: float | None = Field(None, description="Interval, by default 95 %.")
    diffusivity_high_m2_per_s: float | None = Field(None, description="Interval, by default 95 %.")
    diffusivity_upper_m2_per_s: float | None = Field(None, description="Where it is bound.")
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
    method_version = 3

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


class Arrhenius(Document):
    """Barrier, prefactor and extrapolated conductivity from diffusivities over temperature."""

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
        None, description="Covariance of (ln D0, E_A/eV)."
    )
    extrapolation_temperature_k: float
    extrapolated_diffusivity_m2_per_s: float | None = None
    extrapolated_log_err: float | None = Field(None, description="Standard error of ln D.")
    extrapolated_conductivity_ms_per_cm: float | None = None
    extrapolated_conductivity_low_ms_per_cm: float | None = Field(None, description="-1 sigma")
    extrapolated_conductivity_high_ms_per_cm: float | None = Field(None, description="+1 sigma")

    @classmethod
    def key_of(cls, transports: Sequence[str], extrapolation_temperature_k: float) -> str:
        """Return the key of the fit through the transports of a system at a pressure.

        Parameters
        ----------
        transports
            Keys of the Transports, by temperature.
        extrapolation_temperature_k
            Where the conductivity is wanted, in K.
        """
        return cls.key_from(
            transports=transports, extrapolation_temperature_k=extrapolation_temperature_k
        )

"""Documents about Arrhenius fits: barrier, extrapolated conductivity, what limits them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from lycb_flows.schemas.base import Document, Part

FITTED_REGIMES = frozenset({"diffusive", "bound"})
"""Regimes of runs that have a likelihood of D, and enter a fit."""


class LeftOut(Part):
    """A run that is no part of a fit."""

    temperature_k: float
    regime: str
    reason: str = ""


class Prediction(Part):
    """The diffusivity that a fit predicts at a temperature, with its 95 % interval."""

    temperature_k: float
    diffusivity_m2_per_s: float
    diffusivity_low_m2_per_s: float
    diffusivity_high_m2_per_s: float


class Arrhenius(Document):
    """Barrier, prefactor and extrapolated conductivity from diffusivities over temperature.

    Until method version 2 a fit was a single line through measured D, and what is None or empty
    by default was not known. Until version 3 runs that scatter beyond their errors widened none,
    and a run that knew its D badly had the error that the others had in common. Until version 4
    replicas that agree with each other hid that temperatures do not lie on the fit, and without a
    conductivity there was no line by the paper's recipe.
    """

    kind = "arrhenius"
    method_version = 5
    shown_version = 2
    table_columns: ClassVar[tuple[str, ...]] = (
        "pressure_bar", "n_points", "activation_energy_ev", "activation_energy_err_ev",
        "extrapolation_temperature_k", "extrapolated_conductivity_ms_per_cm", "reason",
    )  # fmt: skip

    system: str
    pressure_bar: float
    model: str
    transports: tuple[str, ...]
    n_points: int = Field(description="Runs in the fit, bounds among them.")
    n_bounds: int = Field(0, description="Runs in the fit whose D may be zero.")
    left_out: tuple[LeftOut, ...] = ()
    fitted: bool
    reason: str = Field("", description="Why there is no fit, or no conductivity.")
    cautions: tuple[str, ...] = Field((), description="Why the conductivity is not conclusive.")
    event_m2_per_s: float | None = Field(
        None, description="D that an independent event contributes, pooled over the runs."
    )
    relative_scatter: float | None = Field(
        None, description="Relative error of D that more events do not reduce."
    )
    dispersion: float = Field(
        1.0, description="Variance of the runs as a multiple of that by their errors; 1: as theirs."
    )
    deviance: float | None = Field(
        None, description="Of the fit, like a chi², by the runs' own errors."
    )
    degrees_of_freedom: int | None = None
    p_value: float | None = Field(None, description="Probability of a larger deviance.")
    lack_of_fit: float | None = Field(
        None, description="Part of the deviance that a free D at each temperature would take off."
    )
    lack_of_fit_degrees_of_freedom: int | None = Field(
        None, description="Temperatures beyond the parameters."
    )
    lack_of_fit_p_value: float | None = Field(None, description="Probability of a larger one.")
    n_regimes: int = Field(1, description="Lines: 1, or 2 that meet.")
    regime_gain: float | None = Field(
        None, description="2 ln L that a second line gains, over `dispersion`."
    )
    crossover_temperature_k: float | None = Field(None, description="Where two lines meet.")
    crossover_low_k: float | None = Field(None, description="-1 sigma")
    crossover_high_k: float | None = Field(None, description="+1 sigma")
    activation_energy_ev: float | None = Field(None, description="Below the crossover, if any.")
    activation_energy_err_ev: float | None = None
    hot_activation_energy_ev: float | None = Field(None, description="Above the crossover.")
    hot_activation_energy_err_ev: float | None = None
    log_prefactor: float | None = Field(None, description="ln(D0 / (m²/s))")
    log_prefactor_err: float | None = None
    covariance: tuple[tuple[float, float], tuple[float, float]] | None = Field(
        None, description="Covariance of (ln D0, E_A/eV); of a single line."
    )
    coldest_temperature_k: float | None = Field(None, description="Lowest with a measured D.")
    extrapolation_temperature_k: float
    extrapolation_distance_k: float | None = Field(None, description="To the nearest measured one.")
    extrapolation_distance_per_ev: float | None = Field(None, description="In 1/(k_B T).")
    measured_span_per_ev: float | None = Field(None, description="Of measured D in 1/(k_B T).")
    extrapolated_diffusivity_m2_per_s: float | None = None
    extrapolated_log_err: float | None = Field(None, description="Standard error of ln D.")
    extrapolated_conductivity_ms_per_cm: float | None = None
    extrapolated_conductivity_low_ms_per_cm: float | None = Field(None, description="-1 sigma")
    extrapolated_conductivity_high_ms_per_cm: float | None = Field(None, description="+1 sigma")
    extrapolated_conductivity_low95_ms_per_cm: float | None = Field(None, description="95 %")
    extrapolated_conductivity_high95_ms_per_cm: float | None = Field(None, description="95 %")
    predictions: tuple[Prediction, ...] = Field((), description="From hot to cold.")
    paper_activation_energy_ev: float | None = Field(
        None, description="A line through the paper's D, weighted by He's errors."
    )
    paper_activation_energy_err_ev: float | None = None
    paper_conductivity_ms_per_cm: float | None = Field(None, description="Of the same line.")
    paper_conductivity_log_err: float | None = None

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

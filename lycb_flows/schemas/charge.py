"""Documents about the transport of charge: ions that move together."""

from __future__ import annotations

from pydantic import Field

from lycb_flows.config.measurement import CONFIDENCE
from lycb_flows.schemas.base import Document, Part


class ChargeEstimate(Part):
    """The collective diffusivity of the mobile ions and their Haven ratio, or why they are unknown.

    Intervals are symmetric in the logarithm.
    """

    resolved: bool
    reason: str = Field("", description="Why it is not resolved.")
    diffusivity_m2_per_s: float | None = Field(
        None, description="Of the sum of all mobile ions' displacements, over their number."
    )
    diffusivity_log_err: float | None = Field(None, description="Standard error of ln D.")
    diffusivity_low_m2_per_s: float | None = None
    diffusivity_high_m2_per_s: float | None = None
    haven_ratio: float | None = Field(None, description="D of the tracer over this D.")
    haven_ratio_log_err: float | None = Field(
        None, description="Of ln H; smaller than the errors of both D, which share their events."
    )
    haven_ratio_low: float | None = None
    haven_ratio_high: float | None = None
    confidence: float = Field(
        CONFIDENCE,
        exclude_if=lambda confidence: confidence == CONFIDENCE,
        description="Of the intervals; no fact where it is 0.95.",
    )
    n_modes: float = Field(
        0.0, description="Modes of diffusive motion that would give the same error."
    )


class ChargeTransport(Document):
    """Collective diffusion and conductivity from one production run."""

    kind = "charge"

    run: str
    transport: str = Field(description="Key of the Transport with the tracer's D.")
    model: str
    system: str
    pressure_bar: float
    temperature_k: float
    replica: int | None = Field(None, description="2, 3, ... where a condition has several runs.")
    mobile_species: str
    charge_number: int
    n_mobile: int
    duration_ps: float
    estimate: ChargeEstimate
    conductivity_ms_per_cm: float | None = Field(None, description="Collective, at T.")
    conductivity_low_ms_per_cm: float | None = None
    conductivity_high_ms_per_cm: float | None = None

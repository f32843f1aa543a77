"""Documents about the energy, temperature and pressure of production runs."""

from __future__ import annotations

from pydantic import Field

from lycb_flows.schemas.base import Document


class RunThermodynamics(Document):
    """Means of a production run with errors from blocks; None where it or its NpT run failed."""

    kind = "thermodynamics"
    method_version = 2

    run: str
    model: str
    system: str
    pressure_bar: float = Field(description="Of the NpT run that found the cell.")
    temperature_k: float = Field(description="Of the thermostat.")
    replica: int | None = Field(None, description="2, 3, ... where a condition has several runs.")
    n_frames: int
    potential_energy_ev_per_atom: float | None = None
    potential_energy_err_ev_per_atom: float | None = None
    drift_ev_per_atom: float | None = Field(None, description="Second half minus first half.")
    drift_err_ev_per_atom: float | None = None
    mean_temperature_k: float | None = None
    mean_temperature_err_k: float | None = None
    mean_pressure_gpa: float | None = Field(None, description="Compression positive.")
    mean_pressure_err_gpa: float | None = None
    reason: str = Field("", description="Why there are no means.")

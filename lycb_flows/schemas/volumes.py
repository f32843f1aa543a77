"""Documents about the cells that NpT runs found."""

from __future__ import annotations

from pydantic import Field

from lycb_flows.schemas.base import Document, Part, Vector


class CellAverage(Part):
    """Mean volume and cell parameters of an NpT run, with errors of the means.

    Errors are None where there are too few frames, all numbers where the run left physics.
    """

    run: str
    temperature_k: float
    n_frames: int = Field(0, description="Averaged: those of the run's averaging window.")
    equilibrated: bool = Field(description="The window spans at least ten barostat times.")
    volume_ang3_per_atom: float | None = None
    volume_err_ang3_per_atom: float | None = None
    lengths_ang: Vector | None = Field(None, description="a, b, c of the ground state's cell.")
    lengths_err_ang: Vector | None = None
    angles_deg: Vector | None = Field(None, description="alpha, beta, gamma")
    angles_err_deg: Vector | None = None
    reason: str = Field("", description="Why there is no mean, or no error.")


class ThermalExpansion(Part):
    """Coefficients d ln y / dT of volume and cell lengths over a range of temperatures."""

    n_temperatures: int
    lowest_temperature_k: float
    highest_temperature_k: float
    volume_per_k: float
    volume_err_per_k: float
    volume_chi2: float = Field(description="Of the straight line through the mean volumes.")
    lengths_per_k: Vector = Field(description="a, b, c")
    lengths_err_per_k: Vector


class ModelVolumes(Part):
    """Mean cells by one model, where several are compared."""

    model: str = Field(description="Key of the model.")
    name: str
    cells: tuple[CellAverage, ...]
    at_rest_ang3_per_atom: float | None = Field(
        None, description="Volume at 0 K, relaxed by it without pressure; None where it fails."
    )


class CellVolumes(Document):
    """Mean cells of a system over temperature at a pressure, and their thermal expansion."""

    kind = "volumes"

    system: str
    pressure_bar: float
    model: str
    cells: tuple[CellAverage, ...]
    expansion: ThermalExpansion | None = None
    reason: str = Field("", description="Why there is no thermal expansion.")
    by_model: tuple[ModelVolumes, ...] = Field(
        (),
        exclude_if=lambda by_model: not by_model,
        description="Where other models were asked for: all, the one that measures first.",
    )

"""Documents about a series of compositions on several lattices."""

from __future__ import annotations

from pydantic import Field

from lycb_flows.schemas.base import Document, Part


class SeriesConduction(Part):
    """Barrier and extrapolated conductivity of a composition at a pressure."""

    arrhenius: str
    pressure_bar: float
    activation_energy_ev: float | None = None
    activation_energy_err_ev: float | None = None
    conductivity_ms_per_cm: float | None = None
    conductivity_low_ms_per_cm: float | None = Field(None, description="-1 sigma")
    conductivity_high_ms_per_cm: float | None = Field(None, description="+1 sigma")
    reason: str = Field("", description="Why there is no conductivity.")


class SeriesPoint(Part):
    """A composition on a lattice: its ground state at 0 K by the model, and what it conducts."""

    name: str
    lattice: str = Field(description="The system whose ground state has been decorated.")
    x: float | None = Field(None, description="Atoms replaced per formula unit, where it is known.")
    formula: str
    start: str = Field(description="Structure that was relaxed.")
    space_group: str
    energy_ev_per_atom: float
    volume_ang3_per_atom: float
    converged: bool
    formation_energy_ev_per_atom: float | None = Field(
        None, description="From the mixture of binaries that is lowest in energy, by the model."
    )
    dft_energy_ev_per_atom: float | None = None
    dft_formation_energy_ev_per_atom: float | None = None
    dft_volume_ang3_per_atom: float | None = None
    conduction: tuple[SeriesConduction, ...] = ()


class LatticeDifference(Part):
    """Energy of a composition on one lattice minus that on another."""

    formula: str
    x: float | None
    first: str
    second: str
    energy_ev_per_atom: float
    dft_energy_ev_per_atom: float | None = None


class CompositionSeries(Document):
    """Everything about a series of compositions, by the model that measures."""

    kind = "series"

    model: str
    points: tuple[SeriesPoint, ...]
    phases: tuple[str, ...] = Field(
        (),
        exclude_if=lambda phases: not phases,
        description="Competing phases of the campaign's own; without any they are binary halides.",
    )
    differences: tuple[LatticeDifference, ...] = Field(
        (), description="Of compositions that two lattices have; the first of the campaign first."
    )

"""Documents about where the ions are: their density, their sites and the steps between them."""

from __future__ import annotations

from pydantic import Field

from lycb_flows.schemas.base import Blob, Document, Part, Vector


class Density(Document):
    """Probability density of the mobile ion in one production run; the grid is a blob."""

    kind = "density"

    run: str
    model: str
    system: str
    pressure_bar: float = Field(description="Of the NpT run that found the cell.")
    temperature_k: float
    replica: int | None = Field(None, description="2, 3, ... where a condition has several runs.")
    mobile_species: str
    n_mobile: int
    n_frames: int
    shape: tuple[int, int, int] | None = Field(None, description="Voxels along a, b, c.")
    voxel_ang3: float | None = None
    integral: float | None = Field(None, description="Of the density: the number of ions.")
    max_per_ang3: float | None = Field(None, description="In a single voxel.")
    volume_share_90: float | None = Field(
        None, description="Smallest share of the cell's volume that holds 90 % of the ions."
    )
    grid: Blob | None = Field(None, description="npz of `transport.density.grid_bytes`.")
    reason: str = Field("", description="Why there is no density.")


class SiteOrbit(Part):
    """Equivalent sites: how often an ion is there, and for how long."""

    label: str = Field(description="The parent's label, or what the density shows.")
    from_parent: bool
    shape: str = Field(description="By the anions around: octahedral, tetrahedral, n-fold.")
    n_sites: int = Field(description="In the simulation cell.")
    refined_occupancy: float | None = Field(
        None, description="The mobile ion's, in the CIF, or of what it replaces there."
    )
    occupancy: float = Field(description="Ions per site.")
    occupancy_err: float | None = Field(
        None,
        description="None: the run is too short to forget its start, or there is no other kind.",
    )
    residence_ps: float | None = Field(None, description="Mean stay; None without departures.")
    residence_err_ps: float | None = None
    residence_low_ps: float | None = Field(None, description="95 % bound, without departures.")
    n_departures: int
    frac_coords: Vector | None = Field(
        None, description="Of one of them, in the cell of the parent's CIF."
    )


class SiteStep(Part):
    """Jumps of one kind: between two orbits, over a number of shared anions."""

    start: str = Field(description="Label of the orbit that is left.")
    end: str
    sharing: str = Field(description="What the polyhedra share: face, edge, corner, nothing.")
    length_ang: float = Field(description="Mean over these jumps.")
    n_jumps: int
    rate_per_ns: float = Field(description="Jumps per time that an ion spends at the start.")
    rate_err_per_ns: float


class Sites(Document):
    """Sites, occupancies, residence times and jumps of the mobile ion in one production run."""

    kind = "sites"
    method_version = 2

    run: str
    model: str
    system: str
    pressure_bar: float = Field(description="Of the NpT run that found the cell.")
    temperature_k: float
    replica: int | None = Field(None, description="2, 3, ... where a condition has several runs.")
    mobile_species: str
    density: str = Field(description="Key of the Density whose peaks are sites.")
    parent: str | None = Field(None, description="Key of the Parent whose sites these are.")
    parent_note: str = Field("", description="Why the parent's sites were not used.")
    n_mobile: int
    n_sites: int = 0
    duration_ps: float = 0.0
    unassigned_share: float | None = Field(
        None, description="Share of the ions that no site was ever found for."
    )
    orbits: tuple[SiteOrbit, ...] = ()
    steps: tuple[SiteStep, ...] = ()
    n_jumps: int = 0
    correlation_factor: float | None = Field(
        None, description="Mean squared displacement over the sum of squared jumps."
    )
    correlation_factor_err: float | None = None
    percolates_in: int | None = Field(None, description="Dimensions, 0 to 3.")
    percolation_direction: tuple[int, int, int] | None = Field(
        None, description="[u v w] of the path (1 dimension) or (h k l) of the layers (2)."
    )
    percolating_share: float | None = Field(
        None, description="Share of the ions' time on sites of such a network."
    )
    network: Blob | None = Field(None, description="JSON: every site, every edge.")
    cif: Blob | None = Field(None, description="The parent's sites with these occupancies.")
    reason: str = Field("", description="Why there are no sites.")

"""Documents about crystals: parents, orderings, relaxations, rankings, ground states."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lycb_flows.schemas.base import Blob, Document, Matrix, Vector


class Structure(Document):
    """An ordered crystal, canonical at birth (`structures.canonical_structure`)."""

    kind = "structure"

    lattice_ang: Matrix = Field(description="rows a, b, c in Å, rounded to 1e-8")
    species: tuple[str, ...]
    frac_coords: tuple[Vector, ...] = Field(description="in [0, 1), rounded to 1e-10")


class Parent(Document):
    """A disordered crystal as refined, with the CIF it came from."""

    kind = "parent"

    name: str
    cif: Blob
    provenance: str
    min_occupancy: float = Field(description="Preset threshold for minor occupants.")
    lattice_ang: Matrix
    site_labels: tuple[str, ...] = Field(description="Orbit label of each site.")
    occupancies: tuple[dict[str, float], ...] = Field(description="species -> occupancy")
    frac_coords: tuple[Vector, ...]


class DroppedOccupant(BaseModel):
    """A minor occupant that the enumeration left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    site_label: str
    species: str
    occupancy: float


class Enumeration(Document):
    """The distinct orderings of a parent, or decorations of a structure."""

    kind = "enumeration"

    formula: str = Field(description="Of the supercell.")
    n_atoms: int
    count: int = Field(description="Symmetry-distinct, exact (Burnside).")
    raw_count: int = Field(description="Before symmetry, forbidden pairs applied, exact.")
    n_members: int = Field(description="Listed; below count when sampled.")
    exhaustive: bool
    coverage: float = Field(description="n_members / count")
    members: Blob = Field(description="JSON: [{mask, multiplicity, stratum}]")
    dropped: tuple[DroppedOccupant, ...] = ()
    subgroup_order: int | None = Field(None, description="Order of H of the symmetric stratum.")
    subgroup_orbit_sizes: tuple[int, ...] | None = None
    subgroup_symbol: str | None = None
    seed: int | None = None
    engine: str
    x: float | None = Field(None, description="Br per formula unit, of decorations.")


class Ordering(Document):
    """One member of an enumeration, with its structure."""

    kind = "ordering"

    enumeration: str
    index: int
    mask: str
    multiplicity: int
    structure: str


class Relaxation(Document):
    """A structure relaxed by a potential, or at a level of theory: then its steps are labels."""

    kind = "relaxation"
    method_version = 2

    structure: str
    final_structure: str
    model: str | None = Field(None, description="None: at a level of theory.")
    theory: str | None = Field(None, description="Fingerprint; None: by a model.")
    theory_name: str | None = None
    optimizer: str | None = Field(None, description="None: our batched FIRE.")
    labels: tuple[str, ...] = Field((), description="Of its steps, in order; none if made inside.")
    warnings: tuple[str, ...] = ()
    energy_ev: float
    energy_ev_per_atom: float
    static_energy_ev_per_atom: float = Field(description="At the cell and positions given.")
    max_force_ev_per_ang: float
    n_steps: int
    converged: bool
    volume_ang3_per_atom: float
    volume_change: float = Field(description="Relative to the structure given.")


class RankedCandidate(BaseModel):
    """One row of a ranking."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ordering: str
    relaxation: str
    structure: str = Field(description="Relaxed.")
    space_group: str = Field(description="Of the relaxed structure, symprec 0.01 Å... 0.1 Å.")
    energy_ev_per_atom: float
    above_best_ev_per_atom: float
    volume_ang3_per_atom: float
    volume_flag: bool
    refined_cell_rank: int = Field(description="1-based, by energy at the refined cell.")
    refined_cell_energy_ev_per_atom: float
    tied_with_best: bool
    stage: Literal["coarse", "fine"]


class Ranking(Document):
    """Candidates by energy, the ground-state candidate first."""

    kind = "ranking"
    method_version = 2

    system: str
    enumeration: str
    model: str
    n_candidates: int
    n_not_converged: int = Field(description="Or flown apart: see their failed attempts.")
    best: tuple[RankedCandidate, ...] = Field(description="Fine stage, by energy.")
    table: Blob = Field(description="JSON: every candidate")
    ground_state: str = Field(description="Structure of the best candidate without volume flag.")
    ground_state_note: str


class DftCandidate(BaseModel):
    """A candidate in the model's order and in DFT's; numbers of DFT are None where it failed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ordering: str
    model_rank: int = Field(description="1-based, by the model's energy.")
    model_above_best_ev_per_atom: float
    model_volume_flag: bool
    relaxation: str | None = None
    structure: str | None = Field(None, description="Relaxed.")
    space_group: str | None = None
    energy_ev_per_atom: float | None = None
    above_best_ev_per_atom: float | None = None
    formation_energy_ev_per_atom: float | None = Field(
        None, description="From the mixture of binaries that is lowest in energy."
    )
    volume_ang3_per_atom: float | None = None
    volume_change: float | None = Field(None, description="Relative to the model's structure.")
    n_steps: int | None = None
    converged: bool = False
    tied_with_best: bool = False
    reason: str = Field("", description="Why there is no relaxation.")


class GroundState(Document):
    """The best candidates of a ranking by DFT, and the ground state among them."""

    kind = "ground_state"

    system: str
    ranking: str
    theory: str = Field(description="Fingerprint.")
    theory_name: str
    n: int = Field(description="Candidates that DFT looked at.")
    n_there: int = Field(description="Candidates that the ranking has.")
    candidates: tuple[DftCandidate, ...] = Field(description="By DFT's energy, failures last.")
    ground_state: str = Field(description="Structure.")
    note: str = Field(description="Ties, failures and the edge, in words.")
    kendall_tau: float | None = Field(None, description="Of the two orders; None below three.")
    spearman_rho: float | None = None
    at_edge: bool = Field(description="Whether the minimum lies in the last part of the list.")
    widened_to: int | None = Field(description="Length of the next list; None: this one decides.")
    anchors: dict[str, str] = Field({}, description="Binary -> its Relaxation.")

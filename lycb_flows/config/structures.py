"""Settings of a material and of its enumeration."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from lycb_flows.config.base import Config, Count, Fraction, Name, Positive, Supercell
from lycb_flows.config.decorations import DecorationConfig, decorated_name, name_of_ordering

IntVector = tuple[int, int, int]
Matrix3 = tuple[IntVector, IntVector, IntVector]


class ForbiddenPair(Config):
    """Two species that may not sit closer than this on the ideal sites of a parent."""

    species: tuple[str, str]
    min_distance_ang: Positive


HALIDE_FORBIDDEN_PAIRS: tuple[ForbiddenPair, ...] = (
    ForbiddenPair(species=("Y", "Y"), min_distance_ang=3.3),
    ForbiddenPair(species=("Li", "Li"), min_distance_ang=2.5),
    ForbiddenPair(species=("Li", "Y"), min_distance_ang=2.5),
)
"""Chosen for the two built-in parents, whose split sites cannot be occupied together."""


class EnumerationConfig(Config):
    """Enumeration of the symmetry-distinct orderings of a disordered parent."""

    supercell: Supercell = Field((1, 1, 2), description="Multiples of a, b, c (paper: 1 1 2).")
    cell: Literal["primitive"] | None = Field(
        None,
        description="Multiples of the parent's reduced primitive cell, not of the CIF's setting: "
        "half of C-centred Li3YBr6, 10 atoms, for labels that cost.",
    )
    engine: Literal["builtin", "enumlib"] = Field(
        "builtin", description="Own exact generator, or enum.x through pymatgen; same answer."
    )
    min_occupancy: Fraction | None = Field(
        None,
        description="Drop occupants below this; default: the parent's preset, 0.15 for a CIF.",
    )
    forbidden_pairs: tuple[ForbiddenPair, ...] | None = Field(
        None,
        description="Pairs that may not sit too close; default: found from the crystal, for a "
        "preset its own.",
    )
    allowed_species: dict[str, tuple[str, ...]] | None = Field(
        None,
        description="Site label -> species allowed there, by hand; 'vacancy' counts as a species.",
    )
    symprec_ang: Positive | None = Field(
        None, description="How far a site may lie from its image, in Å; default 0.01."
    )
    matrix: Matrix3 | None = Field(
        None,
        description="Rows: a supercell's vectors in terms of the cell's a, b, c (a Hermite normal "
        "form, say); `supercell` then counts multiples of it.",
    )
    composition: Literal["nearest"] | dict[str, int] | None = Field(
        None,
        description="Atoms of each species in the supercell, or the nearest whole numbers that "
        "are charge-neutral; default: the refined composition, which must fit.",
    )
    charges: dict[str, float] | None = Field(
        None,
        description="Oxidation states; the others are guessed. {} leaves charges aside.",
    )
    substitute: dict[str, dict[str, Positive]] | None = Field(
        None,
        description="Element -> what replaces it -> atoms per formula unit, on all its sites and "
        "before anything is enumerated, as {Cl: {Br: 0.5}}.",
    )
    formula: str | None = Field(
        None,
        description="The formula unit of `substitute`, as Li6PS5Cl; default: the common divisor "
        "of the elements whose atoms in the primitive cell are whole numbers.",
    )
    keep_occupancies: tuple[str, ...] | None = Field(
        None,
        description="Species whose mixing over the crystallographic sites stays as refined (it "
        "was quenched), as [S, Cl] of an argyrodite; default: the energy decides.",
    )
    sqs: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Species whose mixing is kept and whose arrangement is special quasi-random: "
        "pairs as in random mixing; the energy decides on the rest.",
    )
    sqs_cutoff_ang: Positive | None = Field(None, description="Longest of these pairs; default 8.")
    n_search: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Independent searches in place of a count; default: 24, and only when the "
        "orderings cannot be counted.",
    )
    cap: int = Field(1_000_000, ge=1, description="Most orderings that are listed exhaustively.")
    n_samples: Count = Field(1_000, description="Sampled orderings when the count exceeds cap.")
    seed: Count = Field(0, description="Seed of the sampling beyond the cap.")

    @model_validator(mode="after")
    def _engine_keeps_no_mixing(self) -> Self:
        if self.engine == "enumlib" and self.kept_species:
            raise ValueError("enumlib cannot keep the mixing of a site: use engine: builtin")
        if self.sqs_cutoff_ang is not None and self.sqs is None:
            raise ValueError("sqs_cutoff_ang belongs to sqs: name the species")
        if self.formula is not None and not self.substitute:
            raise ValueError("formula belongs to substitute: say what replaces what")
        return self

    @property
    def kept_species(self) -> tuple[str, ...]:
        """The species whose atoms on each crystallographic site are kept."""
        return tuple(dict.fromkeys((*(self.keep_occupancies or ()), *(self.sqs or ()))))

    @property
    def is_searched(self) -> bool:
        """Whether candidates come from a search whatever their number."""
        return self.n_search is not None or self.sqs is not None

    @property
    def finds_composition(self) -> bool:
        """Whether amounts of atoms are found by a rule: a formula unit, or the nearest ones."""
        has_no_unit = bool(self.substitute) and self.formula is None
        return has_no_unit or self.composition == "nearest"

    @property
    def brought(self) -> set[str]:
        """The elements that replace others."""
        return {species for by in (self.substitute or {}).values() for species in by}


class SystemConfig(Config):
    """One material of a campaign: a parent, its supercell and, if mixed, its x."""

    name: Name = Field(description="Short, unique.")
    parent: str = Field(description="Built-in parent (Li3YCl6, Li3YBr6) or path of a CIF.")
    enumeration: EnumerationConfig = EnumerationConfig()
    decorations: tuple[DecorationConfig, ...] = Field(
        (),
        description="Crystals made from this system's ground state by replacing species: mixed "
        "halides, say; each x once.",
    )

    repeat: Supercell | None = Field(
        None,
        exclude_if=lambda repeat: repeat is None,
        description="Repeats of its ground state's cell in production runs; default: those of "
        "measure.repeat.",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """Its own name, and those of the crystals that are made from its ground state."""
        return self.name, *(decorated_name(self.name, entry.x) for entry in self.decorations)

    @field_validator("name")
    @classmethod
    def _is_no_ordering(cls, name: str) -> str:
        if name != name_of_ordering(name):
            msg = f"{name} is the name of an ordering of {name_of_ordering(name)}: give another"
            raise ValueError(msg)
        return name

    @model_validator(mode="after")
    def _each_x_is_there_once(self) -> Self:
        if len(set(self.names)) < len(self.names):
            xs = [decoration.x for decoration in self.decorations]
            msg = f"decorations of one system need different x, found {xs}: give it a second name"
            raise ValueError(msg)
        return self

"""Documents about crystals: structures, parents, enumerations, orderings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from lycb_flows.config import HALIDE_FORBIDDEN_PAIRS, DecorationConfig, EnumerationConfig
from lycb_flows.schemas.base import Blob, Document, Matrix, Part, Vector

_COMPOSITION_METHOD = 2
"""Rises when other atoms are found for `substitute` without `formula`, or as the nearest ones."""


class Structure(Document):
    """An ordered crystal, canonical at birth (`crystals.structures.canonical_structure`)."""

    kind = "structure"
    structure_field = "key"

    lattice_ang: Matrix = Field(description="rows a, b, c in Å, rounded to 1e-8")
    species: tuple[str, ...]
    frac_coords: tuple[Vector, ...] = Field(description="in [0, 1), rounded to 1e-10")

    @classmethod
    def key_of(
        cls, lattice_ang: Matrix, species: Sequence[str], frac_coords: Sequence[Vector]
    ) -> str:
        """Return the key of a crystal whose numbers are rounded already.

        Parameters
        ----------
        lattice_ang
            Lattice vectors as rows, in Å.
        species
            Element symbol of each atom.
        frac_coords
            Fractional coordinates of each atom.
        """
        return cls.key_from(lattice_ang=lattice_ang, species=species, frac_coords=frac_coords)


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

    @classmethod
    def key_of(
        cls,
        cif: Blob,
        *,
        lattice_ang: Matrix,
        site_labels: Sequence[str],
        occupancies: Sequence[Mapping[str, float]],
        frac_coords: Sequence[Vector],
    ) -> str:
        """Return the key of a disordered crystal: its CIF and its sites.

        Parameters
        ----------
        cif
            Address of the CIF's content.
        lattice_ang
            Lattice vectors as rows, in Å.
        site_labels
            Orbit label of each site.
        occupancies
            Species -> occupancy, of each site.
        frac_coords
            Fractional coordinates of each site.
        """
        return cls.key_from(
            cif=cif.sha256,
            lattice_ang=lattice_ang,
            site_labels=site_labels,
            occupancies=occupancies,
            frac_coords=frac_coords,
        )


class DroppedOccupant(Part):
    """A minor occupant that the enumeration left out."""

    site_label: str
    species: str
    occupancy: float


class Enumeration(Document):
    """The distinct orderings of a parent, or decorations of a structure."""

    kind = "enumeration"

    formula: str = Field(description="Formula of the supercell.")
    n_atoms: int
    count: int | None = Field(
        description="Symmetry-distinct, exact (Burnside); None: out of reach, members of a search."
    )
    raw_count: int | None = Field(
        description="Number before symmetry, forbidden pairs applied, exact."
    )
    n_members: int = Field(description="Listed; below count when sampled.")
    exhaustive: bool
    coverage: float | None = Field(description="n_members / count")
    members: Blob = Field(description="JSON: [{mask, multiplicity, stratum}]")
    dropped: tuple[DroppedOccupant, ...] = ()
    subgroup_order: int | None = Field(None, description="Order of H of the symmetric stratum.")
    subgroup_orbit_sizes: tuple[int, ...] | None = None
    subgroup_symbol: str | None = None
    seed: int | None = None
    engine: str
    x: float | None = Field(
        None, description="Atoms replaced per formula unit, of decorations; Br in mixed halides."
    )
    stratum_note: str | None = Field(
        None, description="Why a list that is sampled holds no symmetric stratum."
    )
    search_note: str | None = Field(None, description="Agreement of independent searches.")

    @classmethod
    def key_of(
        cls, parent: Parent | Structure, config: EnumerationConfig | DecorationConfig
    ) -> str:
        """Return the key of a parent's orderings, or of a structure's decorations.

        Parameters
        ----------
        parent
            The disordered crystal of an EnumerationConfig, or the ordered crystal of a
            DecorationConfig.
        config
            The settings. Where they leave the threshold of minor occupants open, the
            parent's own is part of the key; rules of distance are those of the presets unless
            they are filled in (`crystals.filled_in`).
        """
        keyed = config.keyed()
        if isinstance(parent, Parent) and keyed.get("min_occupancy") is None:
            keyed["min_occupancy"] = parent.min_occupancy
        if isinstance(config, EnumerationConfig) and config.forbidden_pairs is None:
            keyed["forbidden_pairs"] = HALIDE_FORBIDDEN_PAIRS  # what older keys were made with
        if isinstance(config, EnumerationConfig) and config.finds_composition:
            keyed["composition_method"] = _COMPOSITION_METHOD
        return cls.key_from(parent=parent.key, **keyed)


class Ordering(Document):
    """One member of an enumeration, with its structure."""

    kind = "ordering"
    structure_field = "structure"

    enumeration: str
    index: int = Field(description="Place in the list; -1 for what a search of a ranking found.")
    mask: str
    multiplicity: int
    structure: str

    @classmethod
    def key_of(cls, enumeration: str, mask: str) -> str:
        """Return the key of an enumeration's member.

        Parameters
        ----------
        enumeration
            Key of the Enumeration.
        mask
            Which species occupies each free site.
        """
        return cls.key_from(enumeration=enumeration, mask=mask)

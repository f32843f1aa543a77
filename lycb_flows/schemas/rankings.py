"""Documents about stability: relaxations, rankings, ground states."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from lycb_flows.config.ranking import DftConfig, RankingConfig, RelaxationConfig
from lycb_flows.schemas.base import Blob, Document, Part


class Relaxation(Document):
    """A structure relaxed by a potential, or at a level of theory: then its steps are labels."""

    kind = "relaxation"
    method_version = 2
    structure_field = "final_structure"
    table_columns: ClassVar[tuple[str, ...]] = (
        "n_atoms", "energy_ev_per_atom", "max_force_ev_per_ang", "n_steps", "converged",
        "volume_ang3_per_atom",
    )  # fmt: skip

    structure: str
    final_structure: str
    model: str | None = Field(None, description="Key of the Model; None at a level of theory.")
    theory: str | None = Field(
        None, description="Fingerprint of the level of theory; None by a model."
    )
    theory_name: str | None = None
    optimizer: str | None = Field(None, description="None: our batched FIRE.")
    labels: tuple[str, ...] = Field(
        (), description="Labels of its steps, in order; none if the code relaxed by itself."
    )
    warnings: tuple[str, ...] = ()
    energy_ev: float
    energy_ev_per_atom: float
    static_energy_ev_per_atom: float = Field(description="Energy at the cell and positions given.")
    max_force_ev_per_ang: float
    n_steps: int
    converged: bool
    volume_ang3_per_atom: float
    volume_change: float = Field(
        description="Change of the volume relative to the structure given."
    )

    @classmethod
    def key_of(
        cls,
        structure: str,
        config: RelaxationConfig,
        *,
        model: str | None = None,
        theory: str | None = None,
    ) -> str:
        """Return the key of a structure's relaxation by a model or at a level of theory.

        Parameters
        ----------
        structure
            Key of the Structure where the relaxation starts.
        config
            When the relaxation ends.
        model
            Key of the Model; None at a level of theory.
        theory
            Fingerprint of the level of theory; None by a model.
        """
        return cls.key_from(structure=structure, model=model, theory=theory, **config.keyed())


class RankedCandidate(Part):
    """One row of a ranking."""

    ordering: str
    relaxation: str
    structure: str = Field(description="The relaxed structure.")
    space_group: str = Field(description="Space group of the relaxed structure, symprec 0.1 Å.")
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
    structure_field = "ground_state"

    system: str
    enumeration: str
    model: str
    n_candidates: int
    n_not_converged: int = Field(
        description="Includes those that flew apart; their attempts say why."
    )
    best: tuple[RankedCandidate, ...] = Field(description="Fine stage, by energy.")
    table: Blob = Field(description="JSON: every candidate")
    ground_state: str = Field(description="Structure of the best candidate without volume flag.")
    ground_state_note: str

    @classmethod
    def key_of(cls, enumeration: str, config: RankingConfig) -> str:
        """Return the key of the ranking of an enumeration.

        Parameters
        ----------
        enumeration
            Key of the Enumeration.
        config
            The funnel; its model is a key.
        """
        return cls.key_from(enumeration=enumeration, ranking=config)


class DftCandidate(Part):
    """A candidate in the model's order and in DFT's; DFT's numbers are None where it failed."""

    ordering: str
    model_rank: int = Field(description="1-based, by the model's energy.")
    model_above_best_ev_per_atom: float
    model_volume_flag: bool
    relaxation: str | None = None
    structure: str | None = Field(None, description="The relaxed structure.")
    space_group: str | None = None
    energy_ev_per_atom: float | None = None
    above_best_ev_per_atom: float | None = None
    formation_energy_ev_per_atom: float | None = Field(
        None,
        description="Energy relative to the mixture of competing phases that is lowest.",
    )
    volume_ang3_per_atom: float | None = None
    volume_change: float | None = Field(
        None, description="Change of the volume relative to the model's structure."
    )
    n_steps: int | None = None
    converged: bool = False
    tied_with_best: bool = False
    reason: str = Field("", description="Why there is no relaxation.")


class GroundState(Document):
    """The best candidates of a ranking by DFT, and the ground state among them."""

    kind = "ground_state"
    structure_field = "ground_state"

    system: str
    ranking: str
    theory: str = Field(description="Fingerprint.")
    theory_name: str
    n: int = Field(description="Candidates that DFT looked at.")
    n_there: int = Field(description="Candidates that the ranking has.")
    candidates: tuple[DftCandidate, ...] = Field(
        description="Candidates by DFT's energy, failures last."
    )
    ground_state: str = Field(description="Structure.")
    note: str = Field(description="Ties, failures and the edge, in words.")
    kendall_tau: float | None = Field(
        None, description="Correlation of the two orders; None below three."
    )
    spearman_rho: float | None = None
    at_edge: bool = Field(description="Whether the minimum lies in the last part of the list.")
    widened_to: int | None = Field(description="Length of the next list; None: this one decides.")
    anchors: dict[str, str] = Field({}, description="Competing phase -> its Relaxation.")

    @classmethod
    def key_of(cls, ranking: str, theory: str, config: DftConfig, *, n: int, mixed: bool) -> str:
        """Return the key of what DFT says of the best candidates of a ranking.

        Parameters
        ----------
        ranking
            Key of the Ranking.
        theory
            Fingerprint of the level of theory.
        config
            The rules. The labeler is known by its theory, the list's length by `n`.
        n
            How many candidates DFT looks at.
        mixed
            Whether the candidates are decorations of a mixed halide.
        """
        who_and_how_many = {"labeler", "n", "n_decorations"}
        rules = {k: v for k, v in config.keyed().items() if k not in who_and_how_many}
        return cls.key_from(ranking=ranking, theory=theory, n=n, mixed=mixed or None, **rules)

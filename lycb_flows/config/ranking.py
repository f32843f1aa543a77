"""Settings of relaxation and ranking, by a model and by DFT."""

from __future__ import annotations

from math import ceil
from pathlib import PurePath
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from lycb_flows.config.base import NOT_KEYED, Config, Count, Fraction, Positive
from lycb_flows.config.labels import AnyLabeler
from lycb_flows.config.models import ModelName

_N_SEARCHED = 200  # relaxations of a search that nothing else is asked of


class RelaxationConfig(Config):
    """Relaxation of positions and cell by FIRE."""

    fmax_ev_per_ang: Positive = Field(0.01, description="Force threshold (paper: 0.01 eV/Å).")
    max_steps: int = Field(1000, ge=1, description="Most FIRE steps; beyond: not converged.")
    relax_cell: bool = True


class DftConfig(Config):
    """Relaxation of the best candidates by DFT, and which of them the campaign starts from."""

    labeler: AnyLabeler
    n: int = Field(20, ge=1, description="Best candidates of every parent (paper: 20).")
    n_decorations: Count = Field(
        1, description="Best candidates of every mixed halide; 0: the model decides."
    )
    relaxation: RelaxationConfig = RelaxationConfig(max_steps=300)
    tie_ev_per_atom: Positive = Field(
        0.0005, description="Energies closer than this are a tie (paper: converged to 0.5 meV)."
    )
    edge_fraction: Fraction = Field(
        0.25, description="ours: a minimum in this last share of the list asks for a longer one."
    )
    widen: int = Field(10, ge=1, description="Candidates that a list at its edge grows by.")
    limit: int = Field(40, ge=1, description="Longest list.")
    anchors: bool | dict[str, str] = Field(
        default=False,
        description="Competing phases that energies of formation are counted from, relaxed too: a "
        "list of ordered CIFs (or names of them), or true: LiCl, LiBr, YCl3, YBr3.",
    )
    timeout_s: Annotated[float, Field(gt=0), NOT_KEYED] = Field(
        86_400.0, description="A step, or a relaxation of the code's own, is stopped after this."
    )
    max_attempts: Annotated[int, Field(ge=1), NOT_KEYED] = Field(
        2, description="Tries of a job at a relaxation that fails."
    )

    @field_validator("anchors", mode="before")
    @classmethod
    def _files_have_names(cls, given: object) -> object:
        """Turn a list of files into names, their stems, with files."""
        if not isinstance(given, list | tuple):
            return given
        names = [PurePath(str(path)).stem for path in given]
        if len(set(names)) < len(names) or not names:
            msg = f"anchors need a list of files with different names, found {names}"
            raise ValueError(msg)
        return dict(zip(names, map(str, given), strict=True))

    @model_validator(mode="after")
    def _limit_is_no_shorter(self) -> Self:
        if self.limit < self.n:
            msg = f"limit = {self.limit} lies below n = {self.n}"
            raise ValueError(msg)
        return self

    @property
    def own_anchors(self) -> dict[str, str]:
        """Files or keys of the user's own competing phases, by name; {} where there are none."""
        return self.anchors if isinstance(self.anchors, dict) else {}

    def first_of_edge(self, n: int) -> int:
        """Return the place (from 1) in a list of n from which on a minimum lies at the edge."""
        return n - max(1, ceil(self.edge_fraction * n)) + 1

    def widened(self, n: int, best_place: int, n_there: int) -> int | None:
        """Return the length that a list must grow to; None when it is long enough, or cannot grow.

        Parameters
        ----------
        n
            Its length now.
        best_place
            Place of the DFT minimum in the model's order, from 1.
        n_there
            Number of candidates that there are.
        """
        longest = min(self.limit, n_there)
        if best_place < self.first_of_edge(n) or n >= longest:
            return None
        return min(n + self.widen, longest)


class RankingConfig(Config):
    """Two-stage funnel over relaxed candidates."""

    model: ModelName = Field(
        "chgnet-0.3.0", description="Name, key or file of the ranking potential, or a calculator."
    )
    coarse_fmax_ev_per_ang: Positive = Field(0.05, description="ours: cheap first stage.")
    fine_fmax_ev_per_ang: Positive = Field(0.01, description="Second stage (paper: 0.01).")
    n_fine: int = Field(20, ge=1, description="Candidates that get the fine stage (paper: 20).")
    max_steps: int = Field(1000, ge=1)
    n_searched: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Orderings that a search by swaps and annealing relaxes; default: all that are "
        "listed, or 200 where the list itself comes from a search.",
    )
    volume_flag: Positive = Field(
        0.05, description="Flag candidates whose volume exceeds the refined cell's by this share."
    )
    tie_ev_per_atom: Positive = Field(0.001, description="Energies closer than this are a tie.")
    dft: DftConfig | None = Field(None, description="The best relaxed by DFT, which decides.")

    @property
    def own_anchors(self) -> dict[str, str]:
        """The same of its section `dft`; {} without it."""
        return {} if self.dft is None else self.dft.own_anchors

    def n_searched_of(self, *, by_search: bool) -> int | None:
        """Return how many orderings a search relaxes; None where all that are listed are.

        Parameters
        ----------
        by_search
            Whether the list comes from a search itself.
        """
        return self.n_searched or (_N_SEARCHED if by_search else None)

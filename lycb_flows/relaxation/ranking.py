"""The two-stage funnel that ranks the orderings of a parent.

Each candidate starts in the parent's refined cell:

1. every candidate: positions in the refined cell, then positions and cell from there
   (`relax_candidates`, coarse). The first relaxation gives the energy at the refined cell,
   which does not depend on how far a potential expands it, and is half of the second's work.
2. the best of them again, to the final force (`candidates_for_fine`, `refine_candidates`).
3. `rank_candidates`: by energy, those that expanded too much flagged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import spglib

from lycb_flows.config import RankingConfig, RelaxationConfig
from lycb_flows.crystals import Relaxed, to_ase, volume_ang3_per_atom
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.schemas import RankedCandidate, Structure

SYMPREC_ANG = 0.1
"""Of a relaxed structure's space group: forces of 0.01 eV/Å leave positions that uncertain."""


@dataclass(frozen=True)
class Candidate:
    """An ordering at a stage of the funnel.

    Attributes
    ----------
    ordering
        Key of the Ordering.
    refined_cell
        Positions relaxed in the parent's refined cell (coarse, at every stage).
    relaxed
        Positions and cell relaxed.
    stage
        The last stage that it went through.
    """

    ordering: str
    refined_cell: Relaxed
    relaxed: Relaxed
    stage: Literal["coarse", "fine"]

    @cached_property
    def volume_change(self) -> float:
        """The relaxed volume relative to the refined cell."""
        refined = volume_ang3_per_atom(self.refined_cell.start)
        return self.relaxed.volume_ang3_per_atom / refined - 1


Stage = Literal["refined cell", "coarse", "fine"]
EARLY_STAGES: tuple[Stage, ...] = ("refined cell", "coarse")
"""What every candidate goes through, in this order."""
StageRelaxer = Callable[[Stage, Sequence[Structure]], Sequence[Relaxed | PhysicsError]]
"""Relaxes structures as a stage asks; a job's looks each result up first."""


def stage_config(config: RankingConfig, stage: Stage) -> RelaxationConfig:
    """Return the settings of `relax` for a stage of the funnel.

    Parameters
    ----------
    config
        The funnel.
    stage
        Which stage.
    """
    fine = stage == "fine"
    return RelaxationConfig(
        fmax_ev_per_ang=config.fine_fmax_ev_per_ang if fine else config.coarse_fmax_ev_per_ang,
        max_steps=config.max_steps,
        relax_cell=stage != "refined cell",
    )


def relax_candidates(
    structures: Mapping[str, Structure], relax_stage: StageRelaxer
) -> list[Candidate]:
    """Return the candidates after the coarse stage, without those that fly apart.

    Parameters
    ----------
    structures
        Crystals in the refined cell, by key of their Ordering.
    relax_stage
        Relaxes structures as a stage asks.
    """
    refined = _survivors(structures, relax_stage("refined cell", list(structures.values())))
    starts = [result.structure for result in refined.values()]
    relaxed = _survivors(refined, relax_stage("coarse", starts))
    return [Candidate(key, refined[key], result, "coarse") for key, result in relaxed.items()]


def refine_candidates(
    candidates: Sequence[Candidate], relax_stage: StageRelaxer
) -> list[Candidate]:
    """Return the candidates after the fine stage, without those that fly apart.

    Parameters
    ----------
    candidates
        Candidates after the coarse stage.
    relax_stage
        Relaxes structures as a stage asks.
    """
    by_key = {candidate.ordering: candidate for candidate in candidates}
    starts = [candidate.relaxed.structure for candidate in candidates]
    relaxed = _survivors(by_key, relax_stage("fine", starts))
    return [replace(by_key[key], relaxed=result, stage="fine") for key, result in relaxed.items()]


def _survivors(
    keys: Iterable[str], outcomes: Sequence[Relaxed | PhysicsError]
) -> dict[str, Relaxed]:
    pairs = zip(keys, outcomes, strict=True)
    return {key: outcome for key, outcome in pairs if isinstance(outcome, Relaxed)}


def candidates_for_fine(coarse: Sequence[Candidate], config: RankingConfig) -> list[Candidate]:
    """Return the `n_fine` lowest candidates without volume flag.

    The lowest candidate with a flag is added if it lies below them.

    Parameters
    ----------
    coarse
        All candidates after the coarse stage.
    config
        The funnel.
    """
    ordered = sorted(coarse, key=_energy)
    flagged = [candidate for candidate in ordered if _flagged(candidate, config)]
    chosen = [candidate for candidate in ordered if not _flagged(candidate, config)]
    chosen = chosen[: config.n_fine]
    if flagged and (not chosen or _energy(flagged[0]) < _energy(chosen[0])):
        chosen.insert(0, flagged[0])
    return chosen


@dataclass(frozen=True)
class RankingResult:
    """Candidates by energy.

    Attributes
    ----------
    best
        Candidates of the fine stage.
    table
        Every candidate, at its last stage; the fine ones first.
    ground_state
        Key of the best structure without volume flag.
    note
        What a reader must know of that choice.
    n_not_converged
        Candidates whose last relaxation did not converge.
    """

    best: tuple[RankedCandidate, ...]
    table: tuple[RankedCandidate, ...]
    ground_state: str
    note: str
    n_not_converged: int


def rank_candidates(
    coarse: Sequence[Candidate],
    fine: Sequence[Candidate],
    config: RankingConfig,
    relaxation_keys: dict[str, str],
) -> RankingResult:
    """Rank all candidates; energies are relative to the ground-state candidate.

    Parameters
    ----------
    coarse
        All candidates.
    fine
        `candidates_for_fine`, refined.
    config
        The funnel.
    relaxation_keys
        Ordering key -> key of the Relaxation of its last stage.

    Raises
    ------
    InputError
        When there is no candidate of the fine stage.
    PhysicsError
        When none of them converged.
    """
    if not fine:
        raise InputError("nothing to rank", fix="refine at least one candidate")
    refined = {candidate.ordering for candidate in fine}
    rest = [candidate for candidate in coarse if candidate.ordering not in refined]
    ordered = sorted(fine, key=_energy) + sorted(rest, key=_energy)
    ground = _ground_state(ordered[: len(fine)], config)
    by_refined_cell = sorted(coarse, key=lambda item: item.refined_cell.energy_ev_per_atom)
    ranks = {candidate.ordering: i + 1 for i, candidate in enumerate(by_refined_cell)}
    table = tuple(
        RankedCandidate(
            ordering=candidate.ordering,
            relaxation=relaxation_keys[candidate.ordering],
            structure=candidate.relaxed.structure.key,
            space_group=space_group(candidate.relaxed.structure),
            energy_ev_per_atom=_energy(candidate),
            above_best_ev_per_atom=_energy(candidate) - _energy(ground),
            volume_ang3_per_atom=candidate.relaxed.volume_ang3_per_atom,
            volume_flag=_flagged(candidate, config),
            refined_cell_rank=ranks[candidate.ordering],
            refined_cell_energy_ev_per_atom=candidate.refined_cell.energy_ev_per_atom,
            tied_with_best=_tied(candidate, ground, config),
            stage=candidate.stage,
        )
        for candidate in ordered
    )
    best = table[: len(fine)]
    return RankingResult(
        best=best,
        table=table,
        ground_state=ground.relaxed.structure.key,
        note=_note(table, ground, config),
        n_not_converged=sum(not candidate.relaxed.converged for candidate in ordered),
    )


def space_group(structure: Structure) -> str:
    """Return international symbol and number at `SYMPREC_ANG`, e.g. 'P-3c1 (165)'."""
    atoms = to_ase(structure)
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    return str(spglib.get_spacegroup(cell, symprec=SYMPREC_ANG))


def _energy(candidate: Candidate) -> float:
    return candidate.relaxed.energy_ev_per_atom


def _flagged(candidate: Candidate, config: RankingConfig) -> bool:
    return candidate.volume_change > config.volume_flag


def _tied(candidate: Candidate, ground: Candidate, config: RankingConfig) -> bool:
    """Return whether a candidate is as good as the ground state, as far as the model can tell."""
    return (
        candidate.ordering != ground.ordering
        and not _flagged(candidate, config)
        and abs(_energy(candidate) - _energy(ground)) < config.tie_ev_per_atom
    )


def _ground_state(by_energy: Sequence[Candidate], config: RankingConfig) -> Candidate:
    converged = [candidate for candidate in by_energy if candidate.relaxed.converged]
    if not converged:
        raise PhysicsError(
            "no candidate converged", fix="raise ranking.max_steps", candidates=len(by_energy)
        )
    return next((each for each in converged if not _flagged(each, config)), converged[0])


def _note(table: Sequence[RankedCandidate], ground: Candidate, config: RankingConfig) -> str:
    """Return the flags and ties around the ground state, in words."""
    (chosen,) = [row for row in table if row.ordering == ground.ordering]
    remarks = []
    if chosen.volume_flag:
        remarks.append(
            f"every converged candidate expanded by more than {config.volume_flag:.0%}: this is "
            "the lowest of them, to be checked by DFT"
        )
    lower = [row for row in table if row.volume_flag and row.above_best_ev_per_atom < 0]
    if lower:
        depth_mev = -1000 * min(row.above_best_ev_per_atom for row in lower)
        remarks.append(
            f"{len(lower)} candidate(s) lie up to {depth_mev:.1f} meV/atom lower but expanded by "
            f"more than {config.volume_flag:.0%}: to be checked by DFT"
        )
    ties = [row.ordering[:8] for row in table if row.tied_with_best]
    if ties:
        remarks.append(
            f"tied within {1000 * config.tie_ev_per_atom:.1f} meV/atom with {', '.join(ties)}"
        )
    return "; ".join(remarks)

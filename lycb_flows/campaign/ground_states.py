"""Ground states by DFT: the best candidates of a ranking relaxed, the lowest of them chosen.

When the lowest lies at the end of the list, the list grows. Keys follow from the plan, so that
every job finds the results of the others in the store.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from lycb_flows.campaign.anchors import anchor_names, anchor_structure
from lycb_flows.config import Config, DftConfig
from lycb_flows.errors import LycbError
from lycb_flows.labels.theory import Theory
from lycb_flows.relaxation import formation_energy_ev_per_atom, space_group
from lycb_flows.schemas import (
    DftCandidate,
    GroundState,
    RankedCandidate,
    Ranking,
    Relaxation,
    Structure,
)
from lycb_flows.store import ResultStore
from lycb_flows.units import EV_MEV

_MIN_FOR_CORRELATION = 3


class GroundStatePlan(Config):
    """Everything that decides which ground state DFT chooses from a ranking."""

    dft: DftConfig
    theory: Theory
    system: str
    ranking: str
    mixed: bool = False

    @property
    def first_n(self) -> int:
        """Length of the first list of candidates.

        The list of a mixed halide never grows, so its first length is its only one.
        """
        return self.dft.n_decorations if self.mixed else self.dft.n

    def key(self, n: int) -> str:
        """Return the key of the GroundState among the best `n` candidates.

        Every length of the list has a document of its own.
        """
        theory = self.theory.fingerprint
        return GroundState.key_of(self.ranking, theory, self.dft, n=n, mixed=self.mixed)

    def relaxation_key(self, structure: str) -> str:
        """Return the key of the relaxation by DFT of a structure, given by its key."""
        return Relaxation.key_of(structure, self.dft.relaxation, theory=self.theory.fingerprint)

    def candidates(self, store: ResultStore) -> list[RankedCandidate]:
        """Return every candidate of the ranking in the model's order.

        Those of the fine stage come first.
        """
        rows = json.loads(store.blobs.read(store.load(Ranking, self.ranking).table))
        return [RankedCandidate.model_validate(row) for row in rows]

    def lists(self, store: ResultStore) -> Iterator[GroundState]:
        """Yield the documents that exist so far, each of a longer list than the one before.

        The next length stands in each document, so the walk needs no record of its own.
        """
        n: int | None = self.first_n
        while n is not None and (found := store.find(GroundState, self.key(n))) is not None:
            yield found
            n = found.widened_to

    def count_relaxed(self, store: ResultStore) -> tuple[int, int]:
        """Return how many candidates of the present list are relaxed, and its length.

        A candidate counts when its relaxation exists, whether or not it converged.
        """
        last = next(reversed(list(self.lists(store))), None)
        n = self.first_n if last is None else last.widened_to or last.n
        listed = self.candidates(store)[:n]
        done = store.find_ends([self.relaxation_key(candidate.structure) for candidate in listed])
        return len(done), len(listed)

    def decision(self, store: ResultStore) -> GroundState | None:
        """Return the last list's document when its minimum stands.

        Returns
        -------
        GroundState or None
            None while there is no document, or when its minimum asks for a longer list.
        """
        last = next(reversed(list(self.lists(store))), None)
        return last if last is not None and last.widened_to is None else None


# -- the comparison, written down once its relaxations are there -----------------------------


def decide_ground_state(store: ResultStore, plan: GroundStatePlan, n: int, job: str) -> GroundState:
    """Return the ground state by DFT of the best candidates; compute it when it is missing.

    Parameters
    ----------
    store
        Holds the ranking and the relaxations.
    plan
        The decision.
    n
        Length of the list of candidates.
    job
        Name of the caller, for people.

    Raises
    ------
    LycbError
        When not a single candidate has converged.
    """
    return store.once(GroundState, plan.key(n), lambda: _compare(store, plan, n), job)


def _compare(store: ResultStore, plan: GroundStatePlan, n: int) -> GroundState:
    ranked = plan.candidates(store)
    anchors = find_anchors(store, plan)
    rows = [_row(store, plan, i, candidate, anchors) for i, candidate in enumerate(ranked[:n], 1)]
    converged = [row for row in rows if row.converged]
    if not converged:
        raise LycbError(
            "not one candidate was relaxed by DFT",
            fix="mend the labeler or raise ranking.dft.relaxation.max_steps, then run again",
            system=plan.system,
            theory=plan.theory.name,
            candidates=len(rows),
            last_reason=rows[-1].reason or "none converged",
        )
    best = min(converged, key=_energy)
    rows = [_beside_best(row, best, plan.dft) for row in sorted(rows, key=_energy)]
    n_there, length = len(ranked), len(rows)
    at_edge = (
        not plan.mixed and length < n_there and best.model_rank >= plan.dft.first_of_edge(length)
    )
    widened = plan.dft.widened(length, best.model_rank, n_there) if at_edge else None
    tau, rho = correlations([row for row in rows if row.converged])
    made_of = [row.relaxation for row in rows if row.relaxation is not None]
    return GroundState(
        key=plan.key(n),
        parents=(plan.ranking, *made_of, *(relaxation.key for relaxation in anchors.values())),
        system=plan.system,
        ranking=plan.ranking,
        theory=plan.theory.fingerprint,
        theory_name=plan.theory.name,
        n=length,
        n_there=n_there,
        candidates=tuple(rows),
        ground_state=best.structure or "",
        note=_note(rows, plan.dft, anchors, at_edge=at_edge, widened=widened),
        kendall_tau=tau,
        spearman_rho=rho,
        at_edge=at_edge,
        widened_to=widened,
        anchors={name: relaxation.key for name, relaxation in anchors.items()},
    )


def _row(
    store: ResultStore,
    plan: GroundStatePlan,
    rank: int,
    ranked: RankedCandidate,
    anchors: dict[str, Relaxation],
) -> DftCandidate:
    row = DftCandidate(
        ordering=ranked.ordering,
        model_rank=rank,
        model_above_best_ev_per_atom=ranked.above_best_ev_per_atom,
        model_volume_flag=ranked.volume_flag,
    )
    key = plan.relaxation_key(ranked.structure)
    found = store.find(Relaxation, key)
    if found is None:
        failures = store.attempts(key, "failed")
        return row.model_copy(update={"reason": failures[-1].reason if failures else "not tried"})
    final = store.load(Structure, found.final_structure)
    energies = {name: relaxation.energy_ev for name, relaxation in anchors.items()}
    phases = {
        name: anchor_structure(store, plan.dft, name).species for name in anchor_names(plan.dft)
    }
    return row.model_copy(
        update={
            "relaxation": key,
            "structure": final.key,
            "space_group": space_group(final),
            "energy_ev_per_atom": found.energy_ev_per_atom,
            "formation_energy_ev_per_atom": formation_energy_ev_per_atom(
                final.species, found.energy_ev, energies, phases
            ),
            "volume_ang3_per_atom": found.volume_ang3_per_atom,
            "volume_change": found.volume_change,
            "n_steps": found.n_steps,
            "converged": found.converged,
        }
    )


def _energy(row: DftCandidate) -> float:
    return np.inf if row.energy_ev_per_atom is None else row.energy_ev_per_atom


def _beside_best(row: DftCandidate, best: DftCandidate, config: DftConfig) -> DftCandidate:
    if row.energy_ev_per_atom is None:
        return row
    above = _energy(row) - _energy(best)
    tied = row.converged and row.ordering != best.ordering and above < config.tie_ev_per_atom
    return row.model_copy(update={"above_best_ev_per_atom": above, "tied_with_best": tied})


def correlations(rows: Sequence[DftCandidate]) -> tuple[float | None, float | None]:
    """Return Kendall's tau and Spearman's rho of the model's energies with those of DFT.

    Parameters
    ----------
    rows
        Candidates with both energies.

    Returns
    -------
    tuple of float or None
        Both None with fewer than three candidates, or where all energies of a method are equal.
    """
    model = [row.model_above_best_ev_per_atom for row in rows]
    dft = [row.energy_ev_per_atom for row in rows]
    if len(rows) < _MIN_FOR_CORRELATION or min(len(set(model)), len(set(dft))) == 1:
        return None, None
    # scipy.stats takes a second to import, and every worker and every command imports this file
    from scipy.stats import kendalltau, spearmanr  # noqa: PLC0415

    return float(kendalltau(model, dft).statistic), float(spearmanr(model, dft).statistic)


def _note(
    rows: Sequence[DftCandidate],
    config: DftConfig,
    anchors: Collection[str],
    *,
    at_edge: bool,
    widened: int | None,
) -> str:
    """Return the choice, its ties, what is missing and the edge of the list, in words."""
    best = next(row for row in rows if row.converged)
    remarks = [f"number {best.model_rank} of {len(rows)} in the model's order"]
    if best.model_volume_flag:
        remarks.append("the model had set it aside by its volume")
    ties = [str(row.model_rank) for row in rows if row.tied_with_best]
    if ties:
        within = f"{EV_MEV * config.tie_ev_per_atom:.2g} meV/atom"
        remarks.append(f"tied within {within} with number {', '.join(ties)}")
    failed = [str(row.model_rank) for row in rows if row.relaxation is None]
    if failed:
        remarks.append(f"DFT failed for number {', '.join(failed)}")
    unfinished = [str(row.model_rank) for row in rows if row.relaxation and not row.converged]
    if unfinished:
        remarks.append(f"not converged and left out: number {', '.join(unfinished)}")
    lost = [name for name in anchor_names(config) if name not in anchors]
    if lost:
        remarks.append(f"no converged relaxation of {', '.join(lost)} to count formation from")
    if widened is not None:
        remarks.append(f"at the edge of the list, which grows to {widened}")
    elif at_edge:
        remarks.append("at the edge of the longest list: a lower one may lie beyond it")
    return "; ".join(remarks)


def low_orderings(
    ground_state: str, ranking: Ranking, by_dft: GroundState | None, *, beyond_dft: bool = False
) -> list[str]:
    """Return the structures of a crystal's orderings by energy, the ground state first.

    Those whose volume is flagged, and those that DFT's relaxation left before it converged, are
    left out, as they are from ground states.

    Parameters
    ----------
    ground_state
        Key of its structure.
    ranking
        The ranking by the model.
    by_dft
        What DFT said of its best candidates, if anything: their order and structures are DFT's.
    beyond_dft
        Whether the candidates that DFT did not look at follow, in the model's order.
    """
    rows = [] if by_dft is None else [row for row in by_dft.candidates if row.structure]
    found = [(row.structure, row.model_volume_flag) for row in rows if row.converged]
    if by_dft is None or beyond_dft:
        looked_at = {row.ordering for row in rows}
        found += [(r.structure, r.volume_flag) for r in ranking.best if r.ordering not in looked_at]
    others = [structure for structure, is_flagged in found if structure and not is_flagged]
    return list(dict.fromkeys([ground_state, *others]))


# -- anchors -----------------------------------------------------------------------------------


def find_anchors(store: ResultStore, plan: GroundStatePlan) -> dict[str, Relaxation]:
    """Return the converged relaxations of the competing phases, by name.

    Formation energies are counted from these. A phase whose relaxation is missing or has not
    converged is left out.

    Parameters
    ----------
    store
        Holds the relaxations.
    plan
        With `ranking.dft.anchors` off there are none.
    """
    starts = {name: anchor_structure(store, plan.dft, name) for name in anchor_names(plan.dft)}
    found = {
        name: store.find(Relaxation, plan.relaxation_key(start.key))
        for name, start in starts.items()
    }
    return {
        name: relaxation
        for name, relaxation in found.items()
        if relaxation is not None and relaxation.converged
    }

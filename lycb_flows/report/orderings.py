"""What can and what cannot be said of orderings and ground states: rules of the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from lycb_flows.crystals import BINARY_NAMES
from lycb_flows.labels import code_of, is_dft
from lycb_flows.report import ReportData, Statement, counted, listed, number
from lycb_flows.schemas import Enumeration, GroundState, RankedCandidate, Ranking
from lycb_flows.units import EV_MEV

_N_EACH: Final = 4  # of one kind; of more it is said together
_HYPHEN: Final = "\N{NON-BREAKING HYPHEN}"


def lowest_orderings(data: ReportData) -> Iterator[Statement]:
    """Yield the lowest ordering of every ranking; of many rankings, what they have in common."""
    lowest = [
        (ranking, candidate)
        for ranking in data.rankings
        for candidate in ranking.best
        if candidate.structure == ranking.ground_state
    ]
    if len(lowest) > _N_EACH:
        yield _lowest_of_many(data, lowest)
        return
    for ranking, best in lowest:
        flagged = sum(c.volume_flag for c in ranking.best)
        space_group = best.space_group.replace("-", _HYPHEN)
        kind = "" if best.volume_flag else " without a volume flag"
        yield Statement(
            f"{ranking.system}: the lowest-energy ordering{kind} is "
            f"{space_group}, of {counted(ranking.n_candidates, 'candidate')} by "
            f"{data.model_name(ranking.model)}; {flagged} of the best {len(ranking.best)} flagged.",
            (ranking.key,),
        )


def _lowest_of_many(
    data: ReportData, lowest: Sequence[tuple[Ranking, RankedCandidate]]
) -> Statement:
    models = listed(list(dict.fromkeys(data.model_name(r.model) for r, _ in lowest)))
    numbers = sorted(ranking.n_candidates for ranking, _ in lowest)
    flagged = [ranking.system for ranking, best in lowest if best.volume_flag]
    remark = f"; those of {listed(flagged)} have a volume flag" if flagged else ""
    return Statement(
        f"{len(lowest)} systems: the lowest-energy orderings by {models} are of {numbers[0]:,} to "
        f"{numbers[-1]:,} candidates each{remark}.",
        tuple(ranking.key for ranking, _ in lowest),
    )


def ground_states_by_dft(data: ReportData) -> Iterator[Statement]:
    """Yield the ground states that DFT has chosen; of many systems, what they have in common."""
    decided = data.decided_by_dft()
    if len(decided) > _N_EACH:
        yield _ground_states_of_many(decided)
        return
    for found in decided:
        best = next(c for c in found.candidates if c.structure == found.ground_state)
        space_group = (best.space_group or "unknown").replace("-", _HYPHEN)
        formation = best.formation_energy_ev_per_atom
        phases = "binaries" if set(found.anchors) <= {*BINARY_NAMES} else listed([*found.anchors])
        formed = (
            "" if formation is None else f", {number(formation * EV_MEV)} meV/atom from {phases}"
        )
        yield Statement(
            f"{found.system}: the ground state by {found.theory_name} is {space_group}{formed}; "
            f"{found.note}.",
            (found.key,),
        )


def _ground_states_of_many(decided: Sequence[GroundState]) -> Statement:
    theories = listed(list(dict.fromkeys(found.theory_name for found in decided)))
    others = [
        f"{found.system} (number {candidate.model_rank})"
        for found in decided
        for candidate in found.candidates
        if candidate.structure == found.ground_state and candidate.model_rank > 1
    ]
    remark = f", but for {listed(others)}" if others else ""
    return Statement(
        f"{len(decided)} systems: the ground states by {theories} are the first of the model's "
        f"order{remark}.",
        tuple(found.key for found in decided),
    )


def arrangements_counted(data: ReportData) -> Iterator[Statement]:
    """Yield how many arrangements there are, where all were listed."""
    for enumeration in data.enumerations:
        if enumeration.exhaustive:
            yield Statement(
                f"{enumeration.formula}: symmetry-distinct arrangements, all of them listed: "
                f"exactly {enumeration.count:,}.",
                (enumeration.key,),
            )


def dft_doubts(data: ReportData) -> Iterator[Statement]:
    """Yield where a ground state by DFT is in doubt."""
    decided = data.decided_by_dft()
    yield from _decided_without_dft(
        [found for found in decided if not is_dft(code_of(found.theory_name))]
    )
    for found in decided:
        lost = [c for c in found.candidates if not c.converged]
        if lost:
            yield Statement(
                f"{found.system}: {counted(len(lost), 'candidate')} of {found.n} without a "
                f"converged relaxation by {found.theory_name}.",
                (found.key,),
            )
        if found.at_edge:
            yield Statement(
                f"{found.system}: the minimum by {found.theory_name} lies at the end of the "
                f"longest list allowed, {found.n} of {found.n_there:,}; a lower one may lie "
                "beyond.",
                (found.key,),
            )
        tied = sum(c.tied_with_best for c in found.candidates)
        if tied:
            yield Statement(
                f"{found.system}: {found.theory_name} cannot tell the ground state from "
                f"{counted(tied, 'other candidate')}.",
                (found.key,),
            )


def _decided_without_dft(decided: Sequence[GroundState]) -> Iterator[Statement]:
    """Yield the ground states that something else than DFT has decided on."""
    if len(decided) > _N_EACH:
        names = listed(list(dict.fromkeys(found.theory_name for found in decided)))
        yield Statement(
            f"No DFT stands behind the ground states of {len(decided)} systems ({names}).",
            tuple(found.key for found in decided),
        )
        return
    for found in decided:
        yield Statement(
            f"{found.system}: no DFT stands behind the ground state ({found.theory_name}).",
            (found.key,),
        )


def ranking_doubts(data: ReportData) -> Iterator[Statement]:
    """Yield where the lowest ordering by the model may not be it, and nothing else has decided."""
    ties: list[tuple[Ranking, int, float]] = []
    decided = {found.ranking for found in data.decided_by_dft()}
    for ranking in data.rankings:
        candidates = [] if ranking.key in decided else data.candidates[ranking.key]
        lower = [c for c in candidates if c.volume_flag and c.above_best_ev_per_atom < 0]
        if lower:
            depth_mev = -min(c.above_best_ev_per_atom for c in lower) * EV_MEV
            yield Statement(
                f"{ranking.system}: {counted(len(lower), 'expanded candidate')} up to "
                f"{number(depth_mev, 2)} meV/atom below the ground state, set aside by the volume "
                "flag: only DFT can tell.",
                (ranking.key,),
            )
        tied = [c for c in candidates if c.tied_with_best and c.structure != ranking.ground_state]
        if tied:
            spread = max(abs(c.above_best_ev_per_atom) for c in tied) * EV_MEV
            ties.append((ranking, len(tied), spread))
        if ranking.n_not_converged:
            yield Statement(
                f"{ranking.system}: {counted(ranking.n_not_converged, 'relaxation')} of "
                f"{ranking.n_candidates} did not converge.",
                (ranking.key,),
            )
    yield from _tied(ties)


def _tied(ties: Sequence[tuple[Ranking, int, float]]) -> Iterator[Statement]:
    """Yield which ground states are not unique, with how many others within how many meV/atom."""
    if len(ties) > _N_EACH:
        most = counted(max(n for _, n, _ in ties), "ordering")
        spread = max(spread for *_, spread in ties)
        systems = listed([ranking.system for ranking, *_ in ties])
        yield Statement(
            f"The ground state is not unique in {len(ties)} systems, with up to {most} more "
            f"within {number(spread, 2)} meV/atom: {systems}.",
            tuple(ranking.key for ranking, *_ in ties),
        )
        return
    for ranking, n, spread in ties:
        yield Statement(
            f"{ranking.system}: the ground state is not unique; "
            f"{counted(n, 'ordering')} more within {number(spread, 2)} meV/atom.",
            (ranking.key,),
        )


def arrangements_sampled(data: ReportData) -> Iterator[Statement]:
    """Yield where not all arrangements were looked at."""
    for enumeration in data.enumerations:
        if enumeration.count is None:
            yield Statement(
                f"{enumeration.formula}: the arrangements were not counted; of the "
                f"{enumeration.n_members:,} of a search, {enumeration.search_note}. "
                "The true ground state may be another.",
                (enumeration.key,),
            )
    yield from _partly_listed([e for e in data.enumerations if e.count and not e.exhaustive])
    noted = [e for e in data.enumerations if e.stratum_note is not None]
    more = f"; likewise {len(noted) - 1} others" if len(noted) > _N_EACH else ""
    for enumeration in noted[:1] if more else noted:
        yield Statement(
            f"{enumeration.formula}: {enumeration.stratum_note}{more}.",
            tuple(each.key for each in noted) if more else (enumeration.key,),
        )


def _partly_listed(enumerations: Sequence[Enumeration]) -> Iterator[Statement]:
    """Yield how many of their arrangements were looked at."""
    if len(enumerations) > _N_EACH:
        seen = [each.n_members for each in enumerations]
        counts = [each.count or 0 for each in enumerations]
        yield Statement(
            f"Of {len(enumerations)} compositions only {min(seen):,} to {max(seen):,} of "
            f"{min(counts):,} to {max(counts):,} arrangements were looked at; their true ground "
            "states may be others.",
            tuple(each.key for each in enumerations),
        )
        return
    for each in enumerations:
        yield Statement(
            f"{each.formula}: only {each.n_members:,} of {each.count:,} arrangements were looked "
            "at; the true ground state may be another.",
            (each.key,),
        )

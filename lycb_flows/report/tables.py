"""The tables of a report: every number of ours carries the key of its document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final, get_args

from lycb_flows.report import (
    MISSING,
    Cell,
    LearnedRound,
    ReportData,
    Table,
    as_printed,
    duration_text,
    fixed,
    mae_targets,
    mae_triple,
    number,
    ours,
    paper_numbers,
    papers,
    with_error,
)
from lycb_flows.schemas import (
    DftCandidate,
    Enumeration,
    Evaluation,
    Foundation,
    GroundState,
    Model,
    ModelErrors,
    Parent,
    Ranking,
    Relaxation,
    Segment,
    Structure,
)
from lycb_flows.store import Outcome
from lycb_flows.units import EV_MEV, GPA_MPA

_N_CANDIDATES: Final = 10
_PERCENT: Final = 100.0


_PAPERS_COUNTS: Final = (
    " The paper enumerates 1 × 1 × 2 supercells with enumlib and ranks “thousands” of orderings."
)


def _counted(n: int | None) -> str:
    return "not counted" if n is None else f"{n:,}"


def enumeration_table(data: ReportData) -> Table:
    """Return the exact counts of every enumeration.

    Coverage is the share of the distinct orderings that is listed, in percent.
    """
    rows = []
    for found in data.enumerations:
        dropped = ", ".join(
            f"{d.species} on {d.site_label} ({as_printed(d.occupancy)})" for d in found.dropped
        )
        coverage = "a search"
        if found.coverage is not None:
            coverage = f"{number(_PERCENT * found.coverage)} %"
        texts = (
            f"{found.formula} (x = {found.x:g})" if found.x is not None else found.formula,
            f"{found.n_atoms}", _counted(found.count), _counted(found.raw_count), coverage,
            dropped or "none",
        )  # fmt: skip
        rows.append((Cell(_parent_name(data, found)), *ours(found.key, texts)))
    return Table(
        "",
        (
            "parent", "supercell", "atoms", "distinct", "before symmetry", "listed",
            "dropped occupants",
        ),
        tuple(rows),
        "Counts are exact (Burnside); before symmetry: forbidden pairs already applied."
        + _PAPERS_COUNTS * data.of_paper,
    )  # fmt: skip


def _parent_name(data: ReportData, enumeration: Enumeration) -> str:
    for key in enumeration.parents:
        match data.documents.get(key):
            case Parent(name=name):
                return name
            case Structure():
                system = data.ground_states().get(key)
                return f"ground state of {system}" if system else f"structure {key[:12]}"
    return MISSING


def candidates_table(data: ReportData, ranking: Ranking) -> Table:
    """Return the best candidates of a ranking.

    Parameters
    ----------
    data
        What the report rests on.
    ranking
        A cell links to the candidate's relaxation where that was collected, else to the ranking.
    """
    rows = []
    for i, candidate in enumerate(ranking.best[:_N_CANDIDATES], 1):
        texts = (
            candidate.space_group,
            fixed(candidate.above_best_ev_per_atom * EV_MEV),
            fixed(candidate.volume_ang3_per_atom),
        )
        key = candidate.relaxation if candidate.relaxation in data.documents else ranking.key
        mark = "ground state" if candidate.structure == ranking.ground_state else ""
        rows.append(
            (
                Cell(str(i)),
                *ours(key, texts),
                Cell("flagged", ranking.key, "warn") if candidate.volume_flag else Cell("no"),
                Cell(str(candidate.refined_cell_rank), ranking.key),
                Cell("yes", ranking.key) if candidate.tied_with_best else Cell("no"),
                Cell(mark),
            )
        )
    return Table(
        f"Best {len(rows)} of {ranking.n_candidates:,}",
        (
            "rank", "space group", "above ground state (meV/atom)", "volume (Å³/atom)",
            "volume flag", "rank in the refined cell", "tied with it", "",
        ),
        tuple(rows),
    )  # fmt: skip


def dft_order_table(data: ReportData, found: GroundState) -> Table:
    """Return DFT's order of the best candidates, with the model's beside it.

    Parameters
    ----------
    data
        What the report rests on.
    found
        DFT's decision on a ranking.
    """
    rows = [
        _dft_row(data, found, place, candidate)
        for place, candidate in enumerate(found.candidates, 1)
    ]
    phases = ", ".join(found.anchors)
    tau, rho = number(found.kendall_tau, 2), number(found.spearman_rho, 2)
    return Table(
        f"Best {found.n} of {found.n_there:,}",
        (
            "rank", "model's rank", "above ground state (meV/atom)",
            "above the model's (meV/atom)", "formation (meV/atom)", "space group",
            "volume change (%)", "steps", "",
        ),
        tuple(rows),
        f"Kendall's τ {tau}, Spearman's ρ {rho}. Volume change: from the model's minimum."
        + (f" Formation: from {phases} at the same level of theory." if phases else ""),
    ).without_empty("formation (meV/atom)")  # fmt: skip


def _dft_row(
    data: ReportData, found: GroundState, place: int, candidate: DftCandidate
) -> tuple[Cell, ...]:
    model = (str(candidate.model_rank), fixed(candidate.model_above_best_ev_per_atom * EV_MEV))
    if candidate.relaxation is None:
        known = ours(found.key, (MISSING, model[0], MISSING, model[1]))
        return (*known, *[Cell(MISSING)] * 4, Cell(candidate.reason, found.key, "warn"))
    key = candidate.relaxation if candidate.relaxation in data.documents else found.key
    words = ["ground state"] if candidate.structure == found.ground_state else []
    words += ["tied"] if candidate.tied_with_best else []
    words += [] if candidate.converged else ["not converged"]
    return (
        Cell(str(place), found.key),
        Cell(model[0], found.key),
        *ours(key, (fixed(_mev(candidate.above_best_ev_per_atom)),)),
        Cell(model[1], found.key),
        *ours(
            key,
            (
                fixed(_mev(candidate.formation_energy_ev_per_atom)),
                candidate.space_group or MISSING,
                fixed(
                    None if candidate.volume_change is None else _PERCENT * candidate.volume_change
                ),
                MISSING if candidate.n_steps is None else str(candidate.n_steps),
            ),
        ),
        Cell(", ".join(words), found.key, "" if candidate.converged else "warn"),
    )


def _mev(value_ev: float | None) -> float | None:
    return None if value_ev is None else value_ev * EV_MEV


def foundation_table(found: Foundation) -> Table:
    """Return the errors of the models that the loop could start from, with standard errors.

    Parameters
    ----------
    found
        The choice.
    """
    rows = [
        (
            Cell(row.name, row.model),
            Cell("chosen" if row.model == found.model else MISSING),
            *_errors(found.key, row.errors, row.spread),
        )
        for row in found.candidates
    ]
    return Table(
        "Models that the loop could start from",
        ("model", "", "E (meV/atom)", "F (meV/Å)", "S (MPa)", "force slope"),
        tuple(rows),
        f"Mean absolute errors on {found.n_testing} test labels, before any training; "
        f"{found.n_fitting} others fit one reference energy per element.",
    )


def labels_table(rounds: Sequence[LearnedRound]) -> Table:
    """Return what each round labelled and trained on.

    Missing and rejected labels are marked where there are any.
    """
    rows = []
    for learned in rounds:
        dataset, frames = learned.dataset, learned.frames
        counts = [MISSING] * 4
        if dataset is not None:
            parts = (
                dataset.training_labels, dataset.validation_labels, dataset.missing,
                dataset.rejected,
            )  # fmt: skip
            counts = [str(len(part)) for part in parts]
        rows.append(
            (
                *_round_cells(learned),
                Cell(str(len(frames.frames)) if frames else MISSING, learned.round.frames),
                *ours(learned.round.dataset, counts[:2]),
                *(_lost(learned.round.dataset, text) for text in counts[2:]),
            )
        )
    labels = ("frames chosen", "training labels", "validation labels", "missing", "rejected")
    return Table(
        "Labels", ("round", "T (K)", *labels), tuple(rows), "Labels accumulate over the rounds."
    )


def errors_table(data: ReportData) -> Table:
    """Return the errors before and after each round's training.

    The last row holds the bounds that the paper states for its own chemistry.
    """
    rows = []
    for learned in data.rounds:
        pairs = zip(_error_cells(learned.before), _error_cells(learned.after), strict=True)
        rows.append((*_round_cells(learned), *(cell for pair in pairs for cell in pair)))
    if data.of_paper:
        targets = [text for t in mae_targets() for text in (MISSING, f"< {as_printed(t)}")]
        rows.append(papers("paper", "0–800", *targets, MISSING, MISSING))
    names = ("E (meV/atom)", "F (meV/Å)", "S (MPa)", "force slope")
    return Table(
        "Errors",
        ("round", "T (K)", *(f"{n}, {when}" for n in names for when in ("before", "after"))),
        tuple(rows),
        "Mean absolute errors on frozen test labels, before and after the round's training. "
        "A force slope below 1: forces too soft.",
    )


def _round_cells(learned: LearnedRound) -> tuple[Cell, ...]:
    round_ = learned.round
    return ours(round_.key, (str(round_.index + 1), f"{round_.temperature_k:g}"))


def _lost(key: str, text: str) -> Cell:
    """Return the number of labels that are missing or were rejected, marked unless it is 0."""
    return Cell(
        text, key if text != MISSING else None, "warn" if text not in ("0", MISSING) else ""
    )


def _error_cells(evaluation: Evaluation | None) -> tuple[Cell, ...]:
    if evaluation is None:
        return tuple(Cell(MISSING) for _ in range(4))
    return _errors(evaluation.key, evaluation.overall)


def _errors(
    key: str, errors: ModelErrors, spread: Mapping[str, float] | None = None
) -> tuple[Cell, ...]:
    values = (*mae_triple(errors), errors.force_slope)
    if not spread:
        return ours(key, [number(value) for value in values])
    scales = (EV_MEV, EV_MEV, GPA_MPA, 1.0)
    names = ("energy_mae_ev_per_atom", "force_mae_ev_per_ang", "stress_mae_gpa", "force_slope")
    found = [scale * spread[name] for name, scale in zip(names, scales, strict=True)]
    return ours(key, [with_error(v, e) for v, e in zip(values, found, strict=True)])


def evaluations_table(data: ReportData) -> Table:
    """Return every evaluation that compares the models, by system.

    All of them are on the same test labels, so that their rows can be compared.
    """
    rows = []
    for evaluation in data.evaluations:
        parts = {"all": evaluation.overall, **evaluation.by_system}
        for system, errors in parts.items():
            rows.append(
                (
                    Cell(data.model_name(evaluation.model), evaluation.model),
                    Cell(system),
                    Cell(str(errors.n_labels), evaluation.key),
                    *_errors(evaluation.key, errors),
                )
            )
    columns = ("labels", "E (meV/atom)", "F (meV/Å)", "S (MPa)", "force slope")
    return Table("Models on the same test labels", ("model", "system", *columns), tuple(rows))


# -- cost -----------------------------------------------------------------------------------------


def cost_table(data: ReportData) -> Table:
    """Return the wall time by kind of document.

    It counts every attempt at the documents concerned, failed ones included, beside the times
    that the paper prints for its own chemistry.
    """
    papers_too = data.of_paper
    speed, minutes = (
        paper_numbers()["speed"],
        paper_numbers()["finetune"]["gpu_minutes_per_finetune"],
    )
    paper = {
        Relaxation.kind: f"{speed['mlip_relax_cpu_s_per_structure']} s each (CPU)",
        Model.kind: f"{minutes[0]}–{minutes[1]} min each (GPU)",
        Segment.kind: f"{paper_numbers()['md']['gpu_cost_s_per_atom_per_ps']} s per atom "
        "and ps (GPU)",
    }
    outcomes = get_args(Outcome)
    rows = []
    for kind in sorted({attempt.kind for attempt in data.attempts}):
        mine = [attempt for attempt in data.attempts if attempt.kind == kind]
        done = [attempt.wall_s for attempt in mine if attempt.outcome == "done"]
        rows.append(
            (
                Cell(kind),
                *(
                    Cell(f"{sum(attempt.outcome == outcome for attempt in mine):,}")
                    for outcome in outcomes
                ),
                Cell(duration_text(sum(attempt.wall_s for attempt in mine))),
                Cell(duration_text(median(done)) if done else MISSING),
                *(papers(paper.get(kind, MISSING)) if papers_too else ()),
            )
        )
    columns = ("kind", *outcomes, "wall time", "median", *(("paper",) if papers_too else ()))
    return Table(
        "",
        columns,
        tuple(rows),
        "A run's wall time includes that of its segments made with it, a relaxation's by DFT that "
        "of its steps' labels.",
    )

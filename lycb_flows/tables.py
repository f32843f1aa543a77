"""The tables of a report: every number of ours carries the key of its document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from lycb_flows import schemas
from lycb_flows.collection import CellRun, LearnedRound, ReportData
from lycb_flows.figures import mae_triple
from lycb_flows.paper import (
    mae_targets,
    paper_model_row,
    paper_numbers,
    paper_system,
    paper_transport,
    paper_volumes,
)
from lycb_flows.quantities import (
    MISSING,
    as_printed,
    duration,
    fixed,
    number,
    scientific,
    together,
    with_error,
)
from lycb_flows.store import Attempt
from lycb_flows.units import EV_MEV

_N_CANDIDATES: Final = 10
_PERCENT: Final = 100.0
_VOLUME_SERIES: Final = ("CHGNet_1bar", "SevenNet_1bar", "AIMD", "exp8", "exp3_7")


@dataclass(frozen=True)
class Cell:
    """Text of a cell, the document it comes from, and its tone ('paper' or 'warn')."""

    text: str
    key: str | None = None
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """A table; `columns` are its headings, unit included."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


def _ours(key: str, texts: Iterable[str]) -> tuple[Cell, ...]:
    return tuple(Cell(text, key if text != MISSING else None) for text in texts)


def _paper(*texts: str) -> tuple[Cell, ...]:
    return tuple(Cell(text, tone="paper") for text in texts)


def enumeration_table(data: ReportData) -> Table:
    """Exact counts of every enumeration."""
    rows = []
    for found in data.enumerations:
        dropped = ", ".join(
            f"{d.species} on {d.site_label} ({number(d.occupancy)})" for d in found.dropped
        )
        coverage = f"{number(_PERCENT * found.coverage)} %"
        texts = (
            f"{found.formula} (x = {found.x:g})" if found.x is not None else found.formula,
            f"{found.n_atoms}", f"{found.count:,}", f"{found.raw_count:,}", coverage,
            dropped or "none",
        )  # fmt: skip
        rows.append((Cell(_parent_name(data, found)), *_ours(found.key, texts)))
    return Table(
        "",
        (
            "parent", "supercell", "atoms", "distinct", "before symmetry", "listed",
            "dropped occupants",
        ),
        tuple(rows),
        "Counts are exact (Burnside); before symmetry: forbidden pairs already applied. The paper "
        "enumerates 1 × 1 × 2 supercells with enumlib and ranks “thousands” of orderings.",
    )  # fmt: skip


def _parent_name(data: ReportData, enumeration: schemas.Enumeration) -> str:
    for key in enumeration.parents:
        match data.documents.get(key):
            case schemas.Parent(name=name):
                return name
            case schemas.Structure():
                systems = [r.system for r in data.rankings if r.ground_state == key]
                return f"ground state of {systems[0]}" if systems else f"structure {key[:12]}"
    return MISSING


def candidates_table(data: ReportData, ranking: schemas.Ranking) -> Table:
    """The best candidates of one ranking."""
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
                *_ours(key, texts),
                Cell("flagged", ranking.key, "warn") if candidate.volume_flag else Cell("no"),
                Cell(str(candidate.refined_cell_rank), ranking.key),
                Cell("yes", ranking.key) if candidate.tied_with_best else Cell("no"),
                Cell(mark),
            )
        )
    return Table(
        f"Best {len(rows)} of {ranking.n_candidates:,}",
        (
            "rank", "space group", "above best (meV/atom)", "volume (Å³/atom)", "volume flag",
            "rank in the refined cell", "tied with best", "",
        ),
        tuple(rows),
    )  # fmt: skip


def labels_table(rounds: Sequence[LearnedRound]) -> Table:
    """What each round labelled and trained on."""
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
                *_ours(learned.round.dataset, counts[:2]),
                *(_lost(learned.round.dataset, text) for text in counts[2:]),
            )
        )
    labels = ("frames chosen", "training labels", "validation labels", "missing", "rejected")
    return Table(
        "Labels", ("round", "T (K)", *labels), tuple(rows), "Labels accumulate over the rounds."
    )


def errors_table(rounds: Sequence[LearnedRound]) -> Table:
    """Errors before and after each round's training; the last row is the paper's."""
    rows = []
    for learned in rounds:
        pairs = zip(_error_cells(learned.before), _error_cells(learned.after), strict=True)
        rows.append((*_round_cells(learned), *(cell for pair in pairs for cell in pair)))
    targets = [text for t in mae_targets() for text in (MISSING, f"< {as_printed(t)}")]
    rows.append(_paper("paper", "0–800", *targets, MISSING, MISSING))
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
    return _ours(round_.key, (str(round_.index + 1), f"{round_.temperature_k:g}"))


def _lost(key: str, text: str) -> Cell:
    return Cell(
        text, key if text != MISSING else None, "warn" if text not in ("0", MISSING) else ""
    )


def _error_cells(evaluation: schemas.Evaluation | None) -> tuple[Cell, ...]:
    if evaluation is None:
        return tuple(Cell(MISSING) for _ in range(4))
    return _errors(evaluation.key, evaluation.overall)


def _errors(key: str, errors: schemas.ModelErrors) -> tuple[Cell, ...]:
    return _ours(key, [number(v) for v in (*mae_triple(errors), errors.force_slope)])


def evaluations_table(data: ReportData) -> Table:
    """Every evaluation that compares the models, by system."""
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


# -- volumes --------------------------------------------------------------------------------


def volume_table(data: ReportData, system: str) -> Table:
    """Volumes of one system beside the paper's at the same temperature."""
    structure = data.structure_of_system(system)
    paper = paper_volumes((structure and paper_system(structure)) or "")
    rows = [_relaxed_row(r, paper) for r in data.rankings if r.system == system and r.best]
    rows += [_volume_row(cell, paper) for cell in data.cell_runs if cell.system == system]
    return Table(
        "",
        (
            "T (K)", "p (bar)", "run", "here (Å³/atom)", "equilibrated",
            "paper, CHGNet_600K", "here / paper", *(f"paper, {name}" for name in _VOLUME_SERIES),
        ),
        tuple(rows),
        "± is the fluctuation from frame to frame, not an error. Paper: at the same temperature "
        "and, for CHGNet_600K, the nearest of its pressures (1 bar, 10 kbar).",
    )  # fmt: skip


def _relaxed_row(
    ranking: schemas.Ranking, paper: dict[str, dict[float, float]]
) -> tuple[Cell, ...]:
    ground = next((c for c in ranking.best if c.structure == ranking.ground_state), ranking.best[0])
    volume = ground.volume_ang3_per_atom
    ours = _ours(ranking.key, ("0", MISSING, "relaxed", fixed(volume), MISSING))
    return (*ours, *_paper_volume_cells(paper, "CHGNet600K_1bar", 0.0, volume))


def _volume_row(cell: CellRun, paper: dict[str, dict[float, float]]) -> tuple[Cell, ...]:
    run = cell.run
    volume, pressure_bar = run.average_volume_ang3_per_atom, run.pressure_bar or 0.0
    spread = run.means.volume_std_ang3_per_atom if run.means else None
    trust = Cell("yes", run.key) if run.equilibrated else Cell("no", run.key, "warn")
    return (
        *_ours(run.key, (f"{run.temperature_k:g}", f"{pressure_bar:g}", cell.role)),
        *_ours(run.key, (with_error(volume, spread),)),
        trust if run.health.healthy else Cell("left physics", run.key, "warn"),
        *_paper_volume_cells(paper, paper_model_row(pressure_bar), run.temperature_k, volume),
    )


def _paper_volume_cells(
    paper: dict[str, dict[float, float]], row: str, temperature_k: float, volume: float | None
) -> tuple[Cell, ...]:
    target = paper.get(row, {}).get(temperature_k)
    ratio = volume / target if volume is not None and target is not None else None
    others = (paper.get(name, {}).get(temperature_k) for name in _VOLUME_SERIES)
    return (
        *_paper(as_printed(target)),
        Cell(fixed(ratio, 3)),
        *_paper(*(as_printed(value) for value in others)),
    )


# -- transport ----------------------------------------------------------------------------------


def transport_table(data: ReportData, system: str) -> Table:
    """D or its bound, and the conductivity, of every production run of one system."""
    rows = [_transport_row(data, t) for t in data.transports if t.system == system]
    return Table(
        "",
        (
            "T (K)", "p (bar)", "length (ps)", "D (m²/s)", "95 % interval (m²/s)",
            "He's error", "eff. hops", "log slope", "D along a, b, c (m²/s)",
            "σ(T) (mS/cm)", "paper σ(T) (mS/cm)",
        ),
        tuple(rows),
        "D: slope of the MSD over the paper's window, ± our standard error; He's error is the "
        "paper's (He et al. 2018). “<”: 95 % upper bound. Paper σ(T): derived here from its Eₐ "
        "and σ(300 K) of CHGNet_600K at the nearest pressure."
        + _paper_remark(data, system),
    )  # fmt: skip


def _paper_remark(data: ReportData, system: str) -> str:
    structure = data.structure_of_system(system)
    name = (structure and paper_system(structure)) or ""
    rows = paper_numbers()["transport"].get(name, {})
    if name == "LYB":
        return f" The paper prints D(500 K) = {scientific(rows['D_500K_m2_s'])} m²/s, isotropic."
    if name == "LYC":
        low, high = rows["anisotropy_500K"]["Dc_over_Dab"]
        return f" The paper finds D along c {low} to {high} times that in the ab plane at 500 K."
    return ""


def _transport_row(data: ReportData, transport: schemas.Transport) -> tuple[Cell, ...]:
    estimate = transport.estimate
    along = transport.lattice_diffusivities_m2_per_s
    texts = (
        f"{transport.temperature_k:g}",
        f"{transport.pressure_bar:g}",
        number(transport.duration_ps),
        diffusivity_text(estimate),
        _interval(estimate),
        _he_error(estimate),
        number(estimate.effective_hops, 2),
        number(estimate.log_slope, 2),
        MISSING if along is None else together(along, ", "),
        _conductivity_text(transport),
    )
    structure = data.structure_of(transport)
    rows = paper_transport((structure and paper_system(structure)) or "")
    target = rows.get(paper_model_row(transport.pressure_bar))
    sigma = target.conductivity_ms_per_cm(transport.temperature_k) if target else None
    return (*_ours(transport.key, texts), *_paper(number(sigma)))


def _interval(estimate: schemas.DiffusionEstimate) -> str:
    low, high = estimate.diffusivity_low_m2_per_s, estimate.diffusivity_high_m2_per_s
    return MISSING if low is None or high is None else together((low, high), " to ")


def _he_error(estimate: schemas.DiffusionEstimate) -> str:
    value, error = estimate.diffusivity_m2_per_s, estimate.diffusivity_err_he_m2_per_s
    return MISSING if not value or error is None else f"± {_PERCENT * error / value:.0f} %"


def diffusivity_text(estimate: schemas.DiffusionEstimate) -> str:
    """D ± error, or the bound."""
    if estimate.diffusivity_m2_per_s is not None:
        return scientific(estimate.diffusivity_m2_per_s, estimate.diffusivity_err_m2_per_s)
    if estimate.diffusivity_upper_m2_per_s is not None:
        return f"< {scientific(estimate.diffusivity_upper_m2_per_s)}"
    return MISSING


def _conductivity_text(transport: schemas.Transport) -> str:
    if transport.conductivity_ms_per_cm is not None:
        return with_error(transport.conductivity_ms_per_cm, transport.conductivity_err_ms_per_cm)
    if transport.conductivity_upper_ms_per_cm is not None:
        return f"< {number(transport.conductivity_upper_ms_per_cm)}"
    return MISSING


def arrhenius_table(data: ReportData, system: str) -> Table:
    """Barrier and conductivity of one system, above every row that the paper prints."""
    rows = []
    for fit in (fit for fit in data.fits if fit.system == system):
        low, high = (
            fit.extrapolated_conductivity_low_ms_per_cm,
            fit.extrapolated_conductivity_high_ms_per_cm,
        )
        sigma = number(fit.extrapolated_conductivity_ms_per_cm)
        texts = (
            f"here, {fit.pressure_bar:g} bar",
            with_error(fit.activation_energy_ev, fit.activation_energy_err_ev),
            sigma if not fit.fitted else f"{sigma} ({number(low)} to {number(high)})",
            f"{fit.n_points}",
            fit.reason or f"at {fit.extrapolation_temperature_k:g} K",
        )
        rows.append(_ours(fit.key, texts))
    structure = data.structure_of_system(system)
    for row in paper_transport((structure and paper_system(structure)) or "").values():
        barrier = as_printed(row.activation_energy_ev, row.activation_energy_err_ev)
        sigma = as_printed(row.conductivity_300k_ms_per_cm)
        rows.append(_paper(f"paper: {row.name}", barrier, sigma, MISSING, "at 300 K"))
    return Table(
        "",
        ("source", "Eₐ (eV)", "σ (mS/cm), 1σ range", "points", "remark"),
        tuple(rows),
        "Fitted to measured D only, weighted by their errors; bounds are left out.",
    )


# -- cost -----------------------------------------------------------------------------------------


def cost_table(attempts: Sequence[Attempt]) -> Table:
    """Wall time by kind, from every attempt at the documents concerned."""
    speed, minutes = (
        paper_numbers()["speed"],
        paper_numbers()["finetune"]["gpu_minutes_per_finetune"],
    )
    paper = {
        schemas.Relaxation.kind: f"{speed['mlip_relax_cpu_s_per_structure']} s each (CPU)",
        schemas.Model.kind: f"{minutes[0]}–{minutes[1]} min each (GPU)",
        schemas.Segment.kind: f"{paper_numbers()['md']['gpu_cost_s_per_atom_per_ps']} s per atom "
        "and ps (GPU)",
    }
    rows = []
    for kind in sorted({attempt.kind for attempt in attempts}):
        mine = [attempt for attempt in attempts if attempt.kind == kind]
        done = [attempt.wall_s for attempt in mine if attempt.outcome == "done"]
        rows.append(
            (
                Cell(kind),
                *(
                    Cell(f"{sum(attempt.outcome == outcome for attempt in mine):,}")
                    for outcome in ("done", "failed", "superseded", "running")
                ),
                Cell(duration(sum(attempt.wall_s for attempt in mine))),
                Cell(duration(median(done)) if done else MISSING),
                *_paper(paper.get(kind, MISSING)),
            )
        )
    columns = ("kind", "done", "failed", "superseded", "open", "wall time", "median", "paper")
    return Table(
        "", columns, tuple(rows), "A run's wall time includes that of its segments made with it."
    )

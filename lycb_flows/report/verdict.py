"""What can and what cannot be concluded: rules from documents to sentences.

Each rule looks at one weakness or one finding; a report opens with what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lycb_flows import schemas
from lycb_flows.labels.engine import is_dft
from lycb_flows.labels.theory import code_of
from lycb_flows.report.collection import ReportData
from lycb_flows.report.figures import mae_triple
from lycb_flows.report.paper import mae_targets, paper_numbers, paper_system, supercell_atoms
from lycb_flows.report.quantities import as_printed, counted, number, scientific, with_error
from lycb_flows.units import EV_MEV

CALCULATOR = "ase "
_HYPHEN: Final = "\N{NON-BREAKING HYPHEN}"
_PS_PER_NS: Final = 1000.0


@dataclass(frozen=True)
class Statement:
    """A sentence and the documents that it rests on."""

    text: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The first lines of a report."""

    headline: str
    can: tuple[Statement, ...]
    cannot: tuple[Statement, ...]


Rule = Callable[[ReportData], Iterator[Statement]]


def judge(data: ReportData) -> Verdict:
    """Apply every rule; the gravest weaknesses come first."""
    return Verdict(
        headline=_headline(data),
        can=tuple(statement for rule in _FINDINGS for statement in rule(data)),
        cannot=tuple(statement for rule in _WEAKNESSES for statement in rule(data)),
    )


def is_rehearsal(data: ReportData) -> bool:
    """Whether any label comes from another potential."""
    return bool(_without_dft(data))


def _without_dft(data: ReportData) -> list[str]:
    """Return the names of the levels of theory of labels behind which no DFT stands."""
    return [
        name
        for name in data.theory_names
        if not is_dft(code_of(name), imported=name in data.imported_theory_names)
    ]


def measured(transports: Sequence[schemas.Transport]) -> list[schemas.Transport]:
    """Those with a D, not a bound."""
    return [t for t in transports if t.estimate.diffusivity_m2_per_s is not None]


def _bounds(transports: Sequence[schemas.Transport]) -> list[schemas.Transport]:
    """Those with an upper bound instead of a D."""
    return [t for t in transports if t.estimate.diffusivity_upper_m2_per_s is not None]


def _headline(data: ReportData) -> str:
    n_measured, n_all = len(measured(data.transports)), len(data.transports)
    fitted = [fit for fit in data.fits if fit.fitted]
    if not n_all:
        outcome = "Unfinished: no diffusivity has been measured yet."
    elif not n_measured:
        n_bounds = len(_bounds(data.transports))
        outcome = (
            f"No diffusion was resolved: {'every D' if n_bounds == n_all else 'D'} ({n_bounds} of "
            f"{n_all}) is an upper bound, so there is no barrier and no conductivity at 300 K."
        )
    elif not fitted:
        outcome = (
            f"D was measured in {n_measured} of {counted(n_all, 'run')}: "
            "too few for a barrier or an extrapolated conductivity."
        )
    else:
        outcome = (
            f"D was measured in {n_measured} of {counted(n_all, 'run')}; a barrier and an "
            f"extrapolated conductivity follow for {len(fitted)} of "
            f"{counted(len(data.fits), 'condition')}."
        )
    if is_rehearsal(data):
        return f"A rehearsal without DFT. {outcome}"
    return outcome


# -- findings ---------------------------------------------------------------------------------


def _conductivities(data: ReportData) -> Iterator[Statement]:
    for fit in data.fits:
        if fit.fitted:
            low, high = (
                fit.extrapolated_conductivity_low_ms_per_cm,
                fit.extrapolated_conductivity_high_ms_per_cm,
            )
            barrier = with_error(fit.activation_energy_ev, fit.activation_energy_err_ev)
            yield Statement(
                f"{fit.system} at {fit.pressure_bar:g} bar, by {data.model_name(fit.model)}: "
                f"Eₐ = {barrier} eV from "
                f"{counted(fit.n_points, 'temperature')}; σ({fit.extrapolation_temperature_k:g} K)"
                f" = {number(fit.extrapolated_conductivity_ms_per_cm)} mS/cm "
                f"(1σ: {number(low)} to {number(high)}), extrapolated.",
                (fit.key,),
            )


def _diffusivities(data: ReportData) -> Iterator[Statement]:
    fitted = {key for fit in data.fits if fit.fitted for key in fit.transports}
    for transport in measured(data.transports):
        if transport.key not in fitted:
            estimate = transport.estimate
            value = scientific(estimate.diffusivity_m2_per_s, estimate.diffusivity_err_m2_per_s)
            yield Statement(f"{place(transport)}: D = {value} m²/s.", (transport.key,))


def _learned(data: ReportData) -> Iterator[Statement]:
    last = next((r for r in reversed(data.rounds) if r.after is not None), None)
    if last is None or last.after is None:
        return
    mae = mae_triple(last.after.overall)
    met = sum(value < target for value, target in zip(mae, mae_targets(), strict=True))
    yield Statement(
        f"After {counted(len(data.rounds), 'round')} (up to {last.round.temperature_k:g} K) the "
        f"model's mean absolute errors on {counted(last.after.overall.n_labels, 'test label')} "
        f"are {_maes(mae)}; {met} of 3 are below the paper's ({_maes(mae_targets(), as_printed)}).",
        (last.after.key, last.round.key),
    )


def _ground_states(data: ReportData) -> Iterator[Statement]:
    for ranking in data.rankings:
        best = next((c for c in ranking.best if c.structure == ranking.ground_state), None)
        if best is not None:
            flagged = sum(c.volume_flag for c in ranking.best)
            space_group = best.space_group.replace("-", _HYPHEN)
            kind = "" if best.volume_flag else " without a volume flag"
            yield Statement(
                f"{ranking.system}: the lowest-energy ordering{kind} is "
                f"{space_group}, of {counted(ranking.n_candidates, 'candidate')} by "
                f"{data.model_name(ranking.model)}; {flagged} of the best {len(ranking.best)} "
                "are flagged.",
                (ranking.key,),
            )


def _dft_ground_states(data: ReportData) -> Iterator[Statement]:
    for found in data.decided_by_dft():
        best = next(c for c in found.candidates if c.structure == found.ground_state)
        space_group = (best.space_group or "unknown").replace("-", _HYPHEN)
        formation = best.formation_energy_ev_per_atom
        formed = (
            "" if formation is None else f", {number(formation * EV_MEV)} meV/atom from binaries"
        )
        yield Statement(
            f"{found.system}: the ground state by {found.theory_name} is {space_group}{formed}; "
            f"{found.note}.",
            (found.key,),
        )


def _counts(data: ReportData) -> Iterator[Statement]:
    for enumeration in data.enumerations:
        if enumeration.exhaustive:
            yield Statement(
                f"{enumeration.formula}: exactly {enumeration.count:,} symmetry-distinct "
                "arrangements, all of them listed.",
                (enumeration.key,),
            )


# -- weaknesses -------------------------------------------------------------------------------


def _no_dft(data: ReportData) -> Iterator[Statement]:
    potentials = _without_dft(data)
    if potentials:
        yield Statement(
            "No number here is a prediction: no DFT stands behind the labels "
            f"({'; '.join(potentials)}). Conductivities and barriers are rehearsal numbers."
        )


def _dft_doubts(data: ReportData) -> Iterator[Statement]:
    for found in data.decided_by_dft():
        if not is_dft(code_of(found.theory_name)):
            yield Statement(
                f"{found.system}: no DFT stands behind the ground state ({found.theory_name}).",
                (found.key,),
            )
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


def _on_a_users_word(data: ReportData) -> Iterator[Statement]:
    stated = [name for name in data.theory_names if code_of(name).startswith(CALCULATOR)]
    if stated:
        yield Statement(
            f"What the labels are rests on their user's word ({'; '.join(stated)}): a calculator "
            "of ASE's may be anything."
        )


def _only_bounds(data: ReportData) -> Iterator[Statement]:
    bounds = _bounds(data.transports)
    if bounds:
        yield Statement(
            f"{len(bounds)} of {len(data.transports)} diffusivities are upper bounds (95 %), not "
            f"values: {_listed([place(t) for t in bounds])}.",
            tuple(t.key for t in bounds),
        )


def _neither(data: ReportData) -> Iterator[Statement]:
    known = {t.key for t in (*measured(data.transports), *_bounds(data.transports))}
    missing = [t for t in data.transports if t.key not in known]
    if missing:
        yield Statement(
            f"{len(missing)} of {counted(len(data.transports), 'run')} left physics and gave "
            f"neither a diffusivity nor a bound: {_listed([place(t) for t in missing])}.",
            tuple(t.key for t in missing),
        )


def _no_fit(data: ReportData) -> Iterator[Statement]:
    for fit in data.fits:
        if not fit.fitted:
            yield Statement(
                f"{fit.system} at {fit.pressure_bar:g} bar has no barrier and no conductivity at "
                f"{fit.extrapolation_temperature_k:g} K: {fit.reason}.",
                (fit.key,),
            )


def _unfinished(data: ReportData) -> Iterator[Statement]:
    absent = [
        name
        for name, documents in (
            ("ranking", data.rankings),
            ("learning round", data.rounds),
            ("transport", data.transports),
            ("Arrhenius fit", data.fits),
        )
        if not documents
    ]
    if absent:
        yield Statement(f"There is no {', no '.join(absent)} yet.")


def _retracted(data: ReportData) -> Iterator[Statement]:
    if data.missing:
        roles = [f"{role} ({key[:12]})" for key, role in data.missing.items()]
        verb = "is" if len(roles) == 1 else "are"
        yield Statement(
            f"{counted(len(roles), 'result')} that this rests on {verb} absent from the store, "
            f"retracted or never made: {_listed(roles)}."
        )


def _unhealthy(data: ReportData) -> Iterator[Statement]:
    for run in data.documents.values():
        if isinstance(run, schemas.Run) and not run.health.healthy:
            yield Statement(
                f"Run {run.name} left physics at step {run.health.failed_step}: "
                f"{run.health.reason}.",
                (run.key,),
            )


def _not_equilibrated(data: ReportData) -> Iterator[Statement]:
    runs = [c.run for c in data.cell_runs if c.run.health.healthy and not c.run.equilibrated]
    if runs:
        yield Statement(
            f"{len(runs)} of {counted(len(data.cell_runs), 'NpT run')} averaged over less than ten "
            "barostat times: their cells, and D in them, are not equilibrated.",
            tuple(run.key for run in runs),
        )


def _not_trained(data: ReportData) -> Iterator[Statement]:
    for key in dict.fromkeys(transport.model for transport in data.transports):
        model = data.find(schemas.Model, key)
        if model is not None and model.source != "fine-tuned":
            yield Statement(
                f"The model that measures, {model.name}, is not fine-tuned: its D says nothing of "
                "what was learned.",
                (key,),
            )


def _short(data: ReportData) -> Iterator[Statement]:
    paper_ps = paper_numbers()["md"]["production"]["length_ns"] * _PS_PER_NS
    short = [t for t in data.transports if t.duration_ps < 0.99 * paper_ps]
    if short:
        longest = max(t.duration_ps for t in short)
        yield Statement(
            f"Production is short: {len(short)} of {counted(len(data.transports), 'run')} last at "
            f"most {number(longest)} ps, the paper's {number(paper_ps)} ps.",
            tuple(t.key for t in short),
        )


def _small_cells(data: ReportData) -> Iterator[Statement]:
    for system in dict.fromkeys(t.system for t in data.transports):
        transports = [t for t in data.transports if t.system == system]
        structure = data.structure_of_system(system)
        paper_atoms = supercell_atoms((structure and paper_system(structure)) or "")
        n_atoms = min(t.n_atoms for t in transports)
        if paper_atoms is not None and n_atoms < paper_atoms:
            yield Statement(
                f"{system}: {n_atoms} atoms with {transports[0].n_mobile} mobile ions, smaller "
                f"than the paper's supercell of {paper_atoms} atoms.",
                tuple(t.key for t in transports),
            )


def _labels_lost(data: ReportData) -> Iterator[Statement]:
    for learned in data.rounds:
        dataset = learned.dataset
        if dataset is not None and (dataset.missing or dataset.rejected):
            reasons = sorted(set(dataset.rejected.values()))
            why = f" ({_listed(reasons)})" if reasons else ""
            yield Statement(
                f"{round_title(learned.round)}: {counted(len(dataset.missing), 'label')} missing, "
                f"{len(dataset.rejected)} rejected{why}.",
                (dataset.key,),
            )


def _targets_missed(data: ReportData) -> Iterator[Statement]:
    last = next((r for r in reversed(data.rounds) if r.after is not None), None)
    if last is None or last.after is None:
        return
    names = ("energy", "force", "stress")
    mae = mae_triple(last.after.overall)
    missed = [n for n, value, t in zip(names, mae, mae_targets(), strict=True) if value >= t]
    if missed:
        yield Statement(
            f"The last model misses the paper's target for {', '.join(missed)}.", (last.after.key,)
        )


def _ranking_doubts(data: ReportData) -> Iterator[Statement]:
    for ranking in data.rankings:
        candidates = data.candidates[ranking.key]
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
            yield Statement(
                f"{ranking.system}: the ground state is not unique; "
                f"{counted(len(tied), 'ordering')} more within {number(spread, 2)} meV/atom.",
                (ranking.key,),
            )
        if ranking.n_not_converged:
            yield Statement(
                f"{ranking.system}: {counted(ranking.n_not_converged, 'relaxation')} of "
                f"{ranking.n_candidates} did not converge.",
                (ranking.key,),
            )


def _sampled(data: ReportData) -> Iterator[Statement]:
    for enumeration in data.enumerations:
        if not enumeration.exhaustive:
            yield Statement(
                f"{enumeration.formula}: only {enumeration.n_members:,} of {enumeration.count:,} "
                "arrangements were looked at; the true ground state may be another.",
                (enumeration.key,),
            )


_FINDINGS: Final[tuple[Rule, ...]] = (
    _conductivities, _diffusivities, _learned, _ground_states, _dft_ground_states, _counts,
)  # fmt: skip
_WEAKNESSES: Final[tuple[Rule, ...]] = (
    _no_dft, _dft_doubts, _on_a_users_word, _only_bounds, _neither, _no_fit, _unfinished,
    _retracted, _not_trained, _unhealthy, _not_equilibrated, _short, _small_cells, _targets_missed,
    _labels_lost, _ranking_doubts, _sampled,
)  # fmt: skip


# -- words --------------------------------------------------------------------------------------


def place(transport: schemas.Transport) -> str:
    """Where a transport was measured."""
    return f"{transport.system} {transport.pressure_bar:g} bar {transport.temperature_k:g} K"


def round_title(round_: schemas.Round) -> str:
    """A round for people: counted from one."""
    return f"Round {round_.index + 1} ({round_.temperature_k:g} K)"


def _maes(mae: tuple[float, float, float], write: Callable[[float], str] = number) -> str:
    energy, force, stress = (write(value) for value in mae)
    return f"{energy} meV/atom, {force} meV/Å, {stress} MPa"


def _listed(names: Sequence[str], at_most: int = 8) -> str:
    rest = len(names) - at_most
    return ", ".join(names[:at_most]) + (f" and {rest} more" if rest > 0 else "")

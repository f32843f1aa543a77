"""What can and what cannot be concluded: rules from documents to sentences.

Each rule looks at a single weakness or finding; a report opens with what they say.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lycb_flows.labels import code_of, is_dft
from lycb_flows.report import (
    PRODUCTION,
    ReportData,
    Reported,
    Statement,
    as_printed,
    counted,
    listed,
    mae_targets,
    mae_triple,
    number,
)
from lycb_flows.report.orderings import (
    arrangements_counted,
    arrangements_sampled,
    dft_doubts,
    ground_states_by_dft,
    lowest_orderings,
    ranking_doubts,
)
from lycb_flows.report.students import student_doubts
from lycb_flows.schemas import CompositionSeries, Model, Round, Run, Structure

CALCULATOR = "ase "
_N_NAMED: Final = 8  # absent results; more are counted by role
_LARGEST_SHIFT_EV: Final = 1.0  # ours: corrections of MP2020's kind stay below 0.7 eV per anion


@dataclass(frozen=True)
class Verdict:
    """The first lines of a report."""

    headline: str
    can: tuple[Statement, ...]
    cannot: tuple[Statement, ...]


Rule = Callable[[ReportData], Iterator[Statement]]


def judge(data: ReportData, quantities: Sequence[Reported], absent: Sequence[str] = ()) -> Verdict:
    """Return what every rule concludes, the gravest weaknesses first.

    Parameters
    ----------
    data
        What the report rests on.
    quantities
        What was to be measured, each after those that it rests on.
    absent
        Names of those that were to be measured and are not installed here.
    """
    concluding = list(reversed(quantities))  # a quantity that rests on others concludes more
    findings: list[Rule] = [*(quantity.findings for quantity in concluding), *_FINDINGS]
    doubts: list[Rule] = [
        *_DOUBTS,
        *(quantity.doubts for quantity in quantities),
        functools.partial(_unfinished, quantities),
        functools.partial(_absent, absent),
        *_WEAKNESSES,
        *(quantity.limits for quantity in quantities),
        *_LIMITS,
    ]
    return Verdict(
        headline=_headline(data, concluding),
        can=tuple(statement for rule in findings for statement in rule(data)),
        cannot=tuple(statement for rule in doubts for statement in rule(data)),
    )


def _headline(data: ReportData, concluding: Sequence[Reported]) -> str:
    lines = (quantity.headline(data) for quantity in concluding)
    outcome = next((line for line in lines if line is not None), _counted_results(data))
    return f"A rehearsal without DFT. {outcome}" if is_rehearsal(data) else outcome


def _counted_results(data: ReportData) -> str:
    n_documents = sum(map(len, data.measurements.values()))
    if not n_documents:
        return "Unfinished: nothing has been measured yet."
    return f"{counted(n_documents, 'result')} measured."


def is_rehearsal(data: ReportData) -> bool:
    """Return whether no DFT stands behind some of the labels.

    Such labels come from another potential, so that no number is a prediction.
    """
    return bool(_without_dft(data))


def _without_dft(data: ReportData) -> list[str]:
    """Return the names of the levels of theory of labels behind which no DFT stands."""
    return [
        name
        for name in data.theory_names
        if not is_dft(code_of(name), imported=name in data.imported_theory_names)
    ]


# -- findings ---------------------------------------------------------------------------------


def _learned(data: ReportData) -> Iterator[Statement]:
    last = next((r for r in reversed(data.rounds) if r.after is not None), None)
    if last is None or last.after is None:
        return
    mae = mae_triple(last.after.overall)
    beside = ""
    if data.of_paper:
        met = sum(value < target for value, target in zip(mae, mae_targets(), strict=True))
        targets = _maes(mae_targets(), as_printed)
        beside = f"; {met} of 3 are below the paper's ({targets})"
    yield Statement(
        f"After {counted(len(data.rounds), 'round')} (up to {last.round.temperature_k:g} K) the "
        f"model's mean absolute errors on {counted(last.after.overall.n_labels, 'test label')} "
        f"are {_maes(mae)}{beside}.",
        (last.after.key, last.round.key),
    )


# -- weaknesses -------------------------------------------------------------------------------


def _no_dft(data: ReportData) -> Iterator[Statement]:
    potentials = _without_dft(data)
    if potentials:
        yield Statement(
            "No number here is a prediction: no DFT stands behind the labels "
            f"({'; '.join(potentials)}). Whatever is measured is a rehearsal number."
        )


def _on_a_users_word(data: ReportData) -> Iterator[Statement]:
    stated = [name for name in data.theory_names if code_of(name).startswith(CALCULATOR)]
    if stated:
        yield Statement(
            f"What the labels are rests on their user's word ({'; '.join(stated)}): a calculator "
            "of ASE's may be anything."
        )


def _unfinished(quantities: Sequence[Reported], data: ReportData) -> Iterator[Statement]:
    absent = [
        name
        for name, documents in (
            ("ranking", data.rankings),
            *((("learning round", data.rounds),) if not data.measures_as_it_is else ()),
            *((quantity.noun, data.measured(quantity.document)) for quantity in quantities),
        )
        if not documents
    ]
    if absent:
        yield Statement(f"There is no {', no '.join(absent)} yet.")


def _absent(names: Sequence[str], _data: ReportData) -> Iterator[Statement]:
    for name in names:
        yield Statement(
            f"The quantity {name} is not installed where this was written: whatever was measured "
            "of it is not shown."
        )


def _retracted(data: ReportData) -> Iterator[Statement]:
    n_absent = len(data.missing)
    if n_absent:
        named = [f"{role} ({key[:12]})" for key, role in data.missing.items()]
        if n_absent > _N_NAMED:
            named = [f"{role} ({n})" for role, n in Counter(data.missing.values()).most_common()]
        verb = "is" if n_absent == 1 else "are"
        yield Statement(
            f"{counted(n_absent, 'result')} that this rests on {verb} absent from the store, "
            f"retracted, never made or not imported: {listed(named)}."
        )


def _unhealthy(data: ReportData) -> Iterator[Statement]:
    """Yield the runs that left physics, with their models where several measure.

    Runs of two models at a condition have the same name.
    """
    measuring = {cell.run.model for cell in data.cell_runs if cell.role == PRODUCTION}
    for run in data.documents.values():
        if isinstance(run, Run) and not run.health.healthy:
            by_model = f" by {data.model_name(run.model)}" if len(measuring) > 1 else ""
            yield Statement(
                f"Run {run.name}{by_model} left physics at step {run.health.failed_step}: "
                f"{run.health.reason}.",
                (run.key,),
            )


def _not_equilibrated(data: ReportData) -> Iterator[Statement]:
    runs = [c.run for c in data.cell_runs if c.run.health.healthy and not c.run.equilibrated]
    if runs:
        yield Statement(
            f"{len(runs)} of {counted(len(data.cell_runs), 'NpT run')} averaged over less than ten "
            "barostat times: no equilibrated cell, nor D in one.",
            tuple(run.key for run in runs),
        )


def _not_trained(data: ReportData) -> Iterator[Statement]:
    """Yield the models that measure and are not what the campaign's rounds have made and tested."""
    measured = itertools.chain.from_iterable(data.measurements.values())
    for key in dict.fromkeys(getattr(document, "model", "") for document in measured):
        model = data.physics_of(key) or data.find(Model, key)
        if model is None or (data.rounds and model.source in {"fine-tuned", "distilled"}):
            continue  # a student whose teacher is absent may be a student of what was learned
        role = "that measures" if model.key == key else "whose student measures"
        doubt = (
            "is not fine-tuned: what is measured says nothing of what was learned"
            if data.rounds
            else "is used as it is: no label of this campaign trained or tested it"
        )
        yield Statement(f"The model {role}, {model.name}, {doubt}.", (key,))


def _untested(data: ReportData) -> Iterator[Statement]:
    """Yield the measured crystals of compositions that no test label is of.

    Without rounds no label tests anything, which `_not_trained` says.
    """
    after = [learned.after for learned in data.rounds if learned.after is not None]
    tested = {system for found in (*after, *data.evaluations) for system in found.by_system}
    measured = _measured_crystals(data)
    known = {_composition(data.structure_of_system(system)) for system in tested}
    unknown = {
        system: keys
        for system, (structure, keys) in measured.items()
        if system not in tested and _composition(structure) not in {*known, None}
    }
    keys = tuple(dict.fromkeys(key for found in unknown.values() for key in found))
    if not tested and data.rounds and measured:
        yield Statement(
            "No errors of the model that measures are known on test labels of this campaign, on "
            "no composition."
        )
    elif tested and unknown:
        verb = "is" if len(unknown) == 1 else "are"
        yield Statement(
            f"{listed(list(unknown))} {verb} measured with a model that was tested on "
            f"{listed(sorted(tested))} only: its errors on other compositions are not known.",
            keys,
        )


def _measured_crystals(
    data: ReportData,
) -> dict[str, tuple[Structure | None, list[str]]]:
    """Return the structure of every measured crystal, and the documents that are about it."""
    found: dict[str, tuple[Structure | None, list[str]]] = {}
    for document in itertools.chain.from_iterable(data.measurements.values()):
        if isinstance(document, CompositionSeries):
            structures = {each.name: data.find(Structure, each.start) for each in document.points}
        else:
            name = getattr(document, "system", "")
            structures = {name: data.structure_of_system(name)} if name else {}
        for name, structure in structures.items():
            known, keys = found.get(name, (None, []))
            found[name] = (known or structure, [*keys, document.key])
    return found


def _composition(structure: Structure | None) -> frozenset[tuple[str, float]] | None:
    """Return the share of each element in a structure; None where it is not known."""
    if structure is None:
        return None
    n_atoms = len(structure.species)
    shares = Counter(structure.species).items()
    return frozenset((symbol, round(n / n_atoms, 6)) for symbol, n in shares)


def _labels_lost(data: ReportData) -> Iterator[Statement]:
    for learned in data.rounds:
        dataset = learned.dataset
        if dataset is not None and (dataset.missing or dataset.rejected):
            reasons = sorted(set(dataset.rejected.values()))
            why = f" ({listed(reasons)})" if reasons else ""
            yield Statement(
                f"{round_title(learned.round)}: {counted(len(dataset.missing), 'label')} missing, "
                f"{len(dataset.rejected)} rejected{why}.",
                (dataset.key,),
            )


def _moved_references(data: ReportData) -> Iterator[Statement]:
    """Yield the first model whose energies were moved further than corrections go.

    Nothing in a file tells an energy per atom from an energy: its labels lie electronvolts away.
    """
    for learned in data.rounds:
        shifts_ev = {} if learned.model is None else learned.model.reference_shift_ev
        far = {e: ev for e, ev in shifts_ev.items() if abs(ev) > _LARGEST_SHIFT_EV}
        if learned.model is not None and far:
            moved = listed([f"{element} {ev:+.2f}" for element, ev in sorted(far.items())])
            yield Statement(
                f"The labels' energies lie far from the model's, which was moved by {moved} eV per "
                "atom: they have another reference (another code's, or corrections of oxides and "
                "transition metals), or are no energies of a cell (but per atom).",
                (learned.model.key,),
            )
            return


def _targets_missed(data: ReportData) -> Iterator[Statement]:
    last = next((r for r in reversed(data.rounds) if r.after is not None), None)
    if last is None or last.after is None or not data.of_paper:
        return
    names = ("energy", "force", "stress")
    mae = mae_triple(last.after.overall)
    missed = [n for n, value, t in zip(names, mae, mae_targets(), strict=True) if value >= t]
    if missed:
        yield Statement(
            f"The last model misses the paper's target for {', '.join(missed)}.", (last.after.key,)
        )


_FINDINGS: Final[tuple[Rule, ...]] = (
    _learned,
    lowest_orderings,
    ground_states_by_dft,
    arrangements_counted,
)
_DOUBTS: Final[tuple[Rule, ...]] = (_no_dft, dft_doubts, _on_a_users_word)
_WEAKNESSES: Final[tuple[Rule, ...]] = (
    _retracted, _not_trained, _untested, student_doubts, _unhealthy, _not_equilibrated,
)  # fmt: skip
_LIMITS: Final[tuple[Rule, ...]] = (
    _targets_missed, _labels_lost, _moved_references, ranking_doubts, arrangements_sampled,
)  # fmt: skip


# -- words --------------------------------------------------------------------------------------


def round_title(round_: Round) -> str:
    """Return the title of a round for people, who count from 1."""
    return f"Round {round_.index + 1} ({round_.temperature_k:g} K)"


def _maes(mae: tuple[float, float, float], write: Callable[[float], str] = number) -> str:
    energy, force, stress = (write(value) for value in mae)
    return f"{energy} meV/atom, {force} meV/Å, {stress} MPa"

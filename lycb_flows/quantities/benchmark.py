"""The quantity `benchmark`: models side by side on the test labels that no training has seen.

Beside the model before learning and those of all rounds stand the model that measures, others that
the campaign names, and a NEP that saw the training labels alone ("from scratch"). Models that were
not trained on the campaign's labels have reference energies of their own: they get one shift per
element, fitted on the training labels (`learning.reference_shift`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from lycb_flows.config import Config, ModelName
from lycb_flows.quantities import Condition, MeasurementPlan, Quantity, Scope
from lycb_flows.quantities.contenders import Contender, Labels, from_scratch, judge, read_labels
from lycb_flows.quantities.costs import ForceCall, calls_s, cell_atoms
from lycb_flows.report import (
    MISSING,
    PRODUCTION,
    Album,
    Cell,
    Part,
    ReportData,
    Statement,
    Table,
    as_printed,
    counted,
    mae_targets,
    mae_triple,
    number,
    ours,
    papers,
    told_apart,
)
from lycb_flows.schemas import (
    Benchmark,
    BenchmarkedModel,
    ModelErrors,
    Round,
    make_key,
)
from lycb_flows.store import ResultStore

_SCORE = "errors in units of 3.5 meV/atom, 50 meV/Å and 85 MPa, summed"

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

BEFORE, MEASURES, SCRATCH, OTHER = "before learning", "measures", "from scratch", "other"
_NAMES = ("E (meV/atom)", "F (meV/Å)", "S (MPa)", "force slope")


class BenchmarkOptions(Config):
    """Settings of `benchmark`."""

    models: tuple[ModelName, ...] = Field(
        (), description="Other models: names or files, such as sevennet-0."
    )
    scratch_updates: int | None = Field(
        3000, ge=4, description="Steps of the training from scratch; null: no such model."
    )
    scratch_neurons: int = Field(40, ge=1, description="Of the hidden layer of every element.")


class ModelBenchmark(Quantity[Benchmark]):
    """Errors of models on the campaign's test labels, by system and temperature."""

    name = "benchmark"
    document = Benchmark
    scope: ClassVar[Scope] = "campaign"
    ensembles = ()
    options = BenchmarkOptions
    title = "Models side by side"
    absence = "No models have been compared yet."
    rests_on = "a model, or labels"

    def key(self, plan: MeasurementPlan, condition: Condition) -> str:
        """Return the key: all models that are compared, by rounds, candidates and options."""
        del condition
        return make_key(
            Benchmark,
            foundation=plan.campaign.learning.model,
            rounds=list(plan.rounds),
            candidates=plan.campaign.learning.candidates,
            model=plan.model,
            options=self.settings(plan.campaign),
        )

    def cost_s(
        self,
        plan: MeasurementPlan,
        condition: Condition,
        n_atoms: Mapping[str, int],
        force_call_s: ForceCall,
    ) -> float:
        """Return the cost of the training from scratch, and of the predictions.

        Models that have learned nothing of the labels predict those of the training, too.
        """
        del condition
        options, learning = self._options(plan), plan.campaign.learning
        names = [system.name for system in plan.campaign.systems]
        atoms = sum(cell_atoms(plan, name, n_atoms) for name in names)
        n_rounds = len(learning.temperatures_k)
        n_tests = learning.test.n_frames + (n_rounds - 1) * learning.test.n_frames_per_round
        n_labels = n_tests + n_rounds * learning.selection.n_frames
        given = dict.fromkeys((learning.model, *(learning.candidates or ()), *options.models))
        learned = (plan.model, *[learning.model] * n_rounds)
        return (
            1.0
            + calls_s(atoms * n_labels, given, force_call_s)
            + calls_s(atoms * n_tests, learned, force_call_s)
            + 0.05 * (options.scratch_updates or 0)
        )

    def compute(self, store: ResultStore, plan: MeasurementPlan, condition: Condition) -> Benchmark:
        """Return the errors of every model.

        Parameters
        ----------
        store
            Holds models, labels and test sets; receives the model from scratch.
        plan
            The measurement, which names the rounds.
        condition
            The campaign.
        """
        labels = read_labels(store, plan)
        contenders = self._contenders(store, plan, labels)
        judged = sorted(
            (judge(store, contender, labels) for contender in contenders),
            key=lambda row: row.overall.score,
        )
        return Benchmark(
            key=self.key(plan, condition),
            parents=(labels.dataset.key, *labels.dataset.test_sets, *(row.model for row in judged)),
            dataset=labels.dataset.key,
            test_sets=labels.dataset.test_sets,
            n_training=labels.dataset.n_training,
            n_left_out=labels.n_left_out,
            models=tuple(judged),
            best=judged[0].model,
        )

    def _options(self, plan: MeasurementPlan) -> BenchmarkOptions:
        return BenchmarkOptions.model_validate(self.settings(plan.campaign))

    def _contenders(
        self, store: ResultStore, plan: MeasurementPlan, labels: Labels
    ) -> list[Contender]:
        """Return every model once, by the first of its roles."""
        options = self._options(plan)
        rounds = [store.load(Round, key) for key in plan.rounds]
        learning = plan.campaign.learning
        found = [Contender(rounds[0].start_model if rounds else learning.model, BEFORE)]
        found += [
            Contender(each.model, f"round {each.index + 1}, {each.temperature_k:g} K", shifted=True)
            for each in rounds
        ]
        found.append(Contender(plan.model, MEASURES))
        found += [Contender(key, OTHER) for key in (*(learning.candidates or ()), *options.models)]
        if options.scratch_updates is not None:
            scratch = from_scratch(store, labels, options.scratch_updates, options.scratch_neurons)
            found.append(Contender(scratch, SCRATCH, shifted=True))
        return list({each.model: each for each in reversed(found)}.values())[::-1]

    # -- report ------------------------------------------------------------------------------

    def part(self, data: ReportData, album: Album, system: str) -> Part:
        """Return errors over temperature, and tables by model and by system."""
        (document,) = data.measured(Benchmark)
        caption = (
            "Mean absolute errors on the test labels of each temperature."
            + " Dashed: the paper's bounds for its fine-tuned model." * data.of_paper
        )
        figure = benchmark_figure(document, of_paper=data.of_paper)
        shown = album.show("benchmark", figure, caption)
        tables = (_overall_table(document, of_paper=data.of_paper), _parts_table(document))
        return Part(system, figures=(shown,), tables=tables)

    def findings(self, data: ReportData) -> Iterator[Statement]:
        """Yield the model with the lowest score."""
        for document in data.measured(Benchmark):
            best, others = document.models[0], document.models[1:]
            if others:
                yield Statement(
                    f"On {best.overall.n_labels} test labels {best.name} ({best.role}) has the "
                    f"lowest score ({_SCORE}): {_errors_text(best.overall)}.",
                    (document.key,),
                )

    def limits(self, data: ReportData) -> Iterator[Statement]:
        """Yield where the model that measures is not the one with the lowest score."""
        for document in data.measured(Benchmark):
            measuring = [row for row in document.models if row.model in _measuring(data)]
            if measuring and measuring[0].model != document.best:
                yield Statement(
                    f"{measuring[0].name} measures, but {document.models[0].name} has a lower "
                    f"score on the test labels ({_errors_text(document.models[0].overall)} "
                    f"against {_errors_text(measuring[0].overall)}).",
                    (document.key,),
                )


# -- report --------------------------------------------------------------------------------------


def _measuring(data: ReportData) -> set[str]:
    """Return the keys of the models that the measured runs used."""
    return {cell.run.model for cell in data.cell_runs if cell.series == PRODUCTION}


def _errors_text(errors: ModelErrors) -> str:
    energy, force, stress = (number(value) for value in mae_triple(errors))
    return f"{energy} meV/atom, {force} meV/Å, {stress} MPa"


def _names(document: Benchmark) -> list[str]:
    """Return what the models are called: with their roles, and keys, where names are the same."""
    names = told_apart([row.name for row in document.models], [row.role for row in document.models])
    return told_apart(names, [row.model for row in document.models])


def _overall_table(document: Benchmark, *, of_paper: bool) -> Table:
    rows = [
        (
            Cell(row.name, row.model),
            Cell(row.role),
            Cell(str(row.overall.n_labels), document.key),
            *_error_cells(document, row.overall),
            Cell("fitted" if row.shift_ev else "its own"),
        )
        for row in document.models
    ]
    if of_paper:
        targets = [f"< {as_printed(target)}" for target in mae_targets()]
        rows.append(papers("paper, CHGNet_600K", "0–800 K", MISSING, *targets, MISSING, MISSING))
    left_out = counted(document.n_left_out, "test label")
    return Table(
        "All test labels",
        ("model", "role", "labels", *_NAMES, "reference energies"),
        tuple(rows),
        "Mean absolute errors, the lowest score (their sum in units of 3.5 meV/atom, 50 meV/Å and "
        "85 MPa) first. "
        "Fitted: one energy per element, on the training labels."
        + f" Left out: {left_out} with an element that no training label has."
        * bool(document.n_left_out),
    )


def _parts_table(document: Benchmark) -> Table:
    rows = [
        (
            Cell(name, row.model),
            Cell(part.system or MISSING),
            Cell(MISSING if part.temperature_k is None else f"{part.temperature_k:g}"),
            Cell(str(part.errors.n_labels), document.key),
            *_error_cells(document, part.errors),
        )
        for name, row in zip(_names(document), document.models, strict=True)
        for part in row.parts
    ]
    return Table(
        "By system and temperature", ("model", "system", "T (K)", "labels", *_NAMES), tuple(rows)
    )


def _error_cells(document: Benchmark, errors: ModelErrors) -> tuple[Cell, ...]:
    return ours(document.key, [number(v) for v in (*mae_triple(errors), errors.force_slope)])


def benchmark_figure(document: Benchmark, *, of_paper: bool = False) -> Figure:
    """Return the three errors against temperature, a line for each model.

    Parameters
    ----------
    document
        The comparison.
    of_paper
        Whether to draw the paper's bounds.
    """
    from lycb_flows.report import errors_figure  # noqa: PLC0415 - matplotlib

    lines = dict(zip(_names(document), map(_by_temperature, document.models), strict=True))
    return errors_figure(lines, mae_targets() if of_paper else None, "temperature of the run (K)")


def _by_temperature(row: BenchmarkedModel) -> list[tuple[float, tuple[float, float, float]]]:
    """Return the mean errors over systems at each temperature, by number of labels."""
    groups: dict[float, list[ModelErrors]] = {}
    for part in row.parts:
        if part.temperature_k is not None:
            groups.setdefault(part.temperature_k, []).append(part.errors)
    found = []
    for temperature_k, errors in sorted(groups.items()):
        n_labels = sum(each.n_labels for each in errors)
        triples = [[each.n_labels / n_labels * v for v in mae_triple(each)] for each in errors]
        energy, force, stress = (sum(column) for column in zip(*triples, strict=True))
        found.append((temperature_k, (energy, force, stress)))
    return found

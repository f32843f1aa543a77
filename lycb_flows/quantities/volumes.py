"""The quantity `volumes`: mean cells of the NpT runs with errors, and thermal expansion.

A report has its section in any case: NpT runs have a volume also where a campaign does not name the
quantity. What such a volume lacks is the error of its mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final

from pydantic import Field

from lycb_flows.config import DIFFERENT, Config, ModelName, Positive, RunConfig
from lycb_flows.quantities import Condition, MeasurementPlan, Number, Quantity, Scope
from lycb_flows.quantities.cells import (
    MIN_TEMPERATURES,
    average_cell,
    thermal_expansion,
    volume_at_rest,
)
from lycb_flows.report import (
    MISSING,
    Album,
    Cell,
    CellRun,
    Part,
    ReportData,
    Statement,
    Table,
    as_printed,
    fixed,
    number,
    ours,
    paper_model_row,
    paper_system,
    paper_volumes,
    papers,
    production_series,
    with_error,
)
from lycb_flows.schemas import (
    CellAverage,
    CellVolumes,
    Model,
    ModelVolumes,
    Ranking,
    Run,
)
from lycb_flows.store import ResultStore

_VOLUME_SERIES: Final = ("CHGNet_1bar", "SevenNet_1bar", "AIMD", "exp8", "exp3_7")
_PAPERS: Final = ("paper, CHGNet_600K", "here / paper", *(f"paper, {n}" for n in _VOLUME_SERIES))
_PPM: Final = 1e6
_BENT: Final = 3.0
"""chi² per degree of freedom above which a volume is said not to follow a straight line."""


class VolumesOptions(Config):
    """How an NpT run is averaged."""

    n_blocks: int = Field(10, ge=4, description="Stretches whose means give the error.")
    temperatures_k: Annotated[tuple[Positive, ...], DIFFERENT] | None = Field(
        None,
        min_length=1,
        description="Of the NpT runs, in K; default: those that the campaign measures at.",
    )
    models: tuple[ModelName, ...] | None = Field(
        None,
        min_length=1,
        description="Other models that find the same cells: names or files, such as sevennet-0.",
    )


class Volumes(Quantity[CellVolumes]):
    """Mean volume and cell parameters over temperature, and thermal expansion, at a pressure."""

    name = "volumes"
    document = CellVolumes
    scope: ClassVar[Scope] = "pressure"
    ensembles = ("npt",)
    options = VolumesOptions
    noun = "mean volume"
    absence = "No NpT run has finished yet."
    rests_on = "an NpT run"
    shown_unmeasured = True

    def compute(
        self, store: ResultStore, plan: MeasurementPlan, condition: Condition
    ) -> CellVolumes:
        """Return the mean cells of a system at a pressure.

        Parameters
        ----------
        store
            Holds the NpT runs and their trajectories.
        plan
            The measurement.
        condition
            A system and a pressure.
        """
        options, system = self._options(plan), condition.system or ""
        parents: list[str] = []
        by_model: list[ModelVolumes] = []
        for key in self._models(plan):
            configs = self._runs_of(key, plan, condition)
            runs = [store.load(Run, Run.key_of(config)) for config in configs]
            parents += [run.key for run in runs]
            found = tuple(
                average_cell(store, run, config, options.n_blocks)
                for run, config in zip(runs, configs, strict=True)
            )
            model = store.load(Model, key)
            volume = volume_at_rest(store, model, plan.starts[system]) if options.models else None
            by_model.append(
                ModelVolumes(model=key, name=model.name, cells=found, at_rest_ang3_per_atom=volume)
            )
        cells = by_model[0].cells
        expansion, reason = thermal_expansion(cells)
        return CellVolumes(
            key=self.key(plan, condition),
            parents=tuple(parents),
            system=condition.system or "",
            pressure_bar=condition.pressure_bar or 0.0,
            model=plan.model,
            cells=cells,
            expansion=expansion,
            reason=reason,
            by_model=tuple(by_model) if options.models else (),
        )

    def _options(self, plan: MeasurementPlan) -> VolumesOptions:
        return VolumesOptions.model_validate(self.settings(plan.campaign))

    def runs(self, plan: MeasurementPlan, condition: Condition) -> tuple[RunConfig, ...]:
        """Return the NpT runs at a pressure: of the model that measures, then of the others."""
        models = self._models(plan)
        return tuple(run for model in models for run in self._runs_of(model, plan, condition))

    def _models(self, plan: MeasurementPlan) -> tuple[str, ...]:
        """Return the model that measures, then the others: it may be named among them."""
        return tuple(dict.fromkeys((plan.model, *(self._options(plan).models or ()))))

    def _runs_of(
        self, model: str, plan: MeasurementPlan, condition: Condition
    ) -> tuple[RunConfig, ...]:
        options = self._options(plan)
        temperatures_k = options.temperatures_k or plan.campaign.measure.temperatures_k
        state = (condition.system or "", condition.pressure_bar or 0.0)
        plan_of_model = plan.model_copy(update={"model": model})
        return tuple(plan_of_model.npt_run(*state, each) for each in temperatures_k)

    def numbers(self, document: CellVolumes) -> Iterator[Number]:
        """Yield the mean volume at every temperature, then the thermal expansion."""
        for cell in document.cells:
            yield Number(
                "volume",
                "Å3/atom",
                value=cell.volume_ang3_per_atom,
                error=cell.volume_err_ang3_per_atom,
                note=cell.reason or "not equilibrated" * (not cell.equilibrated),
                temperature_k=cell.temperature_k,
            )
        found = document.expansion
        yield Number(
            "volume expansion",
            "1/K",
            value=None if found is None else found.volume_per_k,
            error=None if found is None else found.volume_err_per_k,
            note=document.reason,
        )

    # -- report ------------------------------------------------------------------------------

    def systems(self, data: ReportData) -> list[str]:
        """Return the systems that an NpT run has found a cell of."""
        return list(dict.fromkeys(cell.system for cell in data.cell_runs))

    def part(self, data: ReportData, album: Album, system: str) -> Part:
        """Return volumes against temperature, and their tables.

        Parameters
        ----------
        data
            What the report rests on.
        album
            Keeps the figures.
        system
            The system.
        """
        from lycb_flows.report import volume_figure  # noqa: PLC0415 - matplotlib

        cells = [cell for cell in data.cell_runs if cell.system == system]
        others = data.other_models()
        at_rest = {
            (document.pressure_bar, production_series(others.get(each.model, ""))): volume
            for document in _of(data, system)
            for each in document.by_model
            if document.pressure_bar <= 1 and (volume := each.at_rest_ang3_per_atom) is not None
        }
        caption = (
            "Volume per atom. Hollow: not equilibrated. Star: left physics. At 0 K: relaxed. "
            "Lines: published values, if any."
        )
        figure = volume_figure(cells, _papers_volumes(data, system), at_rest)
        shown = album.show(f"volume-{system}", figure, caption)
        tables = (volume_table(data, system), *_measured_tables(data, system))
        return Part(system, figures=(shown,), tables=tables)

    def findings(self, data: ReportData) -> Iterator[Statement]:
        """Yield every thermal expansion that is two errors or more from zero."""
        for document in data.measured(CellVolumes):
            found = document.expansion
            if found is not None and abs(found.volume_per_k) >= 2 * found.volume_err_per_k:
                yield Statement(
                    f"{_place(document)}: the volume expands by "
                    f"{_ppm(found.volume_per_k, found.volume_err_per_k)} × 10⁻⁶ per K between "
                    f"{found.lowest_temperature_k:g} and {found.highest_temperature_k:g} K.",
                    (document.key,),
                )

    def limits(self, data: ReportData) -> Iterator[Statement]:
        """Yield where there is no thermal expansion, and where no straight line gives it."""
        for document in data.measured(CellVolumes):
            found = document.expansion
            if found is None:
                yield Statement(
                    f"{_place(document)}: no thermal expansion, {document.reason}.",
                    (document.key,),
                )
            elif found.volume_chi2 > _BENT * max(1, found.n_temperatures - MIN_TEMPERATURES):
                yield Statement(
                    f"{_place(document)}: the volume is not a straight line of temperature "
                    f"(χ² {number(found.volume_chi2, 2)} for {found.n_temperatures} temperatures).",
                    (document.key,),
                )


# -- tables --------------------------------------------------------------------------------------


def volume_table(data: ReportData, system: str) -> Table:
    """Return volumes of a system beside the paper's at the same temperature.

    Volumes that the quantity has measured have the error of their mean; the others, those of rounds
    among them, only the fluctuation from frame to frame.

    Parameters
    ----------
    data
        What the report rests on.
    system
        Name of the system.
    """
    paper = _papers_volumes(data, system) if data.of_paper else None
    cells = [cell for cell in data.cell_runs if cell.system == system]
    measured = any(cell.mean is not None for cell in cells)
    rows = [
        _relaxed_row(r, paper, measured=measured)
        for r in data.rankings
        if r.system == system and r.best
    ]
    rows += [_volume_row(cell, paper, measured=measured) for cell in cells]
    here = ("here (Å³/atom)", "fluctuation (Å³/atom)") if measured else ("here (Å³/atom)",)
    return Table(
        "",
        (
            "T (K)", "p (bar)", "run", *here, "equilibrated",
            *(() if paper is None else _PAPERS),
        ),
        tuple(rows),
        (
            "± is the standard error of the mean, from blocks; volumes without it belong to runs "
            "that the quantity does not average."
            if measured
            else "± is the fluctuation from frame to frame, not an error."
        )
        + " Paper: at the same temperature and, for CHGNet_600K, the nearest of its pressures."
        * (paper is not None),
    )  # fmt: skip


def _relaxed_row(
    ranking: Ranking, paper: dict[str, dict[float, float]] | None, *, measured: bool
) -> tuple[Cell, ...]:
    ground = next((c for c in ranking.best if c.structure == ranking.ground_state), ranking.best[0])
    volume = ground.volume_ang3_per_atom
    here = (fixed(volume), MISSING) if measured else (fixed(volume),)
    cells = ours(ranking.key, ("0", MISSING, "relaxed", *here, MISSING))
    return (*cells, *_paper_volume_cells(paper, "CHGNet600K_1bar", 0.0, volume))


def _volume_row(
    cell: CellRun, paper: dict[str, dict[float, float]] | None, *, measured: bool
) -> tuple[Cell, ...]:
    run, volume, pressure_bar = cell.run, cell.volume_ang3_per_atom, cell.run.pressure_bar or 0.0
    spread = run.means.volume_std_ang3_per_atom if run.means else None
    here = [with_error(volume, spread)]
    if measured:
        error = cell.mean.volume_err_ang3_per_atom if cell.mean else None
        here = [with_error(volume, error), number(spread, 2)]
    trust = Cell("yes", run.key) if run.equilibrated else Cell("no", run.key, "warn")
    return (
        *ours(run.key, (f"{run.temperature_k:g}", f"{pressure_bar:g}", cell.series)),
        *ours(run.key, here),
        trust if run.health.healthy else Cell("left physics", run.key, "warn"),
        *_paper_volume_cells(paper, paper_model_row(pressure_bar), run.temperature_k, volume),
    )


def _paper_volume_cells(
    paper: dict[str, dict[float, float]] | None,
    row: str,
    temperature_k: float,
    volume: float | None,
) -> tuple[Cell, ...]:
    if paper is None:
        return ()
    target = paper.get(row, {}).get(temperature_k)
    ratio = volume / target if volume is not None and target is not None else None
    others = (paper.get(name, {}).get(temperature_k) for name in _VOLUME_SERIES)
    return (*papers(as_printed(target)), Cell(fixed(ratio, 3)), *papers(*map(as_printed, others)))


def _measured_tables(data: ReportData, system: str) -> Iterator[Table]:
    """Yield the cell parameters and the thermal expansion, where the quantity was measured."""
    documents = _of(data, system)
    yield from (_model_table(each, data.other_models()) for each in documents if each.by_model)
    if documents:
        names = ("a (Å)", "b (Å)", "c (Å)", "α (°)", "β (°)", "γ (°)", "")
        rows = (_cell_row(document, cell) for document in documents for cell in document.cells)
        yield Table(
            "Cell parameters",
            ("T (K)", "p (bar)", *names),
            tuple(rows),
            "Means of the NpT runs, for the cell of the ground state, ± standard errors from "
            "blocks.",
        )
        yield Table(
            "Thermal expansion (10⁻⁶ per K)",
            ("p (bar)", "T (K)", "volume", "a", "b", "c", "χ² of the line"),
            tuple(map(_expansion_row, documents)),
            "Slope over value of a straight line through the means of equilibrated runs.",
        )


def _model_table(document: CellVolumes, others: dict[str, str]) -> Table:
    """Return the volumes of all models at a pressure, a column for each."""
    models = document.by_model
    rows = [("0, relaxed, 0 bar", *(fixed(each.at_rest_ang3_per_atom) for each in models))]
    rows += [
        (f"{cell.temperature_k:g}", *(_volume_text(each.cells[i]) for each in models))
        for i, cell in enumerate(document.cells)
    ]
    return Table(
        f"Volume by model at {document.pressure_bar:g} bar (Å³/atom)",
        ("T (K)", *(others.get(each.model, each.name) for each in models)),
        tuple(ours(document.key, row) for row in rows),
        "The first is the one that measures. Means of NpT runs ± standard errors from blocks.",
    )


def _volume_text(cell: CellAverage) -> str:
    if cell.volume_ang3_per_atom is None:
        return cell.reason
    return with_error(cell.volume_ang3_per_atom, cell.volume_err_ang3_per_atom)


def _cell_row(document: CellVolumes, cell: CellAverage) -> tuple[Cell, ...]:
    place, nothing = (f"{cell.temperature_k:g}", f"{document.pressure_bar:g}"), (None, None, None)
    means = (*(cell.lengths_ang or nothing), *(cell.angles_deg or nothing))
    errors = (*(cell.lengths_err_ang or nothing), *(cell.angles_err_deg or nothing))
    return ours(document.key, (*place, *map(with_error, means, errors), cell.reason))


def _expansion_row(document: CellVolumes) -> tuple[Cell, ...]:
    found, place = document.expansion, f"{document.pressure_bar:g}"
    if found is None:
        return ours(document.key, (place, *[MISSING] * 5, document.reason))
    between = f"{found.lowest_temperature_k:g} to {found.highest_temperature_k:g}"
    texts = (
        *(place, between),
        _ppm(found.volume_per_k, found.volume_err_per_k),
        *map(_ppm, found.lengths_per_k, found.lengths_err_per_k),
        MISSING if found.n_temperatures <= MIN_TEMPERATURES else number(found.volume_chi2, 2),
    )
    return ours(document.key, texts)


def _ppm(per_k: float, err_per_k: float) -> str:
    return with_error(per_k * _PPM, err_per_k * _PPM)


def _of(data: ReportData, system: str) -> list[CellVolumes]:
    return [document for document in data.measured(CellVolumes) if document.system == system]


def _papers_volumes(data: ReportData, system: str) -> dict[str, dict[float, float]]:
    structure = data.structure_of_system(system)
    return paper_volumes((structure and paper_system(structure)) or "")


def _place(document: CellVolumes) -> str:
    """Return the condition of a document and, where it compares models, whose cells it means."""
    by_model = f", by {document.by_model[0].name}" if document.by_model else ""
    return f"{document.system} at {document.pressure_bar:g} bar{by_model}"

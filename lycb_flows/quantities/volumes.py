"""The quantity `volumes`: mean cells of the NpT runs with errors, and thermal expansion.

A report has its section in any case: NpT runs have a volume also where a campaign does not name the
quantity. What such a volume lacks is the error of its mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Final

from pydantic import Field

from lycb_flows.config import DIFFERENT, Config, ModelName, Positive, RunConfig
from lycb_flows.quantities import Condition, MeasurementPlan, Number, Quantity, Scope
from lycb_flows.quantities.cells import (
    MIN_TEMPERATURES,
    at_rest_key,
    average_cell,
    thermal_expansion,
    volume_at_rest,
)
from lycb_flows.quantities.costs import RELAXATION_STEPS, ForceCall, calls_s, cell_atoms
from lycb_flows.quantities.volume_tables import (
    measured_tables,
    papers_volumes,
    ppm,
    volume_table,
)
from lycb_flows.report import (
    Album,
    Part,
    ReportData,
    Statement,
    number,
    production_series,
    volumes_at_rest,
)
from lycb_flows.schemas import (
    CellVolumes,
    Model,
    ModelVolumes,
    Run,
)
from lycb_flows.store import ResultStore

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

    def further_keys(self, plan: MeasurementPlan) -> tuple[str, ...]:
        """Return the keys of the relaxations to 0 K by the model that measures.

        Documents name them only where other models are compared.
        """
        systems = dict.fromkeys(where.system or "" for where in self.conditions(plan))
        return tuple(at_rest_key(plan.model, plan.starts[system]) for system in systems)

    def make_further(self, store: ResultStore, plan: MeasurementPlan, condition: Condition) -> None:
        """Relax a system to 0 K by the model that measures."""
        start = plan.starts[condition.system or ""]
        volume_at_rest(store, store.load(Model, plan.model), start)

    def _options(self, plan: MeasurementPlan) -> VolumesOptions:
        return VolumesOptions.model_validate(self.settings(plan.campaign))

    def runs(self, plan: MeasurementPlan, condition: Condition) -> tuple[RunConfig, ...]:
        """Return the NpT runs at a pressure: of the model that measures, then of the others."""
        models = self._models(plan)
        return tuple(run for model in models for run in self._runs_of(model, plan, condition))

    def _models(self, plan: MeasurementPlan) -> tuple[str, ...]:
        """Return the model that measures, then the others: it may be named among them."""
        return tuple(dict.fromkeys((plan.model, *(self._options(plan).models or ()))))

    def cost_s(
        self,
        plan: MeasurementPlan,
        condition: Condition,
        n_atoms: Mapping[str, int],
        force_call_s: ForceCall,
    ) -> float:
        """Return the cost of the means, and of a relaxation by each of several models."""
        if not self._options(plan).models:
            return 1.0
        atoms = cell_atoms(plan, condition.system or "", n_atoms)
        return 1.0 + calls_s(RELAXATION_STEPS * atoms, self._models(plan), force_call_s)

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
        at_rest = {
            (pressure_bar, production_series(each.other_model)): each.volume_ang3_per_atom
            for each in volumes_at_rest(data, system)
            for pressure_bar in each.pressures_bar
        }
        caption = (
            "Volume per atom. Hollow: not equilibrated. Star: left physics. At 0 K: relaxed. "
            "Lines: published values, if any."
        )
        figure = volume_figure(cells, papers_volumes(data, system), at_rest)
        shown = album.show(f"volume-{system}", figure, caption)
        tables = (volume_table(data, system), *measured_tables(data, system))
        return Part(system, figures=(shown,), tables=tables)

    def findings(self, data: ReportData) -> Iterator[Statement]:
        """Yield every thermal expansion that is two errors or more from zero."""
        for document in data.measured(CellVolumes):
            found = document.expansion
            if found is not None and abs(found.volume_per_k) >= 2 * found.volume_err_per_k:
                verb = "expands" if found.volume_per_k > 0 else "shrinks"
                yield Statement(
                    f"{_place(document)}: the volume {verb} by "
                    f"{ppm(abs(found.volume_per_k), found.volume_err_per_k)} × 10⁻⁶ per K between "
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


def _place(document: CellVolumes) -> str:
    """Return the condition of a document and, where it compares models, whose cells it means."""
    by_model = f", by {document.by_model[0].name}" if document.by_model else ""
    return f"{document.system} at {document.pressure_bar:g} bar{by_model}"

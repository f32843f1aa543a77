"""The quantity `volumes`: mean cells of the NpT runs with errors, and thermal expansion.

A report has its section in any case: NpT runs have a volume also where a campaign does not name the
quantity. What such a volume lacks is the error of its mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final, cast

import numpy as np
from pydantic import Field

from lycb_flows.config import Config, RunConfig
from lycb_flows.quantities import Condition, MeasurementPlan, Number, Quantity, Scope
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
    counted,
    fixed,
    number,
    ours,
    paper_model_row,
    paper_system,
    paper_volumes,
    papers,
    with_error,
)
from lycb_flows.schemas import CellAverage, CellVolumes, Ranking, Run, ThermalExpansion, Vector
from lycb_flows.store import ResultStore
from lycb_flows.transport.averages import MIN_TEMPERATURES, block_error, relative_slope

_VOLUME_SERIES: Final = ("CHGNet_1bar", "SevenNet_1bar", "AIMD", "exp8", "exp3_7")
_PAPERS: Final = ("paper, CHGNet_600K", "here / paper", *(f"paper, {n}" for n in _VOLUME_SERIES))
_PPM: Final = 1e6
_BENT: Final = 3.0
"""chi² per degree of freedom above which a volume is said not to follow a straight line."""


class VolumesOptions(Config):
    """How an NpT run is averaged."""

    n_blocks: int = Field(10, ge=4, description="Stretches whose means give the error.")


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
        options = VolumesOptions.model_validate(self.settings(plan.campaign))
        configs = self.runs(plan, condition)
        runs = [store.load(Run, Run.key_of(config)) for config in configs]
        cells = tuple(
            _average(store, run, config, options.n_blocks)
            for run, config in zip(runs, configs, strict=True)
        )
        expansion, reason = thermal_expansion(cells)
        return CellVolumes(
            key=self.key(plan, condition),
            parents=tuple(run.key for run in runs),
            system=condition.system or "",
            pressure_bar=condition.pressure_bar or 0.0,
            model=plan.model,
            cells=cells,
            expansion=expansion,
            reason=reason,
        )

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
        if found is not None:
            yield Number(
                "volume expansion", "1/K", value=found.volume_per_k, error=found.volume_err_per_k
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
        caption = "Volume per atom. Hollow: not equilibrated. Lines: published values, if any."
        figure = volume_figure(cells, _papers_volumes(data, system))
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


# -- from runs to a document -----------------------------------------------------------------------


def _average(store: ResultStore, run: Run, config: RunConfig, n_blocks: int) -> CellAverage:
    """Return the mean cell of an NpT run over its averaging window."""
    from lycb_flows.md import averaging_window, cell_parameters  # noqa: PLC0415 - h5py takes a while
    from lycb_flows.store import trajectory_of  # noqa: PLC0415 - likewise

    if not run.health.healthy:
        reason = f"the run left physics at step {run.health.failed_step}"
        return _cell(run, reason=reason, equilibrated=False)
    frames = trajectory_of(store, run).between(*averaging_window(config.protocol, run.n_steps))
    lengths, angles = cell_parameters(frames.cells_ang)
    series = np.column_stack(
        [frames.volumes_ang3 / len(frames.species), lengths / np.array(config.repeat), angles]
    )
    facts = _named(series.mean(axis=0), "")
    reason = ""
    if frames.n_frames < 2 * n_blocks:
        reason = f"{frames.n_frames} frames are too few for {n_blocks} blocks"
    else:
        facts |= _named(block_error(series, n_blocks), "_err")
    return _cell(
        run, n_frames=frames.n_frames, equilibrated=run.equilibrated, reason=reason, **facts
    )


def _cell(run: Run, **facts: Any) -> CellAverage:  # noqa: ANN401 - fields of the document
    return CellAverage(run=run.key, temperature_k=run.temperature_k, **facts)


def _named(values: np.ndarray, suffix: str) -> dict[str, Any]:
    """Return volume, lengths and angles under the names of their fields."""
    volume, *parameters = values.tolist()
    return {
        f"volume{suffix}_ang3_per_atom": volume,
        f"lengths{suffix}_ang": tuple(parameters[:3]),
        f"angles{suffix}_deg": tuple(parameters[3:]),
    }


def thermal_expansion(cells: Sequence[CellAverage]) -> tuple[ThermalExpansion | None, str]:
    """Return the thermal expansion of a system at a pressure, or None and the reason.

    Only equilibrated runs with an error count.

    Parameters
    ----------
    cells
        Mean cells over temperature.
    """
    known = [c for c in cells if c.equilibrated and c.volume_err_ang3_per_atom]
    temperatures_k = sorted({cell.temperature_k for cell in known})
    if len(temperatures_k) < MIN_TEMPERATURES:
        found = counted(len(temperatures_k), "temperature")
        return None, f"{found} with an equilibrated volume and its error, two are needed"
    columns = np.array([_series(cell) for cell in known])  # (n, 4, 2)
    slopes = [
        relative_slope([cell.temperature_k for cell in known], column[:, 0], column[:, 1])
        for column in columns.transpose(1, 0, 2)
    ]
    volume, *lengths = slopes
    return ThermalExpansion(
        n_temperatures=len(temperatures_k),
        lowest_temperature_k=temperatures_k[0],
        highest_temperature_k=temperatures_k[-1],
        volume_per_k=volume.per_k,
        volume_err_per_k=volume.per_k_err,
        volume_chi2=volume.chi2,
        lengths_per_k=cast("Vector", tuple(slope.per_k for slope in lengths)),
        lengths_err_per_k=cast("Vector", tuple(slope.per_k_err for slope in lengths)),
    ), ""


def _series(cell: CellAverage) -> list[tuple[float, float]]:
    """Return (mean, error) of the volume and of a, b, c."""
    lengths = zip(cell.lengths_ang or (), cell.lengths_err_ang or (), strict=True)
    return [(cell.volume_ang3_per_atom or 0.0, cell.volume_err_ang3_per_atom or 0.0), *lengths]


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
    averages = {cell.run: cell for document in _of(data, system) for cell in document.cells}
    cells = [cell for cell in data.cell_runs if cell.system == system]
    rows = [
        _relaxed_row(r, paper, averages) for r in data.rankings if r.system == system and r.best
    ]
    rows += [_volume_row(cell, paper, averages) for cell in cells]
    here = ("here (Å³/atom)", "fluctuation (Å³/atom)") if averages else ("here (Å³/atom)",)
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
            if averages
            else "± is the fluctuation from frame to frame, not an error."
        )
        + " Paper: at the same temperature and, for CHGNet_600K, the nearest of its pressures."
        * (paper is not None),
    )  # fmt: skip


def _relaxed_row(
    ranking: Ranking,
    paper: dict[str, dict[float, float]] | None,
    averages: dict[str, CellAverage],
) -> tuple[Cell, ...]:
    ground = next((c for c in ranking.best if c.structure == ranking.ground_state), ranking.best[0])
    volume = ground.volume_ang3_per_atom
    here = (fixed(volume), MISSING) if averages else (fixed(volume),)
    cells = ours(ranking.key, ("0", MISSING, "relaxed", *here, MISSING))
    return (*cells, *_paper_volume_cells(paper, "CHGNet600K_1bar", 0.0, volume))


def _volume_row(
    cell: CellRun, paper: dict[str, dict[float, float]] | None, averages: dict[str, CellAverage]
) -> tuple[Cell, ...]:
    run = cell.run
    volume, pressure_bar = run.average_volume_ang3_per_atom, run.pressure_bar or 0.0
    spread = run.means.volume_std_ang3_per_atom if run.means else None
    here = [with_error(volume, spread)]
    if averages:
        mean = averages.get(run.key)
        volume = mean.volume_ang3_per_atom if mean else volume
        here = [
            with_error(volume, mean.volume_err_ang3_per_atom if mean else None),
            number(spread, 2),
        ]
    trust = Cell("yes", run.key) if run.equilibrated else Cell("no", run.key, "warn")
    return (
        *ours(run.key, (f"{run.temperature_k:g}", f"{pressure_bar:g}", cell.role)),
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
        number(found.volume_chi2, 2),
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
    return f"{document.system} at {document.pressure_bar:g} bar"

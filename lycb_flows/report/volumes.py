"""The table of volumes, beside those of the paper."""

from __future__ import annotations

from typing import Final

from lycb_flows.report import (
    MISSING,
    Cell,
    CellRun,
    ReportData,
    Table,
    as_printed,
    fixed,
    ours,
    paper_model_row,
    paper_system,
    paper_volumes,
    papers,
    with_error,
)
from lycb_flows.schemas import Ranking

_VOLUME_SERIES: Final = ("CHGNet_1bar", "SevenNet_1bar", "AIMD", "exp8", "exp3_7")


def volume_table(data: ReportData, system: str) -> Table:
    """Return volumes of a system beside the paper's at the same temperature.

    Parameters
    ----------
    data
        What the report rests on.
    system
        Name of the system.
    """
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


def _relaxed_row(ranking: Ranking, paper: dict[str, dict[float, float]]) -> tuple[Cell, ...]:
    ground = next((c for c in ranking.best if c.structure == ranking.ground_state), ranking.best[0])
    volume = ground.volume_ang3_per_atom
    cells = ours(ranking.key, ("0", MISSING, "relaxed", fixed(volume), MISSING))
    return (*cells, *_paper_volume_cells(paper, "CHGNet600K_1bar", 0.0, volume))


def _volume_row(cell: CellRun, paper: dict[str, dict[float, float]]) -> tuple[Cell, ...]:
    run = cell.run
    volume, pressure_bar = run.average_volume_ang3_per_atom, run.pressure_bar or 0.0
    spread = run.means.volume_std_ang3_per_atom if run.means else None
    trust = Cell("yes", run.key) if run.equilibrated else Cell("no", run.key, "warn")
    return (
        *ours(run.key, (f"{run.temperature_k:g}", f"{pressure_bar:g}", cell.role)),
        *ours(run.key, (with_error(volume, spread),)),
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
        *papers(as_printed(target)),
        Cell(fixed(ratio, 3)),
        *papers(*(as_printed(value) for value in others)),
    )

"""The figures of a report: documents in, matplotlib figures out; nothing is computed here.

Figures are drawn on Agg without pyplot, and the same documents give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Final, Literal, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

from lycb_flows.report.collection import CellRun, LearnedRound, ParityPoints
from lycb_flows.report.numbers import power_of_ten
from lycb_flows.report.paper import mae_triple
from lycb_flows.schemas import Model, RankedCandidate
from lycb_flows.units import EV_MEV

INK, GREY, LIGHT, SAND, BLUE, RUST, GREEN = (
    "#1f2a37", "#8a94a3", "#cfd5dd", "#b3924a", "#1d5c96", "#c2571a", "#3b7d5b",
)  # fmt: skip
SERIES: Final = (BLUE, RUST, GREEN, "#7a4f9a", "#a08a1f", "#4f8f9c")
MARKERS: Final = ("o", "s", "D", "^", "v", "P")
_MANY_POINTS: Final = 400
_PNG_DPI: Final = 160
_WIDE: Final = 11.0
"""Inches: the page's column."""
HALF: Final = 5.4
_PLAIN_DECADES: Final = range(-2, 4)
_STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "lycb-flows",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#eceff3",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
}
P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Return the function that draws in the style of the report."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return drawn


def save(figure: Figure, stem: Path) -> bytes:
    """Write STEM.png and STEM.svg; returns the SVG."""
    with mpl.rc_context(_STYLE):
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)
            figure.set_layout_engine("none")  # laid out once, drawn twice
        figure.savefig(stem.with_suffix(".png"), dpi=_PNG_DPI, metadata={"Software": None})
        figure.savefig(
            stem.with_suffix(".svg"), dpi=_PNG_DPI, metadata={"Date": None, "Creator": None}
        )
    return stem.with_suffix(".svg").read_bytes()


@styled
def ranking_figure(candidates: Sequence[RankedCandidate], ground_state: str) -> Figure:
    """Energy above the ground state against rank; hollow: volume flag, rust: tied with it."""
    figure = Figure((_WIDE, 3.6))
    axes = figure.subplots()
    ordered = sorted(candidates, key=lambda candidate: candidate.above_best_ev_per_atom)
    ranks = np.arange(1, len(ordered) + 1)
    above_mev = np.array([c.above_best_ev_per_atom for c in ordered]) * EV_MEV
    groups = [_candidate_group(candidate, ground_state) for candidate in ordered]
    for (label, colour, filled), size in _CANDIDATE_GROUPS.items():
        chosen = np.array([group == (label, colour, filled) for group in groups], dtype=bool)
        if chosen.any():
            axes.scatter(
                ranks[chosen], above_mev[chosen], s=size, edgecolors=colour, linewidths=1.1,
                facecolors=colour if filled else "white", label=label, zorder=3,
                rasterized=len(ordered) > _MANY_POINTS,
            )  # fmt: skip
    axes.set(xlabel="rank", ylabel="energy above the ground state (meV/atom)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best")
    return figure


_CANDIDATE_GROUPS: Final = {
    ("coarse stage", LIGHT, True): 14,
    ("coarse stage, volume flag", GREY, False): 14,
    ("fine stage", BLUE, True): 30,
    ("fine stage, volume flag", BLUE, False): 30,
    ("tied with the ground state", RUST, True): 38,
    ("ground state", INK, True): 60,
    ("ground state, volume flag", INK, False): 60,
}


def _candidate_group(candidate: RankedCandidate, ground_state: str) -> tuple[str, str, bool]:
    """Label, colour and whether the marker is filled."""
    name = "tied with the ground state" if candidate.tied_with_best else f"{candidate.stage} stage"
    if candidate.structure == ground_state:
        name = "ground state"
    flagged = ", volume flag" if candidate.volume_flag else ""
    return next(group for group in _CANDIDATE_GROUPS if group[0] == f"{name}{flagged}")


@styled
def parity_figure(before: ParityPoints | None, after: ParityPoints | None) -> Figure:
    """Predicted against labelled energy, force and stress; grey before, blue after training."""
    figure = Figure((_WIDE, 3.7))
    panels = figure.subplots(1, 3)
    titles = ("Energy (eV/atom)", "Force (eV/Å)", "Stress (GPa)")
    for axes, title, quantity in zip(
        panels, titles, ("energies_ev_per_atom", "forces_ev_per_ang", "stresses_gpa"), strict=True
    ):
        for points, colour, label in ((before, GREY, "before"), (after, BLUE, "after")):
            if points is not None:
                pairs = np.array(getattr(points, quantity))
                axes.scatter(
                    pairs[:, 0], pairs[:, 1], s=9, color=colour, alpha=0.55, linewidths=0,
                    label=label, rasterized=len(pairs) > _MANY_POINTS,
                )  # fmt: skip
        axes.axline((axes.get_xlim()[0],) * 2, slope=1, color=INK, linewidth=0.8, zorder=1)
        axes.set(title=title, xlabel="label", ylabel="model")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(5))
    panels[0].legend(loc="upper left", markerscale=2)
    return figure


_LOG_SPREAD = 50
"""Beyond this ratio a linear axis hides the small values."""


@styled
def mae_figure(rounds: Sequence[LearnedRound], targets: tuple[float, float, float]) -> Figure:
    """Mean absolute errors on the test labels, before and after each round's training."""
    figure = Figure((_WIDE, 3.3))
    panels = figure.subplots(1, 3)
    names = ("Energy (meV/atom)", "Force (meV/Å)", "Stress (MPa)")
    for i, (axes, name, target) in enumerate(zip(panels, names, targets, strict=True)):
        for when, colour in (("before", GREY), ("after", BLUE)):
            found = [
                (learned.round.temperature_k, mae_triple(evaluation.overall)[i])
                for learned in rounds
                if (evaluation := getattr(learned, when)) is not None
            ]
            axes.plot(*_columns(found), "o-", color=colour, label=f"{when} training")
        axes.axhline(target, color=RUST, linestyle="--", linewidth=1.2, label="paper: below")
        axes.set(title=name, xlabel="round's temperature (K)")
        drawn = [value for line in axes.get_lines() for value in np.atleast_1d(line.get_ydata())]
        if max(drawn) > _LOG_SPREAD * min(drawn) > 0:
            log_axis(axes, "y")
        else:
            axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(
            FixedLocator(sorted({learned.round.temperature_k for learned in rounds}))
        )
    panels[0].set_ylabel("mean absolute error")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@styled
def history_figure(models: Mapping[str, Model]) -> Figure:
    """Training loss and validation errors by epoch, one line per round."""
    figure = Figure((_WIDE, 3.3))
    panels = figure.subplots(1, 3)
    panels[0].set(title="Training loss")
    panels[1].set(title="Validation energy (meV/atom)")
    panels[2].set(title="Validation force (meV/Å)")
    for colour, (title, model) in zip(shades(len(models)), models.items(), strict=True):
        epochs = [record.epoch for record in model.history]
        columns = (
            [record.training_loss for record in model.history],
            [record.energy_mae_ev_per_atom * EV_MEV for record in model.history],
            [record.force_mae_ev_per_ang * EV_MEV for record in model.history],
        )
        for axes, values in zip(panels, columns, strict=True):
            axes.plot(epochs, values, color=colour, label=plain(title))
            if model.best_epoch in epochs:
                best = values[epochs.index(model.best_epoch)]
                axes.plot([model.best_epoch], [best], "o", color=colour, markersize=5)
    for axes in panels:
        axes.set_xlabel("epoch (dot: kept)")
    log_axis(panels[0], "y")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


@styled
def volume_figure(
    cell_runs: Sequence[CellRun], paper: Mapping[str, Mapping[float, float]]
) -> Figure:
    """Volume per atom against temperature; hollow: the cell was not equilibrated."""
    figure = Figure((_WIDE, 4.0))
    axes = figure.subplots()
    for i, (name, values) in enumerate(paper.items()):
        style, colour = (":", SAND) if name.startswith("exp") else ("-", GREY)
        axes.plot(
            list(values), list(values.values()), style, color=colour, linewidth=1.1, markersize=5,
            marker=MARKERS[i % len(MARKERS)], label=f"paper: {name}",
        )  # fmt: skip
    groups = sorted({(c.run.pressure_bar or 0.0, c.role == "production") for c in cell_runs})
    for colour, (pressure_bar, production) in zip(cycle(len(groups)), groups, strict=True):
        found = [
            (c.run.temperature_k, c.run.average_volume_ang3_per_atom, c.run.equilibrated)
            for c in cell_runs
            if ((c.run.pressure_bar or 0.0), c.role == "production") == (pressure_bar, production)
            and c.run.average_volume_ang3_per_atom is not None
        ]
        role = "production" if production else "rounds"
        label: str | None = f"here: {pressure_bar:g} bar, {role}"
        for temperature_k, volume, equilibrated in found:
            axes.plot(
                [temperature_k], [volume], "o" if production else "s", color=colour, markersize=8,
                zorder=4, label=label,
                markerfacecolor=colour if equilibrated else "white",
            )  # fmt: skip
            label = None
    axes.set(xlabel="temperature (K)", ylabel="volume per atom (Å³)")
    if axes.lines:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def log_axis(axes: Axes, name: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, from one power of ten to another."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    low, high = axis.get_data_interval()
    axes.set(**{f"{name}scale": "log"})
    if 0 < low <= high < np.inf:
        ends = 10.0 ** np.array([np.floor(np.log10(low)), np.ceil(np.log10(high))])
        axes.set(**{f"{name}lim": ends if ends[0] < ends[1] else ends * [0.1, 10]})
    axis.set_major_formatter(FuncFormatter(_power))
    axis.set_minor_formatter(NullFormatter())


def _power(value: float, _position: int) -> str:
    exponent = round(np.log10(value))
    return f"{value:g}" if exponent in _PLAIN_DECADES else power_of_ten(exponent)


def shades(count: int) -> list[tuple[float, ...]]:
    """Colours from cold to hot."""
    return [tuple(colormaps["plasma"](x)) for x in np.linspace(0.05, 0.8, count)]


def cycle(count: int) -> list[str]:
    """Return colours for so many series, again from the first one when they are used up."""
    return [SERIES[i % len(SERIES)] for i in range(count)]


def _columns(rows: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    pairs = list(rows)
    return [x for x, _ in pairs], [y for _, y in pairs]


def plain(text: str) -> str:
    """Text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")

"""The figures of a report: from documents to matplotlib figures; nothing is computed here.

Figures are drawn on Agg without pyplot, and the same documents give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from lycb_flows.report import PRODUCTION, CellRun, LearnedRound, ParityPoints, mae_triple
from lycb_flows.report.figure_style import (
    BLUE,
    GREY,
    INK,
    LIGHT,
    MANY_POINTS,
    MARKERS,
    RUST,
    SAND,
    SERIES,
    WIDE,
    log_axis,
    plain_text,
    series_colours,
    shaded_colours,
    split_pairs,
    styled,
)
from lycb_flows.schemas import Model, RankedCandidate
from lycb_flows.units import EV_MEV


@styled
def ranking_figure(candidates: Sequence[RankedCandidate], ground_state: str) -> Figure:
    """Return the energy above the ground state against the rank.

    Hollow markers have a volume flag; rust ones are tied with the ground state.

    Parameters
    ----------
    candidates
        Every candidate of a ranking.
    ground_state
        Key of the structure that was chosen.
    """
    figure = Figure((WIDE, 3.6))
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
                rasterized=len(ordered) > MANY_POINTS,
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
    """Return label, colour and whether the marker is filled."""
    name = "tied with the ground state" if candidate.tied_with_best else f"{candidate.stage} stage"
    if candidate.structure == ground_state:
        name = "ground state"
    flagged = ", volume flag" if candidate.volume_flag else ""
    return next(group for group in _CANDIDATE_GROUPS if group[0] == f"{name}{flagged}")


@styled
def parity_figure(before: ParityPoints | None, after: ParityPoints | None) -> Figure:
    """Return predicted against labelled energy, force and stress.

    Parameters
    ----------
    before, after
        Predictions from before the training, in grey, and from after it, in blue; None leaves
        them out.
    """
    figure = Figure((WIDE, 3.7))
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
                    label=label, rasterized=len(pairs) > MANY_POINTS,
                )  # fmt: skip
        axes.axline((axes.get_xlim()[0],) * 2, slope=1, color=INK, linewidth=0.8, zorder=1)
        axes.set(title=title, xlabel="label", ylabel="model")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(5))
    panels[0].legend(loc="upper left", markerscale=2)
    return figure


_LOG_SPREAD = 50
"""Ratio of the largest to the smallest value above which a linear axis hides the small ones."""


def mae_figure(
    rounds: Sequence[LearnedRound], targets: tuple[float, float, float] | None
) -> Figure:
    """Return mean absolute errors on the test labels, before and after each round's training.

    Parameters
    ----------
    rounds
        In order.
    targets
        Energy (meV/atom), force (meV/Å) and stress (MPa) to stay below; None: no bounds.
    """
    lines = {
        f"{when} training": [
            (learned.round.temperature_k, mae_triple(evaluation.overall))
            for learned in rounds
            if (evaluation := getattr(learned, when)) is not None
        ]
        for when in ("before", "after")
    }
    return errors_figure(lines, targets, "round's temperature (K)", (GREY, BLUE))


@styled
def errors_figure(
    lines: Mapping[str, Sequence[tuple[float, tuple[float, float, float]]]],
    targets: tuple[float, float, float] | None,
    xlabel: str,
    colours: Sequence[str] | None = None,
) -> Figure:
    """Return mean absolute errors of energy, force and stress against a temperature.

    Parameters
    ----------
    lines
        By name: temperatures in K with the three errors in meV/atom, meV/Å and MPa.
    targets
        Errors to stay below; None: no bounds.
    xlabel
        What the temperature is.
    colours
        Of the lines; None: those of a series.
    """
    figure = Figure((WIDE, 3.3))
    panels = figure.subplots(1, 3)
    names = ("Energy (meV/atom)", "Force (meV/Å)", "Stress (MPa)")
    colours = colours or series_colours(len(lines))
    for i, (axes, name) in enumerate(zip(panels, names, strict=True)):
        for place, (colour, (label, points)) in enumerate(zip(colours, lines.items(), strict=True)):
            pairs = [(temperature_k, errors[i]) for temperature_k, errors in points]
            axes.plot(
                *split_pairs(pairs), "-", color=colour, label=plain_text(label),
                marker=MARKERS[place // len(SERIES) % len(MARKERS)],
            )  # fmt: skip
        if targets is not None:
            axes.axhline(targets[i], color=RUST, linestyle="--", lw=1.2, label="paper: below")
        axes.set(title=name, xlabel=xlabel)
        drawn = np.concatenate([np.atleast_1d(line.get_ydata()) for line in axes.get_lines()])
        positive = drawn[drawn > 0]
        if positive.size and drawn.max() > _LOG_SPREAD * positive.min():
            log_axis(axes, "y")
        else:
            axes.set_ylim(bottom=0)
        temperatures_k = sorted({t for points in lines.values() for t, _ in points})
        axes.xaxis.set_major_locator(FixedLocator(temperatures_k))
    panels[0].set_ylabel("mean absolute error")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@styled
def history_figure(models: Mapping[str, Model]) -> Figure:
    """Return training loss and validation errors by epoch, a line for each round.

    A dot marks the epoch that was kept.
    """
    figure = Figure((WIDE, 3.3))
    panels = figure.subplots(1, 3)
    panels[0].set(title="Training loss")
    panels[1].set(title="Validation energy (meV/atom)")
    panels[2].set(title="Validation force (meV/Å)")
    for colour, (title, model) in zip(shaded_colours(len(models)), models.items(), strict=True):
        epochs = [record.epoch for record in model.history]
        columns = (
            [record.training_loss for record in model.history],
            [record.energy_mae_ev_per_atom * EV_MEV for record in model.history],
            [record.force_mae_ev_per_ang * EV_MEV for record in model.history],
        )
        for axes, values in zip(panels, columns, strict=True):
            axes.plot(epochs, values, color=colour, label=plain_text(title))
            if model.best_epoch in epochs:
                best = values[epochs.index(model.best_epoch)]
                axes.plot([model.best_epoch], [best], "o", color=colour, markersize=5)
    for axes in panels:
        axes.set_xlabel("epoch (dot: kept)")
    log_axis(panels[0], "y")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


_VOLUME_MARKERS = {PRODUCTION: "o", "rounds": "s"}


def _volume_group(cell: CellRun) -> tuple[float, str]:
    """Return pressure and series; the runs of all rounds are one."""
    return cell.run.pressure_bar or 0.0, cell.series if cell.role == PRODUCTION else "rounds"


@styled
def volume_figure(
    cell_runs: Sequence[CellRun],
    paper: Mapping[str, Mapping[float, float]],
    at_rest: Mapping[tuple[float, str], float] | None = None,
) -> Figure:
    """Return the volume per atom against temperature; a hollow marker was not equilibrated.

    A star at the top stands for a run that left physics and has no volume.

    Parameters
    ----------
    cell_runs
        NpT runs of a system.
    paper
        Volumes of the paper in Å^3 per atom, by series and by temperature in K.
    at_rest
        Volumes of relaxed cells in Å^3 per atom, by pressure in bar and series of the runs.
    """
    figure = Figure((WIDE, 4.0))
    axes = figure.subplots()
    for i, (name, values) in enumerate(paper.items()):
        style, colour = (":", SAND) if name.startswith("exp") else ("-", GREY)
        axes.plot(
            list(values), list(values.values()), style, color=colour, linewidth=1.1, markersize=5,
            marker=MARKERS[i % len(MARKERS)], label=f"paper: {name}",
        )  # fmt: skip
    groups = sorted({_volume_group(cell) for cell in cell_runs})
    for i, (colour, group) in enumerate(zip(series_colours(len(groups)), groups, strict=True)):
        pressure_bar, series = group
        label: str | None = f"here: {pressure_bar:g} bar, {series}"
        if at_rest and group in at_rest:
            marker = _VOLUME_MARKERS.get(series, "D")
            axes.plot([0.0], [at_rest[group]], marker, color=colour, markersize=8, zorder=4)
        for cell in (each for each in cell_runs if _volume_group(each) == group):
            run, volume = cell.run, cell.volume_ang3_per_atom
            lost = volume is None
            axes.plot(
                [run.temperature_k], [0.97 - 0.05 * i if volume is None else volume],
                "*" if lost else _VOLUME_MARKERS.get(series, "D"), color=colour, markersize=8,
                zorder=4, label=label, markerfacecolor=colour if run.equilibrated else "white",
                transform=axes.get_xaxis_transform() if lost else axes.transData,
            )  # fmt: skip
            label = None
    axes.set(xlabel="temperature (K)", ylabel="volume per atom (Å³)")
    if axes.lines:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure

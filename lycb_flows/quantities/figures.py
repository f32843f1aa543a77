"""The figures of the built-in quantities: from documents to matplotlib figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter
from numpy.typing import NDArray

from lycb_flows.quantities.transports import confidence_of
from lycb_flows.report import (
    GREY,
    HALF,
    MARKERS,
    RUST,
    SAND,
    WIDE,
    Reference,
    inverse_thousand,
    log_axis,
    plain_text,
    series_colours,
    shaded_colours,
    spread_values,
    styled,
)
from lycb_flows.schemas import (
    FITTED_REGIMES,
    Arrhenius,
    CompositionSeries,
    LatticeDifference,
    SeriesPoint,
    Transport,
)
from lycb_flows.units import ANG2_PER_PS_M2_PER_S, BOLTZMANN_EV_PER_K, EV_MEV

Array = NDArray[np.floating[Any]]
_OPEN_MARKERS: Final = ("s", "^", "v", "D", "P", "X")
_LINES: Final = ("--", ":", "-.")
_NINETY_FIVE: Final = 1.96


@styled
def msd_figure(transports: Sequence[Transport]) -> Figure:
    """Return the MSD of the mobile ion (solid) and of the framework (dashed) against the lag.

    Thick lines mark the window of the fit.
    """
    figure = Figure((HALF, 4.8))
    axes = figure.subplots()
    for colour, transport in zip(shaded_colours(len(transports)), transports, strict=True):
        lags = np.array(transport.lags_ps)
        msd, framework = np.array(transport.msd_ang2), np.array(transport.framework_msd_ang2)
        temperature = f"{transport.temperature_k:g} K" if transport.temperature_k else "all"
        axes.plot(lags, msd, color=colour, linewidth=1.2, label=temperature)
        axes.plot(lags, framework, "--", color=colour, linewidth=0.9, alpha=0.8)
        window = transport.estimate
        if window.fit_start_ps is not None and window.fit_end_ps is not None:
            inside = (lags >= window.fit_start_ps) & (lags <= window.fit_end_ps)
            axes.plot(lags[inside], msd[inside], color=colour, linewidth=4, solid_capstyle="butt")
    axes.set(xlabel="lag (ps)", ylabel="mean squared displacement (Å²)")
    log_axis(axes, "x")
    log_axis(axes, "y")
    species = plain_text(transports[0].mobile_species)
    axes.plot([], [], color=GREY, linewidth=1.2, label=species)
    axes.plot([], [], "--", color=GREY, linewidth=0.9, label="framework")
    axes.plot([], [], color=GREY, linewidth=4, label="fit window")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


@styled
def single_msd_figure(transport: Transport) -> Figure:
    """Return the MSD of one run, below its regime, with the line 6 D t where there is a D."""
    figure, estimate = msd_figure([transport]), transport.estimate
    (axes,) = figure.axes
    axes.set_title(plain_text(f"{transport.system}: {estimate.regime}"))
    if estimate.diffusivity_m2_per_s is not None:
        lags = np.array(transport.lags_ps)
        rate = 6 * estimate.diffusivity_m2_per_s / float(ANG2_PER_PS_M2_PER_S)
        shown = rate * lags > min(transport.framework_msd_ang2)
        axes.plot(lags[shown], rate * lags[shown], ":", color=RUST, linewidth=1.6)
        axes.annotate("6 D t", (lags[-1], rate * lags[-1]), color=RUST, ha="right", va="bottom")
    return figure


@styled
def arrhenius_figure(
    transports: Sequence[Transport], fits: Sequence[Arrhenius], references: Sequence[Reference] = ()
) -> Figure:
    """Return D against 1000/T.

    Bounds are arrows, runs that are left out are open and grey, fits have the band of their
    prediction (95 %), and a star marks D at the temperature of the conductivity.

    Parameters
    ----------
    transports
        Transports of one system, at all of its pressures.
    fits
        Fits of the same system.
    references
        The paper's lines and experiments.
    """
    figure = Figure((8.0, 5.4))
    axes = figure.subplots()
    pressures = sorted({t.pressure_bar for t in transports} | {f.pressure_bar for f in fits})
    for colour, marker, pressure_bar in zip(
        series_colours(len(pressures)), MARKERS * len(pressures), pressures, strict=False
    ):
        here = [t for t in transports if t.pressure_bar == pressure_bar]
        _draw_points(axes, here, colour, marker)
        for fit in fits:
            if fit.pressure_bar == pressure_bar and fit.fitted:
                _draw_fit(axes, fit, [t.temperature_k for t in here], colour)
    _draw_references(axes, references)
    axes.set(xlabel="1000 K / T", ylabel="diffusivity (m²/s)")
    log_axis(axes, "y")
    _draw_left_out(axes, transports)
    temperatures = sorted(
        {t.temperature_k for t in transports} | {f.extrapolation_temperature_k for f in fits}
    )
    top = axes.secondary_xaxis("top", functions=(inverse_thousand, inverse_thousand))
    top.xaxis.set_major_locator(FixedLocator(spread_values(temperatures)))
    top.xaxis.set_minor_formatter(NullFormatter())
    top.set_xlabel("temperature (K)")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _draw_points(axes: Axes, transports: Sequence[Transport], colour: str, marker: str) -> None:
    """Draw measured D with their intervals, and bounds as arrows that point down."""
    label: str | None = f"{transports[0].pressure_bar:g} bar" if transports else None
    for transport in transports:
        x, estimate = 1000 / transport.temperature_k, transport.estimate
        middle, low, high = (
            estimate.diffusivity_m2_per_s,
            estimate.diffusivity_low_m2_per_s,
            estimate.diffusivity_high_m2_per_s,
        )
        if middle is not None:
            bars = None if low is None or high is None else [[middle - low], [high - middle]]
            axes.errorbar(
                [x], [middle], bars, fmt=marker, color=colour, capsize=3, markersize=6, label=label
            )
            label = None
        elif estimate.diffusivity_upper_m2_per_s is not None:
            _draw_bound(axes, x, estimate.diffusivity_upper_m2_per_s, colour)
    if label is not None:
        n_bounds = sum(t.estimate.diffusivity_upper_m2_per_s is not None for t in transports)
        remark = f"{confidence_of(transports)} bounds only" if n_bounds else "no diffusivity"
        axes.plot([], [], "_", color=colour, label=f"{label}: {remark}")


def _draw_bound(axes: Axes, x: float, bound: float, colour: str) -> None:
    axes.plot([x], [bound], "_", color=colour, markersize=12, markeredgewidth=2)
    axes.annotate(
        "",
        (x, bound),
        (0, -26),
        textcoords="offset points",
        arrowprops={"arrowstyle": "<-", "color": colour, "shrinkA": 0, "shrinkB": 0},
    )
    axes.plot([x], [bound / 5], alpha=0)  # invisible; makes room for the arrow


def _draw_left_out(axes: Axes, transports: Sequence[Transport]) -> None:
    """Draw runs that a fit leaves out, open and grey, each regime with a mark of its own.

    They stand at the slope of their displacement where it is positive, else at the foot of the
    axes; the limits of the axes follow from the other marks first.
    """
    outside = [t for t in transports if t.estimate.regime not in {*FITTED_REGIMES, None}]
    regimes = sorted({t.estimate.regime or "" for t in outside})
    slopes = [t.estimate.paper_diffusivity_m2_per_s or 0.0 for t in outside]
    if axes.get_yscale() != "log" and max(slopes, default=0.0) > 0:  # nothing else is drawn
        x = [1000 / t.temperature_k for t in outside]
        axes.plot(x, slopes, alpha=0)
        log_axis(axes, "y")
    foot, _ = axes.get_ylim()
    for marker, regime in zip(_OPEN_MARKERS * len(regimes), regimes, strict=False):
        here = [t for t in outside if t.estimate.regime == regime]
        slopes = [t.estimate.paper_diffusivity_m2_per_s or 0.0 for t in here]
        lowest = min([foot, *(slope for slope in slopes if slope > 0)])
        axes.set_ylim(bottom=lowest)
        axes.plot(
            [1000 / t.temperature_k for t in here],
            [max(slope, lowest) for slope in slopes],
            marker, color=GREY, markerfacecolor="none", markersize=8, markeredgewidth=1.4,
            clip_on=False, label=f"left out: {regime}",
        )  # fmt: skip


def _draw_references(axes: Axes, references: Sequence[Reference]) -> None:
    """Draw the paper's lines, and experiments as short strokes over their spread."""
    for style, reference in zip(_LINES * len(references), references, strict=False):
        x, values = inverse_thousand(reference.temperatures_k), reference.diffusivities_m2_per_s
        if reference.is_line:
            axes.plot(x, values, style, color=SAND, linewidth=1.2, label=reference.label)
        else:
            ends = [min(values), max(values)]
            axes.plot(
                [x[0], x[0]], ends, color=SAND, linewidth=6, alpha=0.35, solid_capstyle="butt"
            )
            axes.plot(
                x, values, "_", color=SAND, markersize=12, markeredgewidth=1.6,
                label=reference.label,
            )  # fmt: skip


def _draw_fit(axes: Axes, fit: Arrhenius, temperatures_k: Sequence[float], colour: str) -> None:
    """Draw the fitted line or lines, their band, and the extrapolated D."""
    if fit.predictions:
        inverse_k = np.array([1 / p.temperature_k for p in fit.predictions])
        middle, low, high = np.array(
            [
                (p.diffusivity_m2_per_s, p.diffusivity_low_m2_per_s, p.diffusivity_high_m2_per_s)
                for p in fit.predictions
            ]
        ).T
    else:
        inverse_k, middle, low, high = _single_line(fit, temperatures_k)
    axes.plot(1000 * inverse_k, middle, color=colour, linewidth=1.2)
    axes.fill_between(1000 * inverse_k, low, high, color=colour, alpha=0.15, linewidth=0)
    if fit.extrapolated_diffusivity_m2_per_s is not None:
        temperature_k = fit.extrapolation_temperature_k
        axes.plot(
            [1000 / temperature_k], [fit.extrapolated_diffusivity_m2_per_s], "*",
            color=colour, markersize=13, zorder=4,
            label=f"{fit.pressure_bar:g} bar, by the fit at {temperature_k:g} K",
        )  # fmt: skip


def _single_line(fit: Arrhenius, temperatures_k: Sequence[float]) -> tuple[Array, ...]:
    """Return 1/T, D and its 95 % interval by the covariance of a fit of method version 2."""
    ends = [*temperatures_k, fit.extrapolation_temperature_k]
    inverse_k = np.linspace(1 / max(ends), 1 / min(ends), 60)
    design = np.stack([np.ones_like(inverse_k), -inverse_k / BOLTZMANN_EV_PER_K], axis=1)
    log_d = design @ np.array([fit.log_prefactor, fit.activation_energy_ev], dtype=float)
    covariance = np.array(fit.covariance, dtype=float)
    reach = _NINETY_FIVE * np.sqrt(np.einsum("ij,jk,ik->i", design, covariance, design))
    return inverse_k, np.exp(log_d), np.exp(log_d - reach), np.exp(log_d + reach)


@styled
def series_energy_figure(
    differences: Sequence[LatticeDifference],
    formed: Sequence[SeriesPoint],
    paper: Mapping[str, float],
) -> Figure:
    """Return differences of lattices and energies of formation over x, in meV/atom.

    Without the one or the other there is a single panel.

    Parameters
    ----------
    differences
        Those of compositions whose x is known.
    formed
        Points with an x and an energy of formation.
    paper
        The paper's differences in meV/atom, by formula.
    """
    n_panels = bool(differences) + bool(formed)
    figure = Figure((WIDE if n_panels > 1 else HALF, 3.6))
    panels = figure.subplots(1, n_panels, squeeze=False)[0]
    if differences:
        _draw_differences(panels[0], differences, paper)
    if formed:
        _draw_formation(panels[-1], formed)
    for axes in panels:
        axes.axhline(0.0, color=GREY, linewidth=0.8)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best")
    return figure


def _draw_differences(
    axes: Axes, differences: Sequence[LatticeDifference], paper: Mapping[str, float]
) -> None:
    pairs = list(dict.fromkeys((each.first, each.second) for each in differences))
    for colour, pair in zip(series_colours(len(pairs)), pairs, strict=True):
        members = [each for each in differences if (each.first, each.second) == pair]
        label = plain_text(f"{pair[0]} - {pair[1]}")
        energies = [each.energy_ev_per_atom * EV_MEV for each in members]
        axes.plot([each.x or 0.0 for each in members], energies, "o-", color=colour, label=label)
        by_dft = [each for each in members if each.dft_energy_ev_per_atom is not None]
        axes.plot(
            [each.x or 0.0 for each in by_dft],
            [(each.dft_energy_ev_per_atom or 0.0) * EV_MEV for each in by_dft],
            "s", color=colour, markerfacecolor="white", label=f"{label}, DFT" if by_dft else None,
        )  # fmt: skip
        known = [(each.x, paper[each.formula]) for each in members if each.formula in paper]
        if known:
            axes.plot(*zip(*known, strict=True), "--", color=SAND, label="paper, DFT")
    axes.set(xlabel="x", ylabel="difference (meV/atom)")


def _draw_formation(axes: Axes, formed: Sequence[SeriesPoint]) -> None:
    lattices = list(dict.fromkeys(point.lattice for point in formed))
    for colour, lattice in zip(series_colours(len(lattices)), lattices, strict=True):
        known = sorted(
            (point.x or 0.0, (point.formation_energy_ev_per_atom or 0.0) * EV_MEV)
            for point in formed
            if point.lattice == lattice
        )
        axes.plot(*zip(*known, strict=True), "o-", color=colour, label=plain_text(lattice))
    axes.set(xlabel="x", ylabel="formation (meV/atom)")


@styled
def series_conduction_figure(document: CompositionSeries) -> Figure:
    """Return extrapolated conductivities and barriers over x, by lattice and pressure."""
    figure = Figure((WIDE, 3.6))
    left, right = figure.subplots(1, 2)
    groups = list(
        dict.fromkeys(
            (point.lattice, fit.pressure_bar)
            for point in document.points
            for fit in point.conduction
        )
    )
    for colour, (lattice, pressure_bar) in zip(series_colours(len(groups)), groups, strict=True):
        known = [
            (point.x, fit)
            for point in document.points
            for fit in point.conduction
            if (point.lattice, fit.pressure_bar) == (lattice, pressure_bar) and point.x is not None
        ]
        label = plain_text(f"{lattice}, {pressure_bar:g} bar")
        for x, fit in known:
            if fit.conductivity_ms_per_cm is not None:
                low = fit.conductivity_low_ms_per_cm or fit.conductivity_ms_per_cm
                high = fit.conductivity_high_ms_per_cm or fit.conductivity_ms_per_cm
                error = [[fit.conductivity_ms_per_cm - low], [high - fit.conductivity_ms_per_cm]]
                left.errorbar(x, fit.conductivity_ms_per_cm, error, fmt="o", color=colour)
            if fit.activation_energy_ev is not None:
                error_ev = fit.activation_energy_err_ev
                right.errorbar(x, fit.activation_energy_ev, error_ev, fmt="o", color=colour)
        right.plot([], [], "o", color=colour, label=label)
    left.set(xlabel="x", ylabel="extrapolated conductivity (mS/cm)")
    right.set(xlabel="x", ylabel="barrier (eV)")
    if left.has_data():
        log_axis(left, "y")
    right.legend(loc="best")
    return figure

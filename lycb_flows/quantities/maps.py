"""Figures of where the ions are: maps of their density, occupancies of sites."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from lycb_flows.report import (
    BLUE,
    GREY,
    HALF,
    INK,
    MARKERS,
    WIDE,
    plain_text,
    series_colours,
    styled,
)
from lycb_flows.schemas import Sites
from lycb_flows.transport.density import DensityGrid, Floats

_SMOOTHING_ANG = 0.2
"""Standard deviation of the Gaussian that smooths a map."""
_MAP = LinearSegmentedColormap.from_list("ions", ["#ffffff", "#cfe8d5", "#3b9d5b", "#08391b"])
_ATOMS = {"Y": "#7d7d7d", "Cl": BLUE, "Br": "#8c4a23"}
"""The paper's colours (figure 4); the ions are green there, too."""
_OTHER_ATOMS = ("#a08a1f", "#7a4f9a", "#c2571a", "#4f8f9c")
_BORDER = 0.01
"""Atoms closer than this to a border, in units of the cell, are drawn on the opposite one too."""
_VIEWS = ((2, (0, 1)), (1, (0, 2)), (0, (1, 2)))
"""The axis that the map is seen along, and those that span it: ab, ac, bc as in the paper."""


@styled
def density_figure(grid: DensityGrid) -> Figure:
    """Return the density seen along c, b and a, with the framework's atoms as dots."""
    planes = [_plane(grid.lattice_ang, shown) for _, shown in _VIEWS]
    widths = [float(np.ptp(_corners(plane)[:, 0])) for plane in planes]
    tallest = max(float(np.ptp(_corners(plane)[:, 1])) for plane in planes)
    height = min(6.0, 0.85 * WIDE * tallest / sum(widths)) + 1.2
    figure = Figure((WIDE, height))
    panels = figure.subplots(1, 3, width_ratios=widths)
    maps = [_projected(grid, axis) for axis, _ in _VIEWS]
    norm = PowerNorm(0.5, 0.0, max(float(seen.max()) for seen in maps))
    for axes, seen, plane, (axis, shown) in zip(panels, maps, planes, _VIEWS, strict=True):
        mesh = _draw_map(axes, seen, plane, norm)
        _draw_atoms(axes, grid, plane, shown)
        low, high = _corners(plane).min(axis=0), _corners(plane).max(axis=0)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        across, up = ("abc"[i] for i in shown)
        axes.set_title(f"along {'abc'[axis]}")
        axes.set(xlabel=f"{across} (Å)", ylabel=f"{up}, across {across} (Å)")
    figure.colorbar(mesh, ax=panels, shrink=0.8, label=_unit(grid))
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=6)
    return figure


def _unit(grid: DensityGrid) -> str:
    return f"{plain_text(grid.mobile_species)} per area (1/Å²)"


def _plane(lattice_ang: Floats, shown: tuple[int, int]) -> Floats:
    """Return two lattice vectors in the plane of a map, (2, 2): the first lies along x.

    The map is a projection along the third vector onto the plane across it.
    """
    (axis,) = {0, 1, 2} - set(shown)
    along = lattice_ang[axis] / np.linalg.norm(lattice_ang[axis])
    first, second = (v - (v @ along) * along for v in lattice_ang[list(shown)])
    x = first / np.linalg.norm(first)
    rest = second - (second @ x) * x
    return np.array([[np.linalg.norm(first), 0.0], [second @ x, np.linalg.norm(rest)]])


def _corners(plane: Floats) -> Floats:
    corners: Floats = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) @ plane
    return corners


def _projected(grid: DensityGrid, axis: int) -> Floats:
    """Return ions per area, smoothed by a fifth of an ångström, closed at the far edges."""
    step = np.linalg.norm(grid.lattice_ang[axis]) / grid.counts.shape[axis]
    columns = grid.smoothed(_SMOOTHING_ANG).sum(axis=axis) * step
    return np.pad(columns, ((0, 1), (0, 1)), mode="wrap")


def _draw_map(axes: Axes, seen: Floats, plane: Floats, norm: PowerNorm) -> QuadMesh:
    fractions = np.meshgrid(*(np.linspace(0, 1, n) for n in seen.shape), indexing="ij")
    x, y = np.moveaxis(np.stack(fractions, axis=-1) @ plane, -1, 0)
    mesh = axes.pcolormesh(x, y, seen, cmap=_MAP, norm=norm, shading="gouraud", rasterized=True)
    axes.add_patch(Polygon(_corners(plane), fill=False, edgecolor=GREY, linewidth=0.8))
    axes.set_aspect("equal")
    axes.grid(visible=False)
    return mesh


def _draw_atoms(axes: Axes, grid: DensityGrid, plane: Floats, shown: tuple[int, int]) -> None:
    others = iter(_OTHER_ATOMS * len(grid.framework_species))
    for name in sorted(set(grid.framework_species)):
        mine = [own == name for own in grid.framework_species]
        inside = grid.framework[mine][:, shown] % 1.0
        images = inside + np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)])[:, None]
        images = images.reshape(-1, 2)
        drawn = images[((images > -_BORDER) & (images < 1 + _BORDER)).all(axis=1)]
        x, y = (drawn @ plane).T
        colour = _ATOMS.get(name) or next(others)
        axes.scatter(
            x, y, s=34, c=colour, edgecolors="white", linewidths=0.6, label=name, clip_on=False
        )


@styled
def occupancy_figure(measured: Sequence[Sites]) -> Figure:
    """Return the occupancies of the sites against temperature, beside the refined ones (dashed).

    Parameters
    ----------
    measured
        Sites of one system and pressure, by temperature.
    """
    figure = Figure((HALF, 4.0))
    axes = figure.subplots()
    labels = list(dict.fromkeys(orbit.label for found in measured for orbit in found.orbits))
    colours = series_colours(len(labels))
    for colour, marker, label in zip(colours, MARKERS * len(labels), labels, strict=False):
        points = [
            (found.temperature_k, orbit.occupancy, orbit.occupancy_err or 0.0)
            for found in measured
            for orbit in found.orbits
            if orbit.label == label
        ]
        temperatures, values, errors = np.array(points).T
        axes.errorbar(
            temperatures, values, errors, fmt=f"{marker}-", color=colour, capsize=3, markersize=5,
            linewidth=1.0, label=plain_text(label),
        )  # fmt: skip
        own = [orbit for found in measured for orbit in found.orbits if orbit.label == label]
        for value in {o.refined_occupancy for o in own if o.refined_occupancy is not None}:
            axes.axhline(value, color=colour, linestyle="--", linewidth=1.0)
    axes.plot([], [], "--", color=INK, linewidth=1.0, label="refined")
    axes.set(xlabel="temperature (K)", ylabel="ions per site")
    axes.set_ylim(bottom=0.0)
    figure.legend(loc="outside lower center", ncols=4)
    return figure

"""How figures look and are saved: Agg without pyplot, the same bytes from the same documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Final, Literal, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import ArrayLike, NDArray

from lycb_flows.report.numbers import power_of_ten

INK, GREY, LIGHT, SAND, BLUE, RUST, GREEN = (
    "#1f2a37", "#8a94a3", "#cfd5dd", "#b3924a", "#1d5c96", "#c2571a", "#3b7d5b",
)  # fmt: skip
SERIES: Final = (BLUE, RUST, GREEN, "#7a4f9a", "#a08a1f", "#4f8f9c")
MARKERS: Final = ("o", "s", "D", "^", "v", "P")
MANY_POINTS: Final = 400
_PNG_DPI: Final = 160
WIDE: Final = 11.0
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
    """Return a drawing function that uses the report's style."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return drawn


def save(figure: Figure, stem: Path) -> bytes:
    """Write STEM.png and STEM.svg and return the SVG.

    Parameters
    ----------
    figure
        Drawn in this style.
    stem
        Path of the files, with any suffix.
    """
    with mpl.rc_context(_STYLE):
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)
            figure.set_layout_engine("none")  # laid out once, drawn twice
        figure.savefig(stem.with_suffix(".png"), dpi=_PNG_DPI, metadata={"Software": None})
        figure.savefig(
            stem.with_suffix(".svg"), dpi=_PNG_DPI, metadata={"Date": None, "Creator": None}
        )
    return stem.with_suffix(".svg").read_bytes()


def inverse_thousand(values: ArrayLike) -> NDArray[np.float64]:
    """Return 1000 / x, its own inverse; finite at zero, which matplotlib asks about."""
    return np.asarray(1000 / np.maximum(np.asarray(values, dtype=float), 1e-3))


def log_axis(axes: Axes, name: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, from one power of ten to another.

    Parameters
    ----------
    axes
        With its data drawn.
    name
        "x" or "y".
    """
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


def spread_values(values: Sequence[float], at_most: int = 6) -> list[float]:
    """Return some of the values, first and last among them.

    Parameters
    ----------
    values
        In order.
    at_most
        How many are wanted.
    """
    chosen = np.unique(np.linspace(0, len(values) - 1, min(at_most, len(values))).round())
    return [values[int(i)] for i in chosen]


def shaded_colours(count: int) -> list[tuple[float, ...]]:
    """Return colours from cold to hot."""
    return [tuple(colormaps["plasma"](x)) for x in np.linspace(0.05, 0.8, count)]


def series_colours(count: int) -> list[str]:
    """Return that many colours, distinct as far as they reach."""
    return [SERIES[i % len(SERIES)] for i in range(count)]


def split_pairs(rows: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return the first and the second members of pairs."""
    pairs = list(rows)
    return [x for x, _ in pairs], [y for _, y in pairs]


def plain_text(text: str) -> str:
    """Return a text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")

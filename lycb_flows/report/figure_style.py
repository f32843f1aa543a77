"""The style of figures: Agg without pyplot, and the same bytes from the same documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Final, Literal, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
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
"""Width of the page's column in inches."""
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
    """Return a drawing function that uses the report's style.

    The style is set during the call only, so that a user's own settings stay as they are.
    """

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return drawn


def save(figure: Figure, stem: Path) -> bytes:
    """Write a figure as PNG and as SVG.

    Parameters
    ----------
    figure
        The figure.
    stem
        Path of the files, whose suffix is replaced.

    Returns
    -------
    bytes
        The SVG, without a date, so that the same figure gives the same bytes.
    """
    with mpl.rc_context(_STYLE):
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)
            figure.set_layout_engine("none")  # laid out once, drawn twice
        figure.set_dpi(_PNG_DPI)
        # `savefig` would draw a figure once more, before it prints it
        png: Any = FigureCanvasAgg(figure)
        png.print_png(stem.with_suffix(".png"), metadata={"Software": None})
        svg: Any = FigureCanvasSVG(figure)
        svg.print_svg(stem.with_suffix(".svg"), metadata={"Date": None, "Creator": None})
    return stem.with_suffix(".svg").read_bytes()


def inverse_thousand(values: ArrayLike) -> NDArray[np.float64]:
    """Return 1000 / x, which is its own inverse; finite at zero, which matplotlib tries."""
    return np.asarray(1000 / np.maximum(np.asarray(values, dtype=float), 1e-3))


def log_axis(axes: Axes, name: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, from a power of ten to another; without positive data it stays.

    Parameters
    ----------
    axes
        With its data drawn, as the limits follow from them.
    name
        Which axis.
    """
    axis = axes.xaxis if name == "x" else axes.yaxis
    low, high = axis.get_data_interval()
    if high <= 0:
        return
    axes.set(**{f"{name}scale": "log"})
    if 0 < low <= high < np.inf:
        ends = 10.0 ** np.array([np.floor(np.log10(low)), np.ceil(np.log10(high))])
        axes.set(**{f"{name}lim": ends if ends[0] < ends[1] else ends * [0.1, 10]})
    axis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))  # all eight cost a third of a report's time
    axis.set_major_formatter(FuncFormatter(_power))
    axis.set_minor_formatter(NullFormatter())


def _power(value: float, _position: int) -> str:
    exponent = round(np.log10(value))
    return f"{value:g}" if exponent in _PLAIN_DECADES else power_of_ten(exponent)


def spread_values(values: Sequence[float], at_most: int = 6) -> list[float]:
    """Return values spread evenly over a sequence, the first and the last among them.

    Parameters
    ----------
    values
        Sorted.
    at_most
        How many to return.
    """
    chosen = np.unique(np.linspace(0, len(values) - 1, min(at_most, len(values))).round())
    return [values[int(i)] for i in chosen]


def shaded_colours(count: int) -> list[tuple[float, ...]]:
    """Return so many colours from cold to hot, for a series in order of temperature."""
    return [tuple(colormaps["plasma"](x)) for x in np.linspace(0.05, 0.8, count)]


def series_colours(count: int) -> list[str]:
    """Return that many colours.

    They are distinct up to the length of `SERIES`, then repeat.
    """
    return [SERIES[i % len(SERIES)] for i in range(count)]


def split_pairs(rows: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return the first and the second members of pairs."""
    pairs = list(rows)
    return [x for x, _ in pairs], [y for _, y in pairs]


def plain_text(text: str) -> str:
    """Return text that matplotlib does not read as mathematics.

    Names come from users, and a dollar sign would start a formula.
    """
    return text.replace("$", r"\$")

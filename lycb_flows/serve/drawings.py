"""What is drawn of results: figures that answer to a pointer, structures and trajectories.

The figures are those of the report, as PNG: an SVG of matplotlib's styles itself, which the
pages' policy forbids. Their data points are known in pixels, so that a page can say what is
under the pointer.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from lycb_flows.errors import InputError
from lycb_flows.report import Album, Contents, FigureView, number, report_contents, scientific
from lycb_flows.schemas import Run, Segment, Structure
from lycb_flows.serve import CampaignLook, Connection

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_DPI: Final = 160
_POINTS_PER_LINE: Final = 60
_SMALL, _LARGE = 1e-3, 1e5
MAX_FRAMES: Final = 100
MAX_ATOM_FRAMES: Final = 60_000
"""Atoms times frames of a trajectory that a page gets: 3 MB of text."""


@dataclass(frozen=True)
class Point:
    """A data point of a figure: pixels from the left and from the top, and what it says."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Picture:
    """A figure as PNG, with its size in pixels and its data points."""

    png: bytes
    width: int
    height: int
    points: tuple[Point, ...]


class LiveAlbum(Album):
    """The figures of a report in memory, for a page; nothing is written.

    Parameters
    ----------
    address
        What comes before a figure's name in its address.
    """

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address, self.since = address, time.monotonic()
        self.pictures: dict[str, Picture] = {}

    @property
    def age_s(self) -> float:
        """How long it has been drawn, in seconds."""
        return time.monotonic() - self.since

    def _kept(self, name: str, figure: Figure, caption: str) -> FigureView:
        # the address has a number: a name may hold anything that a campaign calls its systems
        del name
        key = f"{len(self.pictures) + 1:02d}"
        self.pictures[key] = picture_of(figure)
        return FigureView(key, caption, f"{self.address}/{key}.png")


def picture_of(figure: Figure) -> Picture:
    """Return a figure as PNG with its data points."""
    from lycb_flows.report import styled  # noqa: PLC0415 - matplotlib

    stream = io.BytesIO()

    @styled
    def draw(figure: Figure) -> Figure:
        figure.set_dpi(_DPI)
        figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
        return figure

    draw(figure)
    width, height = (round(_DPI * inches) for inches in figure.get_size_inches())
    points = tuple(
        Point(round(float(x), 1), round(height - float(y), 1), text)
        for axes in figure.axes
        for line in axes.get_lines()
        for x, y, text in _points(axes, line)
    )
    return Picture(stream.getvalue(), width, height, points)


def _points(axes: Axes, line: Line2D) -> Iterator[tuple[float, float, str]]:
    """Yield the pixels and the text of a line's points, of a long line some of them."""
    data = np.asarray(line.get_xydata(), dtype=float)
    if line.get_alpha() == 0 or line.get_transform() != axes.transData or len(data) == 0:
        return
    every = max(1, len(data) // _POINTS_PER_LINE)
    label = str(line.get_label())
    pixels = axes.transData.transform(data)
    box = axes.get_window_extent()
    for (x, y), place in zip(data[::every], pixels[::every], strict=True):
        if np.isfinite(place).all() and box.contains(*place):
            yield float(place[0]), float(place[1]), _said(axes, label, float(x), float(y))


def _said(axes: Axes, label: str, x: float, y: float) -> str:
    """Return what a point says: its curve, and its values under the names of the axes."""
    across, up = axes.get_xlabel(), axes.get_ylabel() or axes.get_title(loc="left")
    where = f"{across} = {x:.4g}"
    if across.startswith("1000 K / T") and x > 0:
        where = f"T = {1000 / x:.4g} K"
    curve = "" if label.startswith("_") or not label else f"{label}: "
    return f"{curve}{where}, {up} = {_written(y)}"


def _written(value: float) -> str:
    ordinary = value == 0 or _SMALL <= abs(value) < _LARGE
    return number(value) if ordinary else scientific(value, None)


def draw_report(
    connection: Connection, look: CampaignLook, album: LiveAlbum
) -> tuple[Contents, dict[str, Picture]]:
    """Return the contents of a campaign's report as it is now, and its figures.

    Parameters
    ----------
    connection
        Where the campaign is.
    look
        The campaign, as seen last.
    album
        Receives the figures, one after the other.
    """
    contents = report_contents(connection.store, look.document_keys, album, look.quantities)
    return contents, album.pictures


# -- structures and trajectories -------------------------------------------------------------


def frames_of(connection: Connection, key: str) -> str:
    """Return a structure, or frames of a run, as extended XYZ; of a long run evenly spaced ones.

    Parameters
    ----------
    connection
        Where the document is.
    key
        Key of a Structure or a Run.

    Raises
    ------
    InputError
        When it is neither, or its frames were dropped.
    """
    document = connection.store.find_document(key)
    if isinstance(document, Structure):
        lattice, frac = np.array(document.lattice_ang), np.array(document.frac_coords)
        return _xyz(document.species, lattice, frac @ lattice, "step 0")
    if isinstance(document, Run):
        return "".join(_frames(connection, document))
    raise InputError("neither a structure nor a run", fix="see the campaign's page", key=key)


def _frames(connection: Connection, run: Run) -> Iterator[str]:
    """Yield frames of a run, segment by segment: a long trajectory does not fit into memory."""
    from lycb_flows.md.trajectory import read_trajectory  # noqa: PLC0415 - h5py

    segments = [connection.store.load(Segment, key) for key in run.segments]
    n_frames = sum(segment.n_frames for segment in segments)
    every, count = 0, 0
    for segment in segments:
        if not segment.n_frames:
            continue
        trajectory = read_trajectory(connection.store.blobs.read(segment.trajectory))
        n_atoms = len(trajectory.species)
        every = every or -(-n_frames // max(1, min(MAX_FRAMES, MAX_ATOM_FRAMES // n_atoms)))
        for index in range(-count % every, trajectory.n_frames, every):
            cell = trajectory.cells_ang[index]
            positions = (trajectory.frac_coords[index].astype(float) % 1.0) @ cell
            yield _xyz(trajectory.species, cell, positions, f"step {trajectory.steps[index]}")
        count += trajectory.n_frames


def _xyz(species: Sequence[str], cell: np.ndarray, positions: np.ndarray, note: str) -> str:
    lattice = " ".join(f"{number:.5f}" for number in np.ravel(cell))
    rows = (
        f"{_symbol(each)} {x:.4f} {y:.4f} {z:.4f}"
        for each, (x, y, z) in zip(species, positions, strict=True)
    )
    return "\n".join([str(len(species)), f'Lattice="{lattice}" {note}', *rows, ""])


def _symbol(species: str) -> str:
    """Return the letters of an element's symbol; documents may hold anything."""
    return "".join(letter for letter in species if letter.isascii() and letter.isalpha())[:2] or "X"

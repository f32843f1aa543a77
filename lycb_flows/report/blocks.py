"""What a report is made of: sentences, tables, figures, and sections that hold them.

Whatever a report tells about is put into these; `page.py` writes them down.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lycb_flows.report.collection import ReportData
from lycb_flows.report.numbers import MISSING
from lycb_flows.store.kinds import Measured

if TYPE_CHECKING:  # matplotlib takes a while, and whoever measures draws nothing
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Statement:
    """A sentence and the documents that it rests on."""

    text: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """Text of a cell, the document it comes from, and its tone ('paper' or 'warn')."""

    text: str
    key: str | None = None
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """A table; `columns` are its headings, unit included."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


def ours(key: str, texts: Iterable[str]) -> tuple[Cell, ...]:
    """Return cells of our numbers, from one document.

    Parameters
    ----------
    key
        Key of the document.
    texts
        What the cells say; a missing number names no document.
    """
    return tuple(Cell(text, key if text != MISSING else None) for text in texts)


def papers(*texts: str) -> tuple[Cell, ...]:
    """Return cells of the paper's numbers."""
    return tuple(Cell(text, tone="paper") for text in texts)


@dataclass(frozen=True)
class FigureView:
    """A figure in the page: an SVG as a data URI, which no script can leave."""

    name: str
    caption: str
    uri: str


@dataclass(frozen=True)
class Section:
    """A chapter of the page; `lead` are its first sentences."""

    anchor: str
    title: str
    lead: tuple[str, ...]
    blocks: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Part:
    """One system's or one round's share of a section."""

    title: str
    lead: tuple[str, ...] = ()
    figures: tuple[FigureView, ...] = ()
    tables: tuple[Table, ...] = ()


class Album:
    """The figures' folder: each figure is kept as PNG and SVG and shown in the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: Counter[str] = Counter()
        folder.mkdir(parents=True, exist_ok=True)

    def show(self, name: str, figure: Figure, caption: str) -> FigureView:
        """Keep a figure and return it for the page.

        Parameters
        ----------
        name
            The file name is made from it; it may hold anything.
        figure
            Drawn with matplotlib.
        caption
            Its legend in the page.
        """
        from lycb_flows.report.figure_style import save  # noqa: PLC0415 - matplotlib takes a while

        slug = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") or "figure"
        self._names[slug] += 1
        stem = slug if self._names[slug] == 1 else f"{slug}-{self._names[slug]}"
        svg = save(figure, self.folder / f"{stem}.svg")
        encoded = base64.b64encode(svg).decode()
        return FigureView(stem, caption, f"data:image/svg+xml;base64,{encoded}")


class Reported(Measured, Protocol):
    """A measured quantity, as a report knows it; `quantities/base.py` says what each does."""

    @property
    def noun(self) -> str:
        """What one of its documents is called."""
        ...

    def section(self, data: ReportData, album: Album) -> Section:
        """Return its chapter."""
        ...

    def headline(self, data: ReportData) -> str | None:
        """Return the first sentence of the report, or None."""
        ...

    def findings(self, data: ReportData) -> Iterator[Statement]:
        """Yield what can be concluded."""
        ...

    def doubts(self, data: ReportData) -> Iterator[Statement]:
        """Yield what cannot be concluded at all."""
        ...

    def limits(self, data: ReportData) -> Iterator[Statement]:
        """Yield what limits the numbers that there are."""
        ...
